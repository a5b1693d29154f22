//! Which toolchains and which C library images have, as they themselves tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::container::{ContainerPlan, plain_variables, shell};
use super::{Run, RunError, StepEnd};
use crate::engine::job::{self, Job};
use crate::engine::lines::LINE_LIMIT_BYTES;
use crate::engine::{EngineError, ImageId, Network, OutputStream};
use crate::language::{ROOT, language};
use crate::name::EnvironmentName;

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);
/// Prints the distribution's own description and what the C library says of itself, with nothing but a shell.
const RUNTIME_PROBE: &str = r#"
if [ -r /etc/os-release ]; then while IFS= read -r line; do echo "os $line"; done < /etc/os-release; fi
for loader in /lib/ld-musl-*.so.1; do if [ -e "$loader" ]; then "$loader" 2>&1 | while IFS= read -r line; do echo "musl $line"; done; fi; done
for library in /lib/*-linux-gnu*/libc.so.6 /lib64/libc.so.6; do
  if [ -x "$library" ]; then "$library" | while IFS= read -r line; do echo "glibc $line"; done; break; fi
done
:"#;

impl Run {
    /// Toolchains of the build image, and the C library of the runtime image.
    pub(super) async fn probe_toolchains(
        &self,
        environment: &EnvironmentName,
        build: &ImageId,
        runtime: &ImageId,
    ) -> Result<BTreeMap<String, String>, RunError> {
        let found = parse(&self.probe(environment, "build", build, &self.build_probe()).await?);
        let runtime = match self.probe(environment, "runtime", runtime, RUNTIME_PROBE).await {
            Ok(lines) => parse(&lines),
            // An image without a shell, which cannot be started with one, tells nothing.
            Err(RunError::Engine(EngineError::Failed { .. } | EngineError::NotFound { .. })) => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(merged(found, runtime))
    }

    /// What images told before, without asking them; none when one was not asked yet.
    pub(super) fn known_toolchains(&self, build: &ImageId, runtime: &ImageId) -> Option<BTreeMap<String, String>> {
        let build: Vec<String> = self.observed.answer(build, &self.build_probe())?;
        let runtime: Vec<String> = self.observed.answer(runtime, RUNTIME_PROBE)?;
        Some(merged(parse(&build), parse(&runtime)))
    }

    fn build_probe(&self) -> String {
        let commands: BTreeSet<&(&str, &str)> = self
            .project
            .units()
            .flat_map(|unit| language(unit.language).toolchains)
            .collect();
        let script: String = commands
            .iter()
            .map(|(name, command)| format!("if version=$({command}); then echo \"tool {name} $version\"; fi\n"))
            .collect();
        format!("{script}{RUNTIME_PROBE}")
    }

    /// What an image prints when this script runs in it; asked once for all runs.
    async fn probe(
        &self,
        environment: &EnvironmentName,
        role: &str,
        image: &ImageId,
        script: &str,
    ) -> Result<Vec<String>, RunError> {
        if let Some(known) = self.observed.answer(image, script) {
            return Ok(known);
        }
        let spec = self.container(ContainerPlan {
            environment,
            role: "probe",
            subject: role,
            image,
            command: shell(script),
            variables: plain_variables(),
            working_directory: ROOT,
            network: Network::None,
            volumes: vec![],
        });
        let job = Job {
            spec: &spec,
            uploads: vec![self.directories()?],
            limit: PROBE_TIMEOUT,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: Some(self.disk_limit(environment, image)),
        };
        let lines = Mutex::new(Vec::new());
        let sink = |stream, line: &str| {
            if stream == OutputStream::Stdout {
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line.to_owned());
            }
        };
        let outcome = job::run(self.engine.as_ref(), job, &sink, &self.cancellation).await?;
        let lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
        match StepEnd::of(&outcome, &self.project.limits) {
            None => Ok(self.observed.keep(image, script, lines)),
            // What a tool that is missing or fails ends with says nothing, and may be another time another.
            Some(StepEnd::Status(_)) => Ok(lines),
            // One that had to be ended has not answered.
            Some(end) => Err(RunError::Probe {
                role: role.to_owned(),
                environment: environment.clone(),
                end,
            }),
        }
    }
}

/// What host and plugins will meet is the runtime image's C library.
fn merged(mut build: BTreeMap<String, String>, runtime: BTreeMap<String, String>) -> BTreeMap<String, String> {
    build.extend(runtime.into_iter().filter(|(name, _)| name == "libc"));
    build
}

fn parse(lines: &[String]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut os: BTreeMap<&str, &str> = BTreeMap::new();
    for line in lines {
        let Some((kind, rest)) = line.split_once(' ') else {
            continue;
        };
        match kind {
            "tool" => {
                if let Some((name, version)) = rest.split_once(' ') {
                    found.insert(name.to_owned(), version.trim().to_owned());
                }
            }
            "os" => {
                if let Some((name, value)) = rest.split_once('=') {
                    os.insert(name, value.trim_matches('"'));
                }
            }
            "musl" => {
                if let Some(version) = rest.strip_prefix("Version ") {
                    found.insert("libc".to_owned(), format!("musl {version}"));
                }
            }
            "glibc" => {
                if let Some((_, version)) = rest.split_once("release version ") {
                    found.insert("libc".to_owned(), format!("glibc {}", version.trim_end_matches('.')));
                }
            }
            _ => {}
        }
    }
    let version = os
        .get("VERSION_CODENAME")
        .or_else(|| os.get("VERSION_ID"))
        .filter(|version| !version.is_empty());
    if let Some(id) = os.get("ID") {
        let version = version.map(|version| format!(" {version}")).unwrap_or_default();
        found.insert("distribution".to_owned(), format!("{id}{version}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &[&str]) -> Vec<(String, String)> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        parse(&lines).into_iter().collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn images_tell_what_they_are() {
        let glibc = parsed(&[
            "tool rustc 1.85.0",
            "os ID=debian",
            "os VERSION_CODENAME=trixie",
            "glibc GNU C Library (Debian GLIBC 2.41-12) stable release version 2.41.",
            "glibc Copyright (C) 2025 Free Software Foundation, Inc.",
        ]);
        assert_eq!(
            glibc,
            pairs(&[
                ("distribution", "debian trixie"),
                ("libc", "glibc 2.41"),
                ("rustc", "1.85.0")
            ])
        );
        let musl = parsed(&[
            "musl musl libc (x86_64)",
            "musl Version 1.2.5",
            "os ID=alpine",
            "os VERSION_ID=\"3.22.1\"",
        ]);
        assert_eq!(
            musl,
            pairs(&[("distribution", "alpine 3.22.1"), ("libc", "musl 1.2.5")])
        );
        assert_eq!(parsed(&["", "what"]), pairs(&[]));
    }
}
