//! Looking at the machine, once: files, a few commands and connections, each with a limit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::facts::{Bootstrap, EngineState, Facts, Leftovers, LockState, Mirror, ProjectState};
use super::{apt, machine};
use crate::clean::unused_images;
use crate::context::Context;
use crate::engine::{Engine, EngineError, Labels};
use crate::image::ImageCache;
use crate::network::NetworkSettings;
use crate::run::labels;

/// How long a mirror may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How many mirrors are asked; more are those of other software.
const MIRROR_LIMIT_COUNT: usize = 16;
/// How long a command may take to say its version.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a command's output is read.
const OUTPUT_LIMIT_BYTES: u64 = 256 * 1024;
/// The scheme of an engine on this machine.
const LOCAL_SCHEME: &str = "unix://";

/// What is known before the machine is looked at.
pub struct Observed<'a> {
    /// The variables and directories.
    pub context: &'a Context,
    /// The engine, or why there is none.
    pub engine: Result<&'a dyn Engine, EngineError>,
    /// The project's directory, where its file is or would be.
    pub directory: &'a Path,
    /// What the project's file says.
    pub project: ProjectState,
    /// What its lock says.
    pub lock: LockState,
    /// The IDs of the images that its lock names.
    pub locked_images: BTreeSet<String>,
    /// The labels of whatever its runs make; none without a project.
    pub labels: Option<Labels>,
}

/// Looks at everything that the checks may know.
pub async fn observe(observed: Observed<'_>) -> Facts {
    let Observed {
        context,
        engine,
        directory,
        project,
        lock,
        locked_images,
        labels,
    } = observed;
    let cache = ImageCache::below(&context.cache_directory);
    let (engine, leftovers, unused_images) = match engine {
        Ok(engine) => {
            let unused = unused_images(engine, &cache, context.started_at_seconds, &locked_images).await;
            (engine.facts().await, leftovers(engine, labels).await, unused.ok())
        }
        Err(error) => (Err(error), None, None),
    };
    let engine = match engine {
        Ok(facts) => EngineState::Reached(Box::new(facts)),
        Err(error) => EngineState::Failed {
            cause: error.to_string(),
            hint: error.hint(),
        },
    };
    let data = match &engine {
        EngineState::Reached(facts) if facts.address.starts_with(LOCAL_SCHEME) => facts
            .data_directory
            .as_deref()
            .map(Path::new)
            .filter(|path| path.exists()),
        _ => None,
    };
    let network = NetworkSettings::of(Path::new("/"), &context.variables);
    let engine_space = data.and_then(machine::space);
    let (mirrors, version, compose) = tokio::join!(mirrors(), command("mmdebstrap", &["--version"]), compose());
    let bootstrap = Bootstrap {
        version: version.map(|text| text.trim().trim_start_matches("mmdebstrap ").to_owned()),
        is_root: context.is_root,
        may_mount: machine::may_mount(),
        namespaces: machine::namespaces(&context.variables),
    };
    Facts {
        engine,
        engine_space,
        project_space: machine::space(directory),
        cache_space: machine::space(&context.cache_directory),
        mirrors,
        bootstrap,
        certificates: network.ca_bundle.and_then(machine::certificates),
        proxies: lower_case(&network.proxies),
        project,
        lock,
        leftovers,
        unused_images,
        // A lock that cannot be looked at will be told by the build that needs it.
        running: crate::state::holder(directory).unwrap_or_default(),
        compose,
    }
}

async fn leftovers(engine: &dyn Engine, labels: Option<Labels>) -> Option<Leftovers> {
    let labels = labels?;
    let containers = engine.containers(&labels).await.ok()?;
    let volumes = engine.volumes(&labels).await.ok()?;
    // What lasts carries no run.
    let of_runs = |labels: &Labels| labels.contains_key(labels::RUN);
    let mut left = Leftovers {
        containers: containers
            .into_iter()
            .filter(|one| of_runs(&one.labels))
            .map(|one| one.name)
            .collect(),
        volumes: volumes
            .into_iter()
            .filter(|one| of_runs(&one.labels))
            .map(|one| one.name)
            .collect(),
    };
    left.containers.sort();
    left.volumes.sort();
    Some(left)
}

async fn mirrors() -> Vec<Mirror> {
    let addresses = machine::mirrors(Path::new("/etc"));
    if addresses.is_empty() {
        return vec![];
    }
    let dump = command("apt-config", &["dump"]).await.unwrap_or_default();
    join_all(
        addresses
            .into_iter()
            .take(MIRROR_LIMIT_COUNT)
            .map(|address| mirror(address, &dump)),
    )
    .await
}

async fn mirror(address: String, dump: &str) -> Mirror {
    let scheme = address.split("://").next().unwrap_or_default();
    let proxy = apt::proxy(dump, scheme);
    let failure = match apt::endpoint(proxy.as_deref().unwrap_or(&address)) {
        None => Some("not an address".to_owned()),
        Some(endpoint) => match timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())),
        },
    };
    Mirror {
        address,
        proxy,
        failure,
    }
}

/// The stand-alone command, else the engine's plugin.
async fn compose() -> Option<String> {
    let version = match command("docker-compose", &["version", "--short"]).await {
        Some(version) => version,
        None => command("docker", &["compose", "version", "--short"]).await?,
    };
    Some(version.trim().to_owned()).filter(|version| !version.is_empty())
}

/// The variables under one spelling each; programs take either.
fn lower_case(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    variables
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect()
}

/// What a command prints; none when it is not there, fails, or takes too long.
async fn command(program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let run = async move {
        let mut output = Vec::new();
        stdout.take(OUTPUT_LIMIT_BYTES).read_to_end(&mut output).await.ok()?;
        child.wait().await.ok()?.success().then_some(output)
    };
    let output = timeout(COMMAND_TIMEOUT, run).await.ok()??;
    Some(String::from_utf8_lossy(&output).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_is_not_there_says_nothing() {
        assert_eq!(command("lockstep-no-such-program", &[]).await, None);
        assert_eq!(command("false", &[]).await, None);
        assert_eq!(command("echo", &["1.2"]).await.as_deref(), Some("1.2\n"));
    }

    #[tokio::test]
    async fn a_mirror_answers_or_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        assert_eq!(mirror(address, "").await.failure, None);
        // Held but not listened on: a port that was let go may be another test's the next moment.
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = format!("http://{}", silent.local_addr().unwrap());
        assert!(mirror(address, "").await.failure.is_some());
    }

    #[test]
    fn a_variable_is_named_once_whatever_its_case() {
        let variables = [
            ("HTTP_PROXY", "http://p:1"),
            ("http_proxy", "http://p:1"),
            ("no_proxy", ""),
        ];
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        assert_eq!(
            lower_case(&variables),
            BTreeMap::from([("http_proxy".to_owned(), "http://p:1".to_owned())])
        );
    }
}
