//! What has no end by itself: output, files, and an engine that does not answer when somebody wants to stop.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::between::{Between, Manner};
use crate::sample::{PATIENCE, Sample, docker, signal, with_sample};
use crate::table::{Row, tries};
use crate::watched::watch;

/// What a flood may cost: 10 s on a machine that has nothing else to do, and not three minutes on any.
const FLOOD_TIMEOUT: Duration = Duration::from_secs(30);
const FLOOD_MEMORY_KIB: u64 = 100 * 1024;
/// How soon a signal is answered; a machine with other work is slow.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long after a signal the program may go on with an engine that is silent, and with one that is slow.
const SILENT_TIMEOUT: Duration = Duration::from_secs(12);
const SLOW_TIMEOUT: Duration = Duration::from_secs(30);

/// Gives the plugin `good` a command of its own, and the project more configuration.
fn configure(sample: &Sample, key: &str, command: &str, more: &str) {
    sample.configure(&["good"], more);
    let text = sample.read("lockstep.yaml").unwrap();
    let given = format!("{key}: {}", serde_json::to_string(command).unwrap());
    let text = text.replace("env: {LDFLAGS: '-Wl,-z,undefs'}", &given);
    assert!(text.contains(&given));
    sample.write("lockstep.yaml", &text);
}

/// What a gigabyte may come as.
const FLOODS: &[(&str, &str, &str)] = &[
    ("lines", "command", "yes 'a line like any other' | head -c 1000000000"),
    ("one line", "command", "head -c 1000000000 /dev/zero | tr '\\0' x >&2"),
    ("empty lines", "command", "yes '' | head -c 1000000000"),
    ("a fetch", "fetch", "yes"),
    ("both streams", "command", "yes out & yes error >&2"),
];

#[test]
fn output_without_end_is_told_in_seconds() {
    with_sample("flood", |sample| {
        sample.build(0);
        let before = sample.published();
        let mut row = Row::new("ends", "a gigabyte of output");
        for (what, key, command) in &FLOODS[..tries(3, FLOODS.len())] {
            configure(sample, key, command, "");
            let seen = watch(sample.command(&["build", "--progress", "jsonl"]));
            let said = seen.said();
            row.check(
                seen.code == Some(4)
                    && said.contains("more than 64 MiB of output")
                    && seen.took < FLOOD_TIMEOUT
                    && seen.peak_kib < FLOOD_MEMORY_KIB,
                || {
                    let end: String = said
                        .chars()
                        .rev()
                        .take(300)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .rev()
                        .collect();
                    format!(
                        "{what}: {:?} in {:?}, {} KiB: {end}",
                        seen.code, seen.took, seen.peak_kib
                    )
                },
            );
            sample.assert_nothing_left(&[sample.volume()]);
            assert_eq!(sample.published(), before, "{what}");
        }
        row.finish();
    });
}

/// What fills a disk: 64 MiB are allowed, and none of these would write more than 2 GiB if nobody ended it.
const FILLS: &[(&str, &str)] = &[
    ("one file", "head -c 500M /dev/zero > $HOME/x"),
    (
        "many files, slowly",
        "for i in $(seq 100); do head -c 20M /dev/zero > $HOME/x$i; sleep 0.1; done; sleep 60",
    ),
    (
        "files without names",
        "exec 3> $HOME/x 4> $HOME/y; rm $HOME/x $HOME/y; head -c 60M /dev/zero >&3; head -c 60M /dev/zero >&4; sleep 60",
    ),
    (
        "files at once, that stay",
        "for i in 1 2 3; do head -c 40M /dev/zero > $HOME/x$i; done; cc -shared -o $LOCKSTEP_OUT/good.so good.c",
    ),
    (
        "where only the owner may look",
        "mkdir $HOME/d; for i in 1 2 3; do head -c 40M /dev/zero > $HOME/d/$i; done; chmod 0 $HOME/d; sleep 60",
    ),
    ("a file with a hole", "truncate -s 10G $HOME/x"),
    (
        "room that is only reserved",
        "for i in 1 2 3; do fallocate -l 60M $HOME/x$i; done; sleep 60",
    ),
    (
        "what it leaves as artifacts",
        "for i in 1 2 3; do head -c 40M /dev/zero > $LOCKSTEP_OUT/$i; done; sleep 60",
    ),
];

