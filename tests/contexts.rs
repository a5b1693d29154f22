//! The engine that is taken is the one that the docker client takes: compared with the client itself, for what it reads
//! (variables, contexts), over TLS, and through ssh to a server of the test's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lockstep::engine::OutputStream;
use lockstep::engine::job::{self, Job};
use lockstep::engine::lines::LINE_LIMIT_BYTES;
use tokio_util::sync::CancellationToken;

use common::on_engine;
use common::second_engine::SecondEngine;
use common::ssh_server::{SshServer, found};

/// Where everybody's engine is.
const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
/// How long something small may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What says to the inner test where the engine keeps its data on which it should be.
const DATA: &str = "LOCKSTEP_TEST_DATA";

/// A directory of the docker client's, and nothing else that says where an engine is.
struct Client(tempfile::TempDir);

impl Client {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The same variables for whatever is compared.
    fn surround<'command>(&self, command: &'command mut Command, variables: &[(&str, &str)]) -> &'command mut Command {
        for name in [
            "DOCKER_HOST",
            "DOCKER_CONTEXT",
            "DOCKER_TLS",
            "DOCKER_TLS_VERIFY",
            "DOCKER_CERT_PATH",
            "LOCKSTEP_FILE",
        ] {
            command.env_remove(name);
        }
        command
            .env("DOCKER_CONFIG", self.path())
            .env("XDG_RUNTIME_DIR", self.path())
            .envs(variables.iter().copied())
            .current_dir(self.path())
            .stdin(Stdio::null())
    }

    fn docker(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new("docker");
        self.surround(command.args(arguments), variables).output().unwrap()
    }

    /// Makes a context by the client itself.
    fn create(&self, name: &str, endpoint: &str) {
        let made = self.docker(&["context", "create", name, "--docker", endpoint], &[]);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }

    /// What `lockstep doctor` says of the engine, and what it ends with.
    fn doctor(&self, variables: &[(&str, &str)]) -> (String, Option<i32>) {
        let mut command = Command::new(lockstep());
        self.surround(command.arg("doctor"), variables);
        engine_line(&command.output().unwrap())
    }

    /// What is left of sockets.
    fn sockets(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.display().to_string().contains("lockstep-ssh-"))
            .collect()
    }
}

fn lockstep() -> PathBuf {
    assert_cmd::cargo::cargo_bin("lockstep")
}

