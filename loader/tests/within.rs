//! `open --within`: what a plugin finds in the process of its host, and hosts that never come to open one. What plugins do
//! there to each other and to the loader is in `open.rs`, for both ways.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::process::Command;

use support::{compile_with, compiler, events, file, probe, run, Json};

const SUMMARY: [&str; 5] = ["outcome", "phase", "symbol", "status", "signal_name"];

/// A C library: the compiler for it, and the probe made with it.
struct Library {
    compiler: String,
    probe: String,
}

/// The loader's own C library, and musl where its compiler is installed: the loader is not a part of the host's process.
fn libraries() -> Vec<Library> {
    let own = compiler();
    let is_there = |compiler: &str| Command::new(compiler).arg("-dumpversion").output().is_ok();
    let others = ["musl-gcc"]
        .into_iter()
        .filter(|other| *other != own && is_there(other));
    let compilers = [own.clone()].into_iter().chain(others.map(str::to_owned));
    // Two tests may do this at the same time, each for its own name.
    let test = std::thread::current().name().expect("a test has a name").to_owned();
    compilers
        .map(|compiler| Library {
            probe: probe(&compiler, &test),
            compiler,
        })
        .collect()
}

impl Library {
    fn compile(&self, name: &str, source: &str, flags: &[&str]) -> String {
        compile_with(&self.compiler, &format!("{}-{name}", self.compiler), source, flags)
    }

    fn host(&self, name: &str, flags: &[&str]) -> String {
        let name = format!("within-{name}");
        self.compile(&name, "hosts/host.c", &[&["-rdynamic"], flags].concat())
    }

    fn plugin(&self, name: &str, source: &str, flags: &[&str]) -> String {
        let name = format!("within-{name}.so");
        let source = format!("plugins/{source}");
        self.compile(&name, &source, &[&["-shared", "-fPIC"], flags].concat())
    }

    /// Opens a plugin within a host, and checks outcome, phase, symbol, status and signal.
    fn check(&self, host: &str, plugin: &str, flags: &[&str], expect: &str) -> Json {
        let within = ["open", "--within", host, "--probe", &self.probe];
        let mut events = events(&[&within, flags, &["--", plugin]].concat());
        assert_eq!(events.len(), 1, "{events:?}");
        let event = events.remove(0);
        assert_eq!(event.show(&SUMMARY), expect, "{}: {event:?}", self.compiler);
        event
    }
}

#[test]
fn a_plugin_uses_its_host() {
    for library in libraries() {
        let host = library.host("uses", &[]);
        let plugin = library.plugin("uses", "uses_host.c", &[]);
        let flags = [
            ["--symbol", "name", "--call", "name", "--returns", "string"].as_slice(),
            &["--call", "answer", "--arg-integer", "41", "--returns", "int32"],
            &["--call", "calls_of_host", "--returns", "int32"],
        ];
        let event = library.check(&host, &plugin, &flags.concat(), "loaded - - 0 -");
        let returned: Vec<String> = (0..3)
            .map(|call| event.show(&[&format!("calls.{call}.returned")]))
            .collect();
        assert_eq!(returned, ["registered", "42", "2"]);
        assert_eq!(event.text("stdout.text"), "", "the host's main has not run");

        let silent = library.compile("within-silent", "hosts/host.c", &[]);
        let event = library.check(&silent, &plugin, &[], "not-loadable open - 0 -");
        assert!(event.text("message").contains("host_"), "{event:?}");
    }
}

/// With a plugin alone in the loader's process, the same plugin is refused: that is what the host is for.
#[test]
fn without_its_host_it_is_refused() {
    let own = &libraries()[0];
    let plugin = own.plugin("alone", "uses_host.c", &[]);
    let event = events(&["open", &plugin]).remove(0);
    assert_eq!(event.show(&SUMMARY), "not-loadable open - 0 -");
}

