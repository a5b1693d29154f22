//! Symbols of Go plugins with the types that their host asserts: what `check` reads from the file, what the smoke test sees, and
//! what the host then says are one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use sample::{Sample, said, with_sample};

const HOST: &str = r#"package main

import (
	"fmt"
	"os"
	"plugin"

	"example.com/typed/api"
)

func main() {
	opened, err := plugin.Open(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	route, _ := opened.Lookup("Route")
	handle, _ := opened.Lookup("Handle")
	fmt.Println(*route.(*string), handle.(func(api.Request) error)(api.Request{}))
}
"#;
const PLUGIN: &str = r#"package main

import "example.com/typed/api"

var Route = "/ip"

func Handle(request api.Request) error { return nil }

func main() {}
"#;
const API: &str = "package api\n\n// Request is what is handed over.\ntype Request struct{ Path string }\n";
const WRONG: &str = "interface conversion: plugin.Symbol is *int, not *string";

fn configure(sample: &Sample) {
    let text = format!(
        r#"version: 1
project: {}
environments:
  glibc: {{build: {{builtin: debian/build}}, runtime: {{builtin: debian/runtime}}}}
host: {{language: go, source: ., package: ./cmd/server, artifacts: [server]}}
plugins:
  - {{name: ip, language: go, source: ., package: ./plugins/ip, artifacts: [ip.so]}}
contract:
  loader: go
  abi: go
  symbols: [{{name: Route, type: "*string"}}, {{name: Handle, type: "func(api.Request) error"}}]
smoke:
  command: [server, "{{plugins}}/ip.so"]
  expect: {{status: 0, stdout: [/ip <nil>]}}
"#,
        sample.name
    );
    for (path, text) in [
        ("lockstep.yaml", text.as_str()),
        ("go.mod", "module example.com/typed\n\ngo 1.24\n"),
        ("cmd/server/main.go", HOST),
        ("plugins/ip/main.go", PLUGIN),
        ("api/api.go", API),
        ("other/api/api.go", API),
    ] {
        sample.write(path, text);
    }
}

#[test]
fn what_has_another_type_is_refused_before_it_is_opened_and_when_it_is() {
    with_sample("typed", |sample| {
        configure(sample);
        sample.build(0);
        let published = sample.published();
        let manifest = sample.read("dist/glibc/manifest.json").unwrap();
        assert!(manifest.contains(r#""Route": "*string""#), "{manifest}");

        let output = sample.run(&["inspect", "dist/glibc/ip.so"]);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(
            told.contains("Handle func(api.Request) error · Route *string"),
            "{told}"
        );

        // A contract of one's own, on the same files.
        let wanted = "{loader: go, symbols: [{name: Route, type: '*int'}]}\n";
        sample.write("other.yaml", wanted);
        let files = ["check", "dist/glibc/server", "dist/glibc/ip.so"];
        let output = sample.run(&[&files[..], &["--contract", "other.yaml"]].concat());
        let told = said(&output) + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("refuse[go-symbol-type]"), "{told}");

        // The plugin changes its mind, and nothing of it is published.
        sample.write("plugins/ip/main.go", &PLUGIN.replace("\"/ip\"", "7"));
        let told = sample.build(1);
        for words in [
            "refuse[go-symbol-type]",
            "in the contract: *string",
            "in the plugin: *int",
            WRONG,
        ] {
            assert!(told.contains(words), "{told}");
        }
        assert_eq!(sample.published(), published);

        // Who does not ask the file is told by Go.
        let told = sample.build_unchecked(5);
        assert!(told.contains(&format!("Route has another type: {WRONG}")), "{told}");
        assert_eq!(sample.published(), published);

        // Written alike, and of a package that the host has not.
        sample.write("plugins/ip/main.go", &PLUGIN.replace("typed/api", "typed/other/api"));
        let told = sample.build(1);
        let package = "api.Request is of the package example.com/typed/other/api";
        for words in ["danger[go-symbol-type]", package, "the host has example.com/typed/api"] {
            assert!(told.contains(words), "{told}");
        }
        // The host's own assertion fails then.
        let told = sample.build_unchecked(5);
        assert!(told.contains("the host did not do what is expected"), "{told}");
        assert_eq!(sample.published(), published);
    });
}
