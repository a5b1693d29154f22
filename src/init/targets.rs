//! What a build makes, by its own files: programs, modules that a program opens, and libraries that are linked.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::tree::{self, Tree, is_file_name};
use crate::config::BuildSystem;
use crate::known_hosts::{MAKEFILES, Makefile, closing};

/// How many things one build file makes at most; what lists more is not written by hand.
const TARGETS_LIMIT_COUNT: usize = 1000;

/// Longer arguments of a call are none.
const ARGUMENTS_LIMIT_BYTES: usize = 32 * 1024;

/// A file that a build makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The file.
    pub(super) file: String,
    /// What it is.
    pub(super) kind: TargetKind,
    /// The directory of the build file that makes it.
    pub(super) directory: String,
    /// What that says of it, where the names of its sources are.
    pub(super) said: String,
    /// Whether it is for those who use what is built, and not for the build or its tests.
    pub(super) is_installed: bool,
    /// The variables of the build file that must be true for it to be made.
    pub(super) conditions: Vec<String>,
}

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TargetKind {
    /// It is started.
    Program,
    /// It is opened by a program that runs.
    Module,
    /// It is shared, and the loader finds it for who was linked with it.
    Library,
    /// It becomes a part of others.
    Static,
}

/// What builds make, each read once however many directories are asked about.
pub(super) struct Targets<'t> {
    pub(super) tree: &'t Tree,
    known: RefCell<ByBuild>,
}

/// What is made, by the build that makes it: its system, and where it starts.
type ByBuild = BTreeMap<(BuildSystem, String), Rc<[Target]>>;

impl<'t> Targets<'t> {
    pub(super) fn of(tree: &'t Tree) -> Self {
        Self {
            tree,
            known: RefCell::default(),
        }
    }

    /// See [`targets`].
    pub(super) fn below(&self, system: BuildSystem, root: &str) -> Rc<[Target]> {
        let mut known = self.known.borrow_mut();
        let made = known.entry((system, root.to_owned()));
        Rc::clone(made.or_insert_with(|| targets(self.tree, system, root).into()))
    }
}

/// Everything that the files of `system` below `root` make, in the order of their paths. `root` is where the build starts.
pub(super) fn targets(tree: &Tree, system: BuildSystem, root: &str) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    for (path, text) in tree.within(root) {
        let name = tree::file_name(path);
        let directory = tree::parent(path);
        let made = match system {
            BuildSystem::Meson if name == "meson.build" => meson(text),
            BuildSystem::Cmake if name == "CMakeLists.txt" => cmake(text),
            BuildSystem::Autotools if name == "Makefile.am" => automake(tree, directory, text),
            BuildSystem::Autotools if name == "Makefile.in" && !has_automake(tree, directory) => {
                makefile(tree, directory, text)
            }
            BuildSystem::Make if MAKEFILES.contains(&name) && directory == root => makefile(tree, directory, text),
            _ => vec![],
        };
        let made = made.into_iter().filter(|target| is_file_name(&target.file));
        found.extend(made.take(TARGETS_LIMIT_COUNT).map(|target| Target {
            directory: directory.to_owned(),
            ..target
        }));
    }
    if system == BuildSystem::Meson {
        for target in &mut found {
            let conditions = subdirectory_conditions(tree, root, &target.directory);
            target.conditions.extend(conditions);
        }
    }
    if system == BuildSystem::Cmake {
        // A shared library with which nothing is linked is opened by somebody.
        let linked: BTreeSet<String> = tree
            .within(root)
            .filter(|(path, _)| tree::file_name(path) == "CMakeLists.txt")
            .flat_map(|(_, text)| linked_by_cmake(text))
            .collect();
        for target in &mut found {
            let name = target.said.split_whitespace().next().unwrap_or_default();
            if target.kind == TargetKind::Library && !linked.contains(name) {
                target.kind = TargetKind::Module;
            }
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|target| seen.insert(target.file.clone()));
    found
}

