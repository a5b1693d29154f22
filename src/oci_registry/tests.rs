//! What no registry that can be had here does: one that lists referrers itself, one that gives out tokens, one that refuses,
//! fails, or says too much. `tests/registry.rs` has a real one, without any of that.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::digest::Digest;
use crate::media_type::{EMPTY, INDEX_TYPE, MANIFEST_TYPE};
use crate::network::NetworkSettings;
use crate::repository::Repository;

const IMAGE: &[u8] = b"{\"schemaVersion\": 2, \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\"}";
const USER: &str = "builder";
const PASSWORD: &str = "a secret";

/// A question as it came.
struct Ask {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Ask {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn reply(status: u16) -> Reply {
    Reply {
        status,
        headers: vec![],
        body: vec![],
    }
}

impl Reply {
    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    fn saying(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }
}

/// What one answers who keeps everything.
#[derive(Default)]
struct Shelf {
    host: String,
    lists_referrers: bool,
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    /// Whatever was changed, in order.
    changes: Vec<String>,
}

impl Shelf {
    fn with_image() -> Self {
        let image = (MANIFEST_TYPE.to_owned(), IMAGE.to_vec());
        Self {
            manifests: BTreeMap::from([(Digest::of(IMAGE).to_string(), image)]),
            ..Self::default()
        }
    }

    fn answer(&mut self, ask: &Ask) -> Reply {
        let (path, query) = ask.path.split_once('?').unwrap_or((&ask.path, ""));
        if ask.method != "GET" && ask.method != "HEAD" {
            self.changes.push(format!("{} {path}", ask.method));
        }
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        match (ask.method.as_str(), path) {
            ("GET", "/v2/") => reply(200),
            ("GET", path) if path.starts_with("/v2/team/app/manifests/") => match self.manifests.get(&name) {
                Some((kind, content)) => reply(200).with("Content-Type", kind).saying(content),
                None => reply(404),
            },
            ("HEAD", _) if self.blobs.contains_key(&name) => reply(200),
            ("HEAD", _) => reply(404),
            ("POST", "/v2/team/app/blobs/uploads/") => reply(202).with("Location", "/upload/here?state=x%2Fy"),
            ("PUT", "/upload/here") => {
                let digest = query.strip_prefix("state=x%2Fy&digest=").unwrap_or_default();
                let digest = digest.replace("%3A", ":");
                assert_eq!(digest, Digest::of(&ask.body).to_string());
                self.blobs.insert(digest, ask.body.clone());
                reply(201)
            }
            ("PUT", path) if path.starts_with("/v2/team/app/manifests/") => {
                let content: Value = serde_json::from_slice(&ask.body).unwrap();
                let subject = content["subject"]["digest"].as_str().map(str::to_owned);
                let kind = ask.header("content-type").to_owned();
                self.manifests.insert(name, (kind, ask.body.clone()));
                match subject.filter(|_| self.lists_referrers) {
                    Some(subject) => reply(201).with("OCI-Subject", subject),
                    None => reply(201),
                }
            }
            _ => reply(404),
        }
    }
}

/// A server on loopback; gives its host.
async fn serve(mut answer: impl FnMut(&str, &Ask) -> Reply + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let own = host.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            exchange(stream, &mut |ask| answer(&own, ask)).await;
        }
    });
    host
}

