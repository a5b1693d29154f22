//! Plugins that attack the loader, the host and each other: what each comes to, and that nothing is said of its neighbours.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::sample::{Sample, said, with_sample};
use crate::table::{Row, tries};

/// What every hostile plugin is compiled with.
const HEADER: &str = include_str!("hostile/attack.h");
const CONSTRUCTOR: &str = include_str!("hostile/constructor.h");
const PLUGINS: &str = include_str!("hostile/plugins.yaml");
const GO_PLUGINS: &str = include_str!("hostile/go.yaml");
const IN_HOST: &str = include_str!("hostile/host.yaml");
/// So little that it can be used up, and enough for a loader.
const LIMITS: &str = "limits: {memory: 1GiB, processes: 256}\n";
/// One file, one library; two at once.
const COMPILE: &str = "flags=\"-fPIC -w\"; gcc $flags attack.h; ls *.c | xargs -P 2 -I {} sh -c \"gcc $flags -shared -o $LOCKSTEP_OUT/\\$(basename {} .c).so {}\"";
const GROUP: &str = "plugins";

/// A plugin that attacks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hostile {
    name: String,
    attack: String,
    /// Definitions.
    #[serde(default)]
    before: String,
    /// Statements of its constructor.
    does: String,
    /// Words of its line, alternatives apart by a bar; none when it is loaded.
    said: Vec<String>,
    /// `all`: it takes long.
    only: Option<String>,
    /// Whether it does the same where the loader for Go opens it.
    #[serde(default)]
    go: bool,
}

/// Those that are tried this time.
fn hostile(text: &str) -> Vec<Hostile> {
    let mut all: Vec<Hostile> = serde_yaml::from_str(text).unwrap();
    let is_all = tries(0, 1) == 1;
    all.retain(|plugin| is_all || plugin.only.is_none());
    if let Ok(part) = std::env::var("LOCKSTEP_HOSTILE_ONLY") {
        all.retain(|plugin| plugin.name.contains(&part));
    }
    all
}

/// C with what the plugin does in its constructor.
fn source(before: &str, does: &str) -> String {
    let does = does.replace('\n', " ");
    format!("#include \"attack.h\"\n{before}\n#define ATTACK {does}\n#include \"constructor.h\"\n")
}

/// The lines that name plugins, by the plugin's name.
fn named(told: &str) -> BTreeMap<String, String> {
    let lines = told.lines().filter_map(|line| {
        let (name, _) = line.split_once(".so: ")?;
        Some((name.rsplit(' ').next()?.to_owned(), line.trim().to_owned()))
    });
    lines.collect()
}

/// A project's file with these plugins, each of artifacts that are its own. The host is given the last plugin named here.
fn project(name: &str, plugins: &[(&str, Vec<String>)], in_host: &str, more: &str) -> String {
    let plugins: String = plugins
        .iter()
        .map(|(name, artifacts)| {
            let artifacts = artifacts.join(", ");
            format!("  - {{name: {name}, language: c, source: good, artifacts: [{artifacts}], command: '{COMPILE}'}}\n")
        })
        .collect();
    format!(
        "version: 1
project: {name}
environments:
  glibc: {{build: {{builtin: debian/build}}, runtime: {{builtin: debian/runtime}}}}
host: {{language: c, source: host, artifacts: [tiny]}}
plugins:
{plugins}contract: {{loader: dlopen, abi: c, symbols: [plugin_answer], calls: [{{symbol: plugin_answer, returns: integer}}]}}
smoke:
  command: [tiny, '{{plugins}}/{in_host}.so']
  expect: {{status: 0, stdout: [answer 42]}}
{more}"
    )
}

fn file(name: &str) -> String {
    format!("{name}.so")
}

/// Writes the sources of these plugins beside the good one, and the files that they include.
fn write_sources<'a>(sample: &Sample, directory: &str, plugins: impl Iterator<Item = &'a Hostile> + Clone) {
    let names: Vec<String> = plugins.clone().map(|plugin| format!("\"{}\"", plugin.name)).collect();
    let write = |name: &str, text: &str| sample.write(&format!("{directory}/{name}"), text);
    write("names.h", &names.join(", "));
    write("attack.h", HEADER);
    write("constructor.h", CONSTRUCTOR);
    for plugin in plugins {
        write(&format!("{}.c", plugin.name), &source(&plugin.before, &plugin.does));
    }
}

