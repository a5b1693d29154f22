//! `lockstep init` from outside: the samples, whose own `lockstep.yaml` people wrote, and trees made for it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Output;

use lockstep::config;

const BUILTIN: &[&str] = &["debian/build", "debian/runtime", "musl/build", "musl/runtime"];

fn init(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("lockstep").unwrap();
    command
        .current_dir(directory)
        .env_remove("LOCKSTEP_FILE")
        .arg("init")
        .args(arguments)
        .output()
        .unwrap()
}

/// Copies a directory of the project without what version control does not have.
fn copy(name: &str, target: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    for entry in ignore::WalkBuilder::new(&source).hidden(false).build() {
        let entry = entry.unwrap();
        let path = target.join(entry.path().strip_prefix(&source).unwrap());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(path).unwrap();
        } else {
            std::fs::copy(entry.path(), path).unwrap();
        }
    }
}

/// The project that was written: it reads without a problem, and each of its units is there.
fn written(directory: &Path) -> config::Project {
    let (project, problems) = config::load(&directory.join("lockstep.yaml"), "lockstep.yaml", BUILTIN);
    assert_eq!(problems, []);
    project.unwrap()
}

fn described(project: &config::Project) -> Vec<String> {
    project
        .units()
        .map(|unit| format!("{:?} {:?} {} {:?}", unit.role, unit.language, unit.name, unit.artifacts))
        .collect()
}

#[test]
fn greeter_is_recognised_as_it_was_written_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    copy("host", &directory.path().join("host"));
    copy("plugins", &directory.path().join("plugins"));
    let output = init(directory.path(), &[]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let project = written(directory.path());
    let mut units = described(&project);
    units.sort();
    assert_eq!(
        units,
        [
            "Host Rust greeter [\"greeter\"]",
            "Plugin C reverse [\"reverse.so\"]",
            "Plugin Cpp stats [\"stats.so\"]",
            "Plugin Rust shout [\"libshout.so\"]",
        ]
    );
    assert_eq!(project.contract.symbols, ["plugin_name", "plugin_greet", "plugin_free"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("every plugin exports plugin_name") && said.contains("next: "),
        "{said}"
    );
}

#[test]
fn gateway_is_recognised_as_it_was_written_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    copy("gateway", directory.path());
    std::fs::remove_file(directory.path().join("lockstep.yaml")).unwrap();
    assert_eq!(init(directory.path(), &[]).status.code(), Some(0));
    let (own, _) = config::load(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/lockstep.yaml"),
        "gateway/lockstep.yaml",
        &[BUILTIN, &["alpine/build", "alpine/runtime"]].concat(),
    );
    let (own, written) = (own.unwrap(), written(directory.path()));
    assert_eq!(described(&written), described(&own));
    assert_eq!(written.contract.symbols, own.contract.symbols);
    assert_eq!(
        (written.contract.loader, written.contract.abi),
        (own.contract.loader, own.contract.abi)
    );
}

#[test]
fn a_file_that_is_there_stays_unless_forced() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lockstep.yaml");
    copy("host", &directory.path().join("host"));
    copy("plugins", &directory.path().join("plugins"));
    std::fs::write(&file, "mine\n").unwrap();
    let output = init(directory.path(), &["."]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hint: overwrite it with: lockstep init --force"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine\n");
    assert_eq!(init(directory.path(), &["--force"]).status.code(), Some(0));
    written(directory.path());
}

#[test]
fn nothing_is_written_where_nothing_is_recognised() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("notes.txt"), "text").unwrap();
    let output = init(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("looked for:") && said.contains("go.mod"), "{said}");
    assert!(!directory.path().join("lockstep.yaml").exists());
    assert_eq!(init(directory.path(), &["nowhere"]).status.code(), Some(2));
}

#[test]
fn names_that_yaml_would_misread_are_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("2024");
    for (path, text) in [
        ("host/main.c", "int main(void) { dlopen(0, 0); return 0; }\n"),
        ("plugins/no/x.c", "int run(void) { return 1; }\n"),
        ("plugins/My Plugin/x.c", "int run(void) { return 2; }\n"),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    assert_eq!(init(directory.path(), &["2024"]).status.code(), Some(0));
    let project = written(&root);
    assert_eq!(project.name.as_str(), "2024");
    let names: Vec<&str> = project.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    assert_eq!(names, ["my-plugin", "no"]);
    assert_eq!(project.plugins[0].source, "plugins/My Plugin");
}