/// The files of modules and shared libraries that one build file makes.
pub(super) fn shared(system: BuildSystem, text: &str) -> Vec<String> {
    let made = match system {
        BuildSystem::Meson => meson(text),
        BuildSystem::Cmake => cmake(text),
        _ => vec![],
    };
    let is_shared = |target: &Target| matches!(target.kind, TargetKind::Module | TargetKind::Library);
    made.into_iter().filter(is_shared).map(|target| target.file).collect()
}

fn has_automake(tree: &Tree, directory: &str) -> bool {
    tree::join(directory, "Makefile.am").is_some_and(|path| tree.contains(&path))
}

fn target(file: String, kind: TargetKind, said: &str) -> Target {
    Target {
        file,
        kind,
        directory: String::new(),
        said: said.to_owned(),
        is_installed: true,
        conditions: vec![],
    }
}

/// The calls of `names` in a text, written in either case, with what stands in their parentheses, and where they begin.
/// Comments are not looked at.
fn calls<'a>(text: &'a str, names: &[&'static str]) -> Vec<(usize, &'static str, &'a str)> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for name in names {
        for (index, _) in lower.match_indices(name) {
            let before = &text[..index];
            let line = &before[before.rfind('\n').map_or(0, |end| end + 1)..];
            let is_part = before.ends_with(|character: char| character.is_ascii_alphanumeric() || character == '_');
            let rest = text[index + name.len()..].trim_start();
            if is_part || line.contains('#') || !rest.starts_with('(') {
                continue;
            }
            if let Some(end) = closing(rest, ARGUMENTS_LIMIT_BYTES) {
                found.push((index, *name, rest[1..end].trim()));
            }
        }
    }
    found.sort_by_key(|(index, ..)| *index);
    found
}

/// The value of a keyword argument of Meson's.
fn keyword<'a>(arguments: &'a str, name: &str) -> Option<&'a str> {
    arguments.match_indices(name).find_map(|(index, _)| {
        let before = arguments[..index].chars().next_back();
        let is_part = before.is_some_and(|character| character.is_ascii_alphanumeric() || character == '_');
        let rest = arguments[index + name.len()..].trim_start().strip_prefix(':')?;
        (!is_part).then_some(rest.trim_start())
    })
}

fn in_quotes(text: &str) -> Option<&str> {
    text.strip_prefix('\'')?.split('\'').next()
}

/// The texts in a list that `text` begins with.
fn listed(text: &str) -> Vec<&str> {
    let Some(inside) = text
        .trim_start()
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next())
    else {
        return vec![];
    };
    inside.split('\'').skip(1).step_by(2).collect()
}

fn meson(text: &str) -> Vec<Target> {
    const CALLS: &[&str] = &[
        "executable",
        "both_libraries",
        "library",
        "shared_library",
        "shared_module",
        "static_library",
    ];
    let mut found = Vec::new();
    for (index, call, arguments) in calls(text, CALLS) {
        let first = arguments.split(',').next().unwrap_or_default().trim();
        let names = match in_quotes(first) {
            Some(name) => vec![name],
            None => of_loop(&text[..index], first),
        };
        let kind = match call {
            "executable" => TargetKind::Program,
            "shared_module" => TargetKind::Module,
            "static_library" => TargetKind::Static,
            _ => TargetKind::Library,
        };
        let prefix = match (kind, keyword(arguments, "name_prefix")) {
            (TargetKind::Program, _) => "",
            (_, Some(prefix)) => in_quotes(prefix).unwrap_or_default(),
            (_, None) => "lib",
        };
        let version = ["soversion", "version"].iter().find_map(|name| {
            let value = keyword(arguments, name)?;
            let value = in_quotes(value).unwrap_or(value);
            let major = value.split(['.', ',', '\n', ')']).next().unwrap_or_default().trim();
            let is_number = !major.is_empty() && major.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| format!(".{major}"))
        });
        let ending = match (kind, keyword(arguments, "name_suffix").and_then(in_quotes)) {
            (TargetKind::Program, _) => String::new(),
            (TargetKind::Static, _) => ".a".to_owned(),
            (_, Some(suffix)) => format!(".{suffix}"),
            (_, None) => format!(".so{}", version.unwrap_or_default()),
        };
        let is_installed = keyword(arguments, "install").is_some_and(|value| !value.starts_with("false"));
        for name in names {
            found.push(Target {
                is_installed,
                conditions: conditions(&text[..index]),
                ..target(format!("{prefix}{name}{ending}"), kind, arguments)
            });
        }
    }
    found
}

