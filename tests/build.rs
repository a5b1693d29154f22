//! `lockstep build` from outside: real images, real compilers, real loading.
//!
//! The first run on a machine makes the images, which takes minutes; they stay in the user's cache.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use sample::{GOOD, PATIENCE, Sample, docker, said, signal, wait, with_sample};

/// How long a build may take to end when it is interrupted, on a machine that has more to do.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A source that takes the compiler's process some time: its command sleeps.
fn configure_slow(sample: &Sample) {
    sample.write("slow/slow.c", GOOD);
    sample.configure(&["good", "slow"], "");
    let text = sample.read("lockstep.yaml").unwrap();
    let slow = "source: slow, command: 'sleep 60; cc -shared -o $LOCKSTEP_OUT/slow.so slow.c'";
    sample.write("lockstep.yaml", &text.replace("source: slow", slow));
}

/// A plugin that keeps the smoke test busy until its time is over.
fn configure_loop(sample: &Sample) {
    let source = "long plugin_answer(void) { for (;;) __asm__ volatile(\"\"); }\n";
    sample.write("loop/loop.c", source);
    sample.configure(&["good", "loop"], "");
}

#[test]
fn a_build_is_loaded_published_and_not_repeated() {
    with_sample("whole", |sample| {
        sample.build(0);
        assert_eq!(sample.on_engine(), [sample.volume()]);
        let tag = format!("lockstep/{}:glibc", sample.name);
        assert_eq!(docker(&["run", "--rm", "--network", "none", &tag]), "answer 42\n");
        for name in [tag.as_str(), "dist/glibc"] {
            let output = sample.run(&["inspect", name]);
            let told = String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output);
            let bundle = format!("project {} · environment glibc", sample.name);
            for line in [&bundle, "host         tiny\n", "plugins      good\n"] {
                assert!(told.contains(line), "{line}: {told}");
            }
        }
        let first = sample.published();
        let told = sample.build(0);
        assert!(told.contains("nothing changed"), "{told}");
        assert_eq!(sample.published(), first);

        sample.write(
            "good/good.c",
            "long plugin_answer(void) { return 6 * 7 + 0; } // changed\n",
        );
        let output = sample.run(&["build", "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let compiled: Vec<&str> = report["environments"][0]["units"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|unit| unit["cached"] == false)
            .map(|unit| unit["name"].as_str().unwrap())
            .collect();
        assert_eq!(compiled, ["good"]);
        assert_eq!(sample.on_engine(), [sample.volume()]);

        let output = sample.run(&["build", "--locked"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let output = sample.run(&["smoke", "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["glibc"]["plugins"][0]["calls"][0]["returned"], 42);
    });
}

#[test]
fn what_is_not_known_of_a_plugin_is_shown() {
    with_sample("unknown", |sample| {
        let text = sample.read("lockstep.yaml").unwrap();
        let marked = "source: good, command: 'cc -shared -fPIC -Wl,-z,x86-64-v2 -o $LOCKSTEP_OUT/good.so good.c'";
        sample.write("lockstep.yaml", &text.replace("source: good", marked));
        let told = sample.build(0);
        assert!(told.contains("check: 1 plugin · 1 unknown"), "{told}");
        let finding = "unknown[processor-level]";
        assert_eq!(told.matches(finding).count(), 1, "{told}");
        assert!(
            told.contains("warning: some of what decides how plugins load in glibc is not known"),
            "{told}"
        );
        // Whoever knows it says so, and is not told again.
        sample.write("good/good.c", "long plugin_answer(void) { return 42; } // again\n");
        let output = sample.run(&["build", "--allow", "processor-level"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(!said(&output).contains(finding), "{}", said(&output));
    });
}

/// The log of the very run, below a unit's source.
#[test]
fn a_file_that_grows_while_it_is_read_is_told_as_that() {
    with_sample("growing", |sample| {
        let text = sample.read("lockstep.yaml").unwrap();
        let whole = "source: ., command: 'cc -shared -fPIC -o $LOCKSTEP_OUT/good.so good/good.c'";
        sample.write("lockstep.yaml", &text.replace("source: good", whole));
        let (log, errors) = (sample.path().join("build.log"), std::fs::File::create);
        let status = sample
            .command(&["build"])
            .stderr(errors(&log).unwrap())
            .status()
            .unwrap();
        let told = std::fs::read_to_string(&log).unwrap();
        assert_eq!(status.code(), Some(2), "{told}");
        assert!(
            told.contains("error[source]: failed to read") && told.contains("`build.log` changed"),
            "{told}"
        );
        assert!(
            told.contains("into .lockstepignore") && !told.contains("engine"),
            "{told}"
        );
        sample.write(".lockstepignore", "build.log\n");
        let status = sample
            .command(&["build"])
            .stderr(errors(&log).unwrap())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "{}", std::fs::read_to_string(&log).unwrap());
    });
}

#[test]
fn a_fresh_clone_is_built_to_the_same_bits() {
    with_sample("clone", |sample| {
        sample.build(0);
        let (bundle, lock) = (sample.read("dist/glibc/manifest.json"), sample.read("lockstep.lock"));
        for directory in [".lockstep", "dist"] {
            std::fs::remove_dir_all(sample.path().join(directory)).unwrap();
        }
        let output = sample.run(&["build", "--locked"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(
            (sample.read("dist/glibc/manifest.json"), sample.read("lockstep.lock")),
            (bundle, lock)
        );
    });
}

#[test]
fn every_way_to_fail_is_told_apart_and_all_at_once() {
    with_sample("bad", |sample| {
        sample.build(0);
        let before = sample.published();
        let bad = [
            (
                "undefined",
                "long lost(void);\nlong plugin_answer(void) { return lost(); }\n",
            ),
            ("symbolless", "long plugin_question(void) { return 42; }\n"),
            (
                "crash",
                "long plugin_answer(void) { volatile long *nothing = 0; return *nothing; }\n",
            ),
            (
                "loop",
                "long plugin_answer(void) { for (;;) __asm__ volatile(\"\"); }\n",
            ),
            (
                "quitter",
                "#include <stdlib.h>\n__attribute__((constructor)) static void quit(void) { exit(7); }\nlong plugin_answer(void) { return 42; }\n",
            ),
        ];
        let mut plugins = vec!["good"];
        for (name, source) in bad {
            sample.write(&format!("{name}/{name}.c"), source);
            plugins.push(name);
        }
        sample.configure(&plugins, "");
        let text = sample.read("lockstep.yaml").unwrap();
        sample.write("lockstep.yaml", &text.replace("answer 42", "answer 43"));
        // What files can tell is told before anything is loaded; what only happens is left to the smoke test.
        let predicted = sample.build(1);
        for finding in [
            "refuse[symbol-not-found]: `undefined.so`",
            "refuse[contract-symbol]: `symbolless.so`",
        ] {
            assert!(predicted.contains(finding), "{finding} is not in {predicted}");
        }
        assert!(predicted.contains("6 plugins: 2 refuse · 4 ok"), "{predicted}");
        let told = sample.build_unchecked(5);
        let line = |name: &str| {
            told.lines()
                .find(|line| line.contains(&format!("{name}.so: ")))
                .unwrap_or_else(|| panic!("{name} is not in {told}"))
        };
        for (name, words) in [
            ("undefined", ["not loadable", "undefined symbol: lost"]),
            ("symbolless", ["symbol missing", "plugin_answer"]),
            ("crash", ["crashed", "SIGSEGV"]),
            ("loop", ["timed out", "call of plugin_answer"]),
            ("quitter", ["status 7", "during open"]),
        ] {
            for word in words {
                assert!(line(name).contains(word), "{name} without `{word}`: {}", line(name));
            }
        }
        assert!(
            told.contains("answer 43") && told.contains("answer 42"),
            "expected and got: {told}"
        );
        assert!(!told.contains("good.so: "), "a good plugin is no failure: {told}");
        assert_eq!(sample.published(), before);
        sample.assert_nothing_left(&[sample.volume()]);

        sample.write("good/good.c", "long plugin_answer(void) { return 1 }\n");
        sample.configure(&["good"], "");
        let told = sample.build(4);
        assert!(
            told.contains("`good`") && told.contains("good.c:1:") && told.contains(".lockstep/logs/"),
            "{told}"
        );
        assert_eq!(sample.published(), before);
        sample.assert_nothing_left(&[sample.volume()]);
    });
}

#[test]
fn a_first_build_that_fails_leaves_nothing() {
    with_sample("first", |sample| {
        sample.write("good/good.c", "#error not today\n");
        let told = sample.build(4);
        assert!(told.contains("not today"), "{told}");
        sample.assert_nothing_left(&[]);
        assert_eq!(
            (sample.read("lockstep.lock"), sample.path().join("dist").exists()),
            (None, false)
        );

        sample.write("good/good.c", "int plugin_question;\n");
        for (told, code) in [
            (sample.build(1), "contract-symbol"),
            (sample.build_unchecked(5), "smoke"),
        ] {
            assert!(told.contains(code), "{told}");
            sample.assert_nothing_left(&[]);
            assert_eq!(
                (sample.read("lockstep.lock"), sample.path().join("dist").exists()),
                (None, false)
            );
        }
    });
}

#[test]
fn ctrl_c_leaves_the_previous_bundle_and_nothing_else() {
    with_sample("signal", |sample| {
        sample.build(0);
        let before = sample.published();
        let interrupt = |container: &str| {
            let build = sample.start(&["build"]);
            sample.wait_for_container(container);
            signal(&build, Signal::INT);
            let started = Instant::now();
            let output = wait(build, PATIENCE);
            assert_eq!(output.status.code(), Some(130), "{container}: {}", said(&output));
            assert!(started.elapsed() < STOP_TIMEOUT, "{:?}", started.elapsed());
            sample.assert_nothing_left(&[sample.volume()]);
            assert_eq!(sample.published(), before, "{container}");
        };
        configure_slow(sample);
        interrupt("-compile-slow-");

        configure_loop(sample);
        interrupt("-smoke-bundle-open-");

        sample.configure(&["good"], "");
        sample.build(0);
    });
}

#[test]
fn what_a_killed_build_left_is_removed_by_the_next_one() {
    with_sample("killed", |sample| {
        sample.build(0);
        let before = sample.published();
        let kill = |container: &str| {
            let build = sample.start(&["build"]);
            sample.wait_for_container(container);
            signal(&build, Signal::KILL);
            wait(build, PATIENCE);
            assert!(sample.on_engine().len() > 1, "a killed process removes nothing");
        };
        configure_slow(sample);
        kill("-compile-slow-");
        assert_eq!(sample.published(), before);
        configure_loop(sample);
        kill("-smoke-bundle-open-");

        sample.configure(&["good"], "");
        sample.write("good/good.c", "long plugin_answer(void) { return 42L; }\n");
        let told = sample.build(0);
        assert!(told.contains("earlier run"), "{told}");
        sample.assert_nothing_left(&[sample.volume()]);
        assert_ne!(sample.published(), before);
    });
}

#[test]
fn an_edited_recipe_is_drift_until_the_lock_is_updated() {
    with_sample("drift", |sample| {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
        for name in ["musl/runtime.yaml", "debian/passwd", "debian/group"] {
            sample.write(
                &format!("images/{name}"),
                &std::fs::read_to_string(images.join(name)).unwrap(),
            );
        }
        // The smallest image there is, for both: nothing is compiled here.
        let text = sample.read("lockstep.yaml").unwrap();
        let text = text
            .replace("{builtin: debian/build}", "{builtin: musl/runtime}")
            .replace("{builtin: debian/runtime}", "images/musl/runtime.yaml");
        sample.write("lockstep.yaml", &text);
        // An update looks at the mirror again: in a cache of its own, so that no other project meets what it finds.
        let cache = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let child = sample
                .command(arguments)
                .env("LOCKSTEP_CACHE_DIR", cache.path())
                .spawn()
                .unwrap();
            let output = wait(child, PATIENCE);
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            (output.status.code(), printed, said(&output))
        };
        let (status, _, told) = run(&["lock"]);
        assert_eq!(status, Some(0), "{told}");
        let (lock, recipe) = (
            sample.read("lockstep.lock"),
            sample.read("images/musl/runtime.yaml").unwrap(),
        );
        let edited = recipe.replace("LANG: C.UTF-8", "LANG: C");
        assert_ne!(edited, recipe);
        sample.write("images/musl/runtime.yaml", &edited);
        for arguments in [&["build"][..], &["build", "--locked"], &["lock"]] {
            let (status, _, told) = run(arguments);
            assert_eq!(status, Some(6), "{arguments:?}: {told}");
            assert!(
                told.contains("~ runtime recipe: ") && told.contains("lock --update glibc"),
                "{told}"
            );
        }
        let (status, printed, _) = run(&["lock", "--check"]);
        assert!(status == Some(6) && printed.contains("~ runtime recipe: "), "{printed}");
        assert_eq!(sample.read("lockstep.lock"), lock);

        let (status, printed, told) = run(&["lock", "--update", "glibc"]);
        assert_eq!(status, Some(0), "{told}");
        assert!(printed.contains("~ runtime recipe: "), "{printed}");
        assert_ne!(sample.read("lockstep.lock"), lock);
        assert_eq!(run(&["lock"]).1, "glibc: as locked\n");

        // Images of recipes are shared by all projects, so `clean` leaves them; this one is of no use to any.
        let lock = lockstep::lock::read(&sample.path().join("lockstep.lock"))
            .unwrap()
            .unwrap();
        let image = lock.environments.values().next().unwrap().runtime.id.clone();
        let (status, printed, told) = run(&["lock", "--keep", "kept"]);
        assert_eq!(status, Some(0), "{told}");
        assert!(
            printed.contains("kept: 2 packages · ") && printed.contains(" · 2 added"),
            "{printed}"
        );
        assert!(run(&["lock", "--keep", "kept"]).1.contains(" · 0 added"));

        // Where neither the engine nor the cache has it any more, and no mirror answers.
        docker(&["rmi", &image]);
        let empty = tempfile::tempdir().unwrap();
        let run = || {
            let child = sample
                .command(&["lock"])
                .env("LOCKSTEP_CACHE_DIR", empty.path())
                .env("LOCKSTEP_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
                .spawn()
                .unwrap();
            let output = wait(child, PATIENCE);
            (output.status.code(), said(&output))
        };
        let (status, told) = run();
        assert_eq!(status, Some(6), "{told}");
        for line in [
            "2 of 2 packages of the lock are nowhere",
            ", cannot be had",
            "the engine: does not have it",
            "the user's cache: does not have it",
            "the registry: none is named",
            "the user's cache: does not have them",
            "http://127.0.0.1:9/debian: Failed to fetch",
        ] {
            assert!(told.contains(line), "{told}");
        }
        let text = sample.read("lockstep.yaml").unwrap();
        sample.write("lockstep.yaml", &format!("{text}archives: [kept]\n"));
        let (status, told) = run();
        assert_eq!(status, Some(0), "{told}");
        docker(&["rmi", &image]);
    });
}

#[test]
fn two_builds_at_once_wait_for_each_other() {
    with_sample("twice", |sample| {
        let builds = [sample.start(&["build"]), sample.start(&["build"])];
        let outputs = builds.map(|build| wait(build, PATIENCE));
        for output in &outputs {
            assert_eq!(output.status.code(), Some(0), "{}", said(output));
        }
        let told = outputs.each_ref().map(said);
        let count = |text: &str| told.iter().filter(|told| told.contains(text)).count();
        assert_eq!(
            (count("waiting for another run"), count("nothing changed")),
            (1, 1),
            "{told:?}"
        );
        sample.assert_nothing_left(&[sample.volume()]);
    });
}
