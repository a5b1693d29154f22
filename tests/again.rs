//! Images of a lock, made again: from a mirror of the test's own, which moves on, and from what was kept of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::batch::context;
use lockstep::context::Context;
use lockstep::digest::Digest;
use lockstep::image::{
    Gathering, ImageCache, ImageError, LocalImage, LockedImage, Machine, MakeRequest, PackageArchive, Recipe,
    RecipeFiles, keep_in_directory, make, make_again,
};
use lockstep::platform::architecture;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const EPOCH_SECONDS: u64 = 1_735_689_600;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The expiry of lists that nobody renews any more (deb-repo's `Valid-Until`).
const LONG_AGO: &str = "Wed, 01 Jan 2025 00:00:00 UTC";
const FAR_AWAY: &str = "Fri, 01 Jan 2100 00:00:00 UTC";

/// A file server on loopback, for as long as it lives.
struct Server {
    address: String,
    port: u16,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_over, directory) = (Arc::new(AtomicBool::new(false)), directory.to_owned());
        let seen = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                // Who hangs up early is not served.
                let _ = stream.and_then(|stream| answer(&stream, &directory));
            }
        });
        Self {
            address: format!("http://127.0.0.1:{port}"),
            port,
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Answers one request, and hangs up.
fn answer(mut stream: &TcpStream, directory: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.replace("%253a", "%3a").replace("%25", "%");
    match fs::read(directory.join(path.trim_start_matches('/'))) {
        Ok(content) => {
            let length = content.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            )?;
            stream.write_all(&content)?;
        }
        Err(_) => write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?,
    }
    stream.shutdown(Shutdown::Write)
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A mirror's files, and the key that it signs its lists with.
struct Mirror {
    directory: TempDir,
}

impl Mirror {
    fn new() -> Self {
        let mirror = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        // apt reads the keys as another user.
        fs::set_permissions(mirror.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = mirror.path("keys");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        mirror.gpg(&[
            "--passphrase",
            "",
            "--quick-gen-key",
            "mirror@lockstep.example",
            "rsa2048",
            "sign",
            "never",
        ]);
        let keyring = mirror.gpg(&["--export"]);
        fs::write(mirror.path("keyring.gpg"), keyring).unwrap();
        mirror
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let home = self.path("keys");
        let quiet = ["--homedir", &home.to_string_lossy(), "--batch", "--yes", "--quiet"];
        run("gpg", &[&quiet, arguments].concat())
    }

    /// Makes `below` a mirror of these packages (names, versions and what they depend on), and of no others.
    fn publish(&self, below: &str, packages: &[(&str, &str, &str)], valid_until: &str) {
        let root = self.path(below);
        let _ = fs::remove_dir_all(&root);
        let list_directory = format!("main/binary-{}", architecture());
        let dist = root.join("dists/trixie");
        fs::create_dir_all(dist.join(&list_directory)).unwrap();
        fs::create_dir_all(root.join("pool")).unwrap();
        let mut list = String::new();
        for (name, version, depends) in packages {
            let depends = if depends.is_empty() {
                String::new()
            } else {
                format!("Depends: {depends}\n")
            };
            let control = format!(
                "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: lockstep\n{depends}Description: a test\n"
            );
            let tree = self.path("tree");
            let _ = fs::remove_dir_all(&tree);
            fs::create_dir_all(tree.join("DEBIAN")).unwrap();
            fs::create_dir_all(tree.join(format!("usr/share/{name}"))).unwrap();
            fs::write(tree.join("DEBIAN/control"), &control).unwrap();
            fs::write(tree.join(format!("usr/share/{name}/version")), version).unwrap();
            let file = format!("pool/{name}_{}_all.deb", version.replace(':', "%3a"));
            let path = root.join(&file);
            let arguments = [
                "--root-owner-group",
                "--build",
                &tree.to_string_lossy(),
                &path.to_string_lossy(),
            ];
            let output = Command::new("dpkg-deb")
                .env("SOURCE_DATE_EPOCH", EPOCH_SECONDS.to_string())
                .args(arguments)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let content = fs::read(&path).unwrap();
            let digest = Digest::of(&content).hex();
            list.push_str(&format!(
                "{control}Filename: {file}\nSize: {}\nSHA256: {digest}\n\n",
                content.len()
            ));
        }
        fs::write(dist.join(&list_directory).join("Packages"), &list).unwrap();
        let release = format!(
            "Origin: lockstep\nSuite: trixie\nCodename: trixie\nDate: {LONG_AGO}\nValid-Until: {valid_until}\n\
             Architectures: {}\nComponents: main\nSHA256:\n {} {} {list_directory}/Packages\n",
            architecture(),
            Digest::of(list.as_bytes()).hex(),
            list.len(),
        );
        let unsigned = self.path("Release");
        fs::write(&unsigned, release).unwrap();
        let signed = dist.join("InRelease").to_string_lossy().into_owned();
        self.gpg(&["--output", &signed, "--clearsign", &unsigned.to_string_lossy()]);
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let home = self.path("keys");
        // The agent that gpg has started would go on for a while.
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(home)
            .args(["--kill", "all"])
            .status();
    }
}

/// What a user has: a cache, and a machine whose apt knows the mirror.
struct User {
    cache: TempDir,
    machine: Machine,
}

struct NoFiles;

impl RecipeFiles for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "recipe.yaml" => Ok(b"bootstrap: {base: base.yaml, packages: [tool]}".to_vec()),
            "base.yaml" => {
                Ok(b"bootstrap: {distribution: debian, suite: trixie, variant: extract, packages: [tiny]}".to_vec())
            }
            _ => Err("no such file".to_owned()),
        }
    }
}

