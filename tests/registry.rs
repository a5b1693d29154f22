//! Environments that are kept in a registry, and had again where nobody has them and nobody could make them again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod sample;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use common::registry_server::{PASSWORD, RegistryServer, USER};
use common::second_engine::SecondEngine;
use common::unpacked::unpacked_program;
use sample::{Sample, docker, docker_says, said, with_sample};
use serde_json::Value;

/// Runs the program as on a machine that has made no image yet; compiling the loader once more would show nothing.
fn elsewhere(sample: &Sample, arguments: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let home = std::env::var("HOME").unwrap();
    let loaders = Path::new(&home).join(".cache/lockstep/compiled");
    Command::new("cp")
        .arg("-r")
        .arg(&loaders)
        .arg(cache.path())
        .status()
        .unwrap();
    let mut command = sample.command(arguments);
    command.env("LOCKSTEP_CACHE_DIR", cache.path()).output().unwrap()
}

/// Forgets all images of this test but those that others use too, and all that was built.
fn forget(sample: &Sample, base: &str) {
    let names = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", "lockstep/environment"]);
    for name in names.lines().filter(|name| name.contains(&sample.name)) {
        let label = "{{index .Config.Labels \"dev.lockstep.recipe\"}}";
        let recipe = docker(&["image", "inspect", "--format", label, name]);
        let digits = &recipe.trim().trim_start_matches("sha256:")[..8];
        docker_says(&["image", "rm", "--force", &format!("lockstep/recipe:{digits}")]);
        // By its ID it goes with what it is called in the registry.
        let id = docker(&["image", "inspect", "--format", "{{.Id}}", name]);
        docker_says(&["image", "rm", "--force", &format!("lockstep/{}:glibc", sample.name)]);
        docker(&["image", "rm", "--force", id.trim()]);
    }
    docker_says(&["image", "rm", "--force", base]);
    let _ = std::fs::remove_dir_all(sample.path().join(".lockstep"));
    let _ = std::fs::remove_dir_all(sample.path().join("dist"));
}

/// Gives the sample a runtime image of its own, from a Dockerfile that makes another one each time and stands on an image that
/// can be taken away; gives that one's name.
fn with_own_runtime(sample: &Sample) -> String {
    let names = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", "lockstep/environment"]);
    let runtime = names
        .lines()
        .find(|name| name.contains(":debian-runtime-"))
        .unwrap()
        .to_owned();
    let base = format!("lockstep-test/{}:base", sample.name);
    docker(&["tag", &runtime, &base]);
    let directory = format!("images/{}", sample.name);
    sample.write(
        &format!("{directory}/Dockerfile"),
        // The builder remembers commands by their words.
        &format!(
            "FROM {base}\nUSER 0\nRUN cat /proc/sys/kernel/random/uuid > /etc/chance; : {}\nUSER 1000\n",
            sample.name
        ),
    );
    let text = sample.read("lockstep.yaml").unwrap();
    let recipe = format!("runtime: {{dockerfile: {directory}/Dockerfile}}");
    sample.write(
        "lockstep.yaml",
        &text.replace("runtime: {builtin: debian/runtime}", &recipe),
    );
    let _ = std::fs::remove_file(sample.path().join("lockstep.lock"));
    base
}

fn assert_status(output: &Output, status: i32) -> String {
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(output));
    assert_eq!(output.status.code(), Some(status), "{told}");
    told
}

