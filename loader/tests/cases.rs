//! The cases that all loaders share, as whoever calls the loader sees them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

use support::{events, run, Json};

/// What the cases of responses leave of a body.
const BODY_LIMIT_BYTES: &str = "64";

/// The lines of a file that are cases.
fn cases(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn what_is_wrong_with_a_command_line_is_named() {
    for case in cases(include_str!("shared/usage.txt")) {
        let (line, expect) = case.split_once('\t').expect("a case has two parts");
        let output = run(&line.split_whitespace().collect::<Vec<_>>());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {stderr}");
        assert!(
            stderr.starts_with(&format!("error[usage]: {expect}\nhint: ")),
            "{line}: {stderr}"
        );
        assert!(output.stdout.is_empty(), "{line}");
    }
}

/// Flags of a server that is ready at once, and asked this.
fn asking<'a>(requests: &[&'a str]) -> Vec<&'a str> {
    let ready = ["drive", "--ready-stdout", "", "--output-limit-bytes", BODY_LIMIT_BYTES];
    [&ready, requests, &["--", "sleep", "60"]].concat()
}

#[test]
fn urls_are_read_alike() {
    for case in cases(include_str!("shared/urls.txt")) {
        let (url, expect) = case.split_once('\t').expect("a case has two parts");
        let arguments = asking(&["--request-timeout-ms", "500", "--request", "GET", url]);
        if let Some((read, address)) = expect.split_once(' ').filter(|(read, _)| read.starts_with("http://")) {
            let answer = &events(&arguments)[1];
            assert_eq!(answer.text("url"), read);
            // Somebody may listen on a port of this machine; what was read of the address is not seen then.
            if answer.text("event") == "request-failed" {
                let message = answer.text("message");
                assert!(
                    message.starts_with(&format!("failed to connect to {address}: ")),
                    "{message}"
                );
            }
        } else {
            let stderr = String::from_utf8_lossy(&run(&arguments).stderr).into_owned();
            assert!(
                stderr.contains(&format!("`--request` cannot use `{url}`: {expect}\n")),
                "{stderr}"
            );
        }
    }
}

/// A response as the cases write it.
fn shown(event: &Json) -> String {
    if event.text("event") == "request-failed" {
        return event.text("message").replace("failed to read the response:", "error");
    }
    let Json::Object(headers) = event.at("headers") else {
        panic!("headers are an object");
    };
    let shown = headers.iter().map(|(name, values)| {
        let Json::List(values) = values else {
            panic!("a header has a list of values");
        };
        let values: Vec<String> = values.iter().map(|value| value.string().to_owned()).collect();
        format!("{name}={}", values.join("|"))
    });
    let headers: Vec<String> = shown.collect();
    let cut = if event.at("body.truncated") == &Json::Boolean(true) {
        "…"
    } else {
        ""
    };
    format!(
        "ok {} [{}] {}{cut}",
        event.integer("status"),
        headers.join(" "),
        event.text("body.text")
    )
}

#[test]
fn responses_are_read_alike() {
    let cases: Vec<Vec<&str>> = cases(include_str!("shared/responses.txt"))
        .map(|case| case.split('\t').collect())
        .collect();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/", listener.local_addr().expect("it has an address"));
    let answers: Vec<String> = cases
        .iter()
        .map(|case| case[1].replace("\\r", "\r").replace("\\n", "\n"))
        .collect();
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut connection, _) = listener.accept().expect("the loader connects");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                connection.read_exact(&mut byte).expect("a request has an end");
                asked.push(byte[0]);
            }
            connection.write_all(answer.as_bytes()).expect("the loader reads");
        }
    });
    let requests: Vec<&str> = cases.iter().flat_map(|case| ["--request", case[0], &url]).collect();
    let events = events(&asking(&requests));
    server.join().expect("all were asked");
    for (case, event) in cases.iter().zip(&events[1..]) {
        assert_eq!(shown(event), case[2], "{}", case[1]);
    }
    assert_eq!(events.len(), cases.len() + 2);
}
