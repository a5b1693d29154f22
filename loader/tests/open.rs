//! `open` with plugins that behave, and with plugins that do everything that a process can: in a process of the loader and
//! in one of a host, which comes to the same.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{events, file, loader, parse_all_lines, parse_lines, plugin, run, send_signal, ways, Json};

const SUMMARY: [&str; 6] = [
    "outcome",
    "phase",
    "symbol",
    "status",
    "signal_name",
    "leftover_processes",
];

/// Opens one plugin with flags in both ways and checks outcome, phase, symbol, status, signal and leftover processes.
fn check(plugin: &str, flags: &[&str], expect: &str) -> Json {
    same(ways().iter().map(|way| {
        let arguments = [
            &["open", "--timeout-ms", "10000"],
            way.as_slice(),
            flags,
            &["--", plugin],
        ]
        .concat();
        let mut events = events(&arguments);
        assert_eq!(events.len(), 1, "{events:?}");
        let event = events.remove(0);
        assert_eq!(event.show(&["event", "path"]), format!("plugin {plugin}"));
        assert_eq!(event.show(&SUMMARY), expect, "{way:?}: {event:?}");
        event
    }))
}

/// An event of several that say the same, apart from what is a matter of time.
fn same(events: impl Iterator<Item = Json>) -> Json {
    const TIMELESS: [&str; 5] = ["message", "missing", "calls", "stdout", "stderr"];
    events
        .reduce(|first, other| {
            for field in TIMELESS {
                assert_eq!(first.at(field), other.at(field), "{field}");
            }
            other
        })
        .expect("there is an event")
}

#[test]
fn a_plugin_that_keeps_its_contract_is_loaded() {
    let calls = plugin("contract", "calls.c", &[]);
    let flags = [
        [
            "--symbol",
            "name",
            "--symbol",
            "greet",
            "--call",
            "name",
            "--returns",
            "string",
        ]
        .as_slice(),
        &["--call", "greet", "--arg-string", "Wörld \"1\"", "--returns", "string"],
        &[
            "--call",
            "join",
            "--arg-string",
            "a",
            "--arg-integer",
            "-5",
            "--arg-string",
            "",
        ],
        &["--arg-integer", "9223372036854775807", "--returns", "string"],
        &[
            "--call",
            "add",
            "--arg-integer",
            "-40",
            "--arg-integer",
            "-2",
            "--returns",
            "integer",
        ],
        &[
            "--call",
            "add3",
            "--arg-integer",
            "1",
            "--arg-integer",
            "2",
            "--arg-integer",
            "3",
            "--returns",
            "integer",
        ],
        &["--call", "negative", "--returns", "int32", "--call", "nothing"],
        &[
            "--env",
            "LOADER_TEST=a=b",
            "--call",
            "environment",
            "--arg-string",
            "LOADER_TEST",
            "--returns",
            "string",
        ],
    ];
    let event = check(&calls, &flags.concat(), "loaded - - 0 - 0");
    let returned: Vec<String> = event
        .list("calls")
        .iter()
        .map(|call| {
            assert_eq!(
                (call.at("lossy"), call.at("problem")),
                (&Json::Boolean(false), &Json::Null)
            );
            call.show(&["symbol", "type", "returned"])
        })
        .collect();
    let expect = [
        "name string calls",
        "greet string hello, Wörld \"1\"",
        "join string a -5  9223372036854775807",
        "add integer -42",
        "add3 integer 6",
        "negative int32 -1",
        "nothing none -",
        "environment string a=b",
    ];
    assert_eq!(returned, expect);
    assert_eq!(event.list("missing"), []);
    assert_eq!(event.at("message"), &Json::Null);
}

