//! What really happens: every case's host is run in its tree, all in one container of the runtime image.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::case::{Case, Libc};
use crate::common::batch::{Batch, Failure, builtin_image, run};
use crate::common::{Ground, archive, unpack};
use crate::layout::{Base, pack};

/// What was seen of one case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Whether the host came as far as its own code.
    pub(crate) started: bool,
    pub(crate) plugins: Vec<SeenPlugin>,
    /// How the host ended.
    pub(crate) end: End,
    /// What `execve` said, in words.
    pub(crate) not_started: Option<String>,
    pub(crate) stderr: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SeenPlugin {
    pub(crate) opened: Opened,
    /// Symbols that were not found, with the loader's words.
    pub(crate) missing: Vec<(String, String)>,
    pub(crate) answers: Vec<(String, i64)>,
    /// How the process that called it ended; none if that did not come to pass.
    pub(crate) end: Option<End>,
    /// Whether every call came back.
    pub(crate) is_complete: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The host had ended before.
    #[default]
    NotTried,
    Well,
    Failed(String),
    /// The host ended here.
    Died,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) status: i32,
    pub(crate) signal: i32,
    pub(crate) timed_out: bool,
}

/// The limit of `host.c`, which leaves with an alarm.
const SIGALRM: i32 = 14;
/// Two empty blocks end a tar.
const TAR_END_BYTES: usize = 1024;

/// Something to run in a tree.
pub(crate) struct Command {
    pub(crate) name: String,
    /// The tree's name.
    pub(crate) root: String,
    pub(crate) cwd: String,
    pub(crate) user: u32,
    /// The user and the group that it is in effect, as set-user-ID and set-group-ID would have it.
    pub(crate) effective: (u32, u32),
    /// Whether `ldconfig` runs before it.
    pub(crate) ldconfig: bool,
    pub(crate) variables: Vec<String>,
    pub(crate) arguments: Vec<String>,
}

/// How a command ended, and what it wrote.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) end: End,
    /// What `execve` said, in words.
    pub(crate) not_started: Option<String>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The static programs that run and prepare cases.
pub(crate) struct Tools<'a> {
    pub(crate) driver: &'a [u8],
    pub(crate) ldconfig: &'a [u8],
}

/// Runs the cases, and gives what was seen, with the caches that `ldconfig` wrote.
pub(crate) async fn observe(
    ground: &Ground,
    cases: &[(&Case, PathBuf)],
    libc: Libc,
    base: &Base,
    tools: &Tools<'_>,
) -> Result<(BTreeMap<String, Seen>, BTreeMap<String, Vec<u8>>), Failure> {
    let trees: Vec<_> = cases
        .iter()
        .map(|(case, root)| (case.name.clone(), root.clone()))
        .collect();
    let commands: Vec<_> = cases.iter().map(|(case, root)| command(case, root, libc)).collect();
    let (outputs, caches) = run_all(ground, libc, &trees, &commands, base, tools).await?;
    let seen = cases
        .iter()
        .map(|(case, _)| (case.name.clone(), Seen::new(case, &outputs[&case.name])))
        .collect();
    Ok((seen, caches))
}

/// Runs commands in trees, one after the other, all in one container of the runtime image.
pub(crate) async fn run_all(
    ground: &Ground,
    libc: Libc,
    trees: &[(String, PathBuf)],
    commands: &[Command],
    base: &Base,
    tools: &Tools<'_>,
) -> Result<(BTreeMap<String, Output>, BTreeMap<String, Vec<u8>>), Failure> {
    let plan: String = commands.iter().map(Command::plan).collect();
    let small = archive(&[
        ("work/out/", 0o755, b""),
        ("work/out/caches/", 0o755, b""),
        ("work/driver", 0o755, tools.driver),
        ("work/ldconfig", 0o755, tools.ldconfig),
        ("work/plan", 0o644, plan.as_bytes()),
    ])?;
    // One tar after another: the end of the first is cut off.
    let mut files = pack(trees, base)?;
    files.truncate(files.len() - TAR_END_BYTES);
    files.extend(small);
    let name = format!("load-{}", libc.word());
    let batch = Batch {
        name: &name,
        image: builtin_image(ground, libc.runtime_image()).await?,
        script: "cd work; ./driver plan out/results /lockstep/work/ldconfig /lockstep/work/out/caches",
        files,
        changes_root: true,
        wanted: &["/lockstep/work/out"],
    };
    let files = unpack(&run(ground, batch).await?.archives[0])?;
    let outputs = parse(&files["out/results"].1, commands);
    let caches = files.into_iter().filter_map(|(path, (_, bytes))| {
        let name = path.strip_prefix("out/caches/")?.to_owned();
        (!name.is_empty()).then_some((name, bytes))
    });
    Ok((outputs, caches.collect()))
}

