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

/// What `init` writes for a tree.
fn proposed(directory: &Path) -> config::Project {
    let output = init(directory, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    written(directory)
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
    assert_eq!(
        project.contracts.named(None).unwrap().symbols,
        ["plugin_name", "plugin_greet", "plugin_free"]
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("every plugin exports plugin_name") && said.contains("next: "),
        "{said}"
    );
}

/// What the host makes of two directories of plugins, its sources do not tell: that is said, and what is written is a project.
#[test]
fn gateway_is_recognised_but_for_its_kinds() {
    let directory = tempfile::tempdir().unwrap();
    copy("gateway", directory.path());
    std::fs::remove_file(directory.path().join("lockstep.yaml")).unwrap();
    let output = init(directory.path(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for expected in [
        "not used cmd/gateway-static",
        "plugins lie in plugins/handlers and plugins/middlewares",
        "`contracts:`",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    let (own, _) = config::load(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/lockstep.yaml"),
        "gateway/lockstep.yaml",
        &[BUILTIN, &["alpine/build", "alpine/runtime"]].concat(),
    );
    let (own, written) = (own.unwrap(), written(directory.path()));
    assert_eq!(described(&written), described(&own));
    let packages = |project: &config::Project| -> Vec<_> { project.units().map(|unit| unit.package.clone()).collect() };
    assert_eq!(packages(&written), packages(&own));
    let contract = written.contracts.named(None).unwrap();
    assert_eq!(own.contracts.iter().count(), 2);
    for kind in own.contracts.iter() {
        assert_eq!(
            (contract.loader, contract.abi),
            (kind.contract.loader, kind.contract.abi)
        );
        assert_eq!(contract.symbols, kind.contract.symbols);
    }
    let planned = assert_cmd::Command::cargo_bin("lockstep")
        .unwrap()
        .current_dir(directory.path())
        .env_remove("LOCKSTEP_FILE")
        .arg("plan")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&planned.stderr).into_owned();
    assert_eq!(planned.status.code(), Some(0), "{said}");
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

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The commonest kind of project with plugins: a plugin, and a host that a package brings.
#[test]
fn plugins_of_a_packaged_host_get_its_images_and_a_smoke_test() {
    let directory = tempfile::tempdir().unwrap();
    let source = "#include <lua.h>\nint luaopen_hello(lua_State *state) {\n  return 0;\n}\n";
    write(directory.path(), &[("module/hello.c", source)]);
    let output = init(directory.path(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let project = written(directory.path());
    assert!(matches!(&project.host.program, config::Program::Runtime(program) if program.path == "/usr/bin/lua5.4"));
    assert_eq!(described(&project), ["Plugin C hello [\"hello.so\"]"]);
    assert_eq!(project.contracts.named(None).unwrap().symbols, ["luaopen_hello"]);
    assert_eq!(
        project.smoke.unwrap().steps[0].invocation.command,
        ["lua5.4", "-e", "require('hello')"]
    );
    // The recipe is written once, and is not overwritten by whatever is written later.
    let recipe = directory.path().join("images/lua.yaml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    assert_eq!(init(directory.path(), &["--force"]).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&recipe).unwrap(), text);
    std::fs::write(&recipe, "mine").unwrap();
    assert_eq!(init(directory.path(), &["--force"]).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&recipe).unwrap(), "mine");
    assert!(
        std::fs::read_to_string(directory.path().join("lockstep.yaml"))
            .unwrap()
            .contains("images/lua-2.yaml")
    );
}

#[test]
fn a_host_that_is_named_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &[("module/x.c", "int run(void) {\n  return 1;\n}\n")]);
    let output = init(directory.path(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("but no host") && said.contains("lockstep init --host nginx"),
        "{said}"
    );
    let refused = |host: &str, words: &str| {
        let output = init(directory.path(), &["--host", host]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!directory.path().join("lockstep.yaml").exists());
    };
    refused("ngnix", "did you mean `--host nginx`?");
    refused("Team/Host:/opt/host", "is no reference of an image");
    let output = init(directory.path(), &["--host", "registry.example/team/host:1:/opt/host"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let project = written(directory.path());
    assert!(matches!(&project.host.program, config::Program::Runtime(program) if program.path == "/opt/host"));
}

#[test]
fn a_recipe_goes_through_no_link() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(
        directory.path(),
        &[("x.c", "int luaopen_x(void *state) {\n  return 0;\n}\n")],
    );
    std::os::unix::fs::symlink(elsewhere.path(), directory.path().join("images")).unwrap();
    assert_eq!(init(directory.path(), &[]).status.code(), Some(2));
    assert!(!directory.path().join("lockstep.yaml").exists());
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn examples_count_where_there_is_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let files = [
        ("examples/host.c", "int main(void) { dlopen(0, 0); }\n"),
        ("examples/plugins/one.c", "int run(void) {\n  return 1;\n}\n"),
        ("examples/plugins/two.c", "int run(void) {\n  return 2;\n}\n"),
        ("README.md", ""),
    ];
    write(directory.path(), &files);
    let output = init(directory.path(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("nothing outside of examples/"), "{said}");
    // Both define the same, so they are two.
    let names: Vec<String> = written(directory.path())
        .plugins
        .iter()
        .map(|plugin| plugin.name.to_string())
        .collect();
    assert_eq!(names, ["one", "two"]);
}

fn plan(directory: &Path) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("lockstep").unwrap();
    let command = command.current_dir(directory).env_remove("LOCKSTEP_FILE");
    command.arg("plan").output().unwrap()
}

/// A server that looks up one thing in its handlers and another in its middlewares has two contracts, each with a directory.
#[test]
fn kinds_of_plugins_are_told_apart_by_what_the_host_looks_up() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let main = "package main\n\nimport \"plugin\"\n\nfunc main() {\n\tp, _ := plugin.Open(\"x\")\n\tp.Lookup(\"Handle\")\n\tp.Lookup(\"Middleware\")\n}\n";
    let handler = "package main\n\nfunc Handle() {}\n";
    write(
        directory,
        &[
            ("go.mod", "module example.com/server\n\ngo 1.24\n"),
            ("cmd/server/main.go", main),
            ("plugins/handlers/hello/main.go", handler),
            ("plugins/handlers/match/main.go", handler),
            (
                "plugins/middlewares/log/main.go",
                "package main\n\nfunc Middleware() {}\n",
            ),
        ],
    );
    let project = proposed(directory);
    let kinds: Vec<String> = project
        .contracts
        .iter()
        .map(|kind| {
            let name = kind.name.as_ref().map(ToString::to_string);
            format!("{} {:?}", name.unwrap_or_default(), kind.contract.symbols)
        })
        .collect();
    assert_eq!(kinds, ["handler [\"Handle\"]", "middleware [\"Middleware\"]"]);
    let places: Vec<&str> = project.plugins.iter().map(|plugin| plugin.main_place()).collect();
    assert_eq!(places, ["handlers/hello.so", "handlers/match.so", "middlewares/log.so"]);
    let planned = plan(directory);
    assert_eq!(
        planned.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&planned.stderr)
    );
}

/// What one makefile makes is made once.
#[test]
fn plugins_of_one_build_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let module = "#include \"postgres.h\"\n#include \"fmgr.h\"\nPG_MODULE_MAGIC;\n";
    let makefile = "MODULES = one two\nPG_CONFIG = pg_config\nPGXS := $(shell $(PG_CONFIG) --pgxs)\ninclude $(PGXS)\n";
    write(
        directory,
        &[("Makefile", makefile), ("one.c", module), ("two.c", module)],
    );
    let project = proposed(directory);
    let builds: Vec<&Option<_>> = project.plugins.iter().map(|plugin| &plugin.from).collect();
    assert_eq!(builds.len(), 2);
    assert!(builds[0].is_some() && builds[0] == builds[1], "{builds:?}");
    assert_eq!(plan(directory).status.code(), Some(0));
}

/// Whatever is written for a tree, `plan` takes.
fn planned(directory: &Path) -> config::Project {
    let project = proposed(directory);
    let output = plan(directory);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    project
}

fn step_commands(project: &config::Project) -> Vec<String> {
    let steps = &project.smoke.as_ref().unwrap().steps;
    steps.iter().map(|step| step.invocation.command.join(" ")).collect()
}

/// An extension of PostgreSQL is more than its library: its scripts are shipped, also one that only the build makes, and the
/// server is asked for it by its own client.
#[test]
fn an_extension_is_shipped_with_its_scripts_and_made_in_a_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let makefile = "EXTENSION = count\nMODULES = count\nDATA = $(wildcard sql/*--*--*.sql)\nDATA_built = count--1.1.sql\n\
                    PG_CONFIG = pg_config\nPGXS := $(shell $(PG_CONFIG) --pgxs)\ninclude $(PGXS)\n";
    write(
        directory,
        &[
            ("Makefile", makefile),
            ("count.control", "default_version = '1.1'\n"),
            ("count.c", "#include \"postgres.h\"\nPG_MODULE_MAGIC;\n"),
            ("count.sql.in", ""),
            ("sql/count--1.0--1.1.sql", ""),
        ],
    );
    let project = planned(directory);
    let plugin = &project.plugins[0];
    assert_eq!(plugin.artifacts, ["count.so", "count--1.1.sql"]);
    let files: Vec<(&str, Option<&str>)> = plugin
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.install.as_deref()))
        .collect();
    let install = Some("/usr/share/postgresql/17/extension");
    assert_eq!(
        files,
        [("count.control", install), ("sql/count--1.0--1.1.sql", install)]
    );
    let steps = step_commands(&project);
    assert!(
        steps[0].starts_with("initdb ") && steps[1].starts_with("postgres "),
        "{steps:?}"
    );
    let config::StepKind::Server(server) = &project.smoke.as_ref().unwrap().steps[1].kind else {
        panic!("{steps:?}");
    };
    assert_eq!(server.requests.len(), 1);
    let text = std::fs::read_to_string(directory.join("lockstep.yaml")).unwrap();
    assert!(text.contains("CREATE EXTENSION \"count\";"), "{text}");
}

