//! `drive` with commands that end, and with a server whose manners can be chosen.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{compile, events, free_port, loader, parse_lines, run, send_signal, Json};

const EXIT: [&str; 6] = [
    "event",
    "status",
    "signal_name",
    "stopped_by",
    "stdout.text",
    "leftover_processes",
];

/// Runs a command to its end and checks how it ended.
fn check_command(flags: &[&str], command: &[&str], expect: &str) -> Json {
    let mut events = events(&[&["drive"], flags, &["--"], command].concat());
    assert_eq!(events.len(), 1, "{events:?}");
    let event = events.remove(0);
    assert_eq!(event.show(&EXIT), expect, "{event:?}");
    event
}

fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

#[test]
fn a_command_is_told_with_all_it_printed() {
    let event = check_command(&[], &shell("echo out; echo err >&2; exit 3"), "exit 3 - itself out\n 0");
    assert_eq!(event.text("stderr.text"), "err\n");
    check_command(
        &["--env", "A=1", "--env", "A=2"],
        &shell("printf %s \"$A\""),
        "exit 0 - itself 2 0",
    );
    check_command(&[], &["cat"], "exit 0 - itself  0");
    check_command(&[], &shell("kill -SEGV $$"), "exit - SIGSEGV itself  0");
    // What the loader does about signals must not be inherited, and what it inherited (`nohup`) must. The last seven
    // digits are signals 1 to 28; those that a C library keeps for itself are the test environment's affair.
    let mask = "while read name value; do case $name in SigBlk:|SigIgn:) printf '%s ' ${value#?????????};; esac; done";
    let script = format!("{mask} </proc/self/status");
    let script = shell(&script);
    let without = Command::new(script[0]).args(&script[1..]).output().unwrap();
    let without = String::from_utf8(without.stdout).unwrap();
    check_command(&[], &script, &format!("exit 0 - itself {without} 0"));
}

#[test]
fn long_output_keeps_both_ends() {
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf '\\377'";
    let event = &events(&["drive", "--output-limit-bytes", "16", "--", "sh", "-c", script])[0];
    assert_eq!(event.show(&["status", "stdout.text"]), "0 line 0\nline 1\nli");
    assert!(event.text("stdout.tail").ends_with("\nline 19999\n\u{fffd}"));
    assert_eq!(
        (event.at("stdout.truncated"), event.at("stdout.lossy")),
        (&Json::Boolean(true), &Json::Boolean(true))
    );
}

