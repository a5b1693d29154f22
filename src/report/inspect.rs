//! What `inspect` prints for people: a title, then a line for each thing that is there.

use std::fmt::Write as _;

use console::style;

use crate::counted::size;
use crate::facts::comment::{Tool, ToolKind};
use crate::facts::cxx::Cxx;
use crate::facts::rust::{Allocator, Panic, Rust};
use crate::inspect::{
    BundleFacts, Facts, FileFacts, GoFacts, GoModule, Inspection, LibcFacts, Linkage, ObjectFacts, Role, RootFacts,
    SymbolFacts,
};
use crate::printable::printable;
use crate::problem::one_line;

/// The width of lines.
const WIDTH_COLUMNS: usize = 100;
/// The width of labels.
const LABEL_COLUMNS: usize = 11;
/// How many things a line has for people; scripts get all.
const ITEMS_LIMIT_COUNT: usize = 12;
/// How many exported symbols are named; of more only the number is told.
const NAMES_LIMIT_COUNT: usize = 8;
/// A shorter first line of a text tells nothing.
const SAID_LEAST_BYTES: usize = 4;
/// How many digits of a commit are told.
const COMMIT_DIGITS: usize = 9;

/// What is known, for people.
#[must_use]
pub fn render_inspection(inspection: &Inspection) -> String {
    let mut page = Page::default();
    match &inspection.facts {
        Facts::Elf(facts) => object(&mut page, &inspection.name, facts),
        Facts::Root(facts) => root(&mut page, &inspection.name, facts),
        Facts::File(facts) => file(&mut page, &inspection.name, facts),
    }
    page.text
}

fn object(page: &mut Page, name: &str, facts: &ObjectFacts) {
    let mut what = match (facts.role, facts.linkage) {
        (Role::Program, Linkage::Dynamic) => "program".to_owned(),
        (Role::Program, Linkage::Static | Linkage::StaticPie) => "static program".to_owned(),
        (Role::SharedObject, _) => "shared object".to_owned(),
        (Role::Relocatable, _) => "object file for a linker".to_owned(),
        (Role::Other, _) => "ELF file of another kind".to_owned(),
    };
    match (facts.role, facts.position_independent) {
        (Role::Program, true) => what.push_str(" at any address"),
        (Role::Program, false) => what.push_str(" at a fixed address"),
        _ => {}
    }
    let order = if facts.big_endian { ", big-endian" } else { "" };
    page.title(
        name,
        &[
            what,
            format!("{}, {} bits{order}", facts.machine, facts.bits),
            size(facts.size_bytes),
        ],
    );
    page.row("interpreter", facts.interpreter.clone());
    page.row("is part of", facts.provides_libc.clone());
    page.row("libc", facts.libc.as_ref().map(libc));
    page.row(
        "needs",
        facts.needed.iter().map(|library| match library.newest.is_empty() {
            true => library.name.clone(),
            false => format!("{} ({})", library.name, library.newest.join(", ")),
        }),
    );
    page.row("soname", facts.soname.clone());
    page.row("defines", facts.defines.clone());
    page.row("rpath", facts.rpath.clone());
    page.row("runpath", facts.runpath.clone());
    binding(page, facts);
    stack(page, facts);
    tls(page, facts);
    let protections = match facts.processor.protections.is_empty() {
        true => None,
        false => Some(format!("marked for {}", facts.processor.protections.join(", "))),
    };
    let level = facts.processor.needs.as_ref().map(|level| match level.as_str() {
        "x86-64" => "needs x86-64, the baseline".to_owned(),
        level => format!("needs {level}"),
    });
    page.row("processor", level.into_iter().chain(protections));
    symbols(page, &facts.symbols, facts.go.is_some());
    page.row("compilers", facts.tools.iter().map(tool));
    if let Some(go) = &facts.go {
        go_rows(page, go);
    }
    if let Some(rust) = &facts.rust {
        page.row("Rust", rust_items(rust));
    }
    if let Some(cxx) = &facts.cxx {
        page.row("C++", cxx_items(cxx));
    }
    let stripped = facts.stripped.then(|| "stripped".to_owned());
    page.row("build ID", facts.build_id.clone().into_iter().chain(stripped));
    for problem in &facts.problems {
        page.row("malformed", Some(problem.clone()));
    }
}

/// The release that is needed says more than by what it was seen.
fn libc(facts: &LibcFacts) -> String {
    match &facts.needs_release {
        Some(release) => format!("{} {release} or newer", facts.family),
        None => format!("{}: {}", facts.family, facts.witnesses.join(", ")),
    }
}