#[test]
fn a_server_is_asked_which_modules_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let source = "#include \"redismodule.h\"\n#define NAME \"counter\"\nint RedisModule_OnLoad(RedisModuleCtx *ctx) {\n  \
                  return RedisModule_Init(ctx, NAME, 1, REDISMODULE_APIVER_1);\n}\n";
    write(directory.path(), &[("module.c", source)]);
    let project = planned(directory.path());
    assert!(step_commands(&project)[0].contains("--loadmodule {plugins}/module.so"));
    let text = std::fs::read_to_string(directory.path().join("lockstep.yaml")).unwrap();
    assert!(
        text.contains("\"MODULE\", \"LIST\"") && text.contains("stdout: [\"counter\"]"),
        "{text}"
    );
}

/// Hosts of which no answer is known all the same show that they opened the module.
#[test]
fn modules_of_pam_and_of_the_name_service_are_called() {
    let directory = tempfile::tempdir().unwrap();
    let source = "#include <security/pam_modules.h>\nint pam_sm_open_session(int h)\n{\n}\n";
    write(directory.path(), &[("pam_one.c", source)]);
    let project = planned(directory.path());
    assert_eq!(
        step_commands(&project),
        ["pamtester lockstep-pam_one lockstep open_session"]
    );
    let recipe = std::fs::read_to_string(directory.path().join("images/pam.yaml")).unwrap();
    assert!(recipe.contains("to: /etc/pam.d/lockstep-pam_one"), "{recipe}");
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        &[
            ("passwd.c", "#include <nss.h>\nint _nss_one_setpwent(void) {\n}\n"),
            ("group.c", "#include <nss.h>\nint _nss_one_setgrent(void) {\n}\n"),
        ],
    );
    let project = planned(directory.path());
    // Two sources, and one library: the C library looks up both in it.
    assert_eq!(described(&project), ["Plugin C libnss_one [\"libnss_one.so.2\"]"]);
    assert_eq!(
        step_commands(&project),
        ["getent -s one passwd", "getent -s one passwd"]
    );
}