#[test]
fn a_plugin_speaks_for_itself_alone() {
    attack_loader(
        "hostile",
        "builtin: debian/build",
        &["", "opened by the loader"][..tries(1, 2)],
    );
}

/// Where an image has no cargo, the loader is one in C.
#[test]
fn a_plugin_speaks_for_itself_alone_before_the_loader_in_c() {
    let ways = ["loader in C", "opened by the loader in C"];
    if tries(0, 1) == 1 {
        attack_loader("hostile-c", "extends: runtime, packages: [gcc, libc6-dev]", &ways);
    }
}

/// All of them come out of one compile, as companions of a good plugin; each becomes a plugin for the loading alone, which is
/// done by the host, and by the loader, as far as there are names for these ways.
fn attack_loader(name: &str, build_image: &str, ways: &[&str]) {
    let all = hostile(PLUGINS);
    with_sample(name, |sample| {
        write_sources(sample, "good", all.iter());
        let artifacts = ["good"]
            .into_iter()
            .chain(all.iter().map(|plugin| plugin.name.as_str()));
        let artifacts = artifacts.map(file).collect();
        let in_image = |text: String| text.replace("builtin: debian/build", build_image);
        let text = project(&sample.name, &[("good", artifacts)], "good", LIMITS);
        sample.write("lockstep.yaml", &in_image(text));
        sample.build_unchecked(0);

        let mut plugins = vec![("good", vec![file("good")])];
        plugins.extend(
            all.iter()
                .map(|plugin| (plugin.name.as_str(), vec![file(&plugin.name)])),
        );
        let text = in_image(project(&sample.name, &plugins, "good", LIMITS));
        for (way, opener) in ways.iter().zip(["host", "loader"]) {
            let opened = format!("abi: c, opened_by: {opener},");
            sample.write("lockstep.yaml", &text.replace("abi: c,", &opened));
            let output = sample.run(&["smoke"]);
            assert_eq!(output.status.code(), Some(5), "{}", said(&output));
            let way = if way.is_empty() {
                String::new()
            } else {
                format!(" ({way})")
            };
            judge_all(&all, &way, &said(&output));
        }
    });
}

/// The loader for Go opens C as well, up to the point where it finds no Go in it: the constructor has run then.
#[test]
fn a_plugin_speaks_for_itself_alone_in_go() {
    let (c, go) = (hostile(PLUGINS), hostile(GO_PLUGINS));
    let is_all = tries(0, 1) == 1;
    let c: Vec<Hostile> = c
        .into_iter()
        .filter(|plugin| plugin.go && (is_all || plugin.name == "ptrace-seize"))
        .collect();
    with_sample("hostile-go", |sample| {
        sample.write("go.mod", "module hostile\n\ngo 1.24\n");
        sample.write("main.go", include_str!("hostile/host.go"));
        let mut units = String::new();
        let good = include_str!("hostile/plugin.go");
        for (name, does) in [("good", "")]
            .into_iter()
            .chain(go.iter().map(|plugin| (plugin.name.as_str(), plugin.does.as_str())))
        {
            sample.write(
                &format!("plugins/{name}/plugin.go"),
                &good.replace("/* attack */", does),
            );
            units += &format!(
                "  - {{name: {name}, language: go, source: ., package: ./plugins/{name}, artifacts: [{name}.so]}}\n"
            );
        }
        write_sources(sample, "c", c.iter());
        for plugin in &c {
            let name = &plugin.name;
            units += &format!(
                "  - {{name: {name}, language: go, source: ., artifacts: [{name}.so], command: 'gcc -shared -fPIC -w -o $LOCKSTEP_OUT/{name}.so c/{name}.c'}}\n"
            );
        }
        units += "  - {name: last, language: go, source: ., package: ./plugins/last, artifacts: [last.so]}\n";
        sample.write("plugins/last/plugin.go", &good.replace("/* attack */", ""));
        let text = format!(
            "version: 1
project: {}
environments:
  glibc: {{build: {{builtin: debian/build}}, runtime: {{builtin: debian/runtime}}}}
host: {{language: go, source: ., package: ., artifacts: [host]}}
plugins:
{units}contract: {{loader: go, abi: go, symbols: [Answer], calls: [{{symbol: Answer, returns: integer}}]}}
smoke:
  command: [host, '{{plugins}}/good.so']
  expect: {{status: 0, stdout: [answer 42]}}
{LIMITS}",
            sample.name
        );
        sample.write("lockstep.yaml", &text);
        let told = sample.build_unchecked(5);
        let all: Vec<Hostile> = go.into_iter().chain(c.into_iter().map(in_go)).collect();
        judge_all(&all, " (loader for Go)", &told);
    });
}