fn binding(page: &mut Page, facts: &ObjectFacts) {
    if facts.linkage != Linkage::Dynamic || matches!(facts.role, Role::Relocatable | Role::Other) {
        return;
    }
    let flags = &facts.binding;
    let when = match (facts.role, flags.now) {
        (Role::Program, true) => "everything at the start",
        (Role::Program, false) => "functions when they are called",
        (_, true) => "everything at once, whatever dlopen is told",
        (_, false) => "as dlopen is told",
    };
    let more = [
        (flags.symbolic, "own definitions come first"),
        (flags.no_open, "cannot be opened with dlopen"),
        (flags.no_delete, "stays loaded"),
        (flags.no_default_directories, "default directories are not searched"),
    ];
    let more = more.into_iter().filter(|(is_set, _)| *is_set).map(|(_, words)| words);
    page.row("binding", std::iter::once(when).chain(more).map(str::to_owned));
}

fn stack(page: &mut Page, facts: &ObjectFacts) {
    if matches!(facts.role, Role::Relocatable | Role::Other) {
        return;
    }
    let stack = match facts.executable_stack {
        Some(false) => None,
        Some(true) => Some("must be executable"),
        None => Some("not said, which counts as executable"),
    };
    page.row("stack", stack.map(str::to_owned));
    if facts.text_relocations {
        page.row("text", Some("relocations write into code".to_owned()));
    }
}

fn tls(page: &mut Page, facts: &ObjectFacts) {
    let Some(tls) = &facts.tls else { return };
    let mut items = vec![format!("{} bytes for each thread", tls.size_bytes)];
    match tls.fixed_offset_accesses {
        0 if tls.is_marked_static => items.push("at a fixed offset (initial-exec)".to_owned()),
        0 => {}
        1 => items.push("1 access at a fixed offset (initial-exec)".to_owned()),
        count => items.push(format!("{count} accesses at a fixed offset (initial-exec)")),
    }
    page.row("TLS", items);
}

/// Go's own symbols are told as Go's exports.
fn symbols(page: &mut Page, symbols: &SymbolFacts, is_go: bool) {
    let mut items = vec![];
    if symbols.exported > 0 {
        let names = match symbols.names.len() {
            1..=NAMES_LIMIT_COUNT if !is_go => format!(": {}", symbols.names.join(", ")),
            _ => String::new(),
        };
        items.push(format!("{} exported{names}", symbols.exported));
    }
    if symbols.undefined > 0 {
        items.push(format!("{} from others", symbols.undefined));
    }
    if symbols.undefined_weak > 0 {
        items.push(format!("{} more if they are there", symbols.undefined_weak));
    }
    page.row("symbols", items);
}

fn tool(tool: &Tool) -> String {
    let name = match tool.kind {
        ToolKind::Gcc => "gcc",
        ToolKind::Clang => "clang",
        ToolKind::Rustc => "rustc",
        ToolKind::Linker | ToolKind::Other => return tool.text.clone(),
    };
    match &tool.version {
        Some(version) => format!("{name} {version}"),
        None => tool.text.clone(),
    }
}

fn go_rows(page: &mut Page, go: &GoFacts) {
    let mut items = vec![go.version.clone().unwrap_or_else(|| "version not recorded".to_owned())];
    items.extend(go.build_mode.as_ref().map(|mode| format!("built as {mode}")));
    match go.loads_plugins {
        Some(true) => items.push("can load plugins".to_owned()),
        Some(false) => items.push("cannot load plugins".to_owned()),
        None => {}
    }
    page.row("Go", items);
    page.row("package", go.path.clone());
    page.row("module", go.module.as_ref().map(module));
    page.row(
        "plugin path",
        go.plugin_path.clone().filter(|path| go.path.as_ref() != Some(path)),
    );
    page.row("depends on", go.dependencies.iter().map(module));
    let shown = go.settings.iter().filter(|(_, value)| !value.is_empty());
    page.row("settings", shown.map(|(key, value)| format!("{key}={value}")));
    let mut packages = vec![];
    if go.hashed_packages > 0 {
        packages.push(format!("{} with a hash", go.hashed_packages));
    }
    if go.checked_packages > 0 {
        packages.push(format!(
            "{} compared with the host's when it is opened",
            go.checked_packages
        ));
    }
    page.row("packages", packages);
    // A type is told as a contract names it: a variable is looked up as a pointer to it.
    let exports = go
        .exports
        .iter()
        .map(|export| match (&export.exported_type, export.function) {
            (Some(exported), _) => format!("{} {exported}", export.name),
            (None, true) => format!("func {}", export.name),
            (None, false) => format!("var {}", export.name),
        });
    page.row("exports", exports);
}

