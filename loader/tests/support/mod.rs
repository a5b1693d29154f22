//! What the tests share: the loader as a process, C programs made on the spot, and a strict reader of JSON.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The loader that is tested: the one in C where the tests are called after it.
pub fn loader() -> &'static str {
    static LOADER: OnceLock<&'static str> = OnceLock::new();
    LOADER.get_or_init(|| match env!("CARGO_CRATE_NAME") {
        "c_loader" => c_loader().leak(),
        _ => env!("CARGO_BIN_EXE_lockstep-loader"),
    })
}

/// Compiles the loader in C. Each of the modules that share these tests makes its own.
fn c_loader() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("c");
    let entries = std::fs::read_dir(directory).expect("the sources are there");
    let mut sources: Vec<String> = entries
        .map(|entry| entry.expect("it is readable").path().display().to_string())
        .filter(|path| path.ends_with(".c"))
        .collect();
    sources.sort();
    let first = sources.remove(0);
    let mut flags = vec!["-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-ldl"];
    flags.extend(sources.iter().map(String::as_str));
    compile(&module_path!().replace("::", "-"), &first, &flags)
}

/// Compiles a C file of the tests, and gives the result's path. The name must be the test's own.
pub fn compile(name: &str, source: &str, flags: &[&str]) -> String {
    compile_with(&compiler(), name, source, flags)
}

/// The compiler for the C library that the loader itself has.
pub fn compiler() -> String {
    std::env::var("CC").unwrap_or_else(|_| "cc".to_owned())
}

/// As [`compile`], with another compiler.
pub fn compile_with(compiler: &str, name: &str, source: &str, flags: &[&str]) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let result = Command::new(compiler)
        .args(["-O1", "-o"])
        .arg(&output)
        .arg(&source)
        .args(flags)
        .output();
    let result = result.unwrap_or_else(|error| panic!("failed to start {compiler}: {error}"));
    assert!(
        result.status.success(),
        "{}: {}",
        source.display(),
        String::from_utf8_lossy(&result.stderr)
    );
    output.to_str().expect("the path is text").to_owned()
}

/// Compiles a plugin.
pub fn plugin(name: &str, source: &str, flags: &[&str]) -> String {
    compile(
        &format!("{name}.so"),
        &format!("plugins/{source}"),
        &[&["-shared", "-fPIC"], flags].concat(),
    )
}

/// Compiles the probe, for a test of this name.
pub fn probe(compiler: &str, test: &str) -> String {
    let flags = [
        "-shared",
        "-fPIC",
        "-O2",
        "-fvisibility=hidden",
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Werror",
    ];
    let link_flags = ["-Wl,-z,defs", "-Wl,-z,now", "-ldl"];
    let name = format!("{test}-{compiler}-probe.so").replace([':', '/', ' '], "-");
    compile_with(compiler, &name, "../probe/probe.c", &[&flags[..], &link_flags].concat())
}

/// The flags for both ways to open plugins: in a process of the loader, and in one of a host that is nothing but that.
pub fn ways() -> &'static [Vec<&'static str>; 2] {
    static WAYS: OnceLock<[Vec<&'static str>; 2]> = OnceLock::new();
    WAYS.get_or_init(|| {
        let name = format!("{}-plain-host", env!("CARGO_CRATE_NAME"));
        let host = compile(&name, "hosts/host.c", &["-rdynamic"]);
        let within = [
            "--within",
            host.leak(),
            "--probe",
            probe(&compiler(), env!("CARGO_CRATE_NAME")).leak(),
        ];
        [Vec::new(), within.to_vec()]
    })
}

/// A file of the test's own.
pub fn file(name: &str, content: &[u8]) -> String {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).expect("the directory can be written to");
    path.to_str().expect("the path is text").to_owned()
}

/// A port that nobody listens on just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// Sends a signal with the shell's own `kill`: a minimal image has no program of that name.
pub fn send_signal(name: &str, pid: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(status.expect("the shell starts").success());
}

/// Runs the loader to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(loader())
        .args(arguments)
        .output()
        .expect("the loader starts")
}

/// Runs the loader, which must succeed, and gives its events without the last, which must be `end`.
pub fn events(arguments: &[&str]) -> Vec<Json> {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{arguments:?} ended with {}: {stderr}",
        output.status
    );
    assert_eq!(stderr, "", "{arguments:?}");
    let mut events = parse_lines(&output.stdout);
    assert_eq!(events.pop().expect("there is an event").text("event"), "end");
    events
}