impl User {
    fn new(mirror: &str, keyring: &Path) -> Self {
        let mut context: Context = context();
        let cache = tempfile::tempdir().unwrap();
        fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o755)).unwrap();
        context.cache_directory = cache.path().to_owned();
        for (name, value) in [
            ("LOCKSTEP_DEBIAN_MIRROR", mirror.to_owned()),
            ("LOCKSTEP_DEBIAN_KEYRING", keyring.to_string_lossy().into_owned()),
            ("no_proxy", "127.0.0.1".to_owned()),
        ] {
            context.variables.insert(name.to_owned(), value);
        }
        Self {
            cache,
            machine: Machine::from_context(&context),
        }
    }

    fn request<T>(&self, work: impl FnOnce(&MakeRequest<'_>) -> T) -> T {
        work(&MakeRequest {
            recipe: &Recipe::read(&NoFiles, "recipe.yaml").unwrap(),
            machine: &self.machine,
            cache: &ImageCache::below(self.cache.path()),
            epoch_seconds: EPOCH_SECONDS,
            refresh_before_seconds: None,
            cancel: &CancellationToken::new(),
            progress: &|_| {},
        })
    }

    fn again(&self, locked: &LocalImage, archives: &[PackageArchive]) -> Result<LocalImage, ImageError> {
        self.request(|request| {
            make_again(
                request,
                &LockedImage {
                    layers: &locked.diff_ids(),
                    packages: &locked.packages,
                    kept: &ImageCache::below(self.cache.path()),
                    archives,
                    offline: false,
                },
            )
        })
    }
}

fn address(address: String) -> PackageArchive {
    PackageArchive::Address {
        address,
        suite: None,
        components: vec!["main".to_owned()],
    }
}

fn told(result: Result<LocalImage, ImageError>) -> (String, Vec<String>, Vec<String>) {
    match result {
        Err(error @ ImageError::Missing { .. }) => {
            let message = error.to_string();
            let ImageError::Missing { missing, tried, .. } = error else {
                unreachable!()
            };
            let words = |package: &lockstep::lock::Package| format!("{} {}", package.name, package.version);
            let tried = tried.iter().map(ToString::to_string).collect();
            (message, missing.iter().map(words).collect(), tried)
        }
        Err(error) => panic!("{error}\n{}", error.log_tail().join("\n")),
        Ok(image) => panic!("{} was made", image.id()),
    }
}