fn module(module: &GoModule) -> String {
    let one = |module: &GoModule| match module.version.is_empty() {
        true => module.path.clone(),
        false => format!("{} {}", module.path, module.version),
    };
    match &module.replaced_by {
        Some(other) => format!("{} => {}", one(module), one(other)),
        None => one(module),
    }
}

fn rust_items(rust: &Rust) -> Vec<String> {
    let short = |commit: &str| commit.chars().take(COMMIT_DIGITS).collect::<String>();
    let mut items: Vec<String> = vec![];
    for compiler in &rust.compilers {
        let commit = compiler.commit.as_deref().map(|commit| format!(" ({})", short(commit)));
        items.push(format!("rustc {}{}", compiler.version, commit.unwrap_or_default()));
    }
    let is_known = |commit: &&String| {
        let known = rust.compilers.iter().filter_map(|compiler| compiler.commit.as_deref());
        known.into_iter().any(|known| commit.starts_with(known))
    };
    for commit in rust.commits.iter().filter(|commit| !is_known(commit)) {
        items.push(format!("standard library of commit {}", short(commit)));
    }
    for release in &rust.source_releases {
        if !rust.compilers.iter().any(|compiler| compiler.version == *release) {
            items.push(format!("standard library of {release}"));
        }
    }
    match (&rust.shared_std, &rust.linked_std) {
        (Some(hash), _) => items.push(format!("shared standard library {hash}")),
        (None, Some(hash)) => items.push(format!("own standard library {hash}")),
        (None, None) => {}
    }
    items.extend(rust.panic.map(|panic| {
        match panic {
            Panic::Unwind => "panics unwind",
            Panic::Abort => "panics abort",
        }
        .to_owned()
    }));
    items.extend(rust.allocator.as_ref().map(|allocator| {
        match allocator {
            Allocator::System => "allocates with malloc",
            Allocator::Jemalloc => "allocates with jemalloc",
            Allocator::Mimalloc => "allocates with mimalloc",
            Allocator::Custom => "allocates in its own way",
        }
        .to_owned()
    }));
    items.extend(
        rust.crates
            .as_ref()
            .map(|crates| format!("{} crates recorded", crates.len())),
    );
    if items.is_empty() {
        items.push("nothing but its symbols".to_owned());
    }
    items
}

fn cxx_items(cxx: &Cxx) -> Vec<String> {
    let mut items: Vec<String> = vec![];
    let library = match (cxx.uses_libstdcxx, cxx.uses_libcxx) {
        (true, true) => Some("libstdc++ and libc++"),
        (true, false) => Some("libstdc++"),
        (false, true) => Some("libc++"),
        (false, false) => None,
    };
    items.extend(library.map(str::to_owned));
    items.extend(cxx.needs_glibcxx.clone());
    items.extend(cxx.needs_cxxabi.clone());
    let strings = |strings: &crate::facts::cxx::Strings| match (strings.old, strings.new) {
        (true, true) => Some("strings of both ABIs"),
        (true, false) => Some("strings of the old ABI"),
        (false, true) => Some("strings of the C++11 ABI"),
        (false, false) => None,
    };
    items.extend(strings(&cxx.exported_strings).map(|words| format!("exports {words}")));
    items.extend(strings(&cxx.imported_strings).map(|words| format!("uses {words}")));
    match cxx.virtual_tables.len() {
        0 => {}
        1 => items.push("1 class with a virtual table".to_owned()),
        count => items.push(format!("{count} classes with virtual tables")),
    }
    if items.is_empty() {
        items.push("nothing but its symbols".to_owned());
    }
    items
}