/// What a loop that is open at the end of `before` puts into `variable`, if that is written there.
fn of_loop<'a>(before: &'a str, variable: &str) -> Vec<&'a str> {
    let start = format!("foreach {variable} :");
    let Some(index) = before.rfind(&start) else {
        return vec![];
    };
    let values = before[index + start.len()..].trim_start();
    if values.starts_with('[') {
        return listed(values);
    }
    let name = values.lines().next().unwrap_or_default().trim();
    let given = before.match_indices(name).filter_map(|(index, _)| {
        let is_first = index == 0 || before[..index].ends_with('\n');
        let rest = before[index + name.len()..].trim_start().strip_prefix('=')?;
        (is_first && !name.is_empty()).then_some(rest)
    });
    given.last().map(listed).unwrap_or_default()
}

/// The conditions of Meson's that are open at the end of a text; what else there is in `else` cannot be true as well.
fn conditions(before: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    for line in before.lines().map(str::trim) {
        if let Some(condition) = line.strip_prefix("if ") {
            open.push(condition.trim().to_owned());
        } else if line.starts_with("elif ") || line == "else" {
            if let Some(last) = open.last_mut() {
                *last = format!("not ({last})");
            }
        } else if line == "endif" {
            open.pop();
        }
    }
    open
}

/// Stands for what cannot be true: no file of the tree looks into the directory.
const NEVER: &str = "false";

/// The conditions under which a directory of a Meson tree is looked into.
fn subdirectory_conditions(tree: &Tree, root: &str, directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut below = directory;
    while below != root && below != "." {
        match caller(tree, root, below) {
            Some((level, conditions)) => {
                found.extend(conditions);
                below = level;
            }
            None => {
                found.push(NEVER.to_owned());
                return found;
            }
        }
    }
    found
}

/// The directory whose build file looks into `below`, and under which conditions: by its name (`subdir('src/irc')`), or else
/// by one that a loop computes.
fn caller<'a>(tree: &Tree, root: &str, below: &'a str) -> Option<(&'a str, Vec<String>)> {
    let mut level = below;
    let mut computed = None;
    while level != root && level != "." {
        level = tree::parent(level);
        let Some(text) = tree::join(level, "meson.build").and_then(|path| tree.text(&path)) else {
            continue;
        };
        let relative = below.strip_prefix(if level == "." { "" } else { level })?;
        let relative = relative.trim_start_matches('/');
        for (index, _, arguments) in calls(text, &["subdir"]) {
            match in_quotes(arguments) {
                Some(name) if name == relative => return Some((level, conditions(&text[..index]))),
                Some(_) => {}
                None if !relative.contains('/') => {
                    computed.get_or_insert_with(|| (level, conditions(&text[..index])));
                }
                None => {}
            }
        }
    }
    computed
}

/// The option of a Meson tree that makes a condition true, as a word for its command: when the condition is a variable that
/// an option gives its value.
pub(super) fn option(tree: &Tree, root: &str, condition: &str) -> Option<String> {
    let files = tree
        .files()
        .filter(|(path, _)| tree::file_name(path) == "meson.build" && tree::is_within(path, root));
    let given: Vec<&str> = files
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.trim().strip_prefix(condition)?.trim_start().strip_prefix('='))
        .filter(|value| !value.starts_with('='))
        .collect();
    let value = match given.as_slice() {
        [] => condition,
        [one] => one.trim(),
        _ => return None,
    };
    let rest = value.strip_prefix("get_option(")?;
    let name = in_quotes(rest)?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let after = rest.split_once(')')?.1.trim();
    let wanted = match after.strip_prefix("==") {
        Some(value) => in_quotes(value.trim())?,
        None if after.is_empty() => "true",
        None if after == ".enabled()" || after == ".allowed()" => "enabled",
        None => return None,
    };
    is_name.then(|| format!("-D{name}={wanted}"))
}