#[test]
fn a_compile_writes_no_more_than_it_may() {
    with_sample("disk", |sample| {
        sample.build(0);
        let before = sample.published();
        let mut row = Row::new("ends", "more on the engine's disk than allowed");
        for (what, command) in &FILLS[..tries(4, FILLS.len())] {
            configure(sample, "command", command, "limits: {disk: 64MiB}\n");
            let seen = watch(sample.command(&["build"]));
            let said = seen.said();
            // Reserving is refused, so that the command itself fails.
            let is_told = said.contains("wrote more than 64 MiB") && said.contains("limits: disk:")
                || what.contains("reserved") && said.contains("fallocate failed");
            row.check(seen.code == Some(4) && is_told && seen.took < FLOOD_TIMEOUT, || {
                format!("{what}: {:?} in {:?}: {said}", seen.code, seen.took)
            });
            sample.assert_nothing_left(&[sample.volume()]);
        }
        let fetch = "for i in 1 2 3; do head -c 40M /dev/zero > /lockstep/deps/$i; done";
        configure(sample, "fetch", fetch, "limits: {disk: 64MiB}\n");
        let said = sample.build(4);
        row.check(
            said.contains("error[fetch]") && said.contains("wrote more than 64 MiB"),
            || said,
        );
        assert_eq!(sample.published(), before);
        row.finish();
    });
}

/// A build in the background: what it says with the moments when it said it.
struct Build {
    child: Child,
    lines: mpsc::Receiver<(Instant, String)>,
}

/// How a stopped build went.
#[derive(Debug)]
struct Stopped {
    code: Option<i32>,
    acknowledged: Option<Duration>,
    took: Duration,
    said: String,
}

