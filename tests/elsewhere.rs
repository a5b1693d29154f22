//! A lock that was made on one machine is met on another: another engine with another storage driver and nothing in it, another
//! machine ID, an empty cache. One environment for each kind of recipe.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod sample;

use std::path::Path;
use std::process::{Command, Output};

use common::registry_server::RegistryServer;
use common::second_engine::SecondEngine;
use sample::{Sample, docker, said, with_sample};

const ENVIRONMENTS: [&str; 3] = ["packages", "dockerfile", "image"];
/// Runs what follows as on a machine with another ID (machine-id(5)).
const ON_OTHER_MACHINE: &str = "mount --bind \"$0\" /etc/machine-id && exec \"$@\"";

/// Three environments, whose runtime images are made from packages, from a Dockerfile, and had from a registry.
fn with_three_kinds(sample: &Sample, base: &str) {
    sample.write(
        "images/own/Dockerfile",
        // What it makes is of the second in which it is made, and of the machine.
        &format!(
            "FROM {base}\nUSER 0\nRUN mkdir /etc/own && echo made > /etc/own/{} && date > /var/log/own.log\nUSER 1000\n",
            sample.name
        ),
    );
    let text = sample.read("lockstep.yaml").unwrap();
    let builtin = "{build: {builtin: debian/build}, runtime: {builtin: debian/runtime}}";
    let environments = format!(
        "packages: {builtin}
  dockerfile: {{build: {{builtin: debian/build}}, runtime: {{dockerfile: images/own/Dockerfile}}}}
  image: {{build: {{builtin: debian/build}}, runtime: {{image: '{base}'}}}}"
    );
    sample.write(
        "lockstep.yaml",
        &text.replace(&format!("glibc: {builtin}"), &environments),
    );
}

fn matched(engine: &[&str], sample: &Sample, environment: &str) -> String {
    let image = format!("lockstep/{}:{environment}", sample.name);
    docker(
        &[
            engine,
            &["image", "inspect", "--format", "{{.Id}} {{.RootFS.Layers}}", &image],
        ]
        .concat(),
    )
}

#[test]
fn a_lock_is_met_on_another_machine_whatever_the_recipe() {
    with_sample("elsewhere", |sample| {
        let server = RegistryServer::open();
        sample.build(0);
        let base = format!("{}/team/{}:1", server.host(), sample.name);
        let names = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", "lockstep/environment"]);
        let runtime = names.lines().find(|name| name.contains(":debian-runtime-")).unwrap();
        docker(&["tag", runtime, &base]);
        docker(&["push", "--quiet", &base]);
        with_three_kinds(sample, &base);
        std::fs::remove_file(sample.path().join("lockstep.lock")).unwrap();
        let all = [&["build"], &ENVIRONMENTS[..]].concat();
        let built = sample.run(&all);
        assert_eq!(built.status.code(), Some(0), "{}", said(&built));
        let lock = sample.read("lockstep.lock").unwrap();
        let here = ENVIRONMENTS.map(|environment| matched(&[], sample, environment));

        // The other machine: a clone, an engine without images and without a way out but to the registry.
        let clone = tempfile::tempdir().unwrap();
        for file in ["lockstep.yaml", "lockstep.lock", "host", "good", "images"] {
            let from = sample.path().join(file);
            let copied = Command::new("cp").arg("-r").arg(from).arg(clone.path()).status();
            assert!(copied.unwrap().success());
        }
        let data = tempfile::tempdir().unwrap();
        let engine = SecondEngine::start(data.path(), Some("overlay2")).unwrap();
        let _same = server.also_beside(&engine);
        let cache = tempfile::tempdir().unwrap();
        // Compiling the loader would take a network, which the engine has not.
        let home = std::env::var("HOME").unwrap();
        let loaders = Path::new(&home).join(".cache/lockstep/compiled");
        let copied = Command::new("cp").arg("-r").arg(loaders).arg(cache.path()).status();
        assert!(copied.unwrap().success());
        let machine_id = clone.path().join("machine-id");
        std::fs::write(&machine_id, "0123456789abcdef0123456789abcdef\n").unwrap();
        let there = |arguments: &[&str]| -> Output {
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", ON_OTHER_MACHINE]).arg(&machine_id);
            command.arg(env!("CARGO_BIN_EXE_lockstep")).args(arguments);
            command.current_dir(clone.path()).env("DOCKER_HOST", engine.address());
            command.env("LOCKSTEP_CACHE_DIR", cache.path()).output().unwrap()
        };
        let locked = there(&[&["build", "--locked"], &ENVIRONMENTS[..]].concat());
        assert_eq!(locked.status.code(), Some(0), "{}", said(&locked));
        let read = |directory: &Path| std::fs::read_to_string(directory.join("lockstep.lock")).unwrap();
        assert_eq!(read(clone.path()), lock);
        let host = engine.address();
        let found = ENVIRONMENTS.map(|environment| matched(&["--host", &host], sample, environment));
        assert_eq!(found, here, "other matched images");
        for environment in ENVIRONMENTS {
            let manifest = |directory: &Path| {
                std::fs::read_to_string(directory.join(format!("dist/{environment}/manifest.json"))).unwrap()
            };
            assert_eq!(manifest(clone.path()), manifest(sample.path()), "{environment}");
        }
        let cleaned = there(&["clean"]);
        assert_eq!(cleaned.status.code(), Some(0), "{}", said(&cleaned));
        docker(&["image", "rm", "--force", &base]);
        let own = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", "lockstep/environment"]);
        for name in own.lines().filter(|name| name.contains(":images-own-")) {
            docker(&["image", "rm", "--force", name]);
        }
    });
}