fn cmake(text: &str) -> Vec<Target> {
    let variables = cmake_variables(text);
    let given = calls(text, &["set_target_properties", "set_property"]);
    let properties: Vec<&str> = given.into_iter().map(|(.., arguments)| arguments).collect();
    let mut found = Vec::new();
    for (_, call, arguments) in calls(text, &["add_executable", "add_library"]) {
        let mut words = arguments.split_whitespace();
        let Some(name) = words.next() else { continue };
        let second = words.next().unwrap_or_default();
        let kind = match (call, second) {
            (_, "ALIAS" | "IMPORTED" | "INTERFACE" | "OBJECT") => continue,
            ("add_executable", _) => TargetKind::Program,
            (_, "MODULE") => TargetKind::Module,
            (_, "SHARED") => TargetKind::Library,
            _ => TargetKind::Static,
        };
        for (name, said) in filled(name, &variables) {
            let property = |key: &str| property(&properties, &name, &said, key);
            let prefix = match (kind, property("PREFIX")) {
                (TargetKind::Program, _) => String::new(),
                (_, Some(prefix)) => prefix,
                (_, None) => "lib".to_owned(),
            };
            let stem = property("OUTPUT_NAME").unwrap_or_else(|| name.clone());
            let ending = match kind {
                TargetKind::Program => String::new(),
                TargetKind::Static => ".a".to_owned(),
                _ => property("SUFFIX").unwrap_or_else(|| ".so".to_owned()),
            };
            let version = match kind {
                TargetKind::Library => property("SOVERSION").map(|version| format!(".{version}")),
                _ => None,
            };
            let file = format!("{prefix}{stem}{ending}{}", version.unwrap_or_default());
            found.push(target(file, kind, &format!("{name} {arguments}")));
        }
    }
    found
}

/// Values of variables, and of those of loops, as far as they are written.
fn cmake_variables(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut variables = BTreeMap::new();
    for (_, call, arguments) in calls(text, &["foreach", "project", "set"]) {
        let words: Vec<String> = arguments
            .split_whitespace()
            .map(|word| word.trim_matches('"').to_owned())
            .collect();
        let Some((name, values)) = words.split_first() else {
            continue;
        };
        match call {
            "project" => {
                variables.insert("PROJECT_NAME".to_owned(), vec![name.clone()]);
            }
            "set" if values.len() != 1 => {}
            _ => {
                let values = values
                    .iter()
                    .filter(|value| !["IN", "ITEMS", "LISTS"].contains(&value.as_str()));
                variables.insert(name.clone(), values.cloned().collect());
            }
        }
    }
    variables
}

/// A name with each value of the variable in it, beside how it is written.
fn filled(name: &str, variables: &BTreeMap<String, Vec<String>>) -> Vec<(String, String)> {
    let written = name.trim_matches('"');
    let Some((before, rest)) = written.split_once("${") else {
        return vec![(written.to_owned(), written.to_owned())];
    };
    let Some((variable, after)) = rest.split_once('}') else {
        return vec![];
    };
    let values = variables.get(variable).into_iter().flatten();
    values
        .map(|value| (format!("{before}{value}{after}"), written.to_owned()))
        .filter(|(name, _)| !name.contains('$'))
        .collect()
}

/// A property that a target is given, by its name or as that is written in a loop.
fn property(properties: &[&str], name: &str, written: &str, key: &str) -> Option<String> {
    let of_target = |arguments: &&str| -> Option<String> {
        let (targets, properties) = arguments.split_once("PROPERT")?;
        let mut targets = targets.split_whitespace();
        targets.find(|target| *target == name || *target == written)?;
        let mut words = properties.split_whitespace().skip(1);
        words.find(|word| *word == key)?;
        let value = words.next()?.trim_matches('"');
        (!value.contains('$')).then(|| value.to_owned())
    };
    properties.iter().find_map(of_target)
}