/// The check of the engine with its hint, and the exit code.
fn engine_line(output: &Output) -> (String, Option<i32>) {
    let said = text(&output.stdout);
    let mut lines = said.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let hint = lines
        .next()
        .filter(|line| line.starts_with("  hint: "))
        .unwrap_or_default();
    (format!("{first}\n{hint}"), output.status.code())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where the docker client went: its complaint names the engine that it did not reach.
fn address_of(client: &Output) -> Option<String> {
    let said = text(&client.stderr);
    if client.status.success() {
        return Some(DEFAULT_ADDRESS.to_owned());
    }
    let (_, address) = said.split_once("Cannot connect to the Docker daemon at ")?;
    Some(address.split_once(". Is the docker daemon running?")?.0.to_owned())
}

#[test]
fn variables_contexts_and_the_default_lead_where_they_lead_the_client() {
    let client = Client::new();
    let socket = |name: &str| format!("unix://{}", client.path().join(name).display());
    for name in ["first", "second"] {
        client.create(name, &format!("host={}", socket(name)));
    }
    let [host, first, second] = ["host", "first", "second"].map(socket);
    let (host, first, second) = (host.as_str(), first.as_str(), second.as_str());
    let use_context = |name: &str| {
        let used = client.docker(&["context", "use", name], &[]);
        assert!(used.status.success(), "{}", text(&used.stderr));
    };
    let config = client.path().join("config.json");
    let of_file = |name: &str| format!("context `{name}` of {}", config.display());
    let of_variable = |name: &str| format!("context `{name}` of DOCKER_CONTEXT");
    let default = String::new();
    for (current, variables, address, named) in [
        ("default", vec![], DEFAULT_ADDRESS, default.clone()),
        (
            "default",
            vec![("DOCKER_CONTEXT", "")],
            DEFAULT_ADDRESS,
            default.clone(),
        ),
        ("first", vec![], first, of_file("first")),
        (
            "first",
            vec![("DOCKER_CONTEXT", "second")],
            second,
            of_variable("second"),
        ),
        (
            "first",
            vec![("DOCKER_CONTEXT", "default")],
            DEFAULT_ADDRESS,
            default.clone(),
        ),
        ("first", vec![("DOCKER_HOST", host)], host, default.clone()),
        (
            "first",
            vec![("DOCKER_HOST", ""), ("DOCKER_TLS_VERIFY", "")],
            first,
            of_file("first"),
        ),
        (
            "first",
            vec![("DOCKER_HOST", host), ("DOCKER_CONTEXT", "second")],
            host,
            default.clone(),
        ),
        (
            "first",
            vec![("DOCKER_HOST", host), ("DOCKER_CONTEXT", "gone")],
            host,
            default.clone(),
        ),
        ("second", vec![("DOCKER_TLS_VERIFY", "1")], second, of_file("second")),
    ] {
        use_context(current);
        let theirs = client.docker(&["version"], &variables);
        assert_eq!(
            address_of(&theirs).as_deref(),
            Some(address),
            "{variables:?}: {theirs:?}"
        );
        let (ours, code) = client.doctor(&variables);
        assert!(ours.contains(address) && ours.contains(&named), "{variables:?}: {ours}");
        assert_eq!(code == Some(3), !theirs.status.success(), "{variables:?}: {ours}");
        if theirs.status.success() {
            assert!(ours.starts_with("ok ") && ours.contains("(the default)"), "{ours}");
        }
    }
    use_context("default");
    for variables in [vec![("DOCKER_TLS_VERIFY", "1")], vec![("DOCKER_TLS", "1")]] {
        // Without an authority both end; where they would go is tried with a real engine below.
        let theirs = text(&client.docker(&["version"], &variables).stderr);
        let (ours, _) = client.doctor(&variables);
        assert!(theirs.contains("ca.pem") && ours.contains("ca.pem"), "{theirs}\n{ours}");
        assert!(ours.contains("tcp://localhost:2376"), "{ours}");
    }
}

#[test]
fn contexts_that_are_none_are_errors_with_a_place_and_a_hint() {
    let client = Client::new();
    client.create("broken", "host=unix:///nowhere.sock");
    let contexts = client.path().join("contexts/meta");
    let meta = std::fs::read_dir(contexts)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path()
        .join("meta.json");
    let check = |variables: &[(&str, &str)], expected: &[&str]| {
        let theirs = client.docker(&["version"], variables);
        assert!(!theirs.status.success(), "{variables:?}: {theirs:?}");
        let (ours, code) = client.doctor(variables);
        assert_eq!(code, Some(3), "{ours}");
        for expected in expected.iter().chain(&["\n  hint: "]) {
            assert!(ours.contains(expected), "{ours} does not say {expected}");
        }
    };
    check(
        &[("DOCKER_CONTEXT", "gone")],
        &[
            "context `gone` of DOCKER_CONTEXT does not exist",
            "meta.json",
            "docker context ls",
        ],
    );
    let place = meta.display().to_string();
    for (said, expected) in [("{", "EOF while parsing"), ("{}", "no endpoint `docker`")] {
        std::fs::write(&meta, said).unwrap();
        check(&[("DOCKER_CONTEXT", "broken")], &[&place, expected]);
    }
    std::fs::write(client.path().join("config.json"), r#"{"currentContext": "gone"}"#).unwrap();
    check(&[], &["context `gone` of ", "config.json does not exist"]);
    // Here the client warns and takes its default: an engine that nobody may have meant.
    std::fs::write(client.path().join("config.json"), r#"{"currentContext": "#).unwrap();
    let theirs = client.docker(&["version"], &[]);
    assert!(
        text(&theirs.stderr).contains("WARNING: Error parsing config file"),
        "{theirs:?}"
    );
    let (ours, code) = client.doctor(&[]);
    assert!(
        code == Some(3) && ours.contains("config.json: EOF while parsing"),
        "{ours}"
    );
}

/// Certificates for an engine on loopback and for who asks it, by an authority of the test's own; another authority.
fn make_certificates(directory: &Path) {
    let script = "
for name in ca other; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$name -keyout $name-key.pem -out $name.pem
done
sign() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$1 -keyout $2 -out $1.csr
  openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -out $3 -extfile $1.ext
}
printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\nextendedKeyUsage=serverAuth\\n' > server.ext
printf 'extendedKeyUsage=clientAuth\\n' > client.ext
sign server server-key.pem server.pem
sign client key.pem cert.pem
";
    let made = Command::new("sh")
        .args(["-euc", script])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
}

#[test]
fn an_engine_with_tls_is_reached_with_what_its_context_keeps() {
    let (data, certificates) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_certificates(certificates.path());
    let at = |name: &str| certificates.path().join(name).display().to_string();
    let arguments: Vec<String> = vec![
        "--host=tcp://0.0.0.0:2376".to_owned(),
        "--tlsverify".to_owned(),
        format!("--tlscacert={}", at("ca.pem")),
        format!("--tlscert={}", at("server.pem")),
        format!("--tlskey={}", at("server-key.pem")),
    ];
    let engine = SecondEngine::start_with(data.path(), None, &arguments).unwrap_or_else(|log| panic!("{log}"));
    let up = engine
        .in_network(Path::new("ip"))
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.unwrap().success());
    let client = Client::new();
    let (host, identity) = (
        "host=tcp://127.0.0.1:2376",
        format!("cert={},key={}", at("cert.pem"), at("key.pem")),
    );
    client.create("whole", &format!("{host},ca={},{identity}", at("ca.pem")));
    client.create("skips", &format!("{host},skip-tls-verify=true,{identity}"));
    client.create("mistaken", &format!("{host},ca={},{identity}", at("other.pem")));
    client.create("unknown", &format!("{host},ca={}", at("ca.pem")));
    client.create("plain", host);
    let (directory, address) = (at(""), "tcp://127.0.0.1:2376");
    let directory = directory.as_str();
    for (variables, is_reached) in [
        (vec![("DOCKER_CONTEXT", "whole")], true),
        (vec![("DOCKER_CONTEXT", "skips")], true),
        (vec![("DOCKER_CONTEXT", "mistaken")], false),
        (vec![("DOCKER_CONTEXT", "unknown")], false),
        (vec![("DOCKER_CONTEXT", "plain")], false),
        (
            vec![
                ("DOCKER_HOST", address),
                ("DOCKER_TLS_VERIFY", "1"),
                ("DOCKER_CERT_PATH", directory),
            ],
            true,
        ),
        (
            vec![
                ("DOCKER_HOST", address),
                ("DOCKER_TLS", "1"),
                ("DOCKER_CERT_PATH", directory),
            ],
            true,
        ),
        (vec![("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", directory)], true),
    ] {
        let mut theirs = engine.in_network(&found("docker"));
        let theirs = client.surround(theirs.arg("version"), &variables).output().unwrap();
        assert_eq!(theirs.status.success(), is_reached, "{variables:?}: {theirs:?}");
        let mut ours = engine.in_network(&lockstep());
        let ours = client.surround(ours.arg("doctor"), &variables).output().unwrap();
        let (ours, code) = engine_line(&ours);
        assert_eq!(ours.starts_with("ok "), is_reached, "{variables:?}: {ours}");
        assert_eq!(code == Some(3), !is_reached, "{variables:?}: {ours}");
        assert!(is_reached || ours.contains("\n  hint: "), "{ours}");
    }
    for context in ["whole", "skips"] {
        let inner = engine.in_network(&std::env::current_exe().unwrap());
        run_a_container(&client, inner, &[("DOCKER_CONTEXT", context)], data.path());
    }
}

/// Has the inner test run on the engine that these variables name.
fn run_a_container(client: &Client, mut command: Command, variables: &[(&str, &str)], data: &Path) {
    let inner = "one_container_runs_on_the_engine_of_the_variables";
    command
        .args([inner, "--exact", "--ignored", "--nocapture"])
        .env(DATA, data);
    // The sources of the tool are in the working directory.
    client
        .surround(&mut command, variables)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let done = command.output().unwrap();
    let said = text(&done.stdout) + &text(&done.stderr);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{variables:?}: {said}"
    );
}