/// The command that a case is.
fn command(case: &Case, root: &Path, libc: Libc) -> Command {
    let host = std::fs::metadata(root.join(case.host_path().trim_start_matches('/')));
    let owner = host.map_or((0, 0), |host| (host.uid(), host.gid()));
    let start = case.host.start.as_deref().unwrap_or(case.host_path());
    let mut arguments = vec![
        start.to_owned(),
        case.flags().to_owned(),
        case.scope().to_owned(),
        case.calls().join(","),
    ];
    arguments.extend(case.plugin_paths().iter().map(|path| Case::fill(path, libc)));
    Command {
        name: case.name.clone(),
        root: case.name.clone(),
        cwd: case.cwd().to_owned(),
        user: case.user(),
        effective: case.effective(owner),
        ldconfig: case.ldconfig && libc == Libc::Glibc,
        variables: case.variables(libc),
        arguments,
    }
}

impl Command {
    /// As `driver.c` reads it.
    fn plan(&self) -> String {
        let (ldconfig, root) = (u8::from(self.ldconfig), &self.root);
        let (name, cwd, user) = (&self.name, &self.cwd, self.user);
        let (as_user, as_group) = self.effective;
        let mut text = format!("{name}\n/lockstep/roots/{root}\n{cwd}\n{user}\n{as_user}\n{as_group}\n{ldconfig}\n");
        for list in [&self.variables, &self.arguments] {
            writeln!(text, "{}", list.len()).unwrap();
            for word in list {
                assert!(!word.contains('\n'), "`{}`: a line break in `{word}`", self.name);
                writeln!(text, "{word}").unwrap();
            }
        }
        text
    }
}

fn parse(mut results: &[u8], commands: &[Command]) -> BTreeMap<String, Output> {
    let mut all = BTreeMap::new();
    for command in commands {
        let end = results
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a result for each command");
        let line = String::from_utf8_lossy(&results[..end]).into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], command.name, "the results are in another order");
        let number = |index: usize| words[index].parse::<i32>().unwrap();
        let (out, err, error) = (number(5) as usize, number(6) as usize, number(4));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let stdout = text(&results[end + 1..end + 1 + out]);
        let stderr = text(&results[end + 1 + out..end + 1 + out + err]);
        results = &results[end + 1 + out + err..];
        assert!(
            error < 10_000,
            "`{}`: the driver failed before the program: errno {}",
            command.name,
            error - 10_000
        );
        let end = End {
            status: number(1),
            signal: number(2),
            timed_out: number(3) == 1,
        };
        let not_started = (error != 0).then(|| errno_text(error));
        all.insert(
            command.name.clone(),
            Output {
                end,
                not_started,
                stdout,
                stderr,
            },
        );
    }
    all
}

fn errno_text(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

impl Seen {
    fn new(case: &Case, output: &Output) -> Self {
        let (not_started, stderr) = (output.not_started.clone(), output.stderr.clone());
        let mut seen = Self {
            end: output.end,
            not_started,
            stderr,
            ..Self::default()
        };
        seen.plugins.resize_with(case.plugin_paths().len(), SeenPlugin::default);
        seen.read(&output.stdout);
        seen
    }

    /// Reads what `host.c` (or one in another language that says the same) wrote.
    fn read(&mut self, stdout: &str) {
        for line in stdout.lines().filter_map(|line| line.strip_prefix("@ ")) {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (what, index, symbol, text) = (word(), word().parse().unwrap_or(0), word(), word());
            self.started = true;
            let Some(plugin) = self.plugins.get_mut::<usize>(index) else {
                continue;
            };
            match what {
                "open" => plugin.opened = Opened::Died,
                "opened" => plugin.opened = Opened::Well,
                "failed" => plugin.opened = Opened::Failed(text.replace('\u{1f}', "\n")),
                "missing" => plugin.missing.push((symbol.to_owned(), text.to_owned())),
                "answer" => plugin
                    .answers
                    .push((symbol.to_owned(), text.trim().parse().unwrap_or(i64::MIN))),
                "called" => plugin.is_complete = true,
                "ended" => {
                    let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(-1));
                    let mut number = || numbers.next().unwrap_or(-1);
                    let (status, signal) = (number(), number());
                    plugin.end = Some(End {
                        status,
                        signal,
                        timed_out: signal == SIGALRM,
                    });
                }
                _ => {}
            }
        }
    }
}