/// One question and its answer. What is no HTTP, as a greeting in TLS, is hung up on.
async fn exchange(mut stream: TcpStream, answer: &mut (dyn FnMut(&Ask) -> Reply + Send)) {
    let mut text = Vec::new();
    let head = loop {
        match stream.read_buf(&mut text).await {
            Ok(0) | Err(_) => return,
            Ok(_) if text.first().is_some_and(|byte| !byte.is_ascii_uppercase()) => return,
            Ok(_) => {}
        }
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let lines = String::from_utf8(text[..head].to_vec()).unwrap();
    let mut lines = lines.lines();
    let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
    let mut ask = Ask {
        method: first.next().unwrap(),
        path: first.next().unwrap(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: text.split_off(head),
    };
    let length = ask.header("content-length").parse().unwrap_or(0);
    while ask.body.len() < length {
        stream.read_buf(&mut ask.body).await.unwrap();
    }
    let Reply { status, headers, body } = answer(&ask);
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    // Whoever has read enough hangs up.
    let _ = stream.write_all(head.as_bytes()).await;
    if ask.method != "HEAD" {
        let _ = stream.write_all(&body).await;
    }
}

/// A shelf that is served, with what answers before it.
async fn shelf(
    shelf: Shelf,
    mut before: impl FnMut(&mut Shelf, &Ask) -> Option<Reply> + Send + 'static,
) -> (String, Arc<Mutex<Shelf>>) {
    let shelf = Arc::new(Mutex::new(shelf));
    let shared = Arc::clone(&shelf);
    let host = serve(move |host, ask| {
        let mut shelf = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.host = host.to_owned();
        before(&mut shelf, ask).unwrap_or_else(|| shelf.answer(ask))
    })
    .await;
    (host, shelf)
}

fn documents() -> [Document; 2] {
    let document = |title, artifact_type, content: &'static [u8]| Document {
        title,
        artifact_type,
        content: content.into(),
    };
    [
        document("provenance.json", "application/vnd.in-toto+json", b"{\"a\": 1}"),
        document("sbom.spdx.json", "application/spdx+json", b"{\"b\": 2}"),
    ]
}

/// A machine on which the docker client's configuration is `config`.
struct Machine {
    root: tempfile::TempDir,
    variables: BTreeMap<String, String>,
    insecure: Vec<String>,
}

impl Machine {
    fn new(config: &Value) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("config.json"), config.to_string()).unwrap();
        let variables = BTreeMap::from([("DOCKER_CONFIG".to_owned(), root.path().display().to_string())]);
        Self {
            root,
            variables,
            insecure: vec!["127.0.0.0/8".to_owned()],
        }
    }

    async fn open(&self, host: &str) -> Result<Registry, ExchangeError> {
        let repository: Repository = format!("{host}/team/app").parse().unwrap();
        let network = NetworkSettings::of(self.root.path(), &self.variables);
        let surroundings = Surroundings {
            root: self.root.path(),
            variables: &self.variables,
            network: &network,
            insecure: &self.insecure,
        };
        Registry::open(&repository, &surroundings).await
    }

    async fn attach(&self, host: &str) -> Result<Vec<Attached>, ExchangeError> {
        attach(&mut self.open(host).await?, Digest::of(IMAGE), &documents()).await
    }
}

fn stranger() -> Machine {
    Machine::new(&json!({}))
}

#[tokio::test]
async fn a_registry_that_lists_referrers_itself_is_left_to_it() {
    let lists = Shelf {
        lists_referrers: true,
        ..Shelf::with_image()
    };
    let (host, shelf) = shelf(lists, |_, _| None).await;
    let attached = stranger().attach(&host).await.unwrap();
    let again = stranger().attach(&host).await.unwrap();
    assert_eq!(again, attached);
    let shelf = shelf.lock().unwrap();
    assert_eq!(shelf.blobs.len(), 3);
    assert_eq!(shelf.blobs[&Digest::of(EMPTY).to_string()], EMPTY);
    for (attached, document) in attached.iter().zip(documents()) {
        let (kind, manifest) = &shelf.manifests[&attached.digest.to_string()];
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        assert_eq!(kind, MANIFEST_TYPE);
        assert_eq!(manifest["artifactType"], document.artifact_type);
        let layer = manifest["layers"][0]["digest"].as_str().unwrap();
        assert_eq!(shelf.blobs[layer], document.content);
        assert_eq!(manifest["subject"]["digest"], Digest::of(IMAGE).to_string());
        assert_eq!(manifest["subject"]["size"], IMAGE.len());
    }
    let of_tags = shelf.manifests.keys().filter(|name| name.starts_with("sha256-"));
    assert_eq!(of_tags.count(), 0, "the registry has a list of its own");
    let uploads = shelf.changes.iter().filter(|change| change.starts_with("POST"));
    assert_eq!(uploads.count(), 3, "what is there is not sent again");
}