#[test]
fn what_cannot_be_loaded_is_said_in_the_loaders_words() {
    let undefined = plugin("undefined", "hooks.c", &["-DUNDEFINED"]);
    let text = file("text.so", &b"this is not a shared object\n".repeat(9));
    let needs = plugin(
        "needs",
        "hooks.c",
        &[
            "-Wl,--no-as-needed",
            &plugin("libneeded", "calls.c", &["-Wl,-soname,libgone.so"]),
        ],
    );
    for (path, words) in [
        (undefined.as_str(), "nobody_defines_this"),
        (&text, "invalid ELF header|Exec format error"),
        (&needs, "libgone.so"),
        ("/nowhere/x.so", "/nowhere/x.so"),
        // A bare name is a file here, and never searched for.
        ("libc.so.6", "./libc.so.6"),
    ] {
        let event = check(path, &["--symbol", "name"], "not-loadable open - 0 - 0");
        let message = event.text("message");
        assert!(words.split('|').any(|word| message.contains(word)), "{path}: {message}");
    }
}

#[test]
fn binding_is_as_asked() {
    let undefined = plugin("lazy", "hooks.c", &["-DUNDEFINED", "-Wl,-z,lazy"]);
    check(&undefined, &["--symbol", "use"], "not-loadable open - 0 - 0");
    // musl resolves what it can at once and the rest at the next load; either way the load succeeds.
    check(
        &undefined,
        &["--flags", "lazy", "--scope", "global", "--symbol", "use"],
        "loaded - - 0 - 0",
    );
}

#[test]
fn what_a_plugin_needs_of_earlier_ones_is_opened_before() {
    let first = plugin("before-first", "calls.c", &[]);
    let second = plugin(
        "before-second",
        "hooks.c",
        &["-DUNDEFINED", "-Dnobody_defines_this=add3"],
    );
    let third = plugin(
        "before-third",
        "hooks.c",
        &["-DUNDEFINED", "-Dnobody_defines_this=use", "-Duse=use_more"],
    );
    // Nothing is looked up in what comes first: it has no `use`.
    let asked = ["--scope", "global", "--symbol", "use"];
    let event = check(&second, &asked, "not-loadable open - 0 - 0");
    assert!(event.text("message").contains("add3"), "{event:?}");
    check(
        &second,
        &[&asked, ["--after", &first].as_slice()].concat(),
        "loaded - - 0 - 0",
    );
    check(&second, &["--after", &first], "not-loadable open - 0 - 0");

    let asked = ["--scope", "global", "--symbol", "use_more"];
    let after = |order: [&str; 2], expect: &str| {
        let order = ["--after", order[0], "--after", order[1]];
        check(&third, &[asked, order].concat(), expect)
    };
    after([&first, &second], "loaded - - 0 - 0");
    let event = after([&second, &first], &format!("not-loadable before {second} 0 - 0"));
    assert!(event.text("message").contains("add3"), "{event:?}");
}

#[test]
fn what_happens_to_an_earlier_plugin_is_told_with_its_path() {
    let calls = plugin("before-good", "calls.c", &[]);
    for (action, expect) in [
        ("abort()", "crashed before PATH - SIGABRT 0"),
        ("_exit(0)", "exited before PATH 0 - 0"),
        ("for(;;)pause()", "timed-out before PATH - - 0"),
    ] {
        let name = format!("before-{}", expect.split(' ').next().expect("it has words"));
        let earlier = plugin(&name, "hooks.c", &[&format!("-DAT_OPEN={action}")]);
        let opened = |way: &Vec<&'static str>| {
            let asked = ["open", "--timeout-ms", "500", "--after", &earlier];
            events(&[&asked, way.as_slice(), &["--", &calls, &calls]].concat())
        };
        for event in ways().iter().flat_map(opened) {
            assert_eq!(event.show(&SUMMARY), expect.replace("PATH", &earlier), "{event:?}");
        }
    }
    // What it does at the end of the process is the end of that.
    let earlier = plugin("before-end", "hooks.c", &["-DAT_CLOSE=abort()"]);
    check(&calls, &["--after", &earlier], "crashed exit - - SIGABRT 0");
    let event = check(&calls, &["--after", "x.so"], "not-loadable before ./x.so 0 - 0");
    assert!(event.text("message").contains("./x.so"), "{event:?}");
}