#[test]
fn nothing_of_the_probe_is_left_in_the_environment() {
    for library in libraries() {
        let host = library.host("environment", &["-DAT_START=setenv(\"OF_HOST\",\"1\",1)"]);
        let plugin = library.plugin("environment", "uses_host.c", &[]);
        let preloaded = library.plugin("preloaded", "calls.c", &[]);
        let given = format!("LD_PRELOAD={preloaded}");
        let variables = ["LOCKSTEP_PROBE_QUESTION", "LD_PRELOAD", "OF_HOST", "OF_LOADER"];
        let calls = variables.map(|name| ["--call", "in_environment", "--arg-string", name, "--returns", "string"]);
        let found = |flags: &[&str]| {
            let flags = [&["--env", "OF_LOADER=1"], flags, &calls.concat()].concat();
            let event = library.check(&host, &plugin, &flags, "loaded - - 0 -");
            (0..variables.len())
                .map(|call| event.show(&[&format!("calls.{call}.returned")]))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&[]), ["absent", "absent", "OF_HOST=1", "OF_LOADER=1"]);
        let with_preload = found(&["--env", &given]);
        assert_eq!(with_preload, ["absent", &given, "OF_HOST=1", "OF_LOADER=1"]);
    }
}

#[test]
fn what_else_is_preloaded_is_there() {
    for library in libraries() {
        let host = library.host("preload", &[]);
        let symbols = library.plugin("preload-symbols", "calls.c", &[]);
        let plugin = library.plugin("preload", "hooks.c", &["-DUNDEFINED", "-Dnobody_defines_this=add3"]);
        library.check(&host, &plugin, &[], "not-loadable open - 0 -");
        let given = format!("LD_PRELOAD={symbols}");
        library.check(&host, &plugin, &["--env", &given], "loaded - - 0 -");
    }
}

#[test]
fn a_host_that_never_comes_to_main_is_told_of() {
    for library in libraries() {
        let plugin = library.plugin("never", "calls.c", &[]);
        let start = |name: &str, action: &str| library.host(name, &[&format!("-DAT_START={action}")]);
        let crashes = start("crashes", "raise(SIGSEGV)");
        library.check(&crashes, &plugin, &[], "crashed start - - SIGSEGV");
        let exits = start("exits", "fputs(\"no display\",stderr);exit(4)");
        let event = library.check(&exits, &plugin, &[], "exited start - 4 -");
        assert_eq!(event.text("stderr.text"), "no display");
        let clean = start("exits-clean", "_exit(0)");
        library.check(&clean, &plugin, &[], "exited start - 0 -");
        let hangs = start("hangs", "for(;;)pause()");
        library.check(&hangs, &plugin, &["--timeout-ms", "300"], "timed-out start - - -");
        let closes = start("closes", "for(int f=3;f<64;f++)close(f)");
        let event = library.check(&closes, &plugin, &[], "exited start - 117 -");
        assert!(
            event.text("message").contains("the host closed the channel"),
            "{event:?}"
        );

        let needed = library.plugin("libneeded", "calls.c", &["-Wl,-soname,libgone.so"]);
        let needs = library.host("needs", &["-DNEEDS=negative", "-Wl,--no-as-needed", &needed]);
        let event = library.check(&needs, &plugin, &[], "exited start - 127 -");
        assert!(event.text("stderr.text").contains("libgone.so"), "{event:?}");
    }
}

#[test]
fn a_host_that_does_not_heed_the_preload_is_told_of() {
    for library in libraries() {
        let plugin = library.plugin("unheeded", "calls.c", &[]);
        // Its main does run: nothing can keep it from that.
        let fixed = library.compile("within-static", "hosts/host.c", &["-static"]);
        let event = library.check(&fixed, &plugin, &[], "exited start - 3 -");
        assert_eq!(event.text("stdout.text"), "main has run\n");
        let probe_is_gone = Library {
            probe: "/nowhere/probe.so".to_owned(),
            compiler: library.compiler.clone(),
        };
        let host = library.host("unheeded", &[]);
        probe_is_gone.check(&host, &plugin, &[], "exited start - 3 -");
    }
}