#[tokio::test]
async fn where_the_registry_lists_nothing_a_list_is_kept_and_what_others_put_there_stays() {
    let tag = format!("sha256-{}", Digest::of(IMAGE).hex());
    let foreign =
        json!({"mediaType": MANIFEST_TYPE, "digest": Digest::of(b"x"), "size": 1, "artifactType": "of/others"});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [foreign]});
    let mut listed = Shelf::with_image();
    listed
        .manifests
        .insert(tag.clone(), (INDEX_TYPE.to_owned(), index.to_string().into_bytes()));
    let mut others = 2;
    let written_over = index.to_string().into_bytes();
    let of_list = tag.clone();
    let (host, shelf) = shelf(listed, move |shelf, ask| {
        let is_read = ask.method == "GET" && ask.path.ends_with(&of_list);
        // Whoever writes at the same time writes over it, twice.
        if is_read && others > 0 {
            others -= 1;
            shelf
                .manifests
                .insert(of_list.clone(), (INDEX_TYPE.to_owned(), written_over.clone()));
        }
        None
    })
    .await;
    let attached = stranger().attach(&host).await.unwrap();
    let list = |shelf: &Arc<Mutex<Shelf>>| shelf.lock().unwrap().manifests[&tag].clone();
    let (kind, text) = list(&shelf);
    assert_eq!(kind, INDEX_TYPE);
    let read: Value = serde_json::from_slice(&text).unwrap();
    let entries = read["manifests"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]), (3, &foreign));
    for (entry, attached) in entries[1..].iter().zip(&attached) {
        assert_eq!(entry["digest"], attached.digest.to_string());
        assert_eq!(entry["artifactType"], attached.artifact_type);
    }
    let writes = |shelf: &Arc<Mutex<Shelf>>| {
        let shelf = shelf.lock().unwrap();
        shelf.changes.iter().filter(|change| change.ends_with(&tag)).count()
    };
    let before = writes(&shelf);
    assert_eq!(stranger().attach(&host).await.unwrap(), attached);
    assert_eq!(
        (list(&shelf).1, writes(&shelf)),
        (text, before),
        "it is not even written"
    );
}

#[tokio::test]
async fn a_list_that_others_always_write_over_or_that_is_none_is_told() {
    let tag = format!("sha256-{}", Digest::of(IMAGE).hex());
    let of_list = tag.clone();
    let (host, _) = shelf(Shelf::with_image(), move |_, ask| {
        (ask.method == "PUT" && ask.path.ends_with(&of_list)).then(|| reply(201))
    })
    .await;
    let error = stranger().attach(&host).await.unwrap_err();
    assert!(error.to_string().contains("others write it all the time"), "{error}");
    assert!(!error.is_inability());

    let mut taken = Shelf::with_image();
    taken.manifests.insert(tag, (MANIFEST_TYPE.to_owned(), IMAGE.to_vec()));
    let (host, _) = shelf(taken, |_, _| None).await;
    let error = stranger().attach(&host).await.unwrap_err();
    assert!(error.to_string().contains("is no index: sha256-"), "{error}");
    assert!(error.is_inability());
}

