//! The Go parts' own tests, run where Go is: in the build image of the gateway's glibc environment, without a network.
//! The machine itself needs no Go.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use assert_cmd::Command;
use common::{Ground, bytes_stream, on_engine};
use lockstep::engine::job::{Job, Upload, run};
use lockstep::engine::{Engine, ImageId, Mount, ResourceLimits};
use tokio_util::sync::CancellationToken;

/// Making the image takes a minute where nothing was made before.
const IMAGES_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The loader's tests compile six programs and plugins, and wait for time limits.
const TESTS_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const LINE_LIMIT_BYTES: usize = 4096;
/// More files than the parts have.
const FILES_LIMIT: usize = 1000;

/// Starts with what the image brings of the standard library, compiled.
const SCRIPT: &str = "cp -R /usr/share/lockstep/go-build/. \"$GOCACHE\"
unformatted=$(gofmt -l .)
if [ -n \"$unformatted\" ]; then echo \"not formatted: $unformatted\"; exit 1; fi
go vet ./...
go test -trimpath -buildvcs=false ./...";

#[test]
fn the_gateways_own_tests_pass() {
    on_engine(|ground| async move {
        // What host and plugins agree on is a module of its own.
        let with_api = format!("{SCRIPT}\ncd api\ngo vet ./...");
        let lines = test_in_build_image(&ground, &["gateway"], "gateway", &with_api).await?;
        for package in ["/handlers/match", "/cmd/gateway", "/cmd/gateway-static"] {
            let is_tested = |line: &String| line.starts_with("ok") && line.contains(&format!("{package}\t"));
            assert!(lines.iter().any(is_tested), "{package}: {lines:#?}");
        }
        Ok(())
    });
}

#[test]
fn the_loaders_own_tests_pass() {
    on_engine(|ground| async move {
        let lines = test_in_build_image(
            &ground,
            &["loader/go", "loader/tests", "loader/Cargo.toml"],
            "loader/go",
            SCRIPT,
        )
        .await?;
        assert!(lines.iter().any(|line| line.starts_with("ok")), "{lines:#?}");
        Ok(())
    });
}

/// Without this, a script that runs no test at all would pass.
#[test]
fn a_test_that_fails_is_seen() {
    on_engine(|ground| async move {
        let script = "printf 'package api\\nimport \"testing\"\\nfunc TestNo(t *testing.T) { t.Fatal(\"no\") }\\n' > api/no_test.go\n";
        let script = format!("{script}cp -R /usr/share/lockstep/go-build/. \"$GOCACHE\"\n(cd api && go test ./...)");
        let failed = test_in_build_image(&ground, &["gateway"], "gateway", &script).await;
        let Err(error) = failed else { panic!("the test passed") };
        assert!(error.to_string().contains("--- FAIL: TestNo"), "{error}");
        Ok(())
    });
}

/// Runs `script` in `directory` with these parts of the checkout beside it, and gives what it wrote.
async fn test_in_build_image(
    ground: &Ground,
    parts: &[&str],
    directory: &str,
    script: &str,
) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let image = tokio::task::spawn_blocking(build_image).await??;
    let labels = ground.labels.clone();
    let mut spec = ground.spec("go", &[]);
    spec.image = image;
    spec.command = ["sh", "-euc", script].map(ToOwned::to_owned).to_vec();
    spec.working_directory = format!("/lockstep/src/{directory}");
    spec.environment = [
        ("CGO_ENABLED", "1"),
        ("GOCACHE", "/lockstep/cache"),
        ("GOPROXY", "off"),
        ("GOTELEMETRY", "off"),
        ("GOTOOLCHAIN", "local"),
        ("HOME", "/lockstep/home"),
        ("TMPDIR", "/lockstep/tmp"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    spec.mounts = vec![Mount::Anonymous {
        path: "/lockstep".to_owned(),
        labels,
    }];
    spec.limits = ResourceLimits {
        memory_bytes: 4 << 30,
        nano_cpus: 2_000_000_000,
        processes: 1024,
        file_bytes: None,
    };
    spec.init = true;
    let lines = Mutex::new(Vec::new());
    let job = Job {
        spec: &spec,
        uploads: vec![Upload {
            path: "/lockstep".to_owned(),
            archive: bytes_stream(sources(parts)?),
        }],
        limit: TESTS_TIMEOUT,
        line_limit_bytes: LINE_LIMIT_BYTES,
        disk: None,
    };
    let keep = |_, line: &str| lines.lock().unwrap().push(line.to_owned());
    let outcome = run(&ground.engine as &dyn Engine, job, &keep, &CancellationToken::new()).await?;
    let lines = lines.into_inner()?;
    if outcome.ending.is_success() {
        Ok(lines)
    } else {
        Err(format!("{:?}\n{}", outcome.ending, lines.join("\n")).into())
    }
}

/// Has lockstep make the images of the gateway's glibc environment, as a user would, and asks the lock which they are.
fn build_image() -> Result<ImageId, Box<dyn std::error::Error + Send + Sync>> {
    let project = tempfile::tempdir()?;
    for (path, text) in files(&["gateway"])? {
        let target = project.path().join(path.strip_prefix("gateway")?);
        fs::create_dir_all(target.parent().ok_or("no parent")?)?;
        fs::write(target, text)?;
    }
    // Without an entry in the lock, an image that was made before is taken as it is.
    let configuration = project.path().join("lockstep.yaml");
    let text = fs::read_to_string(&configuration)?;
    let glibc_alone = text.replace("default: [glibc, musl]", "default: [glibc]");
    assert_ne!(text, glibc_alone, "the gateway's default environments are others now");
    fs::write(&configuration, glibc_alone)?;
    let locked = Command::cargo_bin("lockstep")?
        .args(["--quiet", "lock"])
        .current_dir(project.path())
        .timeout(IMAGES_TIMEOUT)
        .output()?;
    if !locked.status.success() {
        return Err(String::from_utf8_lossy(&locked.stderr).into());
    }
    let lock = lockstep::lock::read(&project.path().join("lockstep.lock"))?.ok_or("no lock was written")?;
    let glibc = lock.environments.into_values().next().ok_or("the lock is empty")?;
    Ok(ImageId(glibc.build.id))
}

/// The files of the checkout below `parts`, without what builds leave behind.
fn files(parts: &[&str]) -> std::io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut pending: Vec<PathBuf> = parts.iter().map(PathBuf::from).collect();
    let mut files = BTreeMap::new();
    while let Some(path) = pending.pop() {
        assert!(files.len() < FILES_LIMIT, "too many files");
        let is_left_behind = ["dist", ".lockstep", "target"].iter().any(|name| path.ends_with(name));
        if is_left_behind {
            continue;
        }
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                pending.push(entry?.path());
            }
        } else {
            files.insert(path.clone(), fs::read(&path)?);
        }
    }
    Ok(files)
}

/// A tar of `src/` with these parts, and of the directories that Go writes to.
fn sources(parts: &[&str]) -> std::io::Result<Vec<u8>> {
    let files = files(parts)?;
    let mut directories: Vec<String> = ["cache/", "home/", "src/", "tmp/"].map(ToOwned::to_owned).to_vec();
    for path in files.keys() {
        let parents: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .filter(|parent| *parent != Path::new(""))
            .collect();
        directories.extend(parents.iter().rev().map(|parent| format!("src/{}/", parent.display())));
    }
    directories.dedup();
    let files: Vec<(String, Vec<u8>)> = files
        .into_iter()
        .map(|(path, content)| (format!("src/{}", path.display()), content))
        .collect();
    let mut entries: Vec<(&str, u32, &[u8])> = directories
        .iter()
        .map(|path| (path.as_str(), 0o755, [].as_slice()))
        .collect();
    entries.extend(
        files
            .iter()
            .map(|(path, content)| (path.as_str(), 0o644, content.as_slice())),
    );
    common::archive(&entries)
}