/// The interpreter of a script is not the host, though it is what runs and is given the probe.
#[test]
fn a_script_is_no_host() {
    let library = &libraries()[0];
    let plugin = library.plugin("script", "calls.c", &[]);
    let script = executable("within-script", "#!/bin/sh\necho script has run\nexit 5\n");
    let event = library.check(&script, &plugin, &[], "exited start - 5 -");
    assert_eq!(event.text("stdout.text"), "script has run\n");
}

/// What a host starts, and a copy of it, say nothing in its place.
#[test]
fn only_the_host_is_asked() {
    for library in libraries() {
        let plugin = library.plugin("asked", "calls.c", &[]);
        let starts = library.host("starts", &["-DAT_START=if(system(\"exec cat\"))abort()"]);
        library.check(&starts, &plugin, &["--symbol", "name"], "loaded - - 0 -");
        let forks = library.host("forks", &["-DAT_START=fork()"]);
        let event = library.check(
            &forks,
            &plugin,
            &["--call", "name", "--returns", "string"],
            "loaded - - 0 -",
        );
        assert_eq!(event.list("calls").len(), 1, "{event:?}");
    }
}

#[test]
fn the_hosts_end_is_a_part_of_it() {
    for library in libraries() {
        let plugin = library.plugin("end", "calls.c", &[]);
        let speaks = library.host("speaks", &["-DAT_END=puts(\"host is gone\")"]);
        let event = library.check(&speaks, &plugin, &[], "loaded - - 0 -");
        assert_eq!(event.text("stdout.text"), "host is gone\n");
        let crashes = library.host("crashes-at-end", &["-DAT_END=abort()"]);
        library.check(&crashes, &plugin, &[], "crashed exit - - SIGABRT");
        // A host that catches what ends others does not hide what a plugin does.
        let catches = library.host("catches", &["-DAT_START=signal(SIGSEGV,_exit)"]);
        library.check(&catches, &plugin, &["--call", "crash"], "crashed call crash - SIGSEGV");
    }
}

#[test]
fn a_host_that_cannot_be_started_is_told_of_for_each_plugin() {
    let library = &libraries()[0];
    let plugin = library.plugin("unstarted", "calls.c", &[]);
    let no_program = file("within-no-program", b"this is no program");
    let other_machine = executable("within-no-interpreter", "#!/nowhere/interpreter\n");
    for (host, words) in [
        (
            "/nowhere/host",
            "failed to start `/nowhere/host`: No such file or directory",
        ),
        (&no_program, "Permission denied"),
        (&other_machine, "the file is there, its interpreter is not"),
        ("/", "Permission denied"),
    ] {
        let events = events(&["open", "--within", host, "--probe", &library.probe, &plugin, &plugin]);
        assert_eq!(events.len(), 2);
        for event in events {
            assert_eq!(event.show(&SUMMARY), "exited start - - -", "{host}");
            assert!(event.text("message").contains(words), "{event:?}");
        }
    }
}

#[test]
fn usage_is_explained() {
    for (arguments, expect) in [
        (&["--within", "/h"][..], "`--within` is given without `--probe`"),
        (&["--probe", "/p.so"], "`--probe` is given without `--within`"),
        (
            &["--within", "h", "--probe", "/p.so"],
            "`--within` takes an absolute path, not `h`",
        ),
        (
            &["--within", "/h", "--probe", "/a:b.so"],
            "`--probe` takes an absolute path without spaces and colons, not `/a:b.so`",
        ),
        (&["--within", "/h", "--within", "/h"], "`--within` is given twice"),
        (&["--after"], "no plugin given"),
    ] {
        let output = run(&[&["open"], arguments, &["x.so"]].concat());
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.starts_with(&format!("error[usage]: {expect}\n")), "{stderr}");
    }
}

/// A script of the test's own.
fn executable(name: &str, content: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = file(name, content.as_bytes());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is the test's own");
    path
}
