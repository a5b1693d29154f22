//! The shared volume on the real engine: staged, committed, discarded, and what a host sees of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod manifest;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lockstep::bundle::{
    Artifact, Declared, Manifest, Patience, ReleaseVolume, StagedRelease, VolumeError, collect, stage,
};
use lockstep::digest::Digest;
use lockstep::engine::docker::Docker;
use lockstep::engine::{
    ContainerSpec, Engine, EngineError, ImageId, Labels, MachineView, Mount, Network, OutputStream, ResourceLimits,
};
use lockstep::owner::Owner;
use lockstep::source::{SOURCE_ROOT, SourceTree};
use tokio_util::sync::CancellationToken;

use manifest::manifest;

const TEST_LABEL: &str = "dev.lockstep.test";
const TOOLS: [&str; 9] = ["sh", "ln", "mkdir", "mv", "rm", "readlink", "ls", "cat", "id"];
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, an image with a shell, and labels of this test alone; all of it is removed at the end.
struct Bench {
    engine: Arc<dyn Engine>,
    image: ImageId,
    name: String,
}

impl Bench {
    fn labels(&self) -> Labels {
        Labels::from([(TEST_LABEL.to_owned(), self.name.clone())])
    }

    fn volume(&self, instance: &str) -> ReleaseVolume {
        ReleaseVolume {
            name: format!("lockstep-test-{}", self.name),
            labels: self.labels(),
            container_labels: self.labels(),
            instance: instance.to_owned(),
            publisher: "checkout".to_owned(),
            container_name: format!("lockstep-test-{}-bundle", self.name),
            image: self.image.clone(),
            mtime_seconds: 1_735_689_600,
        }
    }

    fn spec(&self, script: &str, mounts: Vec<Mount>) -> ContainerSpec {
        ContainerSpec {
            name: format!("lockstep-test-{}-look", self.name),
            image: self.image.clone(),
            command: ["sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
            environment: BTreeMap::new(),
            working_directory: "/".to_owned(),
            user: "1000:1000".to_owned(),
            labels: self.labels(),
            network: Network::None,
            mounts,
            limits: ResourceLimits {
                memory_bytes: 256 << 20,
                nano_cpus: 1_000_000_000,
                processes: 32,
                file_bytes: None,
            },
            read_only_root: true,
            init: false,
            tied: false,
            capabilities: Vec::new(),
            sees_interfaces: false,
            beside: None,
            machine: MachineView::default(),
        }
    }

    /// Runs a script as a host would: another user, the volume read-only.
    async fn look(&self, script: &str) -> String {
        let volume = Mount::Volume {
            name: self.volume("").name,
            path: "/plugins".to_owned(),
            read_only: true,
        };
        let container = self
            .engine
            .create_container(&self.spec(script, vec![volume]))
            .await
            .unwrap();
        let mut logs = self.engine.logs(&container).await.unwrap();
        self.engine.start(&container).await.unwrap();
        let mut text = String::new();
        while let Some(piece) = logs.next().await {
            let (stream, bytes) = piece.unwrap();
            assert_eq!(stream, OutputStream::Stdout, "{}", String::from_utf8_lossy(&bytes));
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        assert_eq!(
            self.engine.wait(&container, PATIENCE).await.unwrap().status,
            0,
            "{text}"
        );
        self.engine.remove_container(&container).await.unwrap();
        text
    }
}

/// Runs a test on the real engine and removes what it made, however it ended; fails loudly when there is no engine.
async fn on_engine<F: Future<Output = ()> + Send + 'static>(name: &str, test: impl FnOnce(Arc<Bench>) -> F) {
    let variables = std::env::vars().collect();
    let engine: Arc<dyn Engine> = Arc::new(Docker::connect(&variables).await.expect("these tests need an engine"));
    let name = format!("{name}-{}", std::process::id());
    let image = load_image(&*engine, &name).await;
    let bench = Arc::new(Bench { engine, image, name });
    let ended = tokio::spawn(test(bench.clone())).await;
    for container in bench.engine.containers(&bench.labels()).await.unwrap() {
        bench
            .engine
            .remove_container(&lockstep::engine::ContainerId(container.id))
            .await
            .unwrap();
    }
    for volume in bench.engine.volumes(&bench.labels()).await.unwrap() {
        bench.engine.remove_volume(&volume.name).await.unwrap();
    }
    bench.engine.remove_image(&bench.image.0).await.unwrap();
    ended.unwrap();
}

/// An image with this machine's own shell and a few tools, and the libraries that they need: no registry is asked.
async fn load_image(engine: &dyn Engine, name: &str) -> ImageId {
    let mut layer = tar::Builder::new(Vec::new());
    let mut files = std::collections::BTreeSet::new();
    for tool in TOOLS {
        let path = ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(tool));
        let path = path.into_iter().find(|path| path.exists()).expect(tool);
        let needs = Command::new("ldd").arg(&path).output().unwrap();
        let needs = String::from_utf8(needs.stdout).unwrap();
        let libraries = needs
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from);
        files.extend(libraries);
        files.insert(Path::new("/bin").join(tool));
    }
    for file in files {
        let mut header = tar::Header::new_gnu();
        let content = std::fs::read(&file).unwrap();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        layer
            .append_data(&mut header, file.strip_prefix("/").unwrap(), &content[..])
            .unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Labels": {TEST_LABEL: name}},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = serde_json::json!([{"Config": "config.json", "Layers": ["layer.tar"], "RepoTags": null}]);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("config.json", &config),
        ("layer.tar", &layer),
        ("manifest.json", &serde_json::to_vec(&manifest).unwrap()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, &content[..]).unwrap();
    }
    let archive = Bytes::from(archive.into_inner().unwrap());
    engine.load_images(stream::iter([Ok(archive)]).boxed()).await.unwrap();
    ImageId(Digest::of(&config).to_string())
}