#[test]
fn a_command_that_cannot_be_started_is_told_why() {
    let no_interpreter = support::file("no-interpreter", b"#!/nowhere/sh\n");
    std::fs::set_permissions(&no_interpreter, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let not_executable = support::file("not-executable", b"");
    let missing = "; the file is there, its interpreter is not";
    for (program, cause) in [
        ("/nowhere/greeter", "No such file or directory (os error 2)".to_owned()),
        ("no-such-program", "No such file or directory (os error 2)".to_owned()),
        (
            &no_interpreter,
            format!("No such file or directory (os error 2){missing}"),
        ),
        (&not_executable, "Permission denied (os error 13)".to_owned()),
    ] {
        let events = events(&["drive", "--", program]);
        assert_eq!(events.len(), 1);
        let expect = format!("not-started failed to start `{program}`: {cause}");
        assert_eq!(events[0].show(&["event", "message"]), expect);
    }
}

#[test]
fn a_command_that_does_not_end_is_ended_with_all_it_started() {
    let started = Instant::now();
    let script = "trap '' TERM; (setsid sleep 600 &); echo up; sleep 600; sleep 600";
    let event = &events(&["drive", "--timeout-ms", "400", "--", "sh", "-c", script])[0];
    assert_eq!(event.show(&EXIT[..5]), "exit - SIGKILL timeout up\n");
    // The sleep in a session of its own for certain; others of the group may still be about to die.
    assert!(event.integer("leftover_processes") >= 1, "{event:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_a_command_leaves_behind_is_ended() {
    let started = Instant::now();
    let script = "(sleep 600; echo never) & (setsid sh -c 'trap \"\" TERM HUP; sleep 600; sleep 600' &) ; echo done";
    let event = &events(&["drive", "--", "sh", "-c", script])[0];
    assert_eq!(event.show(&EXIT[..5]), "exit 0 - itself done\n");
    assert!(event.integer("leftover_processes") >= 2, "{event:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// A server's events, with `PORT` in the flags standing for its port.
fn serve(name: &str, flags: &[&str], manners: &[&str]) -> (Vec<Json>, String) {
    let server = compile(name, "servers/server.c", &[]);
    let port = free_port().to_string();
    let flags: Vec<String> = flags.iter().map(|flag| flag.replace("PORT", &port)).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let events = events(&[&["drive"], flags.as_slice(), &["--", &server, &port], manners].concat());
    (events, port)
}

#[test]
fn a_server_is_awaited_asked_and_stopped() {
    let flags = [
        [
            "--ready-http",
            "http://127.0.0.1:PORT/healthz",
            "--request",
            "GET",
            "/hello?name=World",
        ]
        .as_slice(),
        &[
            "--request",
            "POST",
            "/echo",
            "--header",
            "X-Case: Kept",
            "--header",
            "Host: example",
            "--body",
            "Grüße",
        ],
        &[
            "--request",
            "GET",
            "/chunked",
            "--request",
            "GET",
            "/until-close",
            "--request",
            "HEAD",
            "/nowhere",
        ],
        &["--request", "GET", "http://localhost:PORT/binary"],
    ];
    let (events, port) = serve(
        "server-good",
        &flags.concat(),
        &["listen-after-ms", "100", "unhealthy", "2", "stop-status", "4"],
    );
    let names: Vec<&str> = events.iter().map(|event| event.text("event")).collect();
    assert_eq!(
        names,
        ["ready", "response", "response", "response", "response", "response", "response", "exit"]
    );

    assert!(events[0].integer("attempts") >= 3 && events[0].integer("elapsed_ms") >= 100);
    let hello = &events[1];
    let url = format!("http://127.0.0.1:{port}/hello?name=World");
    assert_eq!(
        hello.show(&["index", "method", "url", "status", "body.text"]),
        format!("0 GET {url} 200 hello, World")
    );
    assert_eq!(hello.text("headers.content-type.0"), "text/plain");
    assert_eq!(
        hello.list("headers.x-plugin"),
        [Json::Text("a".into()), Json::Text("b".into())]
    );

    let echo = events[2].text("body.text");
    assert_eq!(events[2].integer("status"), 201);
    assert!(
        echo.starts_with("POST /echo HTTP/1.1\r\n") && echo.ends_with("\r\n\r\nGrüße"),
        "{echo}"
    );
    assert!(
        echo.contains("\r\nX-Case: Kept\r\n") && echo.contains("\r\nHost: example\r\n"),
        "{echo}"
    );
    assert!(
        echo.contains("\r\nContent-Length: 7\r\n") && !echo.contains(&port),
        "{echo}"
    );

    assert_eq!(events[3].text("body.text"), "hello, chunks");
    assert_eq!(events[4].text("body.text"), "until the connection is closed");
    assert_eq!(events[5].show(&["method", "status", "body.text"]), "HEAD 404 ");
    assert_eq!(
        events[6].show(&["url", "body.text"]),
        format!("http://localhost:{port}/binary \u{fffd}\u{fffd}")
    );
    assert_eq!(events[6].at("body.lossy"), &Json::Boolean(true));
    let expect = format!("exit 4 - stop-signal listening on {port}\nstopping\n 0");
    assert_eq!(events[7].show(&EXIT), expect);
}

#[test]
fn a_server_may_say_itself_that_it_is_ready() {
    for (name, flags) in [
        (
            "server-stdout",
            [
                "--ready-stdout",
                "listening on",
                "--request",
                "GET",
                "http://127.0.0.1:PORT/healthz",
            ]
            .as_slice(),
        ),
        ("server-tcp", &["--ready-tcp", "PORT", "--request", "GET", "/healthz"]),
    ] {
        let (events, _) = serve(name, flags, &["listen-after-ms", "50"]);
        let names: Vec<&str> = events.iter().map(|event| event.text("event")).collect();
        assert_eq!(names, ["ready", "response", "exit"], "{name}");
        assert_eq!(events[1].text("body.text"), "ok");
        assert_eq!(events[2].show(&EXIT[..4]), "exit 0 - stop-signal");
    }
}

#[test]
fn a_server_that_never_is_ready_is_told_apart() {
    let ready = [
        "--ready-http",
        "http://127.0.0.1:PORT/healthz",
        "--request",
        "GET",
        "/hello",
    ];
    let started = Instant::now();
    let (events, _) = serve("server-exits", &ready, &["exit-before-ready", "9"]);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "its end must be noticed at once"
    );
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].show(&["event", "reason"]), "not-ready exited");
    assert!(events[0].text("message").contains("Connection refused"), "{events:?}");
    assert_eq!(events[1].show(&EXIT), "exit 9 - itself  0");
    assert_eq!(events[1].text("stderr.text"), "cannot read the configuration\n");

    let late = [&["--ready-timeout-ms", "300"], ready.as_slice()].concat();
    let (events, port) = serve("server-unhealthy", &late, &["unhealthy", "1000000"]);
    assert_eq!(events[0].show(&["event", "reason"]), "not-ready timed-out");
    assert_eq!(
        events[0].text("message"),
        format!("http://127.0.0.1:{port}/healthz answered with status 503")
    );
    assert_eq!(events[1].show(&EXIT[..4]), "exit 0 - stop-signal");

    let silent = ["--ready-timeout-ms", "300", "--ready-stdout", "never said"];
    let (events, _) = serve("server-silent", &silent, &[]);
    assert_eq!(
        events[0].show(&["event", "reason", "message"]),
        "not-ready timed-out `never said` was not printed"
    );
}

#[test]
fn somebody_elses_answer_does_not_make_a_dead_server_ready() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/", other.local_addr().expect("it has an address"));
    // It answers when the server, which ends at once, is certainly gone.
    let answer = std::thread::spawn(move || {
        let (mut connection, _) = other.accept()?;
        std::thread::sleep(Duration::from_millis(500));
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let events = events(&["drive", "--ready-http", &url, "--", "sh", "-c", "exit 5"]);
    answer.join().expect("the thread ends").expect("the answer was sent");
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].show(&["event", "reason", "message"]), "not-ready exited -");
    assert_eq!(events[1].show(&EXIT[..4]), "exit 5 - itself");
}