#[test]
fn every_missing_symbol_is_named() {
    let calls = plugin("missing", "calls.c", &[]);
    let flags = [
        "--symbol", "nmae", "--symbol", "name", "--symbol", "nmae", "--call", "great", "--call", "crash",
    ];
    let event = check(&calls, &flags, "symbol-missing symbol nmae 0 - 0");
    assert!(event.text("message").contains("nmae"));
    assert_eq!(
        event.list("missing"),
        [Json::Text("nmae".into()), Json::Text("great".into())]
    );
    assert_eq!(event.list("calls"), [], "nothing is called when something is missing");
}

#[test]
fn what_a_call_gives_is_checked() {
    let calls = plugin("returned", "calls.c", &[]);
    for (symbol, value, lossy, problem) in [
        ("null", Json::Null, false, "returned a null pointer"),
        (
            "not_utf8",
            Json::Text("caf\u{fffd}".into()),
            true,
            "returned text that is not UTF-8",
        ),
        (
            "endless",
            Json::Null,
            false,
            "returned a string without a NUL in its first 65536 bytes",
        ),
    ] {
        let flags = [
            "--call",
            symbol,
            "--returns",
            "string",
            "--call",
            "name",
            "--returns",
            "string",
        ];
        let event = check(&calls, &flags, &format!("call-failed call {symbol} 0 - 0"));
        assert_eq!(event.text("message"), problem);
        assert_eq!(event.text("calls.0.problem"), problem);
        assert_eq!(
            (event.at("calls.0.returned"), event.at("calls.0.lossy")),
            (&value, &Json::Boolean(lossy))
        );
        assert_eq!(
            event.text("calls.1.returned"),
            "calls",
            "the next call is made all the same"
        );
    }
}

#[test]
fn crashes_name_the_signal_and_the_place() {
    let calls = plugin("crashes", "calls.c", &[]);
    check(&calls, &["--call", "crash"], "crashed call crash - SIGSEGV 0");
    check(&calls, &["--call", "give_up"], "crashed call give_up - SIGABRT 0");
    check(&calls, &["--call", "divide"], "crashed call divide - SIGFPE 0");
    check(
        &calls,
        &["--call", "wild", "--returns", "string"],
        "crashed call wild - SIGSEGV 0",
    );
    check(&calls, &["--call", "overflow"], "crashed call overflow - SIGSEGV 0");
    let event = check(
        &calls,
        &["--call", "name", "--returns", "string", "--call", "crash"],
        "crashed call crash - SIGSEGV 0",
    );
    assert_eq!(event.text("calls.0.returned"), "calls", "what came before is not lost");

    let at_open = plugin("crash-open", "hooks.c", &["-DAT_OPEN=abort()"]);
    check(&at_open, &[], "crashed open - - SIGABRT 0");
    let at_close = plugin("crash-close", "hooks.c", &["-DAT_CLOSE=raise(SIGBUS)"]);
    let event = check(
        &at_close,
        &["--call", "name", "--returns", "string"],
        "crashed close - - SIGBUS 0",
    );
    assert_eq!(event.text("calls.0.returned"), "hooks");
    check(&at_close, &["--keep-open"], "crashed exit - - SIGBUS 0");
    let at_exit = plugin("crash-exit", "hooks.c", &["-DAT_OPEN=atexit(abort)", "-Wl,-z,nodelete"]);
    check(&at_exit, &[], "crashed exit - - SIGABRT 0");
}

#[test]
fn a_plugin_that_ends_the_process_is_not_loaded() {
    let calls = plugin("exits", "calls.c", &[]);
    check(
        &calls,
        &["--call", "leave", "--arg-integer", "0"],
        "exited call leave 0 - 0",
    );
    check(
        &calls,
        &["--call", "leave_now", "--arg-integer", "0"],
        "exited call leave_now 0 - 0",
    );
    check(
        &calls,
        &["--call", "leave", "--arg-integer", "7"],
        "exited call leave 7 - 0",
    );
    check(
        &plugin("exit-open", "hooks.c", &["-DAT_OPEN=exit(0)"]),
        &[],
        "exited open - 0 - 0",
    );
    check(
        &plugin("exit-open-now", "hooks.c", &["-DAT_OPEN=_exit(3)"]),
        &[],
        "exited open - 3 - 0",
    );
    check(
        &plugin("exit-close", "hooks.c", &["-DAT_CLOSE=_exit(0)"]),
        &[],
        "exited close - 0 - 0",
    );
    let words = "words";
    let event = check(
        &plugin(
            "exit-words",
            "hooks.c",
            &["-DAT_OPEN=fputs(\"last words\",stderr);exit(1)"],
        ),
        &[],
        "exited open - 1 - 0",
    );
    assert!(event.text("stderr.text").contains(words));
}

