//! PostgreSQL: extensions, by a makefile that includes PGXS.

use super::makefile::{MAKEFILES, Makefile};
use super::{
    Beside, FileBeside, Files, KnownHost, Made, OwnBuild, PluginSource, SmokeKind, SmokePlugin, SmokeStep, SmokeTest,
    any_artifact, is_word, same_name,
};
use crate::config::{BuildSystem, LanguageName};

/// Where the server's programs are.
const PROGRAMS: &str = "/usr/lib/postgresql/17/bin";
/// Where it looks for what is no library: for `.control` files in `extension` there.
const SHARE: &str = "/usr/share/postgresql/17";
/// Where the smoke test's cluster is.
const CLUSTER: &str = "/data";
/// Where its server listens.
const PORT: u16 = 5432;
/// What is at most taken for an extension's scripts; a makefile that matches more means something else.
const SCRIPTS_LIMIT_COUNT: usize = 200;

pub(super) const POSTGRES: KnownHost = KnownHost {
    name: "postgres",
    other_names: &["postgresql"],
    path: "/usr/lib/postgresql/17/bin/postgres",
    install: Some("/usr/lib/postgresql/17/lib"),
    runtime_packages: &["postgresql-17"],
    build_packages: &["postgresql-server-dev-17", "gcc", "libc6-dev", "make"],
    program_directory: Some(PROGRAMS),
    links: &[],
    files: &[],
    words: &["postgres.h"],
    needs_words: false,
    crates: &[],
    own_build: Some(OwnBuild {
        system: BuildSystem::Pgxs,
        made,
    }),
    systems: &[BuildSystem::Pgxs],
    fallback: None,
    symbols: &["Pg_magic_func"],
    entries: |text| match text.contains("PG_MODULE_MAGIC") {
        true => vec!["Pg_magic_func".to_owned()],
        false => vec![],
    },
    artifact: any_artifact,
    language: LanguageName::C,
    env: &[],
    beside,
    smoke,
    cargo_place: same_name,
    note: None,
};

fn has_pgxs(text: &str) -> bool {
    ["PGXS", "pgxs"].iter().any(|word| text.contains(word))
}

fn made(file: &str, text: &str, files: &dyn Files) -> Vec<Made> {
    if !MAKEFILES.contains(&file) || !has_pgxs(text) {
        return vec![];
    }
    let makefile = Makefile::new(text, files);
    let names = makefile
        .words("MODULE_big")
        .into_iter()
        .chain(makefile.words("MODULES"));
    names
        .map(|name| name.rsplit('/').next().unwrap_or_default().to_owned())
        .map(|name| Made {
            artifact: format!("{name}.so"),
            name,
        })
        .collect()
}

/// The control files and scripts of the makefile's extensions: those that are there, and those that the build makes.
fn beside(plugin: &PluginSource<'_>) -> Beside {
    let files = plugin.files;
    let mut beside = Beside {
        is_early: files
            .all()
            .any(|(_, text)| text.contains("process_shared_preload_libraries_in_progress")),
        ..Beside::default()
    };
    let text = MAKEFILES
        .iter()
        .find_map(|name| files.text(name).filter(|text| has_pgxs(text)));
    let Some(text) = text else {
        return beside;
    };
    let makefile = Makefile::new(text, files);
    let control_files = || {
        let at_top = files.all().filter(|(path, _)| !path.contains('/'));
        at_top.filter_map(|(path, _)| path.strip_suffix(".control").map(str::to_owned))
    };
    let extensions = match makefile.words("EXTENSION") {
        names if names.is_empty() && text.contains("EXTENSION") => control_files().collect(),
        names => names,
    };
    for extension in extensions.iter().filter(|name| is_word(name)) {
        of_extension(files, extension, &mut beside);
    }
    if extensions.is_empty() {
        return beside;
    }
    // PGXS puts scripts where MODULEDIR says, and the server looks for them where the control file says.
    let said = || {
        let control = files.text(&format!("{}.control", extensions.first()?))?;
        setting(control, "directory").map(str::to_owned)
    };
    let directory = makefile.words("MODULEDIR").into_iter().next().or_else(said);
    let directory = directory
        .filter(|name| is_word(name))
        .unwrap_or_else(|| "extension".to_owned());
    let install = format!("{SHARE}/{directory}");
    let scripts = makefile.words("DATA").into_iter().chain(makefile.words("DATA_built"));
    for script in scripts.take(SCRIPTS_LIMIT_COUNT) {
        let name = script.rsplit('/').next().unwrap_or_default();
        if files.text(&script).is_some() {
            beside.files.push(FileBeside::installed(script, install.clone()));
        } else if is_word(name) {
            beside.made.push(FileBeside::installed(name, install.clone()));
        }
    }
    for extension in &extensions {
        let is_first = |file: &FileBeside| {
            let name = file.file.rsplit('/').next().unwrap_or_default();
            let version = name.strip_prefix(&format!("{extension}--"));
            version.is_some_and(|version| !version.contains("--"))
        };
        let all = beside.files.iter().chain(&beside.made);
        if let Some(version) = version(files, extension).filter(|_| !all.clone().any(is_first)) {
            // Without a script that begins, there is no extension: the build makes it, of a name that it computes.
            let script = format!("{extension}--{version}.sql");
            beside.made.push(FileBeside::installed(script, install.clone()));
        }
    }
    beside.files.sort();
    beside.files.dedup();
    beside.made.sort();
    beside.made.dedup();
    if let [first, others @ ..] = beside.made.as_slice() {
        let others = match others.len() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        beside.notes.push(format!(
            "{}{others}: not among the sources, so taken from what the build makes",
            first.file
        ));
    }
    beside
}