fn linked_by_cmake(text: &str) -> Vec<String> {
    let links = calls(text, &["target_link_libraries"]);
    links
        .iter()
        .flat_map(|(.., arguments)| arguments.split_whitespace().skip(1))
        .map(str::to_owned)
        .collect()
}

fn automake(tree: &Tree, directory: &str, text: &str) -> Vec<Target> {
    let files = tree.below(directory);
    let makefile = Makefile::new(text, &files);
    let mut found = Vec::new();
    for variable in variables_of(text) {
        let (place, primary) = variable.rsplit_once('_').unwrap_or_default();
        let is_for_tests = ["check", "EXTRA"].contains(&place);
        if is_for_tests || !["PROGRAMS", "LTLIBRARIES"].contains(&primary) {
            continue;
        }
        for name in makefile.words(variable) {
            let canonical: String = name
                .chars()
                .map(|character| {
                    if character.is_ascii_alphanumeric() || character == '@' {
                        character
                    } else {
                        '_'
                    }
                })
                .collect();
            let flags = |variable: &str| makefile.words(variable).iter().any(|word| word == "-module");
            let is_module = flags(&format!("{canonical}_LDFLAGS")) || flags("AM_LDFLAGS");
            let (file, kind) = match (primary, name.strip_suffix(".la")) {
                ("PROGRAMS", _) => (name.clone(), TargetKind::Program),
                (_, Some(stem)) if place == "noinst" && !is_module => (format!("{stem}.a"), TargetKind::Static),
                (_, Some(stem)) if is_module => (format!("{stem}.so"), TargetKind::Module),
                (_, Some(stem)) => (format!("{stem}.so"), TargetKind::Library),
                (_, None) => continue,
            };
            let said = makefile.words(&format!("{canonical}_SOURCES")).join(" ");
            found.push(Target {
                is_installed: place != "noinst",
                ..target(file, kind, &said)
            });
        }
    }
    found
}

/// The variables that a makefile gives values to.
fn variables_of(text: &str) -> BTreeSet<&str> {
    let assigned = text.lines().filter_map(|line| line.split_once('='));
    assigned
        .map(|(name, _)| name.trim_end_matches(['+', ':', '?']).trim())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .collect()
}