#[test]
fn lateness_is_ended_and_placed() {
    let calls = plugin("late", "calls.c", &[]);
    let cases = ["hang", "spin", "stop"].into_iter();
    for (symbol, way) in cases.flat_map(|symbol| ways().iter().map(move |way| (symbol, way))) {
        let started = Instant::now();
        let arguments = [
            &["open", "--timeout-ms", "300", "--call", symbol],
            way.as_slice(),
            &[&calls],
        ];
        let event = &events(&arguments.concat())[0];
        assert_eq!(event.show(&SUMMARY), format!("timed-out call {symbol} - - 0"));
        assert!(event.integer("elapsed_ms") >= 300);
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{symbol} took {:?}",
            started.elapsed()
        );
    }
    // Whoever asks its parent to trace it stops at a signal, which is no end.
    for (name, action) in [
        ("late-open", "for(;;)pause()"),
        ("late-traced", "ptrace(PTRACE_TRACEME,0,0,0);raise(SIGHUP)"),
        (
            "late-executed",
            "ptrace(PTRACE_TRACEME,0,0,0);execl(\"/bin/true\",\"true\",(char*)0)",
        ),
    ] {
        let at_open = plugin(name, "hooks.c", &[&format!("-DAT_OPEN={action}")]);
        for way in ways() {
            let arguments = [&["open", "--timeout-ms", "300"], way.as_slice(), &[&at_open]].concat();
            assert_eq!(
                events(&arguments)[0].show(&SUMMARY),
                "timed-out open - - - 0",
                "{name} {way:?}"
            );
        }
    }
}

#[test]
fn output_is_kept_apart_and_limited() {
    let calls = plugin("output", "calls.c", &[]);
    let event = check(&calls, &["--call", "chatter"], "loaded - - 0 - 0");
    assert_eq!(
        event.show(&["stdout.text", "stderr.text"]),
        "to stdout\n to stderr \u{fffd}\n"
    );
    assert_eq!(
        (event.at("stdout.lossy"), event.at("stderr.lossy")),
        (&Json::Boolean(false), &Json::Boolean(true))
    );

    // 3 million lines: about 190 MB on each stream.
    let flags = [
        "--output-limit-bytes",
        "1000",
        "--call",
        "flood",
        "--arg-integer",
        "3000000",
    ];
    let event = check(&calls, &flags, "loaded - - 0 - 0");
    assert_eq!(event.integer("stdout.bytes"), 3_000_000 * 64 + 10);
    assert_eq!(event.integer("stderr.bytes"), 3_000_000 * 64);
    assert_eq!(event.text("stdout.text").len(), 1_000);
    assert_eq!(event.at("stdout.truncated"), &Json::Boolean(true));
    assert!(event.text("stdout.tail").ends_with("\nlast line\n"));
}

#[test]
fn forks_neither_answer_twice_nor_stay() {
    let calls = plugin("forks", "calls.c", &[]);
    let flags = [
        "--call",
        "twice",
        "--returns",
        "integer",
        "--call",
        "name",
        "--returns",
        "string",
    ];
    let event = check_any_leftovers(&calls, &flags, "loaded - - 0 -");
    assert_eq!(event.list("calls").len(), 2, "the copy must not answer: {event:?}");
    assert_eq!(event.text("calls.1.returned"), "calls");

    let started = Instant::now();
    let event = check(&calls, &["--call", "leave_behind"], "loaded - - 0 - 1");
    assert!(started.elapsed() < Duration::from_secs(5), "{event:?}");
    let at_open = plugin("fork-open", "hooks.c", &["-DAT_OPEN=if(fork()!=0)_exit(0)"]);
    let event = check_any_leftovers(&at_open, &[], "exited open - 0 -");
    assert_eq!(event.list("calls"), []);
}