#[test]
fn an_image_is_the_same_when_its_mirror_has_moved_on() {
    let mirror = Mirror::new();
    let keyring = mirror.path("keyring.gpg");
    let server = Server::start(mirror.directory.path());
    let user = || User::new(&format!("{}/mirror", server.address), &keyring);
    let first_day = [("tiny", "1:1.0", "base"), ("base", "1", ""), ("tool", "1", "tiny")];
    mirror.publish("mirror", &first_day, FAR_AWAY);
    let first = user();
    let (image, _) = first
        .request(make)
        .unwrap_or_else(|error| panic!("{error}\n{}", error.log_tail().join("\n")));
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.packages.len(), 3);

    // The mirror moves on; what it had is somewhere else, with lists that are long out of date.
    mirror.publish("snapshot", &first_day, LONG_AGO);
    mirror.publish(
        "mirror",
        &[("tiny", "1:2.0", "base"), ("base", "1", ""), ("tool", "2", "tiny")],
        FAR_AWAY,
    );
    let (newer, _) = user().request(make).unwrap();
    assert_ne!(newer.id(), image.id());
    let (message, missing, tried) = told(user().again(&image, &[]));
    assert_eq!(message, "2 of 3 packages of the lock are nowhere");
    assert_eq!(missing, ["tiny 1:1.0", "tool 1"]);
    assert_eq!(tried.len(), 2, "{tried:?}");
    let snapshot = [address(format!("{}/snapshot/", server.address))];
    assert_eq!(user().again(&image, &snapshot).unwrap().id(), image.id());

    // The mirror's own lists may be out of date just as well.
    mirror.publish("mirror", &first_day, LONG_AGO);
    assert_eq!(user().again(&image, &[]).unwrap().id(), image.id());

    // Everything is kept, on this machine or on a server.
    let cancel = CancellationToken::new();
    let cache = ImageCache::below(first.cache.path());
    let gathering = Gathering {
        machine: &first.machine,
        cache: &cache,
        archives: &[],
        offline: false,
        suite: "trixie",
        cancel: &cancel,
        progress: &|_| {},
    };
    let kept = mirror.path("kept");
    let gathered = gathering.gather(&image.packages).unwrap();
    assert_eq!(keep_in_directory(&gathered, &kept).unwrap(), 3);
    fs::remove_dir_all(mirror.path("mirror")).unwrap();
    let served = [address(format!("{}/kept", server.address))];
    assert_eq!(user().again(&image, &served).unwrap().id(), image.id());
    let directory = [PackageArchive::Directory(kept.clone())];
    let nobody = "http://127.0.0.1:9".to_owned();
    drop(server);
    let alone = || User::new(&nobody, &keyring);
    let last = alone();
    let again = last.again(&image, &directory).unwrap();
    assert_eq!(
        again,
        LocalImage {
            layers: again.layers.clone(),
            ..image.clone()
        }
    );
    // A layer that is there is not made again: no package is looked for.
    assert_eq!(last.again(&image, &[]).unwrap().id(), image.id());

    // A package that was changed is none.
    let one = fs::read_dir(kept.join(gathered[0].digest.hex()))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    fs::write(one.path(), "changed").unwrap();
    let (message, missing, tried) = told(alone().again(&image, &directory));
    assert_eq!(message, "1 of 3 packages of the lock are nowhere");
    assert_eq!(
        missing,
        [format!("{} {}", gathered[0].package.name, gathered[0].package.version)]
    );
    assert!(
        tried.last().unwrap().contains("Failed to fetch http://127.0.0.1:9"),
        "{tried:?}"
    );

    // Packages that are not those of the lock's layers: it is told, and not kept as the image.
    let wrong = LocalImage {
        packages: newer.packages.clone(),
        ..image.clone()
    };
    let newest = alone();
    mirror.publish(
        "mirror",
        &[("tiny", "1:2.0", "base"), ("base", "1", ""), ("tool", "2", "tiny")],
        FAR_AWAY,
    );
    for file in fs::read_dir(mirror.path("mirror/pool")).unwrap() {
        let file = file.unwrap();
        let content = fs::read(file.path()).unwrap();
        let below = kept.join(Digest::of(&content).hex());
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(file.file_name()), content).unwrap();
    }
    let error = newest.again(&wrong, &directory).unwrap_err();
    assert!(matches!(error, ImageError::OtherLayer { .. }), "{error}");
    assert_eq!(ImageCache::below(newest.cache.path()).find_id(wrong.id()), None);
}
