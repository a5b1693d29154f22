//! Everything that cases need is compiled in one container for each C library, from one tar to one tar.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use lockstep::digest::Digest;

use crate::case::{Case, Host, Libc, Object};
use crate::common::batch::{Batch, Failure, builtin_image, run};
use crate::common::{Ground, archive, unpack};

/// What was compiled for one case and one C library, by name; the host is `host`.
pub(crate) type Artifacts = BTreeMap<String, Vec<u8>>;

/// Everything of a run.
#[derive(Default)]
pub(crate) struct Compiled {
    /// By the C library that the case runs on, and the case.
    pub(crate) cases: BTreeMap<(Libc, String), Artifacts>,
    /// The program that runs cases, static.
    pub(crate) driver: Vec<u8>,
    /// Of the glibc build image, static as well.
    pub(crate) ldconfig: Vec<u8>,
    /// Why cases could not be compiled: the log's end.
    pub(crate) failures: Vec<(Libc, String, String)>,
}

const DRIVER: &str = include_str!("programs/driver.c");
const HOST: &str = include_str!("programs/host.c");
/// How much of a log is shown.
const LOG_LIMIT_BYTES: usize = 4000;

/// `one.sh DIRECTORY` compiles what is in one directory; a failure is that directory's own.
const ONE: &str = r#"cd "$1"
if ! sh -eu build.sh > build.log 2>&1; then
    mkdir -p "$OUT/$1"
    cp build.log "$OUT/$1/FAILED"
fi
"#;

fn script(libc: Libc) -> String {
    let (cc, cxx) = match libc {
        Libc::Glibc => ("gcc", "g++"),
        Libc::Musl => ("musl-gcc", "musl-g++"),
    };
    let rust = match libc {
        Libc::Glibc => "",
        Libc::Musl => {
            "--target x86_64-unknown-linux-musl -C target-feature=-crt-static -C linker=musl-gcc -C link-self-contained=no"
        }
    };
    format!(
        "cd work; mkdir -p out shared src\n\
         export OUT=$PWD/out SHARED=$PWD/shared CC={cc} CXX={cxx} RUST_FLAGS='{rust}'\n\
         export CGO_ENABLED=1 GOCACHE=$PWD/go-build GOPROXY=off GOTOOLCHAIN=local GOTELEMETRY=off GOFLAGS=-mod=mod GOPATH=$PWD/go\n\
         export RUSTC_BOOTSTRAP=1\n\
         if [ -e go ]; then mkdir -p go-build; cp -R /usr/share/lockstep/go-build/. go-build; fi\n\
         $CC -O1 -c host.c -o shared/host.o\n\
         $CC shared/host.o -o shared/host\n\
         cd src; xargs -P \"$(nproc)\" -n 1 sh ../one.sh < ../order\n"
    )
}

/// Compiles `cases` for both C libraries. What was compiled before from the same bytes by the same image is taken from
/// `cache`.
pub(crate) async fn compile(ground: &Ground, cases: &[Case], cache: &Path) -> Result<Compiled, Failure> {
    std::fs::create_dir_all(cache)?;
    let mut compiled = Compiled::default();
    for libc in Libc::ALL {
        let image = builtin_image(ground, libc.build_image()).await?;
        let mut missing = Vec::new();
        for unit in units(cases, libc) {
            let key = unit.key(&format!("{image} {}", script(libc)))?;
            let kept = cache.join(format!("{}.tar", key.hex()));
            match std::fs::read(&kept) {
                Ok(archive) => take(&archive, &unit.directory, &mut compiled)?,
                Err(_) => missing.push((unit, kept)),
            }
        }
        if missing.is_empty() {
            continue;
        }
        let name = format!("compile-{}", libc.word());
        let batch = Batch {
            name: &name,
            image,
            script: &script(libc),
            files: upload(missing.iter().map(|(unit, _)| unit))?,
            changes_root: false,
            wanted: &["/lockstep/work/out"],
        };
        let outputs = unpack(&run(ground, batch).await?.archives[0])?;
        for (unit, kept) in missing {
            let prefix = format!("out/{}/", unit.directory);
            let of_unit: Vec<_> = outputs
                .range(prefix.clone()..)
                .take_while(|(path, _)| path.starts_with(&prefix))
                .collect();
            let files: Vec<_> = of_unit
                .iter()
                .filter(|(path, (_, bytes))| !path.ends_with('/') && !bytes.is_empty())
                .map(|(path, (_, bytes))| (&path[prefix.len()..], 0o755, bytes.as_slice()))
                .collect();
            let archive = archive(&files)?;
            take(&archive, &unit.directory, &mut compiled)?;
            let is_kept = std::env::var("LOCKSTEP_FAULTS_CACHE").map_or(true, |word| word != "no");
            if is_kept && files.iter().all(|(name, _, _)| *name != "FAILED") {
                let half = kept.with_extension(format!("{}.half", std::process::id()));
                std::fs::write(&half, &archive)?;
                std::fs::rename(half, kept)?;
            }
        }
    }
    Ok(compiled)
}