/// As [`check`], where it is a matter of time whether a forked process has ended before it is looked for.
fn check_any_leftovers(plugin: &str, flags: &[&str], expect: &str) -> Json {
    same(ways().iter().map(|way| {
        let event = events(&[&["open"], way.as_slice(), flags, &[plugin]].concat()).remove(0);
        assert_eq!(event.show(&SUMMARY[..5]), expect, "{way:?}: {event:?}");
        event
    }))
}

#[test]
fn a_plugin_that_meddles_with_descriptors_is_survived() {
    let calls = plugin("meddles", "calls.c", &[]);
    let event = check(
        &calls,
        &["--call", "close_everything"],
        "exited call close_everything 117 - 0",
    );
    assert!(event.text("message").contains("closed the channel"));
    // Nonsense on the channel hides what follows; it must not be taken for a success.
    check(
        &calls,
        &["--call", "write_everywhere", "--call", "name"],
        "exited call write_everywhere 0 - 0",
    );
}

#[test]
fn each_plugin_is_told_of_in_order_whatever_the_others_do() {
    let good = plugin("order-good", "calls.c", &[]);
    let exits = plugin("order-exits", "hooks.c", &["-DAT_OPEN=exit(0)"]);
    let crashes = plugin("order-crashes", "hooks.c", &["-DAT_OPEN=abort()"]);
    let late = plugin("order-late", "hooks.c", &["-DAT_OPEN=for(;;)pause()"]);
    let paths = [&crashes, &good, &exits, "/nowhere.so", &late, &good];
    for way in ways() {
        let flags = ["open", "--timeout-ms", "500", "--symbol", "name"];
        let events = events(&[&flags, way.as_slice(), &paths].concat());
        let seen: Vec<&str> = events.iter().map(|event| event.text("outcome")).collect();
        assert_eq!(
            seen,
            ["crashed", "loaded", "exited", "not-loadable", "timed-out", "loaded"]
        );
        let seen: Vec<&str> = events.iter().map(|event| event.text("path")).collect();
        assert_eq!(seen, paths);
    }
}

#[test]
fn each_plugin_is_announced() {
    let (good, exits) = (
        plugin("announced", "calls.c", &[]),
        plugin("announced-exits", "hooks.c", &["-DAT_OPEN=exit(0)"]),
    );
    let seen: Vec<String> = parse_all_lines(&run(&["open", &exits, &good]).stdout)
        .iter()
        .map(|event| match event.text("event") {
            "end" => "end".to_owned(),
            name => format!("{name} {}", event.text("path")),
        })
        .collect();
    let expect = [
        format!("opening {exits}"),
        format!("plugin {exits}"),
        format!("opening {good}"),
        format!("plugin {good}"),
        "end".to_owned(),
    ];
    assert_eq!(seen, expect);
}

/// Where a plugin is the user that the loader is, as here, the two signals that cannot be put off are all that it can do.
#[test]
fn a_plugins_signals_are_told_apart() {
    let good = plugin("signals-good", "calls.c", &[]);
    let all = "for(int s=1;s<65;s++)if(s!=SIGKILL&&s!=SIGSTOP&&s!=SIGTSTP&&s!=SIGTTIN&&s!=SIGTTOU)kill(getppid(),s)";
    let from_copy = format!(
        "int p=getppid();if(!fork()){{{};_exit(0);}}usleep(100000)",
        all.replace("getppid()", "p")
    );
    let queued = "union sigval v={0};sigqueue(getppid(),SIGTERM,v)";
    for (name, action) in [("itself", all), ("copy", &from_copy), ("queued", queued)] {
        let hostile = plugin(&format!("signals-{name}"), "hooks.c", &[&format!("-DAT_OPEN={action}")]);
        for way in ways() {
            let events = events(&[&["open"], way.as_slice(), &[&hostile, &good]].concat());
            let seen: Vec<&str> = events.iter().map(|event| event.text("outcome")).collect();
            assert_eq!(seen, ["loaded", "loaded"], "{name} {way:?}");
        }
    }
}

