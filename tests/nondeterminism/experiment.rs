//! What is true: all units of a project compiled one after the other in one container, again and again, each time with something
//! else varied. The scripts are those of the plan, and what is varied is what the table says; nothing else is `verify`'s.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep::digest::Digest;
use lockstep::engine::job::{Job, JobError, Upload, run_and_collect};
use lockstep::engine::{ContainerSpec, Engine, ImageId, MachineView, Mount, ResourceLimits};
use lockstep::language::{HOST_NAME, quote};
use lockstep::owner::Owner;
use lockstep::plan::Command;
use lockstep::source::{EntryTimes, SourceTree};
use lockstep::verify::{Setting, SourcePlace, VARIATIONS, Variation, moved, rebuilt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::common::batch::{Failure, builtin_image};
use crate::common::{Ground, archive, archive_of, bytes_stream, on_engine, read, unpack};

/// How many units one container compiles at most: its command has 128 KiB at most (execve(2), MAX_ARG_STRLEN).
const STEPS_AT_ONCE_COUNT: usize = 8;
/// How many containers there are at once.
const AT_ONCE_COUNT: usize = 3;
/// How long to wait before the same is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(1100);
const TIMEOUT: Duration = Duration::from_secs(20 * 60);
const LINE_LIMIT_BYTES: usize = 16 * 1024;
const MEMORY_LIMIT_BYTES: u64 = 4 << 30;
const SOURCES_LIMIT_BYTES: u64 = 64 << 20;
const PROCESSES_LIMIT_COUNT: u64 = 1024;
const NANO_CPUS: u64 = 64_000_000_000;
/// When the sources were changed; what each is later where each has a time of its own.
const EPOCH_SECONDS: u64 = 1_735_689_600;
const STEP_SECONDS: u64 = 61;

/// What is held, what is varied, and which try it is.
pub(crate) type Question = (Vec<&'static str>, Vec<&'static str>, usize);
/// What came out, by unit.
pub(crate) type Outcome = BTreeMap<String, Digest>;

/// A unit as it is planned.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) command: Command,
}

/// Asks all of these, each of some units. Repeats of the same come one after the other, and never in the same second.
pub(crate) fn ask(
    image: &'static str,
    project: &Path,
    asked: BTreeMap<Question, Vec<Step>>,
) -> Vec<(Question, Outcome)> {
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let (told, project) = (Arc::clone(&outcomes), project.to_owned());
    let mut groups: BTreeMap<_, Vec<(Question, Vec<Step>)>> = BTreeMap::new();
    for (question, steps) in asked {
        let alike = groups.entry((question.0.clone(), question.1.clone())).or_default();
        alike.push((question, steps));
    }
    on_engine(move |ground| async move {
        let image = builtin_image(&ground, image).await?;
        let tree = SourceTree::scan(&project, ".", &[]).map_err(|error| error.to_string())?;
        let lab = Arc::new(Lab {
            ground,
            image,
            tree,
            places: Semaphore::new(AT_ONCE_COUNT),
        });
        let mut asking = JoinSet::new();
        for (number, group) in groups.into_values().enumerate() {
            asking.spawn(Arc::clone(&lab).answers(number, group));
        }
        while let Some(answers) = asking.join_next().await {
            told.lock().unwrap().extend(answers??);
        }
        Ok(())
    });
    std::mem::take(&mut *outcomes.lock().unwrap())
}

/// Where it is tried.
struct Lab {
    ground: Ground,
    image: ImageId,
    tree: SourceTree,
    /// A container takes one.
    places: Semaphore,
}