#[test]
fn what_was_pushed_is_had_again() {
    with_sample("registry", |sample| {
        let server = RegistryServer::open();
        sample.build(0);
        let base = with_own_runtime(sample);
        let without = sample.run(&["image", "push"]);
        assert!(assert_status(&without, 2).contains("no registry is named"));
        let text = sample.read("lockstep.yaml").unwrap();
        let registry = format!("{}/team/{}", server.host(), sample.name);
        sample.write("lockstep.yaml", &format!("{text}registry: {registry}\n"));
        assert!(assert_status(&sample.run(&["image", "push"]), 2).contains("is not in the lock"));
        sample.build(0);

        let told = assert_status(&sample.run(&["image", "push"]), 0);
        for name in [":glibc-build-", ":glibc-runtime-", &format!("{registry}:glibc\n")] {
            assert!(told.contains(name), "{name}: {told}");
        }
        let lock = sample.read("lockstep.lock").unwrap();
        assert_eq!(lock.matches("pushed:").count(), 1, "{lock}");
        assert_status(&sample.run(&["image", "push"]), 0);
        assert_eq!(
            sample.read("lockstep.lock").unwrap(),
            lock,
            "pushed again, it is the same"
        );
        assert!(assert_status(&sample.run(&["build", "--locked"]), 0).contains("nothing changed"));
        assert_eq!(
            docker(&["images", "-q", &registry]).trim(),
            "",
            "no name of it stays here"
        );

        // No engine and no cache has the runtime image, and made again it would be another one.
        forget(sample, &base);
        let told = assert_status(&elsewhere(sample, &["build", "--locked"]), 0);
        assert!(told.contains("1 loaded"), "{told}");
        assert_eq!(sample.read("lockstep.lock").unwrap(), lock);

        forget(sample, &base);
        let told = assert_status(&elsewhere(sample, &["image", "pull"]), 0);
        for line in ["  build    ", "was there", "  matched  ", "  runtime  ", "pulled"] {
            assert!(told.contains(line), "{line}: {told}");
        }
        assert_eq!(
            docker(&["run", "--rm", &format!("lockstep/{}:glibc", sample.name)]),
            "answer 42\n"
        );

        // Another image than a matched one has the digest that somebody wrote into the lock.
        let digest_of = |role: &str| {
            let pushed = lock.split("pushed:").nth(1).unwrap();
            pushed.lines().find_map(|line| line.trim().strip_prefix(role)).unwrap()
        };
        let edited = lock.replace(digest_of("matched: "), digest_of("runtime: "));
        sample.write("lockstep.lock", &edited);
        let told = assert_status(&elsewhere(sample, &["image", "pull"]), 6);
        assert!(told.contains("does not stand on the lock's runtime image"), "{told}");
        sample.write("lockstep.lock", &lock);

        // Another address is the machine's to say; nobody is there, and nobody can make it again.
        forget(sample, &base);
        let cache = tempfile::tempdir().unwrap();
        let mut command = sample.command(&["build", "--locked"]);
        command.env("LOCKSTEP_CACHE_DIR", cache.path());
        let output = command
            .env("LOCKSTEP_REGISTRY", "127.0.0.1:9/nobody/there")
            .output()
            .unwrap();
        let told = assert_status(&output, 6);
        for line in [
            ", cannot be had",
            "the engine: does not have it",
            "the user's cache: does not have it",
            "127.0.0.1:9/nobody/there@sha256:",
            "connection refused",
            "made again: ",
            "lockstep image push",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let mut command = sample.command(&["image", "pull"]);
        let output = command
            .env("LOCKSTEP_REGISTRY", "https://x.example/a")
            .output()
            .unwrap();
        assert!(assert_status(&output, 2).contains("leave out `https://`"));
        forget(sample, &base);
    });
}

/// What a machine without any network is given in one file: another engine in a network namespace with nothing in it, an
/// empty cache, a fresh clone.
#[test]
fn what_was_saved_is_built_without_a_network() {
    with_sample("saved", |sample| {
        let text = sample.read("lockstep.yaml").unwrap();
        let unit = "source: good, artifacts: [good.so]";
        let fetching = format!("{unit}, fetch: 'echo \"#define ANSWER 42\" > \"$LOCKSTEP_DEPS/answer.h\"'");
        sample.write(
            "lockstep.yaml",
            &text
                .replace(unit, &fetching)
                .replace("{LDFLAGS:", "{CFLAGS: -I/lockstep/deps, LDFLAGS:"),
        );
        sample.write(
            "good/good.c",
            "#include <answer.h>\nlong plugin_answer(void) { return ANSWER; }\n",
        );
        let base = with_own_runtime(sample);
        sample.build(0);
        let lock = sample.read("lockstep.lock").unwrap();
        let kept = tempfile::tempdir().unwrap();
        let file = kept.path().join("environments.tar");
        let file = file.to_str().unwrap();
        let told = assert_status(&sample.run(&["image", "save", file]), 0);
        for line in [
            "5 parts",
            "  glibc/build",
            "  glibc/runtime",
            "  glibc/matched",
            "  fetched/",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        forget(sample, &base);
        let data = tempfile::tempdir().unwrap();
        let engine = SecondEngine::start(data.path(), Some("overlay2")).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let there = |arguments: &[&str]| {
            let mut command = Command::new("unshare");
            command.arg("-n").arg(env!("CARGO_BIN_EXE_lockstep")).args(arguments);
            command.current_dir(sample.path()).env("DOCKER_HOST", engine.address());
            command.env("LOCKSTEP_CACHE_DIR", cache.path()).output().unwrap()
        };
        let told = assert_status(&there(&["build", "--locked", "--offline"]), 6);
        for line in [
            "cannot be had",
            "the engine: does not have it",
            "not asked: --offline",
            "lockstep image load",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let told = assert_status(&there(&["image", "load", file]), 0);
        assert!(
            told.contains("glibc/build: loaded") && !told.contains("left out"),
            "{told}"
        );
        let told = assert_status(&there(&["build", "--locked", "--offline"]), 0);
        assert!(told.contains("1 loaded"), "{told}");
        assert_eq!(sample.read("lockstep.lock").unwrap(), lock);
        let short = &std::fs::read(file).unwrap()[..1 << 20];
        std::fs::write(file, short).unwrap();
        assert!(assert_status(&there(&["image", "load", file]), 2).contains("copied in full?"));
        forget(sample, &base);
    });
}

/// A registry that wants to know who asks: from the client's configuration, and from a helper that it names.
#[test]
fn the_docker_client_s_credentials_are_used() {
    with_sample("guarded", |sample| {
        let server = RegistryServer::guarded();
        // The smallest image there is: nothing is compiled here.
        let text = sample.read("lockstep.yaml").unwrap();
        let text = text.replace("{builtin: debian/build}", "{builtin: musl/runtime}");
        let text = text.replace("{builtin: debian/runtime}", "{builtin: musl/runtime}");
        sample.write("lockstep.yaml", &format!("{text}registry: {}/private\n", server.host()));
        assert_status(&sample.run(&["lock"]), 0);
        let client = tempfile::tempdir().unwrap();
        let push = |config: &str| {
            std::fs::write(client.path().join("config.json"), config).unwrap();
            let path = format!("{}:{}", client.path().display(), std::env::var("PATH").unwrap());
            let mut command = sample.command(&["image", "push"]);
            command
                .env("DOCKER_CONFIG", client.path())
                .env("PATH", path)
                .output()
                .unwrap()
        };
        let told = assert_status(&push("{}"), 3);
        assert!(
            told.contains("no basic auth credentials") && told.contains("docker login"),
            "{told}"
        );

        helper(client.path(), USER, "wrong");
        let config = format!("{{\"credHelpers\": {{\"{}\": \"of-this-test\"}}}}", server.host());
        assert!(assert_status(&push(&config), 3).contains("docker login"));
        helper(client.path(), USER, PASSWORD);
        let told = assert_status(&push(&config), 0);
        assert!(told.contains(":glibc-build-"), "{told}");
        let told = assert_status(&push("{\"credsStore\": \"that-is-not-there\"}"), 3);
        assert!(told.contains("failed to find the credentials"), "{told}");
    });
}

/// Asks a registry as anybody would who is let in.
fn asked(server: &RegistryServer, path: &str, kind: &str) -> Vec<u8> {
    let address = format!("{}/v2/{path}", server.address());
    let accept = format!("Accept: {kind}");
    let user = format!("{USER}:{PASSWORD}");
    let asked = Command::new("curl")
        .args(["-sS", "--fail", "--insecure", "--user", &user, "-H", &accept, &address])
        .output()
        .unwrap();
    assert!(asked.status.success(), "{address}: {}", said(&asked));
    asked.stdout
}

/// The manifest of an artifact, as a tool of the field reads it.
fn inspected(server: &RegistryServer, name: &str) -> Value {
    let inspected = unpacked_program("skopeo", "usr/bin/skopeo")
        .args([
            "inspect",
            "--raw",
            "--tls-verify=false",
            "--creds",
            &format!("{USER}:{PASSWORD}"),
        ])
        .arg(format!("docker://{}/{name}", server.host()))
        .output()
        .unwrap();
    assert!(inspected.status.success(), "{name}: {}", said(&inspected));
    serde_json::from_slice(&inspected.stdout).unwrap()
}

/// What is said of a matched image is beside it in the registry, byte for byte, and the same in every one.
#[test]
fn what_is_said_of_an_image_goes_with_it() {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    with_sample("referrers", |sample| {
        sample.build(0);
        let client = tempfile::tempdir().unwrap();
        let push = |server: &RegistryServer, expected: i32| {
            let auth = format!(
                "{{\"auths\": {{\"{}\": {{\"auth\": \"YnVpbGRlcjphIHNlY3JldA==\"}}}}}}",
                server.host()
            );
            std::fs::write(client.path().join("config.json"), auth).unwrap();
            let mut command = sample.command(&["image", "push", "--format", "json"]);
            let output = command
                .env("DOCKER_CONFIG", client.path())
                .env("LOCKSTEP_REGISTRY", format!("{}/team/app", server.host()))
                .output()
                .unwrap();
            let told = assert_status(&output, expected);
            (serde_json::from_slice::<Value>(&output.stdout).unwrap(), told)
        };
        let mut of_first = None;
        for server in [RegistryServer::open(), RegistryServer::guarded()] {
            let (report, _) = push(&server, 0);
            let matched = &report["environments"]["glibc"]["matched"];
            let image = matched["digest"].as_str().unwrap();
            let list = format!("team/app/manifests/{}", image.replace(':', "-"));
            let text = asked(&server, &list, INDEX);
            let index: Value = serde_json::from_slice(&text).unwrap();
            let entries = index["manifests"].as_array().unwrap();
            assert_eq!(entries.len(), 2, "{index}");
            let files = [
                ("provenance.json", "application/vnd.in-toto+json"),
                ("sbom.spdx.json", "application/spdx+json"),
            ];
            for (number, (file, kind)) in files.into_iter().enumerate() {
                let told = &matched["referrers"][number];
                assert_eq!(
                    (told["title"].as_str(), told["artifact_type"].as_str()),
                    (Some(file), Some(kind))
                );
                let entry = &entries[number];
                assert_eq!(
                    (&entry["digest"], entry["artifactType"].as_str()),
                    (&told["digest"], Some(kind))
                );
                let path = format!("team/app/manifests/{}", told["digest"].as_str().unwrap());
                let manifest: Value = serde_json::from_slice(&asked(&server, &path, MANIFEST)).unwrap();
                assert_eq!(manifest["artifactType"], kind);
                assert_eq!(manifest["subject"]["digest"], image);
                let layer = manifest["layers"][0]["digest"].as_str().unwrap();
                let content = asked(&server, &format!("team/app/blobs/{layer}"), "*/*");
                let here = std::fs::read(sample.path().join("dist/glibc.meta").join(file)).unwrap();
                assert!(content == here, "{file} is another one there");
                let digest = told["digest"].as_str().unwrap();
                assert_eq!(inspected(&server, &format!("team/app@{digest}")), manifest);
            }
            assert_eq!(push(&server, 0).0, report, "pushed again, it is the same");
            assert_eq!(asked(&server, &list, INDEX), text, "and the list does not grow");
            let referrers = matched["referrers"].clone();
            assert_eq!(
                *of_first.get_or_insert(referrers.clone()),
                referrers,
                "they are the same everywhere"
            );
        }

        // What somebody changed is not said of the image.
        sample.write("dist/glibc.meta/provenance.json", "{}");
        let server = RegistryServer::open();
        let (report, told) = push(&server, 0);
        assert!(
            told.contains("provenance.json has another content") && told.contains("lockstep build glibc"),
            "{told}"
        );
        assert_eq!(
            report["environments"]["glibc"]["matched"]["referrers"],
            serde_json::json!([])
        );
        sample.build(0);
        let mut command = sample.command(&["image", "push"]);
        let registry = format!("{}/team/app", server.host());
        let told = assert_status(&command.env("LOCKSTEP_REGISTRY", registry).output().unwrap(), 0);
        for line in [
            "    provenance.json  ",
            "    sbom.spdx.json   ",
            "application/spdx+json",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
    });
}

/// A credential helper (docker-credential-helpers: the registry on standard input, JSON on standard output).
fn helper(directory: &Path, user: &str, password: &str) {
    let path = directory.join("docker-credential-of-this-test");
    let text = format!(
        "#!/bin/sh\nread -r server\nprintf '{{\"ServerURL\": \"%s\", \"Username\": \"{user}\", \"Secret\": \"{password}\"}}' \"$server\"\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
