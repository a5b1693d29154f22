//! What tests on the real engine share: an engine, a label of the test's own by which all it made is removed afterwards,
//! and an image that needs no registry.

#![allow(dead_code, reason = "no test file uses all of it")]

pub(crate) mod batch;
pub(crate) mod registry_server;
pub(crate) mod second_engine;
pub(crate) mod ssh_server;
pub(crate) mod unpacked;

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use futures_util::stream::{self, StreamExt};
use lockstep::digest::Digest;
use lockstep::engine::docker::Docker;
use lockstep::engine::sweep::{sweep, sweep_images};
use lockstep::engine::{
    ByteStream, ContainerSpec, Engine, EngineError, ImageId, Labels, MachineView, Mount, Network, ResourceLimits,
};
use lockstep::owner::Owner;

/// The label that everything made by a test carries, with a value of the test's own.
pub(crate) const TEST_LABEL: &str = "dev.lockstep.test";

pub(crate) type TestResult = Result<(), Box<dyn Error + Send + Sync>>;

/// What a test stands on.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) engine: Docker,
    /// Unique to the test.
    pub(crate) id: String,
    /// For everything that the test makes.
    pub(crate) labels: Labels,
    /// An image that has only `/tool`; see `tool.c`.
    pub(crate) image: ImageId,
}

/// Runs `test` on the engine, and removes afterwards what it made, also when it fails.
///
/// Fails when there is no engine: tests that are skipped prove nothing.
pub(crate) fn on_engine<Test, Running>(test: Test)
where
    Test: FnOnce(Ground) -> Running,
    Running: Future<Output = TestResult> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.unwrap_or_else(|error| panic!("failed to start the runtime: {error}"));
    runtime.block_on(async {
        let engine = connect().await;
        let id = unique_id();
        let labels = Labels::from([(TEST_LABEL.to_owned(), id.clone())]);
        let image = load_tool_image(&engine, &labels).await;
        let outcome = match image {
            Ok(image) => {
                let ground = Ground {
                    engine: engine.clone(),
                    id,
                    labels: labels.clone(),
                    image,
                };
                tokio::spawn(test(ground)).await
            }
            Err(error) => Ok(Err(error)),
        };
        let cleaned = clean(&engine, &labels).await;
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("{error}"),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
        cleaned.unwrap_or_else(|error| panic!("failed to clean up: {error}"));
    });
}

/// Connects as the program does.
pub(crate) async fn connect() -> Docker {
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    Docker::connect(&variables).await.unwrap_or_else(|error| {
        panic!(
            "this test needs a container engine: {error}\nhint: {}",
            error.hint().unwrap_or_default()
        )
    })
}

/// Removes everything with these labels.
async fn clean(engine: &Docker, labels: &Labels) -> Result<(), EngineError> {
    sweep(engine, labels).await?;
    sweep_images(engine, labels).await.map(|_| ())
}

/// Differs between tests, processes and runs.
fn unique_id() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}-{count}-{}", std::process::id(), now.as_nanos())
}

/// The static program, compiled once.
pub(crate) fn tool() -> &'static [u8] {
    static TOOL: OnceLock<Vec<u8>> = OnceLock::new();
    TOOL.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("failed to make a directory: {error}"));
        let (source, program) = (Path::new("tests/common/tool.c"), directory.path().join("tool"));
        let status = Command::new("cc")
            .args(["-static", "-O1", "-o"])
            .arg(&program)
            .arg(source)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "this test needs a C compiler and a static libc"
        );
        std::fs::read(&program).unwrap_or_else(|error| panic!("failed to read the program: {error}"))
    })
}

/// Loads an image with nothing but the program at `/tool`, without a tag.
pub(crate) async fn load_tool_image(
    engine: &dyn Engine,
    labels: &Labels,
) -> Result<ImageId, Box<dyn Error + Send + Sync>> {
    let (archive, id) = image_archive(&[("tool", 0o755, tool())], labels, &[])?;
    engine.load_images(bytes_stream(archive)).await?;
    Ok(id)
}

/// An image of one layer as `docker save` writes it, and the ID that it gets in the classic store.
pub(crate) fn image_archive(
    files: &[(&str, u32, &[u8])],
    labels: &Labels,
    tags: &[&str],
) -> Result<(Vec<u8>, ImageId), Box<dyn Error + Send + Sync>> {
    let layer = archive(files)?;
    let config = serde_json::to_vec(&serde_json::json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "2025-01-01T00:00:00Z",
        "config": { "Labels": labels, "Env": ["PATH=/"], "Entrypoint": ["/tool", "out", "from the image"] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer).to_string()] },
        "history": [{ "created": "2025-01-01T00:00:00Z", "created_by": "a test" }],
    }))?;
    let digest = Digest::of(&config);
    let config_path = format!("{}.json", digest.hex());
    let manifest =
        serde_json::to_vec(&serde_json::json!([{ "Config": config_path, "RepoTags": tags, "Layers": ["layer.tar"] }]))?;
    let whole = archive(&[
        (&config_path, 0o644, &config),
        ("layer.tar", 0o644, &layer),
        ("manifest.json", 0o644, &manifest),
    ])?;
    Ok((whole, ImageId(digest.to_string())))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A tar of these files; a path that ends with a slash is a directory. They belong to 1000:1000.
pub(crate) fn archive(files: &[(&str, u32, &[u8])]) -> std::io::Result<Vec<u8>> {
    archive_of(Owner { uid: 1000, gid: 1000 }, files)
}

/// The same with files of somebody else.
pub(crate) fn archive_of(owner: Owner, files: &[(&str, u32, &[u8])]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        let is_directory = path.ends_with('/');
        header.set_entry_type(if is_directory {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_uid(owner.uid.into());
        header.set_gid(owner.gid.into());
        header.set_mtime(1_735_689_600);
        archive.append_data(&mut header, path, *content)?;
    }
    archive.into_inner()
}

/// Bytes as they are streamed to the engine, in chunks.
pub(crate) fn bytes_stream(bytes: Vec<u8>) -> ByteStream {
    const CHUNK_BYTES: usize = 64 * 1024;
    let whole = bytes::Bytes::from(bytes);
    let chunks = (0..whole.len()).step_by(CHUNK_BYTES);
    let chunks = chunks.map(move |start| Ok(whole.slice(start..whole.len().min(start + CHUNK_BYTES))));
    stream::iter(chunks.collect::<Vec<_>>()).boxed()
}

/// Everything of a stream.
pub(crate) async fn read(mut stream: ByteStream) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// The files of a tar by path, with their owners.
pub(crate) fn unpack(bytes: &[u8]) -> std::io::Result<BTreeMap<String, (u64, Vec<u8>)>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content)?;
        files.insert(path, (entry.header().uid()?, content));
    }
    Ok(files)
}

impl Ground {
    /// A container that runs the program with these arguments, as lockstep runs compilers.
    pub(crate) fn spec(&self, name: &str, arguments: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: format!("lockstep-test-{}-{name}", self.id),
            image: self.image.clone(),
            command: ["/tool"]
                .iter()
                .chain(arguments)
                .map(|argument| (*argument).to_owned())
                .collect(),
            environment: BTreeMap::new(),
            working_directory: "/lockstep".to_owned(),
            user: "1000:1000".to_owned(),
            labels: self.labels.clone(),
            network: Network::None,
            mounts: vec![Mount::Anonymous {
                path: "/lockstep".to_owned(),
                labels: self.labels.clone(),
            }],
            limits: ResourceLimits {
                memory_bytes: 256 << 20,
                nano_cpus: 1_000_000_000,
                processes: 64,
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
}