#[test]
fn what_a_plugin_tells_in_its_place_is_not_believed() {
    let good = plugin("forged-good", "calls.c", &[]);
    // The channel is the one socket among the descriptors.
    let socket = "struct stat s;for(int f=3;f<64;f++)if(!fstat(f,&s)&&S_ISSOCK(s.st_mode))";
    for (name, action, expect) in [
        (
            "done",
            format!("{socket}write(f,\"d\",1);_exit(0)"),
            "exited open - 0 -",
        ),
        (
            "done-and-exit",
            format!("{socket}write(f,\"dp\\4\\0\\0\\0exit\\0\\0\\0\\0\",14);_exit(0)"),
            "exited open - 0 -",
        ),
        (
            "flood",
            format!("{socket}for(int i=0;i<1000000;i++)write(f,\"dddddddddddddddd\",16);_exit(0)"),
            "exited open - 0 -",
        ),
        (
            "shut",
            format!("{socket}{{shutdown(f,SHUT_RDWR);}}signal(SIGPIPE,SIG_IGN)"),
            "exited open - 117 -",
        ),
    ] {
        let hostile = plugin(&format!("forged-{name}"), "hooks.c", &[&format!("-DAT_OPEN={action}")]);
        for way in ways() {
            let events = events(&[&["open", "--symbol", "name"], way.as_slice(), &[&hostile, &good]].concat());
            assert_eq!(events[0].show(&SUMMARY[..5]), expect, "{name} {way:?}: {:?}", events[0]);
            assert_eq!(events[1].text("outcome"), "loaded", "{name} {way:?}");
        }
    }
}

#[test]
fn the_loader_ends_when_asked_to() {
    let late = plugin(
        "asked",
        "hooks.c",
        &["-DAT_OPEN=signal(SIGTERM,SIG_IGN);puts(\"up\");for(;;)pause()"],
    );
    for (signal, number, way) in [
        ("TERM", 15, &ways()[0]),
        ("INT", 2, &ways()[0]),
        ("TERM", 15, &ways()[1]),
    ] {
        let child = Command::new(loader())
            .arg("open")
            .args(way)
            .args([&late, &late])
            .stdout(Stdio::piped())
            .spawn();
        let child = child.expect("the loader starts");
        std::thread::sleep(Duration::from_millis(300));
        let started = Instant::now();
        send_signal(signal, child.id());
        let output = child.wait_with_output().expect("it ends");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(output.status.code(), Some(128 + number));
        let events = parse_lines(&output.stdout);
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(
            events[0].show(&["event", "signal_name"]),
            format!("interrupted SIG{signal}")
        );
    }
}

#[test]
fn usage_is_explained() {
    let output = run(&["open", "--symbols", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        stderr,
        "error[usage]: unknown flag `--symbols`\nhint: `lockstep-loader help` lists commands and flags\n"
    );

    let help = run(&["help"]);
    assert!(help.status.success());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for flag in [
        "--keep-open",
        "--arg-integer",
        "--ready-stdout",
        "--stop-timeout-ms",
        "--output-limit-bytes",
    ] {
        assert!(help.contains(flag), "{flag} is not in the help");
    }
}

#[test]
fn the_version_names_the_c_library() {
    let output = run(&["version"]);
    assert!(output.status.success());
    let events = parse_lines(&output.stdout);
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0].show(&["event", "loader", "version", "go"]),
        format!("version dlopen {} -", env!("CARGO_PKG_VERSION"))
    );
    let expect = if cfg!(target_env = "musl") { "musl" } else { "glibc" };
    assert_eq!(events[0].text("libc"), expect);
}

#[test]
fn a_reader_that_goes_away_is_an_error() {
    let good = plugin("reader", "calls.c", &[]);
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("there is /dev/full");
    let output = Command::new(loader())
        .args(["open", &good])
        .stdout(full)
        .output()
        .expect("the loader starts");
    assert_eq!(output.status.code(), Some(70));
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed to write to standard output"));
}
