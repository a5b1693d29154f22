//! The world as a command sees it: what was observed once at the start, and where output goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::global::Global;
use super::stop::Stop;
use crate::config::{Project, load};
use crate::context::Context;
use crate::digest::Digest;
use crate::event::Events;
use crate::exit::Exit;
use crate::regular_file;
use crate::report::{Failure, Printer, Progress, reporter};

/// The longest name of a machine that is read; it has 32 digits, or 64 characters.
const NAME_LIMIT_BYTES: u64 = 4096;

/// What commands need besides their arguments.
pub struct World {
    /// The machine, the user, the time.
    pub context: Context,
    /// The two output streams.
    pub printer: Arc<Printer>,
    /// The project's file, as given, made absolute.
    pub file: PathBuf,
    /// How the user called this program.
    pub program: String,
    pub(super) progress: Progress,
}

impl World {
    /// Looks at everything that the program may depend on, once.
    pub(super) fn observe(global: &Global) -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let working_directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let machine = regular_file::read_text(Path::new("/etc/machine-id"), NAME_LIMIT_BYTES)
            .or_else(|_| regular_file::read_text(Path::new("/proc/sys/kernel/hostname"), NAME_LIMIT_BYTES));
        let seed = format!("{}-{}", now.as_nanos(), std::process::id());
        let context = Context {
            cache_directory: cache_directory(&variables),
            temporary_directory: std::env::temp_dir(),
            started_at_seconds: now.as_secs(),
            run_id: Digest::of(seed.as_bytes()).short(),
            machine_id: machine.unwrap_or_default().trim().to_owned(),
            is_root: rustix::process::geteuid().is_root(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            working_directory,
            variables,
        };
        Self {
            file: context.working_directory.join(&global.file),
            context,
            printer: Arc::new(Printer::default()),
            program: std::env::args().next().unwrap_or_else(|| "lockstep".to_owned()),
            progress: if global.quiet { Progress::Quiet } else { global.progress },
        }
    }

    /// The project.
    ///
    /// # Errors
    /// Every problem of its file.
    pub(super) fn project(&self) -> Result<Project, Stop> {
        self.project_at(&self.file)
    }

    /// The project of another file.
    ///
    /// # Errors
    /// Every problem of it.
    pub(super) fn project_at(&self, file: &Path) -> Result<Project, Stop> {
        let shown = file
            .strip_prefix(&self.context.working_directory)
            .unwrap_or(file)
            .display()
            .to_string();
        let builtin: Vec<&str> = crate::image::Builtin::names().collect();
        let (project, problems) = load(file, &shown, &builtin);
        project.ok_or(Stop::Problems(problems))
    }

    /// Prints `value` as JSON on standard output.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub(super) fn print_json(&self, value: &impl Serialize) -> Result<(), Stop> {
        let failed =
            |cause: serde_json::Error| Failure::new(Exit::Internal, "json", format!("failed to print: {cause}"));
        let text = serde_json::to_string_pretty(value).map_err(failed)?;
        self.printer.document(&format!("{text}\n"));
        Ok(())
    }

    /// The reporter that the command line asked for.
    #[must_use]
    pub fn events(&self) -> Arc<dyn Events> {
        reporter(self.progress, &self.printer)
    }
}

/// `$XDG_CACHE_HOME/lockstep`, else `~/.cache/lockstep` (XDG base directory specification).
fn cache_directory(variables: &BTreeMap<String, String>) -> PathBuf {
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("LOCKSTEP_CACHE_DIR").or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("lockstep")));
    base.or_else(|| set("HOME").map(|home| home.join(".cache/lockstep")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/lockstep"))
}
