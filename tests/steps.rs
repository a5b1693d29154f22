//! Smoke tests of several steps, on the engine: what a step leaves, who it runs as, where it can write, and what is told when one
//! fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use sample::{Sample, with_sample};

/// It opens the plugin, and says who it is and where.
const HOST: &str = r#"#include <dlfcn.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
  void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
  long (*answer)(void) = plugin ? (long (*)(void))dlsym(plugin, "plugin_answer") : NULL;
  struct passwd *me = getpwuid(getuid());
  char here[4096], line[256];
  printf("answer %ld, %s %d:%d in %s\n", answer ? answer() : -1, me ? me->pw_name : "nobody", (int)getuid(), (int)getgid(),
         getcwd(here, sizeof here));
  while (fgets(line, sizeof line, stdin)) printf("read %s", line);
  return 0;
}
"#;

/// Writes the sample's project with these steps.
fn configure(sample: &Sample, steps: &str) {
    sample.write("host/main.c", HOST);
    sample.configure(&["good"], "");
    let text = sample.read("lockstep.yaml").unwrap();
    let at = text.find("smoke:\n").unwrap();
    sample.write("lockstep.yaml", &format!("{}smoke:\n{steps}", &text[..at]));
}

#[test]
fn steps_follow_each_other_in_one_container() {
    with_sample("steps", |sample| {
        configure(
            sample,
            r#"  - setup: [sh, -euc, "cp \"$HOST\" /data/copy; echo left > /data/text; sleep 600 &"]
    user: 7
    writable: [/data]
    exec: true
    env: {HOST: "{plugins}/tiny"}
  - run: [tiny, "{plugins}/good.so"]
    stdin: "of {plugins}\n"
    expect: {stdout: ["answer 42, lockstep 1000:1000 in /lockstep", "read of /"]}
  - run: [./copy, "{plugins}/good.so"]
    user: 7
    cwd: /data
    expect: {stdout: ["answer 42, lockstep-7 7:7 in /data"]}
  - run: [sh, -c, "cat /data/text; echo new > /data/text; echo x > /etc/x; grep -l sleep /proc/*/comm || echo alone"]
    expect: {stdout: [left, alone], stderr: [/data/text, /etc/x]}
  - run: [sh, -c, "echo opened > /dev/stdout; echo a log > /dev/stderr"]
    user: 7
    expect: {stdout: [opened], stderr: [a log]}
  - serve: [sh, -c, "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"]
    ready: {stdout: up}
    requests:
      - {run: [sh, -c, "cat; exit 4"], stdin: asked, user: 7, cwd: /data, expect: {status: 4, stdout: [asked]}}
    stop: {status: 3}
"#,
        );
        let told = sample.build(0);
        assert!(told.contains("1 loaded · host answered as expected"), "{told}");
    });
}

#[test]
fn a_step_that_fails_is_told_with_its_place_and_both_streams() {
    with_sample("steps-fail", |sample| {
        let good = "  - {run: [tiny, \"{plugins}/good.so\"], expect: {stdout: [answer 42]}}\n";
        let cases: [(&str, &[&str]); 5] = [
            (
                "  - {setup: [sh, -c, 'echo out; echo err >&2; exit 9']}\n",
                &[
                    "the setup failed",
                    "smoke[1] `sh -c echo out; echo err >&2; exit 9`: setup:",
                    "status 0",
                    "status 9",
                    "out",
                    "err",
                ],
            ),
            (
                "  - {run: [ls, -d, /tmp], expect: {stdout: [/tmp]}}\n  - {setup: [initdb, -D, /data]}\n",
                &[
                    "smoke[2] `initdb -D /data`: host:",
                    "the setup runs",
                    "failed to start `initdb`",
                    "the runtime image has no `initdb`: add the package that has it",
                ],
            ),
            (
                "  - serve: [sh, -c, \"echo up; echo log >&2; sleep 60\"]\n    ready: {stdout: up}\n    stop: {signal: KILL}\n    \
                 requests: [{run: [nothing-like-this]}]\n",
                &[
                    "`nothing-like-this`",
                    "has no `nothing-like-this`",
                    "ended by SIGKILL",
                    "log",
                ],
            ),
            (
                "  - {run: [sh, -c, 'echo x > /data/x; chmod +x /data/x'], user: 7, writable: [/data]}\n  - {run: [/data/x], user: 7}\n",
                &["smoke[2] `/data/x`: host:", "ermission denied"],
            ),
            (
                "  - {run: [tiny], user: postgres}\n",
                &["the runtime image of glibc has no user `postgres`", "`lockstep`"],
            ),
        ];
        for (steps, words) in cases {
            configure(sample, &format!("{steps}{good}"));
            let told = sample.build(5);
            for word in words {
                assert!(told.contains(word), "`{word}` is not in {told}");
            }
            assert_eq!(sample.read("dist/glibc/manifest.json"), None, "nothing is published");
        }
    });
}

/// What a library's permissions let a user do is predicted of the user of the step that is the host, and seen by the same one.
#[test]
fn plugins_are_opened_as_the_user_of_the_step_that_is_the_host() {
    with_sample("steps-user", |sample| {
        sample.write(
            "images/runtime.yaml",
            "bootstrap:\n  base: {builtin: debian/runtime}\n  setup:\n    - chown 7:7 /usr/lib/x86_64-linux-gnu/libstdc++.so.6\n    - chmod 0400 /usr/lib/x86_64-linux-gnu/libstdc++.so.6\n",
        );
        let run = |user: &str| {
            format!("  - {{run: [tiny, \"{{plugins}}/good.so\"]{user}, expect: {{stdout: [answer 42]}}}}\n")
        };
        let configure_as = |user: &str| {
            configure(sample, &run(user));
            let text = sample.read("lockstep.yaml").unwrap();
            let text = text.replace("{builtin: debian/runtime}", "images/runtime.yaml");
            let needs = "LDFLAGS: '-Wl,--no-as-needed -lstdc++'";
            sample.write("lockstep.yaml", &text.replace("LDFLAGS: '-Wl,-z,undefs'", needs));
        };
        configure_as(", user: 7");
        let told = sample.build(0);
        assert!(
            told.contains("check: 1 plugin ok") && told.contains("1 loaded · host answered as expected"),
            "{told}"
        );
        let checked = sample.run(&["check"]);
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        let before = sample.published();
        for user in ["", ", user: 8"] {
            configure_as(user);
            let told = sample.build(1);
            assert!(told.contains("libstdc++.so.6") && told.contains("mode 0400"), "{told}");
            let told = sample.build_unchecked(5);
            assert!(
                told.contains("libstdc++.so.6: cannot open shared object file"),
                "{told}"
            );
            assert_eq!(sample.published(), before);
        }
    });
}