#[test]
#[ignore = "the other tests run it, with variables that lead elsewhere"]
fn one_container_runs_on_the_engine_of_the_variables() {
    on_engine(|ground| async move {
        use lockstep::engine::Engine as _;
        let expected = std::env::var(DATA)?;
        let facts = ground.engine.facts().await?;
        assert_eq!(facts.data_directory, Some(expected), "another engine: {facts:?}");
        let spec = ground.spec("elsewhere", &["out", "far away"]);
        let job = Job {
            spec: &spec,
            uploads: Vec::new(),
            limit: PATIENCE,
            line_limit_bytes: LINE_LIMIT_BYTES,
            disk: None,
        };
        let ignored = |_: OutputStream, _: &str| {};
        let outcome = job::run(&ground.engine, job, &ignored, &CancellationToken::new()).await;
        assert_eq!(outcome.map_err(|error| format!("{error:?}"))?.tail, ["far away"]);
        Ok(())
    });
}

/// The socket that is behind an engine's address.
fn socket_of(engine: &SecondEngine) -> PathBuf {
    engine.address().trim_start_matches("unix://").into()
}

#[test]
fn an_engine_behind_ssh_is_the_one_that_the_client_there_uses() {
    let data = tempfile::tempdir().unwrap();
    let engine = SecondEngine::start(data.path(), None).unwrap_or_else(|log| panic!("{log}"));
    let socket = socket_of(&engine);
    let client = Client::new();
    let machine = SshServer::start(Path::new("/nowhere.sock"), &[("DOCKER_HOST", &engine.address())]);
    let (address, path) = (machine.address(), machine.search_path());
    let explicit = format!("{address}{}", socket.display());
    let (address, path, explicit) = (address.as_str(), path.as_str(), explicit.as_str());
    client.create("far", &format!("host={address}"));
    for variables in [
        vec![("PATH", path), ("DOCKER_HOST", address)],
        vec![("PATH", path), ("DOCKER_CONTEXT", "far")],
        vec![("PATH", path), ("DOCKER_HOST", explicit)],
    ] {
        let theirs = client.docker(&["info", "--format", "{{.DockerRootDir}}"], &variables);
        let root = text(&theirs.stdout);
        assert_eq!(
            Path::new(root.trim()),
            data.path(),
            "{variables:?}: {theirs:?}\n{}",
            machine.log()
        );
        let (ours, code) = client.doctor(&variables);
        assert!(
            ours.starts_with("ok ") && ours.contains(address) && code != Some(3),
            "{variables:?}: {ours}\n{}",
            machine.log()
        );
        assert_eq!(client.sockets(), Vec::<PathBuf>::new(), "nothing is left");
    }
    run_a_container(
        &client,
        Command::new(std::env::current_exe().unwrap()),
        &[("PATH", path), ("DOCKER_CONTEXT", "far")],
        data.path(),
    );
    // A machine without the docker client has its engine where everybody has it.
    let bare = SshServer::start(&socket, &[("PATH", "/nowhere")]);
    run_a_container(
        &client,
        Command::new(std::env::current_exe().unwrap()),
        &[("PATH", &bare.search_path()), ("DOCKER_HOST", &bare.address())],
        data.path(),
    );
}