fn root(page: &mut Page, name: &str, facts: &RootFacts) {
    let system = facts.system.clone().unwrap_or_else(|| "no os-release".to_owned());
    let is_one = facts.system.is_some() || !facts.loaders.is_empty();
    let what = if is_one {
        "root file system"
    } else {
        "hardly a root file system"
    };
    page.title(name, &[what.to_owned(), system]);
    if facts.loaders.is_empty() {
        page.row("libc", Some("no loader: only static programs run in it".to_owned()));
    }
    for loader in &facts.loaders {
        let release = loader
            .release
            .clone()
            .unwrap_or_else(|| "of unknown release".to_owned());
        page.row(
            "libc",
            [
                format!("{} {release}", loader.family),
                loader.machine.clone(),
                loader.path.clone(),
            ],
        );
        let from = loader.path_file.as_ref().map(|path| format!("from {path}"));
        page.row("searches", [loader.directories.join(", ")].into_iter().chain(from));
    }
    if let Some(cache) = &facts.cache {
        let state = match &cache.problem {
            Some(problem) => format!("/etc/ld.so.cache is ignored: {problem}"),
            None if cache.entries == 1 => "/etc/ld.so.cache has 1 library".to_owned(),
            None => format!("/etc/ld.so.cache has {} libraries", cache.entries),
        };
        page.row("cache", Some(state));
    } else if facts.loaders.iter().any(|loader| loader.family == "glibc") {
        page.row("cache", Some("none".to_owned()));
    }
    if !facts.not_cached.is_empty() {
        page.row("not cached", facts.not_cached.clone());
        page.row(
            "",
            Some("ld.so.conf names them, and ldconfig has not run since".to_owned()),
        );
    }
    page.row("preloaded", facts.preloaded.clone());
    page.row(
        "libraries",
        facts.libraries.iter().map(|library| {
            let versions: Vec<&str> = library
                .newest
                .iter()
                .map(String::as_str)
                .filter(|name| is_release(name))
                .collect();
            match versions.is_empty() {
                true => library.name.clone(),
                false => format!("{} ({})", library.name, versions.join(", ")),
            }
        }),
    );
    for variable in &facts.variables {
        page.row("variable", Some(format!("{}={}", variable.name, variable.value)));
    }
    page.row(
        "runs as",
        facts.user.as_ref().map(|user| match user.as_str() {
            "" => "root".to_owned(),
            user => user.to_owned(),
        }),
    );
    page.row("starts in", facts.directory.clone());
    if let Some(bundle) = &facts.bundle {
        self::bundle(page, bundle);
    }
}

fn bundle(page: &mut Page, bundle: &BundleFacts) {
    page.row(
        "bundle",
        [
            format!("project {}", bundle.project),
            format!("environment {}", bundle.environment),
            format!("lockstep {}", bundle.lockstep),
            bundle.manifest.clone(),
        ],
    );
    page.row("host", bundle.host.clone());
    page.row("plugins", bundle.plugins.iter().map(ToString::to_string));
    page.row(
        "as locked",
        [
            format!("build image {}", bundle.build_image.short()),
            format!("runtime image {}", bundle.runtime_image.short()),
        ],
    );
    let toolchains = bundle.toolchains.iter();
    page.row(
        "compiled by",
        toolchains.map(|(name, version)| format!("{name} {version}")),
    );
}

/// `GLIBCXX_3.4.30`; not `CXXABI_FLOAT128` and `CXXABI_TM_1`, which are in every release.
fn is_release(name: &str) -> bool {
    let number = name.split_once('_').map(|(_, number)| number);
    number.is_some_and(|number| number.starts_with(|first: char| first.is_ascii_digit()))
}

fn file(page: &mut Page, name: &str, facts: &FileFacts) {
    page.title(
        name,
        &[
            "no ELF file".to_owned(),
            facts.description.clone(),
            size(facts.size_bytes),
        ],
    );
    page.row(
        "says",
        facts.evidence.clone().filter(|line| line.len() >= SAID_LEAST_BYTES),
    );
    if let Some(hint) = facts.hint {
        let _ = writeln!(page.text, "  hint: {hint}");
    }
}

/// Lines with labels.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn title(&mut self, name: &str, items: &[String]) {
        let items = printable(&items.join(" · ")).into_owned();
        let _ = writeln!(self.text, " {} · {items}\n", style(one_line(name)).bold());
    }

    /// A label and what belongs to it, in as many lines as it needs; nothing if there is nothing.
    fn row(&mut self, label: &str, items: impl IntoIterator<Item = String>) {
        let items: Vec<String> = items.into_iter().map(|item| one_line(&item)).collect();
        let mut lines: Vec<String> = vec![];
        let room = WIDTH_COLUMNS - LABEL_COLUMNS - 5;
        let more = items.len().saturating_sub(ITEMS_LIMIT_COUNT);
        let more = (more > 0).then(|| format!("… and {more} more"));
        for item in items.into_iter().take(ITEMS_LIMIT_COUNT).chain(more) {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 3 + item.chars().count() <= room => {
                    line.push_str(" · ");
                    line.push_str(&item);
                }
                _ => lines.push(item),
            }
        }
        for (place, line) in lines.iter().enumerate() {
            let label = if place == 0 { label } else { "" };
            let _ = writeln!(self.text, "   {label:<LABEL_COLUMNS$}  {line}");
        }
    }
}