impl Build {
    fn start(sample: &Sample, between: &Between, arguments: &[&str]) -> Self {
        let mut child = sample
            .command(arguments)
            .env("DOCKER_HOST", between.address())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send((Instant::now(), line));
            }
        });
        Self { child, lines }
    }

    fn stop(mut self, with: Signal) -> Stopped {
        let sent = Instant::now();
        signal(&self.child, with);
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            if sent.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let took = sent.elapsed();
        let lines: Vec<(Instant, String)> = self.lines.iter().collect();
        let heard = lines.iter().find(|(_, line)| line.contains("stopping: "));
        Stopped {
            code,
            acknowledged: heard.map(|(at, _)| at.duration_since(sent)),
            took,
            said: lines.into_iter().map(|(_, line)| line + "\n").collect(),
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// When the engine changes, what it is from then on, and how the build is shown.
const STOPS: &[(&str, Manner, Signal, &str)] = &[
    // The attachment to a compile's output, its start, the list of what is to be removed, a container's creation.
    ("/attach?", Manner::Silent, Signal::INT, "plain"),
    ("-compile-good-", Manner::Silent, Signal::TERM, "quiet"),
    ("/wait?", Manner::Slow, Signal::INT, "jsonl"),
    ("/images/load", Manner::Silent, Signal::INT, "plain"),
    ("/version", Manner::Silent, Signal::HUP, "plain"),
    ("/info", Manner::Silent, Signal::INT, "plain"),
    ("/archive?", Manner::Silent, Signal::INT, "plain"),
    ("/archive?", Manner::Slow, Signal::TERM, "plain"),
    ("-smoke-bundle-open-", Manner::Silent, Signal::INT, "plain"),
    ("/get", Manner::Silent, Signal::INT, "jsonl"),
    ("/start", Manner::Silent, Signal::INT, "plain"),
    ("/images/load", Manner::Slow, Signal::INT, "plain"),
    ("/exec", Manner::Slow, Signal::INT, "plain"),
    ("/containers/create", Manner::Slow, Signal::INT, "quiet"),
];

#[test]
fn a_signal_is_heard_whatever_the_engine_does() {
    with_sample("stop", |sample| {
        sample.build(0);
        let bundle = || (sample.read("dist/glibc/manifest.json"), sample.read("lockstep.lock"));
        let before = bundle();
        let mut row = Row::new("ends", "a signal while the engine is silent or slow");
        for (number, (trigger, manner, with, progress)) in STOPS[..tries(4, STOPS.len())].iter().enumerate() {
            sample.write(
                "good/good.c",
                &format!("long plugin_answer(void) {{ return 42; }} /* {number} */\n"),
            );
            let between = Between::until(trigger, *manner);
            let build = Build::start(sample, &between, &["build", "--progress", progress]);
            between.wait_for_trigger(PATIENCE);
            std::thread::sleep(Duration::from_millis(100));
            let stopped = build.stop(*with);
            let limit = if *manner == Manner::Silent {
                SILENT_TIMEOUT
            } else {
                SLOW_TIMEOUT
            };
            let is_heard = stopped.acknowledged.is_some_and(|after| after < ACKNOWLEDGE_TIMEOUT);
            let says_what = ["nothing was published", "the next build"]
                .iter()
                .any(|words| stopped.said.contains(words))
                || stopped.said.contains("too late") && stopped.code == Some(0)
                || trigger.starts_with("/version");
            row.check(
                matches!(stopped.code, Some(130 | 0)) && is_heard && says_what && stopped.took < limit,
                || format!("{trigger} {manner:?}: {stopped:?}"),
            );
            drop(between);
            // One later build: all is whole, and nothing of the stopped one is left.
            sample.write("good/good.c", crate::sample::GOOD);
            sample.build(0);
            sample.assert_nothing_left(&[sample.volume()]);
        }
        // A release that was published too late to be stopped may stay in the volume as the one before.
        assert_eq!(bundle(), before);
        row.finish();
    });
}

/// Moments of a publication: the link in the volume is about to be made, the image is about to get its name.
const PUBLICATIONS: &[(&str, Manner)] = &[
    ("mv -T current.new current", Manner::HandOn),
    ("/tag?", Manner::Silent),
    ("mv -T current.new current", Manner::Silent),
    ("/tag?", Manner::HandOn),
    ("mv -T current.new current", Manner::Slow),
    ("/tag?", Manner::Slow),
];

#[test]
fn a_publication_in_the_middle_is_finished_or_taken_back() {
    with_sample("late", |sample| {
        sample.build(0);
        let mut row = Row::new("ends", "a signal while something is published");
        for (number, (trigger, manner)) in PUBLICATIONS[..tries(3, PUBLICATIONS.len())].iter().enumerate() {
            sample.write(
                "good/good.c",
                &format!("long plugin_answer(void) {{ return 42 + 0 * {number}; }}\nint new{number};\n"),
            );
            let between = Between::until(trigger, *manner);
            let build = Build::start(sample, &between, &["build"]);
            between.wait_for_trigger(PATIENCE);
            let stopped = build.stop(Signal::INT);
            let said = &stopped.said;
            let as_it_should_be = match stopped.code {
                Some(0) => said.contains("too late"),
                Some(130) => said.contains("while this was published") && said.contains("the next build"),
                _ => false,
            };
            let limit = if *manner == Manner::Silent {
                SILENT_TIMEOUT
            } else {
                SLOW_TIMEOUT
            };
            row.check(as_it_should_be && stopped.took < limit, || {
                format!("{trigger} {manner:?}: {stopped:?}")
            });
            row.check(*manner == Manner::Silent || stopped.code == Some(0), || {
                format!("{trigger} {manner:?}: it could have been finished: {stopped:?}")
            });
            drop(between);
            sample.build(0);
            sample.assert_nothing_left(&[sample.volume()]);
            let told = sample.build(0);
            assert!(told.contains("nothing changed"), "{told}");
        }
        row.finish();
    });
}

#[test]
fn what_the_engine_does_for_the_dead_is_removed_by_the_next_run() {
    with_sample("late-load", |sample| {
        sample.build(0);
        let mut row = Row::new("ends", "an image that is loaded for a run that was killed");
        for number in 0..tries(1, 4) {
            sample.write(
                "good/good.c",
                &format!("long plugin_answer(void) {{ return 42; }} int late{number};\n"),
            );
            // Later than the next run looks for what it finds, and sooner than it ends.
            let between = Between::keeping("/images/load", Duration::from_millis(1200));
            let build = Build::start(sample, &between, &["build"]);
            between.wait_for_trigger(PATIENCE);
            build.kill();
            if number % 2 == 0 {
                // Nothing to do for the next run, which would be over at once.
                sample.write("good/good.c", crate::sample::GOOD);
            }
            sample.build(0);
            let staged: Vec<String> = sample
                .images()
                .into_iter()
                .filter(|name| name.contains("staged"))
                .collect();
            row.check(staged.is_empty(), || format!("{staged:?}"));
            docker(&["ps", "--quiet"]);
            sample.assert_nothing_left(&[sample.volume()]);
        }
        row.finish();
    });
}