/// What the rules of a makefile link: with `-shared`, and with the name of a library or without one.
fn makefile(tree: &Tree, directory: &str, text: &str) -> Vec<Target> {
    let files = tree.below(directory);
    let makefile = Makefile::new(text, &files);
    let mut found = Vec::new();
    for rule in makefile.rules() {
        let is_link = rule.recipe.contains("-o $@") && !rule.recipe.contains(" -c ");
        let name = rule.target.rsplit('/').next().unwrap_or_default();
        let is_shared = rule.recipe.contains("-shared") || name.ends_with(".so");
        let kind = match (is_shared, rule.recipe.contains("-soname")) {
            _ if !is_link || name.ends_with(".o") => continue,
            (true, true) => TargetKind::Library,
            (true, false) => TargetKind::Module,
            (false, _) => TargetKind::Program,
        };
        found.push(target(name.to_owned(), kind, &rule.needs));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(system: BuildSystem, files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree::of(files);
        let described = targets(&tree, system, ".");
        described
            .iter()
            .map(|target| {
                let conditions = target.conditions.join(" & ");
                format!("{:?} {} {conditions}", target.kind, target.file)
                    .trim_end()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn meson_says_what_is_a_module_and_under_which_conditions() {
        let top = "project('x')\nnames = ['a', 'b']\n# executable('not')\nexecutable('host', 'm.c', install : true)\n\
                   foreach name : names\n  shared_module(name, name + '.c', name_prefix: '')\nendforeach\n\
                   foreach one : ['c', 'd']\n  shared_module(one, one + '.c')\nendforeach\n\
                   static_library('s', 's.c')\nlibrary('l', 'l.c', version: '1.2.3')\n\
                   want = get_option('with-proxy') == 'yes'\nforeach d : ['loop']\n  subdir(d)\nendforeach\nif want\n  subdir('src/proxy')\nelse\n  subdir('other')\nendif\n";
        assert_eq!(
            seen(
                BuildSystem::Meson,
                &[
                    ("meson.build", top),
                    ("src/proxy/meson.build", "shared_module('proxy', files('p.c'))\n"),
                    ("loop/meson.build", "shared_module('looped')\n"),
                    ("not/at/all/meson.build", "shared_module('never')\n"),
                    (
                        "other/meson.build",
                        "if host_machine.system() == 'x'\nshared_module('o')\nendif\n"
                    ),
                ]
            ),
            [
                "Module liblooped.so",
                "Program host",
                "Module a.so",
                "Module b.so",
                "Module libc.so",
                "Module libd.so",
                "Static libs.a",
                "Library libl.so.1",
                "Module libnever.so false",
                "Module libo.so host_machine.system() == 'x' & not (want)",
                "Module libproxy.so want",
            ]
        );
        let tree = Tree::of(&[("meson.build", top)]);
        assert_eq!(option(&tree, ".", "want").as_deref(), Some("-Dwith-proxy=yes"));
        assert_eq!(option(&tree, ".", "get_option('x')").as_deref(), Some("-Dx=true"));
        assert_eq!(option(&tree, ".", "have_perl"), None);
    }

    #[test]
    fn cmake_says_what_is_linked() {
        let text = "project(hello C)\nadd_executable(${PROJECT_NAME} host.c)\nADD_LIBRARY(core SHARED core.c)\n\
                    set_target_properties(core PROPERTIES SOVERSION 2)\nadd_library(base STATIC b.c)\nadd_library(alone SHARED a.c)\n\
                    target_link_libraries(hello core)\nforeach(name one two)\n  add_library(${name} MODULE ${name}.c)\n  \
                    set_target_properties(${name} PROPERTIES PREFIX \"\")\nendforeach()\nadd_library(i INTERFACE)\nadd_library(${X} MODULE)\n";
        assert_eq!(
            seen(BuildSystem::Cmake, &[("CMakeLists.txt", text)]),
            [
                "Program hello",
                "Library libcore.so.2",
                "Static libbase.a",
                "Module libalone.so",
                "Module one.so",
                "Module two.so",
            ]
        );
    }

    #[test]
    fn makefiles_say_it_by_flags() {
        let automake = "bin_PROGRAMS = host\nnoinst_LTLIBRARIES = libcommon.la\nlib_LTLIBRARIES = libx.la\n\
                        mod_LTLIBRARIES = my-mod.la\nmy_mod_la_LDFLAGS = -module -avoid-version\ncheck_PROGRAMS = t\n";
        assert_eq!(
            seen(
                BuildSystem::Autotools,
                &[
                    ("configure.ac", ""),
                    ("Makefile.am", automake),
                    ("Makefile.in", "x: y\n")
                ]
            ),
            [
                "Program host",
                "Library libx.so",
                "Module my-mod.so",
                "Static libcommon.a"
            ]
        );
        let by_hand = "EXT = .so\nPLUGIN = dir/plugin$(EXT)\nHOST = host/simple\nFLAGS = -shared\nLIB = -shared -Wl,-soname=l\n\
                       all: $(PLUGIN) $(HOST)\n$(PLUGIN): a.o b.o\n\t$(CXX) $(FLAGS) -o $@ a.o\n$(HOST): h.o\n\t$(CXX) -o $@ h.o\n\
                       lib.so.1: l.o\n\t$(CXX) $(LIB) -o $@ l.o\n%.o: %.c\n\t$(CC) -c -o $@ $<\nx.o: x.c\n\t$(CC) $(CFLAGS) -c -o $@ $<\n";
        assert_eq!(
            seen(BuildSystem::Make, &[("Makefile", by_hand)]),
            ["Module plugin.so", "Program simple", "Library lib.so.1"]
        );
    }
}