#[test]
fn what_ssh_says_is_told() {
    let client = Client::new();
    let machine = SshServer::start(Path::new("/nowhere.sock"), &[("DOCKER_HOST", "tcp://127.0.0.1:9")]);
    let (address, path) = (machine.address(), machine.search_path());
    let check = |address: &str, path: &str, expected: &str| {
        let (ours, code) = client.doctor(&[("PATH", path), ("DOCKER_HOST", address)]);
        assert_eq!(code, Some(3), "{ours}");
        assert!(
            ours.contains(address) && ours.contains(expected) && ours.contains("\n  hint: "),
            "{ours} does not say {expected}\n{}",
            machine.log()
        );
        assert_eq!(client.sockets(), Vec::<PathBuf>::new(), "nothing is left");
    };
    check(&address, &path, "uses the engine at tcp://127.0.0.1:9");
    check(&format!("{address}/nowhere.sock"), &path, "open failed");
    check("ssh://root@127.0.0.1:9", &path, "Connection refused");
    check("ssh://nobody-here@127.0.0.1:9", "/nowhere", "there is no ssh in PATH");
    machine.forget();
    check(&address, &path, "Host key verification failed");
}

/// The processes that this one has started, by their names.
fn children(parent: u32, name: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |process: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status.contains(&format!("Name:\t{name}\n")) && status.contains(&format!("PPid:\t{parent}\n"))
    };
    numbers.filter(is_child).collect()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn ssh_ends_with_a_process_that_is_killed() {
    let client = Client::new();
    let silent = client.path().join("silent");
    let _listener = UnixListener::bind(&silent).unwrap();
    let machine = SshServer::start(&silent, &[]);
    let address = format!("{}{}", machine.address(), silent.display());
    let path = machine.search_path();
    let variables = [("PATH", path.as_str()), ("DOCKER_HOST", &address)];
    let mut command = Command::new(lockstep());
    client.surround(command.arg("doctor"), &variables);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (guard, ssh) = wait_for("ssh does not start", || {
        let guard = children(run.id(), "sh").first().copied()?;
        Some((guard, children(guard, "ssh").first().copied()?))
    });
    wait_for("there is no socket", || {
        client
            .sockets()
            .first()
            .filter(|directory| directory.join("engine").exists())
            .cloned()
    });
    let stat = std::fs::read_to_string(format!("/proc/{ssh}/stat")).unwrap();
    let group = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(2).unwrap();
    assert_eq!(group, guard.to_string(), "Ctrl-C must not reach it");
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for("ssh outlives the process", || {
        (!Path::new(&format!("/proc/{ssh}/exe")).exists()).then_some(())
    });
    assert_eq!(client.sockets().len(), 1, "nobody could remove it");
    let (said, code) = client.doctor(&[("PATH", &path), ("DOCKER_HOST", "ssh://127.0.0.1:9/x")]);
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(client.sockets(), Vec::<PathBuf>::new(), "the next one removes it");
}