/// C that does no harm is loaded by the loader for C. Go finds no plugin in it, and its runtime gives up.
fn in_go(plugin: Hostile) -> Hostile {
    let said = if plugin.said.is_empty() {
        vec!["crashed with SIG".to_owned()]
    } else {
        plugin.said
    };
    Hostile { said, ..plugin }
}

/// What a plugin does inside of the host, where it is part of what is tested: it can be the host's failure, and never the
/// loader's report.
#[test]
fn a_plugin_in_the_host_cannot_report() {
    let all = hostile(IN_HOST);
    with_sample("hosted", |sample| {
        write_sources(sample, "good", all.iter());
        let artifacts = ["good"]
            .into_iter()
            .chain(all.iter().map(|plugin| plugin.name.as_str()));
        let plugins = [("good", artifacts.map(file).collect())];
        sample.write("lockstep.yaml", &project(&sample.name, &plugins, "good", LIMITS));
        sample.build_unchecked(0);
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for plugin in &all {
            let text = project(&sample.name, &plugins, &plugin.name, LIMITS);
            sample.write("lockstep.yaml", &text);
            let output = sample.run(&["smoke"]);
            let told = said(&output);
            let expected = if plugin.said.is_empty() { 0 } else { 5 };
            let is_said = plugin.said.iter().all(|words| told.contains(words));
            row(&mut rows, &plugin.attack, "").check(output.status.code() == Some(expected) && is_said, || {
                format!("{}: {:?}: {told}", plugin.name, output.status.code())
            });
        }
        rows.into_values().for_each(Row::finish);
    });
}

/// On all three ways into a container: staged in the volume, from a bundle, and crossed with other hosts.
#[test]
fn no_plugin_replaces_another_or_the_host() {
    let all = hostile(PLUGINS);
    let all: Vec<&Hostile> = all
        .iter()
        .filter(|plugin| ["replaces-files", "maps-files"].contains(&plugin.name.as_str()))
        .collect();
    with_sample("replaced", |sample| {
        write_sources(sample, "good", all.iter().copied());
        let mut plugins: Vec<(&str, Vec<String>)> = vec![("good", vec![file("good")])];
        plugins.extend(
            all.iter()
                .map(|plugin| (plugin.name.as_str(), vec![file(&plugin.name)])),
        );
        sample.write("lockstep.yaml", &project(&sample.name, &plugins, "good", ""));
        let mut row = Row::new(GROUP, "files replaced in what is built, in a bundle, in the matrix");
        for command in ["build", "smoke", "matrix"] {
            let output = sample.run(&[command, "--format", "json"]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let is_loaded = command != "matrix" || text.matches(r#""observed": "loaded""#).count() == plugins.len();
            row.check(output.status.code() == Some(0) && is_loaded, || {
                format!("{command}: {text}{}", said(&output))
            });
        }
        row.finish();
    });
}

fn row<'a, 'b>(rows: &'b mut BTreeMap<&'a str, Row>, attack: &'a str, more: &str) -> &'b mut Row {
    rows.entry(attack)
        .or_insert_with(|| Row::new(GROUP, format!("{attack}{more}")))
}

/// Judges all that is said, of these plugins and of others.
fn judge_all(all: &[Hostile], more: &str, told: &str) {
    let mut named = named(told);
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for plugin in all {
        row(&mut rows, &plugin.attack, more).count(judge(plugin, named.remove(&plugin.name)));
    }
    let mut others = Row::new(GROUP, format!("what is said of those that attack nobody{more}"));
    others.check(named.is_empty(), || format!("{named:?}"));
    others.finish();
    rows.into_values().for_each(Row::finish);
}

/// Whether what is said of a plugin is what it is to be.
fn judge(plugin: &Hostile, line: Option<String>) -> Result<(), String> {
    let is_said = |line: &str| {
        let said = |words: &String| words.split('|').any(|words| line.contains(words));
        plugin.said.iter().all(said)
    };
    match line {
        None if plugin.said.is_empty() => Ok(()),
        None => Err(format!("{} was loaded", plugin.name)),
        Some(line) if !plugin.said.is_empty() && is_said(&line) => Ok(()),
        Some(line) => Err(format!("{}: {line}", plugin.name)),
    }
}