#[tokio::test]
async fn what_a_registry_answers_decides_whether_it_cannot_or_went_wrong() {
    let said = "{\"errors\": [{\"code\": \"MANIFEST_INVALID\", \"message\": \"unknown\\u001b media type\"}]}";
    for (method, part, answer, told, is_inability) in [
        (
            "PUT",
            "/manifests/",
            reply(415).saying(said),
            "MANIFEST_INVALID: unknown\\u{1b} media type",
            true,
        ),
        (
            "PUT",
            "/manifests/",
            reply(400).saying("no\nmore"),
            "400 Bad Request: no",
            true,
        ),
        ("PUT", "/manifests/", reply(405), "405 Method Not Allowed", true),
        ("PUT", "/manifests/", reply(403), "put a manifest into 127.0.0.1", false),
        ("PUT", "/manifests/", reply(401), "401 Unauthorized", false),
        ("PUT", "/manifests/", reply(429), "429 Too Many Requests", false),
        ("PUT", "/manifests/", reply(502), "502 Bad Gateway", false),
        ("POST", "/uploads/", reply(413), "put a document into 127.0.0.1", true),
        ("POST", "/uploads/", reply(202), "does not say where to", false),
        (
            "GET",
            "/manifests/sha256:",
            reply(404),
            "does not have team/app@sha256:",
            true,
        ),
        (
            "GET",
            "/manifests/sha256:",
            reply(200).saying("other"),
            "does not have that digest",
            false,
        ),
        (
            "GET",
            "/manifests/sha256:",
            reply(200).saying(vec![b'x'; (4 << 20) + 1]),
            "more than 4194304 bytes",
            false,
        ),
        (
            "GET",
            "/manifests/sha256-",
            reply(500),
            "500 Internal Server Error",
            false,
        ),
    ] {
        let mut answer = Some(answer);
        let (host, _) = shelf(Shelf::with_image(), move |_, ask| {
            let Reply { status, headers, body } = answer.as_mut()?;
            (ask.method == method && ask.path.contains(part)).then(|| Reply {
                status: *status,
                headers: headers.clone(),
                body: body.clone(),
            })
        })
        .await;
        let error = stranger().attach(&host).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}, not {told}");
        assert_eq!(error.is_inability(), is_inability, "{error:?}");
        assert!(!error.hint().is_empty());
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_not_reached() {
    let port = StdListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = stranger().attach(&format!("127.0.0.1:{port}")).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Unreachable { .. }), "{error}");
    assert!(
        error.is_inability() && error.to_string().contains("onnection refused"),
        "{error}"
    );
    let error = stranger().attach("nobody.invalid").await.unwrap_err();
    assert!(matches!(error, ExchangeError::Unreachable { .. }), "{error}");
}

/// A registry that gives a token to whom `lets_in` knows.
async fn with_tokens(lets_in: impl Fn(&Ask) -> bool + Send + 'static) -> (String, Arc<Mutex<Shelf>>) {
    shelf(Shelf::with_image(), move |shelf, ask| {
        if ask.path.starts_with("/token") {
            return Some(match lets_in(ask) {
                true => reply(200).saying(json!({"access_token": "given"}).to_string()),
                false => reply(401).saying("{\"errors\": [{\"code\": \"UNAUTHORIZED\"}]}"),
            });
        }
        let realm = format!("Bearer realm=\"http://{}/token\",service=\"the service\"", shelf.host);
        (ask.header("authorization") != "Bearer given").then(|| reply(401).with("WWW-Authenticate", realm))
    })
    .await
}