/// What is compiled in one directory.
struct Unit {
    /// `LIBC/CASE`, or `tools`.
    directory: String,
    files: BTreeMap<String, Vec<u8>>,
    is_slow: bool,
}

impl Unit {
    fn key(&self, ground: &str) -> std::io::Result<Digest> {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|(path, bytes)| (path.as_str(), 0o755, bytes.as_slice()))
            .collect();
        let shared = Digest::of(&[HOST, ONE].concat().into_bytes());
        Ok(Digest::of(
            format!("{ground} {} {shared} {}", self.directory, Digest::of(&archive(&files)?)).as_bytes(),
        ))
    }
}

/// The tar of one container: the scripts, and a directory for each unit.
fn upload<'a>(units: impl Iterator<Item = &'a Unit>) -> std::io::Result<Vec<u8>> {
    let mut files = BTreeMap::from([
        ("work/one.sh".to_owned(), ONE.as_bytes().to_vec()),
        ("work/host.c".to_owned(), HOST.as_bytes().to_vec()),
    ]);
    let (mut slow, mut quick) = (String::new(), String::new());
    for unit in units {
        add_parents("work/src", &format!("{}/", unit.directory), &mut files);
        files.extend(
            unit.files
                .iter()
                .map(|(path, bytes)| (format!("work/src/{}/{path}", unit.directory), bytes.clone())),
        );
        if unit.is_slow {
            files.insert("work/go/".to_owned(), Vec::new());
        }
        writeln!(if unit.is_slow { &mut slow } else { &mut quick }, "{}", unit.directory).unwrap();
    }
    files.insert("work/order".to_owned(), (slow + &quick).into_bytes());
    files.insert("work/src/".to_owned(), Vec::new());
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), 0o755, bytes.as_slice()))
        .collect();
    archive(&files)
}

fn take(archive: &[u8], directory: &str, compiled: &mut Compiled) -> Result<(), Failure> {
    for (name, (_, bytes)) in unpack(archive)? {
        let Some((libc, case)) = directory.split_once('/') else {
            match name.as_str() {
                "driver" => compiled.driver = bytes,
                _ => compiled.ldconfig = bytes,
            }
            continue;
        };
        let libc = if libc == "glibc" { Libc::Glibc } else { Libc::Musl };
        if name == "FAILED" {
            let log = String::from_utf8_lossy(&bytes);
            compiled
                .failures
                .push((libc, case.to_owned(), log.chars().take(LOG_LIMIT_BYTES).collect()));
        }
        compiled
            .cases
            .entry((libc, case.to_owned()))
            .or_default()
            .insert(name, bytes);
    }
    Ok(())
}

/// A unit for each case and each C library that it runs on.
fn units(cases: &[Case], compiler: Libc) -> Vec<Unit> {
    let mut units = Vec::new();
    if compiler == Libc::Glibc {
        let build = "$CC -O1 -static driver.c -o driver\nmkdir -p \"$OUT/tools\"\ncp driver /usr/sbin/ldconfig \"$OUT/tools\"\n";
        let files = [("build.sh", build), ("driver.c", DRIVER)];
        let files = files
            .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
            .into();
        units.push(Unit {
            directory: "tools".to_owned(),
            files,
            is_slow: false,
        });
    }
    for case in cases {
        for libc in Libc::ALL.into_iter().filter(|libc| case.runs_on(*libc)) {
            let Some(build) = build_script(case, libc, compiler) else {
                continue;
            };
            let mut files = BTreeMap::from([("build.sh".to_owned(), build.into_bytes())]);
            if let Some(include) = &case.include {
                include_files(&Path::new("tests/faults/include").join(include), "", &mut files);
            }
            let texts = case
                .objects
                .iter()
                .filter_map(|object| Some((source_name(object)?, source_text(object)?)));
            let texts = texts.chain(case.sources.iter().map(|(name, text)| (name.clone(), text.clone())));
            let host = host_sources(&case.host).map(|(name, text)| (name.to_owned(), text.clone()));
            for (name, text) in texts.chain(host) {
                add_parents("", &name, &mut files);
                files.insert(name, Case::fill(&text, libc).into_bytes());
            }
            let directory = format!("{}/{}", libc.word(), case.name);
            units.push(Unit {
                directory,
                files,
                is_slow: case.include.is_some(),
            });
        }
    }
    units
}

/// The sources of a host with code of its own, by file name.
fn host_sources(host: &Host) -> impl Iterator<Item = (&'static str, &String)> {
    let texts = [&host.c, &host.cpp, &host.rust];
    let names = ["host-more.c", "host-more.cpp", "host-more.rs"];
    names
        .into_iter()
        .zip(texts)
        .filter_map(|(name, text)| Some((name, text.as_ref()?)))
}

fn include_files(from: &Path, to: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let target = if to.is_empty() { name } else { format!("{to}/{name}") };
        if path.is_dir() {
            files.insert(format!("{target}/"), Vec::new());
            include_files(&path, &target, files);
        } else {
            files.insert(target, std::fs::read(&path).unwrap());
        }
    }
}