#[test]
fn failed_requests_leave_the_others_alone() {
    let free = free_port();
    let nobody = format!("http://127.0.0.1:{free}/");
    let flags = [
        [
            "--ready-tcp",
            "PORT",
            "--request-timeout-ms",
            "300",
            "--output-limit-bytes",
            "1000",
        ]
        .as_slice(),
        &[
            "--request",
            "GET",
            "/drop",
            "--request",
            "GET",
            "/huge",
            "--request",
            "GET",
            "/noise",
        ],
        &[
            "--request",
            "GET",
            &nobody,
            "--request",
            "GET",
            "/healthz",
            "--request",
            "GET",
            "/slow",
        ],
    ];
    let (events, _) = serve("server-failing", &flags.concat(), &[]);
    let seen: Vec<String> = events[1..7]
        .iter()
        .map(|event| match event.text("event") {
            "response" => format!("{} {}", event.show(&["index", "status"]), event.text("body.text").len()),
            _ => event.show(&["index", "message"]),
        })
        .collect();
    let expect = [
        "0 failed to read the response: the connection was closed within the body",
        "1 200 1000",
        "2 200 5",
        &format!("3 failed to connect to 127.0.0.1:{free}: Connection refused (os error 111)"),
        "4 200 2",
        "5 failed to read the response: no body in time",
    ];
    assert_eq!(seen, expect);
    assert_eq!(events[2].at("body.truncated"), &Json::Boolean(true));
    assert_eq!(
        events[7].show(&["status", "signal_name", "stopped_by"]),
        "0 - stop-signal"
    );
    assert!(
        events[7].integer("stdout.bytes") > 2_000_000,
        "the server never waited for the loader to read"
    );
}

#[test]
fn a_server_that_dies_at_work_is_told() {
    let flags = [
        "--ready-tcp",
        "PORT",
        "--request",
        "GET",
        "/crash",
        "--request",
        "GET",
        "/healthz",
    ];
    let (events, _) = serve("server-dies", &flags, &[]);
    assert_eq!(events[1].show(&["event", "index"]), "request-failed 0");
    assert_eq!(
        events[2].show(&["event", "message"]),
        "request-failed not sent: the server has ended"
    );
    assert_eq!(events[3].show(&EXIT[..4]), "exit - SIGABRT itself");
}