fn bundle(content: &[u8]) -> (tempfile::TempDir, Manifest) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("greeter"), content).unwrap();
    let artifact = Artifact {
        name: "greeter".to_owned(),
        digest: Digest::of(content),
        size_bytes: content.len() as u64,
        executable: true,
    };
    let manifest = manifest("greeter", "glibc", "greeter", vec![(&artifact).into()]);
    (directory, manifest)
}

#[tokio::test]
async fn releases_come_and_go_and_hosts_always_see_a_whole_one() {
    on_engine("volume", async |bench| {
        let stage = async |content: &[u8]| {
            let (directory, manifest) = bundle(content);
            stage_in(&bench, bench.volume("first"), &manifest, directory.path())
                .await
                .unwrap()
        };
        let release = stage(b"one").await;
        assert_eq!(release.instance(), Some("first"));
        let one = release.path_in_volume();
        assert_eq!(
            bench
                .look(&format!("cd /plugins; ls; cat {one}/greeter; ls -ln {one}/greeter"))
                .await
                .lines()
                .next(),
            Some("releases"),
            "nothing else before the first commit"
        );
        commit(release).await;
        let shown = bench
            .look("cd /plugins; cat current/greeter; echo; readlink current; ls -ln current/; ls -A")
            .await;
        assert!(shown.starts_with(&format!("one\n{one}\n")), "{shown}");
        assert!(shown.contains("-rwxr-xr-x 1 0 0    3 Jan  1  2025 greeter"), "{shown}");
        assert!(
            shown.ends_with("\ncurrent\ninstance\npublishers\nreleases\n"),
            "{shown}"
        );

        // What is discarded was never current and is gone; what was current still is.
        let release = stage(b"two").await;
        let two = release.path_in_volume();
        release.discard().await.unwrap();
        let look = || bench.look("cd /plugins; readlink current; ls releases");
        let names = |paths: &[&str]| -> String {
            let mut names: Vec<&str> = paths.iter().map(|path| path.trim_start_matches("releases/")).collect();
            names.sort_unstable();
            names.join("\n")
        };
        assert_eq!(look().await, format!("{one}\n{}\n", names(&[&one])));

        // The current one and the one before stay; older ones go, and what a killed run had staged.
        let mut killed = bench.volume("second");
        killed.container_name.push_str("-killed");
        let (directory, manifest) = bundle(b"killed");
        drop(stage_in(&bench, killed, &manifest, directory.path()).await.unwrap());
        assert_eq!(look().await.lines().count(), 3);
        // Its container ended with it, so the next one takes the lease away.
        let three = stage(b"three").await;
        assert_eq!(
            three.instance(),
            Some("first"),
            "the volume is still the one that the first run made"
        );
        let three_path = three.path_in_volume();
        commit(three).await;
        let expected = format!("{three_path}\n{}\n", names(&[&one, &three_path]));
        assert_eq!(look().await, expected);
        // The same bundle again changes nothing.
        commit(stage(b"three").await).await;
        assert_eq!(look().await, expected);
        commit(stage(b"two").await).await;
        assert_eq!(look().await, format!("{two}\n{}\n", names(&[&two, &three_path])));

        // What somebody put in the way is removed, and a release that is not what it was is replaced.
        let tamper = async |script: &str| {
            let volume = Mount::Volume {
                name: bench.volume("").name,
                path: "/volume".to_owned(),
                read_only: false,
            };
            let mut spec = bench.spec(script, vec![volume]);
            spec.user = "0:0".to_owned();
            let container = bench.engine.create_container(&spec).await.unwrap();
            bench.engine.start(&container).await.unwrap();
            assert_eq!(bench.engine.wait(&container, PATIENCE).await.unwrap().status, 0, "{script}");
            bench.engine.remove_container(&container).await.unwrap();
        };
        for script in [
            "rm /volume/current; mv /volume/releases /volume/current",
            "echo evil >/volume/current/greeter",
            "rm -r /volume/releases/*",
            "ln -sfn /etc /volume/current",
            "mv /volume/releases /volume/x; ln -s x /volume/releases",
            "mkdir /volume/incoming /volume/current.new /volume/previous.new; rm /volume/previous; mkdir /volume/previous",
            "rm /volume/current/greeter; ln -s /etc/passwd /volume/current/greeter",
        ] {
            tamper(script).await;
            commit(stage(b"two").await).await;
            let shown = bench.look("readlink /plugins/current; cat /plugins/current/greeter").await;
            assert_eq!(shown, format!("{two}\ntwo"), "{script}");
        }
        let containers = bench.engine.containers(&bench.labels()).await.unwrap();
        assert_eq!(containers, []);
    })
    .await;
}