/// An audio plugin is a directory: what its data says is shipped with it, and asked for.
#[test]
fn an_effect_is_shipped_with_what_says_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let source = "#include <lv2.h>\nconst LV2_Descriptor *lv2_descriptor(uint32_t index)\n{\n}\n";
    let manifest = "@prefix lv2: <http://lv2plug.in/ns/lv2core#> .\n<urn:one> a lv2:Plugin ; lv2:binary <one.so> .\n";
    write(
        directory.path(),
        &[
            ("one.lv2/one.c", source),
            ("one.lv2/manifest.ttl", manifest),
            ("one.lv2/one.ttl", ""),
        ],
    );
    let project = planned(directory.path());
    let plugin = &project.plugins[0];
    assert!(plugin.main_place().starts_with("one.lv2/"), "{}", plugin.main_place());
    assert_eq!(plugin.files.len(), 2);
    assert_eq!(step_commands(&project), ["lv2bench -n 4096"]);
}

/// A tree that a build system makes is configured once, and its own program is the host of what that opens.
#[test]
fn a_tree_with_a_host_of_its_own_is_built_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    copy("tests/hosts/meson/tree", directory.path());
    let project = planned(directory.path());
    assert_eq!(
        described(&project),
        [
            "Host C host [\"host\"]",
            "Plugin C hello [\"hello.so\", \"libwords.so\"]",
            "Plugin C goodbye [\"goodbye.so\"]",
        ]
    );
    assert!(project.units().all(|unit| unit.from.is_some()));
    assert!(directory.path().join("images/runtime.yaml").exists());
    let directory = tempfile::tempdir().unwrap();
    copy("tests/hosts/cmake/source", directory.path());
    let project = planned(directory.path());
    assert_eq!(
        described(&project),
        [
            "Host C host [\"host\"]",
            "Plugin C hello [\"hello.so\"]",
            "Plugin C goodbye [\"goodbye.so\"]",
        ]
    );
}

#[test]
fn a_workspace_is_compiled_once() {
    let directory = tempfile::tempdir().unwrap();
    copy("tests/hosts/workspace/work", directory.path());
    let project = planned(directory.path());
    assert_eq!(
        described(&project),
        ["Host Rust host [\"host\"]", "Plugin Rust hello [\"libhello.so\"]"]
    );
    assert!(project.units().all(|unit| unit.from.is_some()));
}