/// The events of an output without those that announce what comes: they have a test of their own.
pub fn parse_lines(bytes: &[u8]) -> Vec<Json> {
    let mut events = parse_all_lines(bytes);
    events.retain(|event| !["opening", "starting"].contains(&event.text("event")));
    events
}

/// The events of an output, each on a line.
pub fn parse_all_lines(bytes: &[u8]) -> Vec<Json> {
    let text = std::str::from_utf8(bytes).expect("events are UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| {
            let event = Json::parse(line);
            assert_eq!(event.integer("schema"), 1);
            event
        })
        .collect()
}

/// A JSON value that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Boolean(bool),
    Integer(i64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads all of a text; anything that RFC 8259 does not allow fails the test.
    pub fn parse(text: &str) -> Json {
        let mut reader = JsonReader { rest: text };
        let value = reader.value();
        assert_eq!(reader.rest, "", "more than one value in {text}");
        value
    }

    /// The value at a path such as `stdout.text` or `calls.0.returned`.
    pub fn at(&self, path: &str) -> &Json {
        path.split('.').fold(self, |value, key| {
            let inner = match value {
                Json::Object(fields) => fields.get(key),
                Json::List(values) => key.parse().ok().and_then(|index: usize| values.get(index)),
                _ => None,
            };
            inner.unwrap_or_else(|| panic!("no `{key}` of `{path}` in {self:?}"))
        })
    }

    pub fn text(&self, path: &str) -> &str {
        self.at(path).string()
    }

    pub fn string(&self) -> &str {
        match self {
            Json::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    pub fn integer(&self, path: &str) -> i64 {
        match self.at(path) {
            Json::Integer(number) => *number,
            other => panic!("`{path}` is {other:?}"),
        }
    }

    pub fn list(&self, path: &str) -> &[Json] {
        match self.at(path) {
            Json::List(values) => values,
            other => panic!("`{path}` is {other:?}"),
        }
    }

    /// Values of some fields, as one line.
    pub fn show(&self, paths: &[&str]) -> String {
        let shown: Vec<String> = paths
            .iter()
            .map(|path| match self.at(path) {
                Json::Null => "-".to_owned(),
                Json::Text(text) => text.clone(),
                Json::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            })
            .collect();
        shown.join(" ")
    }
}

struct JsonReader<'a> {
    rest: &'a str,
}

impl JsonReader<'_> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) {
        assert!(self.take(token), "no {token} before {}", self.rest);
    }

    fn value(&mut self) -> Json {
        if self.take("null") {
            Json::Null
        } else if self.take("true") {
            Json::Boolean(true)
        } else if self.take("false") {
            Json::Boolean(false)
        } else if self.rest.starts_with('"') {
            Json::Text(self.string())
        } else if self.take("[") {
            let mut values = Vec::new();
            while !self.take("]") {
                if !values.is_empty() {
                    self.expect(",");
                }
                values.push(self.value());
            }
            Json::List(values)
        } else if self.take("{") {
            let mut fields = BTreeMap::new();
            while !self.take("}") {
                if !fields.is_empty() {
                    self.expect(",");
                }
                let name = self.string();
                self.expect(":");
                let value = self.value();
                assert!(fields.insert(name.clone(), value).is_none(), "`{name}` is there twice");
            }
            Json::Object(fields)
        } else {
            let end = self
                .rest
                .find(|c: char| c != '-' && !c.is_ascii_digit())
                .unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            self.rest = rest;
            Json::Integer(
                digits
                    .parse()
                    .unwrap_or_else(|_| panic!("no value before {digits}{rest}")),
            )
        }
    }

    fn string(&mut self) -> String {
        self.expect("\"");
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((position, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[position + 1..];
                    return text;
                }
                '\\' => text.push(match characters.next().map(|(_, escape)| escape) {
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some('b') => '\u{8}',
                    Some('f') => '\u{c}',
                    Some(same @ ('"' | '\\' | '/')) => same,
                    Some('u') => {
                        let digits: String = characters.by_ref().take(4).map(|(_, digit)| digit).collect();
                        let number = u32::from_str_radix(&digits, 16).expect("four hexadecimal digits");
                        char::from_u32(number).expect("a character")
                    }
                    other => panic!("\\{other:?} is no escape"),
                }),
                control if control < ' ' => panic!("{control:?} is not escaped"),
                other => text.push(other),
            }
        }
        panic!("a string does not end")
    }
}