fn of_extension(files: &dyn Files, extension: &str, beside: &mut Beside) {
    let control = format!("{extension}.control");
    let install = format!("{SHARE}/extension");
    let text = files.text(&control);
    match text {
        Some(_) => beside.files.push(FileBeside::installed(control, install)),
        None => beside.made.push(FileBeside::installed(control, install)),
    }
    let needs_others = text.is_some_and(|text| setting(text, "requires").is_some());
    let with_others = if needs_others { " CASCADE" } else { "" };
    beside
        .asked
        .push(format!("CREATE EXTENSION \"{extension}\"{with_others};"));
}

/// The version that is made when none is named.
fn version<'a>(files: &'a dyn Files, extension: &str) -> Option<&'a str> {
    let text = files.text(&format!("{extension}.control"))?;
    setting(text, "default_version").filter(|version| is_word(version))
}

/// What a control file says of `name`.
fn setting<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let value = line.trim_start().strip_prefix(name)?.trim_start().strip_prefix('=')?;
        let value = value.split('#').next().unwrap_or_default();
        Some(value.trim().trim_matches('\''))
    })
}

/// A cluster of its own, its server, and a client that makes the extensions; of what belongs to none, the library is loaded.
fn smoke(plugins: &[SmokePlugin<'_>]) -> Option<SmokeTest> {
    let path = || vec![("PATH", PROGRAMS.to_owned())];
    let cluster = SmokeStep {
        writable: vec![CLUSTER],
        env: path(),
        timeout: Some("60s"),
        ..SmokeStep::setup([
            "initdb",
            "--pgdata",
            CLUSTER,
            "--no-sync",
            "--set",
            "dynamic_shared_memory_type=mmap",
        ])
    };
    let early: Vec<&str> = plugins
        .iter()
        .filter(|plugin| plugin.beside.is_early)
        .map(SmokePlugin::stem)
        .collect();
    let mut command = ["postgres", "-F", "-D", CLUSTER, "-k", "/tmp"]
        .map(str::to_owned)
        .to_vec();
    if !early.is_empty() {
        command.extend(["-c".to_owned(), format!("shared_preload_libraries={}", early.join(","))]);
    }
    let mut script = String::new();
    for plugin in plugins {
        match plugin.beside.asked.as_slice() {
            [] => script += &format!("LOAD '{}';\n", plugin.stem()),
            asked => script += &format!("{}\n", asked.join("\n")),
        }
    }
    script += "SELECT 'loaded';\n";
    let words = [
        "psql",
        "-h",
        "127.0.0.1",
        "-v",
        "ON_ERROR_STOP=1",
        "-q",
        "-t",
        "postgres",
    ];
    let client = SmokeStep {
        stdin: Some(script),
        ..SmokeStep::run(words).printing(["loaded"])
    };
    let mut server = SmokeStep {
        env: path(),
        ..SmokeStep::serve(command, PORT, vec![client])
    };
    if let SmokeKind::Serve { signal, .. } = &mut server.kind {
        // The usual one waits until every client has gone.
        *signal = Some("INT");
    }
    Some(SmokeTest::steps([cluster, server]))
}

#[cfg(test)]
mod tests {
    use super::super::beside::Listed;
    use super::*;

    fn seen(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let files = Listed(files);
        let plugin = PluginSource {
            artifact: "x.so",
            entries: &[],
            files: &files,
        };
        let beside = beside(&plugin);
        let described = |files: &[FileBeside]| {
            let one = |file: &FileBeside| {
                let install = file.install.as_deref().unwrap_or_default();
                format!("{} {}", file.file, install.trim_start_matches(SHARE))
            };
            files.iter().map(one).collect()
        };
        (described(&beside.files), described(&beside.made), beside.asked)
    }

    #[test]
    fn an_extension_has_its_files_and_what_the_build_makes() {
        let control = "default_version = '1.2' # now\nrequires = 'cube'\n";
        let plain = "EXTENSION = x\nMODULES = x\nDATA = $(wildcard x--*.sql)\ninclude $(PGXS)\n";
        let (files, made, asked) = seen(&[
            ("Makefile", plain),
            ("x.control", control),
            ("x--1.1.sql", ""),
            ("x--1.1--1.2.sql", ""),
        ]);
        assert_eq!(
            files,
            [
                "x--1.1--1.2.sql /extension",
                "x--1.1.sql /extension",
                "x.control /extension"
            ]
        );
        assert_eq!(
            (made, asked),
            (vec![], vec!["CREATE EXTENSION \"x\" CASCADE;".to_owned()])
        );
        // What a program computes, the control file says: the extension's name, and the version of its script.
        let computed = "EXTENSION = $(shell cat META)\nEXTVERSION = $(shell cat V)\nMODULEDIR = $(EXTENSION)\n\
                        DATA = $(wildcard sql/*--*--*.sql)\nDATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql\nPGXS = x\n";
        let (files, made, asked) = seen(&[
            ("Makefile", computed),
            ("x.control", "default_version = '1.2'\n"),
            ("sql/x--1.1--1.2.sql", ""),
        ]);
        assert_eq!(files, ["sql/x--1.1--1.2.sql /extension", "x.control /extension"]);
        assert_eq!(
            (made, asked),
            (
                vec!["x--1.2.sql /extension".to_owned()],
                vec!["CREATE EXTENSION \"x\";".to_owned()]
            )
        );
        // A module alone is no extension.
        let (files, made, asked) = seen(&[("Makefile", "MODULES = x\nDATA = a.sql\nPGXS = x\n"), ("a.sql", "")]);
        assert_eq!((files, made, asked), (vec![], vec![], vec![]));
    }
}