fn named(names: &[&'static str]) -> Vec<&'static Variation> {
    let is_named = |variation: &&&Variation| names.contains(&variation.name);
    VARIATIONS.iter().filter(is_named).copied().collect()
}

/// The scripts of all units, one after the other, each with directories of its own.
fn joined(steps: &[Step], setting: &Setting) -> String {
    // What is of the container is done once for all.
    let of_unit = Setting {
        root: None,
        sources: SourcePlace::Volume,
        ..setting.clone()
    };
    let mut script = String::new();
    for Step { name, command } in steps {
        let own = |text: &str| {
            let text = text.replace("/lockstep/out", &format!("/lockstep/out/{name}"));
            text.replace("/lockstep/target", &format!("/lockstep/target/{name}"))
        };
        let command = rebuilt(command, &BTreeMap::new(), &of_unit, EPOCH_SECONDS);
        script.push_str(&own("mkdir -p /lockstep/out /lockstep/target\n("));
        for (variable, value) in &command.variables {
            script.push_str(&format!("export {variable}={}\n", quote(&own(value))));
        }
        script.push_str(&format!(
            "cd {}\nsh -eu -c {}\n",
            command.working_directory,
            quote(&own(&command.script))
        ));
        script.push_str(&format!(") || echo failed > /lockstep/out/{name}/failed\n"));
    }
    let whole = Command {
        script,
        variables: BTreeMap::new(),
        working_directory: "/lockstep".to_owned(),
    };
    let of_container = Setting {
        root: setting.root,
        sources: setting.sources,
        ..Setting::default()
    };
    rebuilt(&whole, &BTreeMap::new(), &of_container, EPOCH_SECONDS).script
}

impl Lab {
    /// The answers to questions that are the same but for the repeat.
    async fn answers(
        self: Arc<Self>,
        number: usize,
        group: Vec<(Question, Vec<Step>)>,
    ) -> Result<Vec<(Question, Outcome)>, Failure> {
        let mut answers = Vec::new();
        for (repeat, (question, steps)) in group.into_iter().enumerate() {
            if repeat > 0 {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            let outcome = self.one(&steps, &question, &format!("{number}-{repeat}")).await?;
            answers.push((question, outcome));
        }
        Ok(answers)
    }

    /// What comes of all these steps under one question.
    async fn one(&self, steps: &[Step], question: &Question, name: &str) -> Result<Outcome, Failure> {
        let parts = steps.chunks(STEPS_AT_ONCE_COUNT).enumerate();
        let parts = parts.map(|(part, steps)| async move {
            let _place = self.places.acquire().await?;
            let name = format!("vary-{name}-{part}");
            some(&self.ground, &self.image, &self.tree, steps, question, name).await
        });
        let outcomes: Vec<Outcome> = futures_util::future::try_join_all(parts).await?;
        Ok(outcomes.into_iter().flatten().collect())
    }
}

async fn some(
    ground: &Ground,
    image: &ImageId,
    tree: &SourceTree,
    steps: &[Step],
    (held, varied, _): &Question,
    name: String,
) -> Result<Outcome, Failure> {
    let setting = Setting::of(&named(held), &named(varied));
    let root = setting.root.unwrap_or("/lockstep");
    let owner = setting.owner.unwrap_or(Owner { uid: 1000, gid: 1000 });
    let mut mounts = vec![
        Mount::Anonymous {
            path: root.to_owned(),
            labels: ground.labels.clone(),
        },
        Mount::Tmpfs {
            path: "/tmp".to_owned(),
            size_bytes: SOURCES_LIMIT_BYTES,
        },
    ];
    let in_memory = setting.sources != SourcePlace::Volume;
    if in_memory {
        mounts.push(Mount::OwnedTmpfs {
            path: format!("{root}/src"),
            size_bytes: SOURCES_LIMIT_BYTES,
            owner,
            executable: true,
        });
    }
    let spec = ContainerSpec {
        image: image.clone(),
        command: ["sh", "-u", "-c", &joined(steps, &setting)].map(str::to_owned).to_vec(),
        environment: BTreeMap::new(),
        working_directory: root.to_owned(),
        user: format!("{}:{}", owner.uid, owner.gid),
        mounts,
        limits: ResourceLimits {
            memory_bytes: MEMORY_LIMIT_BYTES,
            nano_cpus: NANO_CPUS,
            processes: PROCESSES_LIMIT_COUNT,
            file_bytes: None,
        },
        init: true,
        machine: MachineView {
            host_name: Some(setting.host_name.unwrap_or(HOST_NAME).to_owned()),
            domain_name: setting.domain_name.map(str::to_owned),
            processors: setting.processors.map(str::to_owned),
            may_fix_addresses: !setting.personality.is_empty(),
        },
        ..ground.spec(&name, &[])
    };
    let times = match setting.has_source_times {
        true => EntryTimes {
            first_seconds: EPOCH_SECONDS - 10_000_000,
            step_seconds: STEP_SECONDS,
        },
        false => EntryTimes::from(EPOCH_SECONDS),
    };
    let directories = [
        "home/", "out/", "target/", "deps/", "cache/", "varied/", "staged/", "src/",
    ];
    let directories = directories.map(|directory| (directory, 0o755, &b""[..]));
    let job = Job {
        spec: &spec,
        uploads: vec![
            Upload {
                path: root.to_owned(),
                archive: bytes_stream(archive_of(owner, &directories)?),
            },
            Upload {
                path: root.to_owned(),
                archive: tree.archive(if in_memory { "staged" } else { "src" }, owner, times),
            },
        ],
        limit: TIMEOUT,
        line_limit_bytes: LINE_LIMIT_BYTES,
        disk: None,
    };
    let (engine, out) = (&ground.engine, moved("/lockstep/out", root));
    let collect = |container, outcome: lockstep::engine::job::Outcome| {
        let out = out.clone();
        async move {
            let bytes = match outcome.ending.is_success() {
                true => read(engine.download(&container, &out).await?).await?,
                false => archive(&[]).unwrap_or_default(),
            };
            Ok::<_, JobError>((outcome, bytes))
        }
    };
    let (outcome, bytes) = run_and_collect(engine, job, &|_, _: &str| {}, &CancellationToken::new(), collect).await?;
    if !outcome.ending.is_success() {
        return Err(format!("{varied:?}: {:?}\n{}", outcome.ending, outcome.tail.join("\n")).into());
    }
    let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (path, (_, content)) in unpack(&bytes)? {
        let mut parts = path.trim_start_matches("out/").splitn(2, '/');
        if let (Some(unit), Some(file)) = (parts.next(), parts.next()) {
            let all = contents.entry(unit.to_owned()).or_default();
            all.extend(format!("{file}\0{}\0", content.len()).into_bytes());
            all.extend(content);
        }
    }
    Ok(contents
        .into_iter()
        .map(|(unit, all)| (unit, Digest::of(&all)))
        .collect())
}