#[tokio::test]
async fn tokens_are_asked_for_as_the_registry_says() {
    const BASIC: &str = "Basic YnVpbGRlcjphIHNlY3JldA==";
    let (host, _) = with_tokens(|ask| {
        ask.method == "GET"
            && ask.header("authorization") == BASIC
            && ask.path == "/token?scope=repository%3Ateam%2Fapp%3Apull%2Cpush&service=the+service"
    })
    .await;
    let auth = BASIC.trim_start_matches("Basic ");
    let known = Machine::new(&json!({"auths": {host.as_str(): {"auth": auth}}}));
    assert_eq!(known.attach(&host).await.unwrap().len(), 2);
    let error = stranger().attach(&host).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Denied { .. }), "{error}");
    assert!(error.hint().contains("docker login") && !error.is_inability());

    let (host, _) = with_tokens(|ask| {
        let form = String::from_utf8_lossy(&ask.body);
        ask.method == "POST" && form.contains("grant_type=refresh_token") && form.contains("refresh_token=identity")
    })
    .await;
    let known = Machine::new(&json!({"auths": {host.as_str(): {"identitytoken": "identity"}}}));
    assert_eq!(known.attach(&host).await.unwrap().len(), 2);
    let wrong = Machine::new(&json!({"auths": {host.as_str(): {"identitytoken": "another"}}}));
    let error = wrong.attach(&host).await.unwrap_err();
    assert!(
        matches!(error, ExchangeError::Denied { .. }) && !error.to_string().contains("another"),
        "{error}"
    );
}

/// A registry that wants a password, and says so only when something is changed.
#[tokio::test]
async fn a_password_is_told_to_the_registry_and_to_nobody_else() {
    let elsewhere = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&elsewhere);
    let store = serve(move |_, ask| {
        let told = (ask.method.clone(), ask.header("authorization").to_owned());
        seen.lock().unwrap().push(told);
        // It would like to know, too.
        let wanted = reply(401).with("WWW-Authenticate", "Basic realm=\"x\"");
        if ask.method == "PUT" { reply(201) } else { wanted }
    })
    .await;
    let (host, _) = shelf(Shelf::with_image(), move |_, ask| match ask.method.as_str() {
        "HEAD" => Some(reply(307).with("Location", format!("http://{store}/blob"))),
        "POST" if ask.header("authorization").is_empty() => {
            Some(reply(401).with("WWW-Authenticate", "Basic realm=\"x\""))
        }
        "POST" => Some(reply(202).with("Location", format!("http://{store}/upload"))),
        _ => None,
    })
    .await;
    let config =
        json!({"auths": {host.as_str(): {"username": USER, "password": PASSWORD, "auth": "YnVpbGRlcjphIHNlY3JldA=="}}});
    assert_eq!(Machine::new(&config).attach(&host).await.unwrap().len(), 2);
    {
        let seen = elsewhere.lock().unwrap();
        assert_eq!(seen.iter().filter(|(method, _)| method == "PUT").count(), 3);
        assert!(
            seen.iter().all(|(_, authorization)| authorization.is_empty()),
            "{seen:?}"
        );
    }
    let error = stranger().attach(&host).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Denied { .. }), "{error}");
}

/// OpenSSL's server, which answers every question with a page.
struct TlsServer(Child);