fn add_parents(directory: &str, name: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for (index, _) in name.match_indices('/') {
        let parent = &name[..=index];
        files.insert(
            if directory.is_empty() {
                parent.to_owned()
            } else {
                format!("{directory}/{parent}")
            },
            Vec::new(),
        );
    }
}

fn source_name(object: &Object) -> Option<String> {
    let extension = match object {
        Object { c: Some(_), .. } => "c",
        Object { cpp: Some(_), .. } => "cpp",
        Object { rust: Some(_), .. } => "rs",
        Object { assembly: Some(_), .. } => "s",
        _ => return None,
    };
    Some(format!("{}.{extension}", object.name))
}

fn source_text(object: &Object) -> Option<String> {
    object
        .c
        .as_ref()
        .or(object.cpp.as_ref())
        .or(object.rust.as_ref())
        .or(object.assembly.as_ref())
        .cloned()
}

/// The commands of one case that are this compiler's; none if there are none.
fn build_script(case: &Case, libc: Libc, compiler: Libc) -> Option<String> {
    let (mut script, mut outputs) = (String::new(), BTreeSet::new());
    for object in case
        .objects
        .iter()
        .filter(|object| object.built_for.unwrap_or(libc) == compiler)
    {
        add_object(&mut script, object, libc);
        outputs.insert(object.name.clone());
    }
    if case.host.built_for.unwrap_or(libc) == compiler {
        add_host(&mut script, &case.host, libc);
        outputs.insert("host".to_owned());
    }
    if outputs.is_empty() {
        return None;
    }
    let out = format!("\"$OUT/{}/{}\"", libc.word(), case.name);
    let outputs: Vec<_> = outputs.into_iter().collect();
    writeln!(script, "mkdir -p {out}\ncp -L --parents {} {out}", outputs.join(" ")).unwrap();
    Some(script)
}

fn add_object(script: &mut String, object: &Object, libc: Libc) {
    let name = &object.name;
    if let Some((directory, _)) = name.rsplit_once('/') {
        writeln!(script, "mkdir -p {directory}").unwrap();
    }
    let flags = Case::fill(&object.flags, libc);
    let shared = if object.bare { "" } else { "-shared -fPIC" };
    let link = linked(&object.link);
    let source = source_name(object).unwrap_or_default();
    if let Some(command) = &object.shell {
        writeln!(script, "{}", Case::fill(command, libc)).unwrap();
    } else if let Some(package) = &object.go {
        writeln!(script, "go build -buildvcs=false {flags} -o {name} {package}").unwrap();
    } else if object.rust.is_some() {
        let crate_name = crate_name(name);
        let kind = if flags.contains("--crate-type") {
            ""
        } else {
            "--crate-type cdylib"
        };
        writeln!(
            script,
            "rustc --edition 2021 -O --crate-name {crate_name} {kind} $RUST_FLAGS {flags} {source} -o {name}"
        )
        .unwrap();
    } else {
        let compiler = if object.cpp.is_some() { "$CXX" } else { "$CC" };
        writeln!(script, "{compiler} -O1 {shared} {source} -o {name} {flags} {link}").unwrap();
    }
    if let Some(post) = &object.post {
        writeln!(script, "{}", Case::fill(post, libc)).unwrap();
    }
}

/// Of `libthing.so`, `thing`.
fn crate_name(name: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".so");
    base.trim_start_matches("lib").replace('-', "_")
}

fn add_host(script: &mut String, host: &Host, libc: Libc) {
    let flags = Case::fill(&host.flags, libc);
    let link = linked(&host.link);
    if let Some(package) = &host.go {
        writeln!(script, "go build -buildvcs=false {flags} -o host {package}").unwrap();
    } else if host.rust.is_some() {
        writeln!(
            script,
            "rustc --edition 2021 -O $RUST_FLAGS {flags} host-more.rs -o host"
        )
        .unwrap();
    } else if host_sources(host).next().is_none() && flags.is_empty() && link.is_empty() {
        writeln!(script, "cp \"$SHARED/host\" host").unwrap();
    } else {
        let more: Vec<&str> = host_sources(host).map(|(name, _)| name).collect();
        let more = more.join(" ");
        let compiler = if host.cpp.is_some() { "$CXX" } else { "$CC" };
        writeln!(
            script,
            "{compiler} -O1 {more} \"$SHARED/host.o\" -o host {flags} {link} -Wl,--allow-shlib-undefined -Wl,-rpath-link,."
        )
        .unwrap();
    }
    if let Some(post) = &host.post {
        writeln!(script, "{}", Case::fill(post, libc)).unwrap();
    }
}

/// As people link: by name, so that what is recorded is the library's SONAME, or its file name where it has none.
fn linked(objects: &[String]) -> String {
    let one = |object: &String| match object.rsplit_once('/') {
        Some((directory, name)) => format!("-L{directory} -l:{name}"),
        None => format!("-L. -l:{object}"),
    };
    objects.iter().map(one).collect::<Vec<_>>().join(" ")
}
