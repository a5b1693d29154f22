//! Plugins that need an earlier one, in real images of both C libraries: opened after it, and refused without it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use sample::{Sample, said, with_sample};

/// Opens the plugins that it is given, in their order, and says what each answers.
const HOST: &str = r#"#include <dlfcn.h>
#include <stdio.h>
long host_base(void) { return 40; }
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    void *plugin = dlopen(argv[i], RTLD_NOW | RTLD_GLOBAL);
    if (!plugin) { printf("refused\n"); continue; }
    long (*answer)(void) = (long (*)(void))dlsym(plugin, "plugin_answer");
    printf("answer %ld\n", answer());
  }
  return 0;
}
"#;
const DOM: &str = "long host_base(void);\nlong dom_node(void) { return host_base() + 1; }\nlong plugin_answer(void) { return dom_node(); }\n";
const XSL: &str = "long dom_node(void);\nlong plugin_answer(void) { return dom_node() + 1; }\n";
/// It defines nothing that another one needs.
const OTHER: &str = "long plugin_answer(void) { return 7; }\n";

/// Writes a project of both C libraries with these plugins in this order.
fn configure(sample: &Sample, order: [&str; 3]) {
    let plugins = order.map(|plugin| {
        format!("  - {{name: {plugin}, language: c, source: {plugin}, artifacts: [{plugin}.so], env: {{LDFLAGS: '-Wl,-z,undefs'}}}}\n")
    });
    let text = format!(
        "version: 1
project: {}
environments:
  glibc: {{build: {{builtin: debian/build}}, runtime: {{builtin: debian/runtime}}}}
  musl: {{build: {{builtin: musl/build}}, runtime: {{builtin: musl/runtime}}}}
host: {{language: c, source: host, artifacts: [tiny], env: {{LDFLAGS: '-rdynamic'}}}}
plugins:
{}contract: {{loader: dlopen, abi: c, scope: global, symbols: [plugin_answer], calls: [{{symbol: plugin_answer, returns: integer}}]}}
smoke:
  command: [tiny, '{{plugins}}/dom.so', '{{plugins}}/xsl.so', '{{plugins}}/other.so']
  expect: {{status: 0, stdout: ['answer 41', 'answer 42', 'answer 7']}}
",
        sample.name,
        plugins.concat()
    );
    sample.write("lockstep.yaml", &text);
    sample.write("host/main.c", HOST);
    for (plugin, source) in [("dom", DOM), ("xsl", XSL), ("other", OTHER)] {
        sample.write(&format!("{plugin}/{plugin}.c"), source);
    }
}

#[test]
fn a_plugin_that_needs_an_earlier_one_is_opened_after_it() {
    with_sample("order", |sample| {
        configure(sample, ["other", "dom", "xsl"]);
        let told = sample.build(0);
        let line = "smoke: 3 loaded · xsl.so after dom.so · host answered as expected";
        assert_eq!(told.matches(line).count(), 2, "for each C library: {told}");

        // A host that is given xsl alone would refuse it, at home as elsewhere.
        let output = sample.run(&["matrix"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            told.contains("xsl is there with dom, without which it does not load"),
            "{told}"
        );
        assert!(!told.contains("please report this"), "{told}");
    });
}

#[test]
fn a_plugin_that_is_listed_before_what_it_needs_is_refused() {
    with_sample("disorder", |sample| {
        configure(sample, ["other", "xsl", "dom"]);
        let output = sample.run(&["build", "glibc"]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("refuse[") && told.contains("dom_node"), "{told}");
        for environment in ["glibc", "musl"] {
            let output = sample.run(&["build", "--no-check", environment]);
            let told = said(&output);
            assert_eq!(output.status.code(), Some(5), "{told}");
            let words = "xsl.so: not loadable: ";
            assert!(told.contains(words) && told.contains("dom_node"), "{told}");
            assert!(told.contains("1 plugin failed"), "{told}");
        }
        assert_eq!(sample.read("dist/glibc/manifest.json"), None, "nothing is published");
    });
}