impl TlsServer {
    fn start(directory: &Path, arguments: &[&str]) -> (Self, String) {
        let port = StdListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = Command::new("openssl")
            .args([
                "s_server",
                "-www",
                "-quiet",
                "-cert",
                "server.pem",
                "-key",
                "server.key",
            ])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (Self(server), format!("127.0.0.1:{port}"))
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let made = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A key for a server, and what is to be signed: `server.key`, `server.csr`.
fn make_request(directory: &Path) {
    let key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "server.key"];
    let request = ["req", "-subj", "/CN=server", "-out", "server.csr"];
    openssl(directory, &[&request[..], &key].concat());
}

/// An authority and what it has signed for 127.0.0.1: `ca.pem`, `server.pem`, `server.key`.
fn make_certificates(directory: &Path) {
    let authority = ["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-out", "ca.pem"];
    let key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key"];
    openssl(directory, &[&authority[..], &key].concat());
    make_request(directory);
    let names = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    std::fs::write(directory.join("names"), names).unwrap();
    let sign = ["x509", "-req", "-in", "server.csr", "-days", "2", "-extfile", "names"];
    let by = [
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "server.pem",
    ];
    openssl(directory, &[&sign[..], &by].concat());
}

#[tokio::test]
async fn a_registry_s_certificate_must_be_of_an_authority_that_this_machine_knows() {
    let made = tempfile::tempdir().unwrap();
    make_certificates(made.path());
    let mut machine = stranger();
    machine.insecure.clear();
    let error = machine.open("127.0.0.1").await.err().unwrap();
    assert!(
        error.to_string().contains("has no certificate of any authority"),
        "{error}"
    );
    let bundle = machine.root.path().join("etc/ssl/certs");
    std::fs::create_dir_all(&bundle).unwrap();
    let others = tempfile::tempdir().unwrap();
    make_certificates(others.path());
    std::fs::copy(others.path().join("ca.pem"), bundle.join("ca-certificates.crt")).unwrap();
    let open = async |machine: &Machine, host: &str| {
        const TRIES: usize = 100;
        // The server takes a moment.
        for _ in 0..TRIES {
            match machine.open(host).await {
                Err(ExchangeError::Unreachable { cause, .. }) if cause.contains("onnection refused") => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => return other.map(drop),
            }
        }
        panic!("the server does not start");
    };
    let own = |host: &str| machine.root.path().join("etc/docker/certs.d").join(host);

    let (_server, host) = TlsServer::start(made.path(), &[]);
    let error = open(&machine, &host).await.unwrap_err();
    assert!(
        error.is_inability() && error.to_string().contains("certificate"),
        "{error}"
    );
    assert!(
        error.hint().contains(&format!("/etc/docker/certs.d/{host}/ca.crt")),
        "{}",
        error.hint()
    );
    std::fs::create_dir_all(own(&host)).unwrap();
    std::fs::copy(made.path().join("ca.pem"), own(&host).join("ca.crt")).unwrap();
    open(&machine, &host).await.unwrap();

    // One that wants to see a certificate, too.
    let (_server, host) = TlsServer::start(
        made.path(),
        &["-Verify", "2", "-verify_return_error", "-CAfile", "ca.pem"],
    );
    std::fs::create_dir_all(own(&host)).unwrap();
    std::fs::copy(made.path().join("ca.pem"), own(&host).join("ca.crt")).unwrap();
    assert!(open(&machine, &host).await.is_err());
    std::fs::copy(made.path().join("server.pem"), own(&host).join("client.cert")).unwrap();
    std::fs::copy(made.path().join("server.key"), own(&host).join("client.key")).unwrap();
    open(&machine, &host).await.unwrap();

    // One that is its own authority, as docker's guide has it; and not for another name, nor for ever.
    for (name, days, expected) in [
        ("127.0.0.1", "2", ""),
        ("127.0.0.2", "2", "not valid for name"),
        ("127.0.0.1", "-1", "Expired"),
    ] {
        let alone = tempfile::tempdir().unwrap();
        let names = format!("subjectAltName=IP:{name}\nbasicConstraints=CA:TRUE\n");
        std::fs::write(alone.path().join("names"), names).unwrap();
        make_request(alone.path());
        let sign = [
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-signkey",
            "server.key",
            "-extfile",
            "names",
        ];
        openssl(
            alone.path(),
            &[&sign[..], &["-days", days, "-out", "server.pem"]].concat(),
        );
        let (_server, host) = TlsServer::start(alone.path(), &[]);
        assert!(open(&machine, &host).await.is_err(), "nobody knows it");
        std::fs::create_dir_all(own(&host)).unwrap();
        std::fs::copy(alone.path().join("server.pem"), own(&host).join("ca.crt")).unwrap();
        match open(&machine, &host).await {
            Ok(()) => assert_eq!(expected, ""),
            Err(error) => assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}"),
        }
    }

    // An authority of all registries.
    let (_server, host) = TlsServer::start(made.path(), &[]);
    let bundle = made.path().join("ca.pem").display().to_string();
    machine.variables.insert("SSL_CERT_FILE".to_owned(), bundle);
    open(&machine, &host).await.unwrap();
}