#[test]
fn a_server_that_does_not_stop_is_killed() {
    let flags = ["--ready-tcp", "PORT", "--stop-timeout-ms", "200"];
    let (events, _) = serve("server-deaf", &flags, &["ignore-term"]);
    assert_eq!(events[1].show(&EXIT[..4]), "exit - SIGKILL stop-timeout");
    let flags = [&["--stop-signal", "INT"], flags.as_slice()].concat();
    let (events, _) = serve("server-int", &flags, &["ignore-term"]);
    assert_eq!(events[1].show(&EXIT[..4]), "exit 0 - stop-signal");
}

#[test]
fn the_time_limit_holds_for_all_requests_together() {
    let flags = [
        "--ready-tcp",
        "PORT",
        "--timeout-ms",
        "400",
        "--request",
        "GET",
        "/slow",
        "--request",
        "GET",
        "/healthz",
    ];
    let started = Instant::now();
    let (events, _) = serve("server-slow", &flags, &[]);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(events[1].show(&["event", "index"]), "request-failed 0");
    assert_eq!(
        events[2].show(&["event", "message"]),
        "request-failed not sent: 400 ms were over"
    );
}

#[test]
fn being_asked_to_end_is_passed_on() {
    let server = compile("server-asked", "servers/server.c", &[]);
    let port = free_port().to_string();
    let child = Command::new(loader())
        .args([
            "drive",
            "--ready-tcp",
            &port,
            "--request",
            "GET",
            "/slow",
            "--",
            &server,
            &port,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the loader starts");
    std::thread::sleep(Duration::from_millis(500));
    send_signal("TERM", child.id());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(128 + 15));
    let events = parse_lines(&output.stdout);
    let names: Vec<&str> = events.iter().map(|event| event.text("event")).collect();
    assert_eq!(names, ["ready", "exit", "interrupted"]);
    // The server was in the middle of an answer, so it may have ended by the signal or by its handler.
    assert_eq!(events[1].text("stopped_by"), "interrupt");
}

#[test]
fn a_command_is_needed() {
    let output = run(&["drive", "--timeout-ms", "5"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        stderr,
        "error[usage]: no command to run given\nhint: name the program and its arguments after `--`\n"
    );
}

/// The words of `steps` for these command lines.
fn steps(lines: &[&[&str]]) -> Vec<String> {
    let mut words = vec!["steps".to_owned()];
    for line in lines {
        words.push(line.len().to_string());
        words.extend(line.iter().map(|word| (*word).to_owned()));
    }
    words
}

/// The events of `steps`.
fn steps_events(lines: &[&[&str]]) -> Vec<Json> {
    let words = steps(lines);
    events(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_step_has_what_the_ones_before_it_left() {
    let directory = support::file("steps-directory", b"");
    std::fs::remove_file(&directory).unwrap();
    let make = format!("mkdir -p {directory} && cat > {directory}/text");
    let told = steps_events(&[
        &["--stdin", "Grüße\nan alle\n", "--status", "0", "--", "sh", "-c", &make],
        &["--directory", &directory, "--", "sh", "-c", "pwd; cat text; rm text"],
    ]);
    std::fs::remove_dir(&directory).unwrap();
    let names: Vec<&str> = told.iter().map(|event| event.text("event")).collect();
    assert_eq!(names, ["step", "exit", "step", "exit"]);
    assert_eq!((told[0].integer("index"), told[2].integer("index")), (0, 1));
    assert_eq!(told[3].text("stdout.text"), format!("{directory}\nGrüße\nan alle\n"));
}

#[test]
fn no_step_is_begun_that_lacks_what_it_needs() {
    let fails = shell("exit 3");
    let cases: [(&[&str], &str); 6] = [
        (&["--status", "3", "--"], "step exit step exit"),
        (&["--"], "step exit step exit"),
        (&["--status", "0", "--"], "step exit"),
        (&["--timeout-ms", "100", "--", "sleep", "60"], "step exit"),
        (&["--", "/nowhere/initdb"], "step not-started"),
        (&["--ready-stdout", "up", "--", "true"], "step not-ready exit"),
    ];
    for (flags, expect) in cases {
        let line = match flags.last() {
            Some(&"--") => [flags, &fails[..]].concat(),
            _ => flags.to_vec(),
        };
        let told = steps_events(&[&line, &["--", "true"]]);
        let names: Vec<&str> = told.iter().map(|event| event.text("event")).collect();
        assert_eq!(names.join(" "), expect, "{line:?}");
    }
}

#[test]
fn nothing_of_a_step_is_there_for_the_next() {
    let told = steps_events(&[
        &[
            "--",
            "sh",
            "-c",
            "(setsid sh -c 'trap \"\" TERM HUP; sleep 600' &); sleep 0.1",
        ],
        &["--", "sh", "-c", "echo done"],
    ]);
    assert!(told[1].integer("leftover_processes") >= 1, "{told:?}");
    assert_eq!(told[3].show(&EXIT), "exit 0 - itself done\n 0");
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let event = &events(&["drive", "--directory", "/nowhere", "--", "true"])[0];
    assert_eq!(
        event.show(&["event", "message"]),
        "not-started failed to start `true` in `/nowhere`: No such file or directory (os error 2)"
    );
}

const CLIENT: [&str; 7] = [
    "event",
    "index",
    "status",
    "signal_name",
    "stopped_by",
    "stdout.text",
    "stderr.text",
];

#[test]
fn a_client_runs_beside_the_server() {
    let say = [
        "--client",
        "6",
        "--env",
        "A=1",
        "--",
        "sh",
        "-c",
        "printf %s \"$A\"; echo no >&2; exit 4",
    ];
    let read = ["--client", "4", "--stdin", "asked", "--", "cat"];
    let late = ["--client", "5", "--timeout-ms", "100", "--", "sleep", "60"];
    // Of its group nothing stays, and nothing holds its output.
    let leaves = ["--client", "4", "--", "sh", "-c", "sleep 60 & echo left"];
    let missing = ["--client", "1", "no-such-client"];
    let request = ["--request", "GET", "/healthz"];
    let started = Instant::now();
    let flags = [
        &["--ready-tcp", "PORT"][..],
        &say,
        &request,
        &read,
        &late,
        &leaves,
        &missing,
        &["--request", "GET", "/healthz"],
    ];
    let (told, _) = serve("server-clients", &flags.concat(), &["stop-status", "3"]);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let names: Vec<&str> = told.iter().map(|event| event.text("event")).collect();
    assert_eq!(
        names,
        [
            "ready",
            "client",
            "response",
            "client",
            "client",
            "client",
            "client-failed",
            "response",
            "exit"
        ]
    );
    assert_eq!(told[1].show(&CLIENT), "client 0 4 - itself 1 no\n");
    assert_eq!(told[3].show(&CLIENT), "client 2 0 - itself asked ");
    assert_eq!(told[4].show(&CLIENT[..5]), "client 3 - SIGKILL timeout");
    assert_eq!(told[5].show(&CLIENT), "client 4 0 - itself left\n ");
    assert_eq!(
        told[6].show(&["index", "message"]),
        "5 failed to start `no-such-client`: No such file or directory (os error 2)"
    );
    assert_eq!(told[8].show(&EXIT[..4]), "exit 3 - stop-signal");
}

#[test]
fn no_client_is_started_beside_a_server_that_has_ended() {
    let flags = [
        "--ready-tcp",
        "PORT",
        "--request",
        "GET",
        "/crash",
        "--client",
        "1",
        "true",
    ];
    let (told, _) = serve("server-gone", &flags, &[]);
    assert_eq!(
        told[2].show(&["event", "index", "message"]),
        "client-failed 1 not started: the server has ended"
    );
    assert_eq!(told[3].show(&EXIT[..4]), "exit - SIGABRT itself");
    // A client that makes the server end, and its own end, are both seen.
    let flags = [
        "--ready-tcp",
        "PORT",
        "--client",
        "3",
        "sh",
        "-c",
        "kill -TERM $(cat /proc/$PPID/task/$PPID/children)",
    ];
    let (told, _) = serve("server-ended-by-client", &flags, &["stop-status", "5"]);
    assert_eq!(told.last().unwrap().integer("status"), 5, "{told:?}");
}