async fn stage_in(
    bench: &Bench,
    volume: ReleaseVolume,
    manifest: &Manifest,
    directory: &Path,
) -> Result<StagedRelease, VolumeError> {
    let patience = Patience {
        on_wait: &|_| {},
        limit: PATIENCE,
        cancellation: &CancellationToken::new(),
    };
    stage(bench.engine.clone(), volume, manifest, directory, patience).await
}

async fn commit(release: StagedRelease) {
    release.commit().await.unwrap().end().await.unwrap();
}

#[tokio::test]
async fn a_second_builder_waits_for_the_first_and_then_publishes() {
    on_engine("lease", async |bench| {
        let (directory, manifest) = bundle(b"first");
        let first = stage_in(&bench, bench.volume("mark"), &manifest, directory.path())
            .await
            .unwrap();
        let path = first.path_in_volume();
        let second = tokio::spawn({
            let bench = bench.clone();
            async move {
                let (directory, manifest) = bundle(b"second");
                let staged = stage_in(&bench, bench.volume("other"), &manifest, directory.path())
                    .await
                    .unwrap();
                let path = staged.path_in_volume();
                commit(staged).await;
                path
            }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!second.is_finished(), "it waits");
        commit(first).await;
        let second = second.await.unwrap();
        let shown = bench.look("cd /plugins; readlink current previous").await;
        assert_eq!(shown, format!("{second}\n{path}\n"));
    })
    .await;
}

/// Uploads sources, runs `script` on them as the compile step does, and collects `greeter`.
async fn compiled(bench: &Bench, script: &str, staging: &Path) -> Result<Vec<Artifact>, String> {
    let project = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(project.path().join("host/sub")).unwrap();
    std::fs::write(project.path().join("host/sub/text"), "hello").unwrap();
    std::os::unix::fs::symlink("sub/text", project.path().join("host/link")).unwrap();
    let tree = SourceTree::scan(project.path(), "host", &[]).unwrap();
    let mount = Mount::Anonymous {
        path: "/lockstep".to_owned(),
        labels: bench.labels(),
    };
    let container = bench
        .engine
        .create_container(&bench.spec(script, vec![mount]))
        .await
        .unwrap();
    let owner = Owner { uid: 1000, gid: 1000 };
    bench
        .engine
        .upload(&container, "/lockstep", tree.archive(SOURCE_ROOT, owner, 1_735_689_600))
        .await
        .unwrap();
    // The output directory comes in the same way: an empty tree of that name.
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("keep"), "").unwrap();
    let out = SourceTree::scan(out.path(), ".", &[]).unwrap();
    bench
        .engine
        .upload(&container, "/lockstep", out.archive("out", owner, 0))
        .await
        .unwrap();
    bench.engine.start(&container).await.unwrap();
    assert_eq!(
        bench.engine.wait(&container, PATIENCE).await.unwrap().status,
        0,
        "{script}"
    );
    let archive = bench.engine.download(&container, "/lockstep/out").await.unwrap();
    let artifacts = ["greeter".to_owned()].into();
    let declared = Declared {
        root: "out".to_owned(),
        artifacts,
        artifact_limit_bytes: 1 << 20,
    };
    let collected = collect(archive, declared, staging).await;
    bench.engine.remove_container(&container).await.unwrap();
    collected
        .map(|collected| collected.artifacts)
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn sources_go_up_and_artifacts_come_down() {
    on_engine("collect", async |bench| {
        let staging = tempfile::tempdir().unwrap();
        let script = "cd /lockstep/src/host; cat link >>sub/text.2; cat sub/text.2 link >/lockstep/out/greeter";
        let artifacts = compiled(&bench, script, staging.path()).await.unwrap();
        assert_eq!(artifacts[0].digest, Digest::of(b"hellohello"));
        assert_eq!(std::fs::read(staging.path().join("greeter")).unwrap(), b"hellohello");
        let cases = [
            ("cd /lockstep/out; ln -s /etc/passwd greeter", "is a symbolic link"),
            ("cd /lockstep/out; : >a; ln a greeter", "is a hard link"),
            ("cd /lockstep/out; ln keep greter", "left no `greeter`"),
            (
                "rm /lockstep/out/keep; mv /lockstep/src/host/sub /lockstep/out/greeter",
                "is a directory",
            ),
        ];
        for (script, expected) in cases {
            let staging = tempfile::tempdir().unwrap();
            let error = compiled(&bench, script, staging.path()).await.unwrap_err();
            assert!(error.contains(expected), "{script}: {error}");
            assert_eq!(std::fs::read_dir(staging.path()).unwrap().count(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_source_that_changes_during_the_upload_ends_it_with_the_reason() {
    on_engine("changed", async |bench| {
        let project = tempfile::tempdir().unwrap();
        std::fs::create_dir(project.path().join("host")).unwrap();
        std::fs::write(project.path().join("host/main.c"), "int main;").unwrap();
        let tree = SourceTree::scan(project.path(), "host", &[]).unwrap();
        std::fs::write(project.path().join("host/main.c"), "int niam;").unwrap();
        let mount = Mount::Anonymous {
            path: "/lockstep".to_owned(),
            labels: bench.labels(),
        };
        let container = bench
            .engine
            .create_container(&bench.spec("exit 0", vec![mount]))
            .await
            .unwrap();
        let archive = tree.archive(SOURCE_ROOT, Owner { uid: 1000, gid: 1000 }, 0);
        let error = bench.engine.upload(&container, "/lockstep", archive).await.unwrap_err();
        assert!(
            matches!(&error, EngineError::Source { cause, .. } if cause.starts_with("`host/main.c` changed")),
            "{error}"
        );
    })
    .await;
}
