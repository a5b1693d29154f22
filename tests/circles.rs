//! No file imports in a circle: what two files need of each other belongs into a third. Reads the `use` lines and the paths of
//! the sources; what a module re-exports counts as the file that has it, and a module and what lies below it as one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// More files than the project will have; a link in a circle would end here.
const FILES_LIMIT: usize = 10_000;
/// Longer chains of re-exports are a mistake.
const REEXPORTS_LIMIT: usize = 8;

/// A module's path from the crate's root, as `check/pair`; empty for the root itself.
type Module = Vec<String>;

/// A file with the paths that it names.
struct Source {
    /// Paths of `use` lines, whether public or not: they can be named as the module's own.
    imports: Vec<Vec<String>>,
    /// Paths elsewhere in it.
    mentions: Vec<Vec<String>>,
}

/// All files of `src`, by module. Tests in files of their own are left out, and those at the end of a file.
fn sources() -> BTreeMap<Module, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![root.clone()];
    let mut found = BTreeMap::new();
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            if !is_source || name == "tests" || name == "main" {
                continue;
            }
            let below = path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Module = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if name == "mod" || name == "lib" {
                module.pop();
            }
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            found.insert(module, read(text));
            assert!(found.len() < FILES_LIMIT);
        }
    }
    found
}

fn read(text: &str) -> Source {
    let code: Vec<&str> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let (mut imports, mut mentions) = (Vec::new(), Vec::new());
    let mut open: Option<String> = None;
    for line in code {
        let trimmed = line.trim();
        let visible = trimmed.strip_prefix("pub").map(|rest| rest.trim_start());
        let rest = visible.map(|rest| match rest.strip_prefix('(') {
            Some(inside) => inside.split_once(')').map_or("", |(_, rest)| rest).trim_start(),
            None => rest,
        });
        let import = rest.unwrap_or(trimmed).strip_prefix("use ");
        match (&mut open, import) {
            (Some(tree), _) => tree.push_str(trimmed),
            (None, Some(tree)) => open = Some(tree.to_owned()),
            (None, None) => mentions.extend(paths_in(trimmed)),
        }
        if let Some(tree) = open.take_if(|tree| tree.ends_with(';')) {
            expand(&[], tree.trim_end_matches(';'), &mut imports);
        }
    }
    Source { imports, mentions }
}

/// The paths that begin at the crate's root, or near.
fn paths_in(line: &str) -> Vec<Vec<String>> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    let words = line.split(|character| !is_part(character));
    let starts = ["crate::", "super::", "self::"];
    let is_path = |word: &&str| starts.iter().any(|start| word.starts_with(start));
    let parts = |word: &str| {
        word.split("::")
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    words.filter(is_path).map(parts).collect()
}

/// `a::{b, c::{d}}` is `a::b` and `a::c::d`.
fn expand(above: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
    let parts = |text: &str| -> Vec<String> {
        let text = text.split(" as ").next().unwrap_or_default();
        let parts = text.split("::").map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let tree = tree.trim();
    let Some((start, rest)) = tree.split_once('{') else {
        let path = [above, &parts(tree)].concat();
        if path.len() > above.len() {
            found.push(path);
        }
        return;
    };
    let above = [above, &parts(start)].concat();
    let inner = rest.rsplit_once('}').map_or("", |(inner, _)| inner);
    let (mut depth, mut from) = (0_usize, 0);
    for (index, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&above, &inner[from..index], found);
                from = index + 1;
            }
            _ => {}
        }
    }
    expand(&above, &inner[from..], found);
}

struct Graph {
    sources: BTreeMap<Module, Source>,
    /// What each module can be asked for by a name of its own.
    names: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Graph {
    fn read() -> Self {
        let mut graph = Self {
            sources: sources(),
            names: BTreeMap::new(),
        };
        for (module, source) in &graph.sources {
            let absolute = source.imports.iter().filter_map(|path| graph.absolute(module, path));
            let names = absolute.filter_map(|path| Some((path.last()?.clone(), path.clone())));
            let names = names.collect();
            graph.names.insert(module.clone(), names);
        }
        graph
    }

    /// A path from the crate's root; none for one into another crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let base = module.get(..module.len().checked_sub(ups)?)?;
                Some([base, &path[ups..]].concat())
            }
            _ => {
                let child = [module.as_slice(), std::slice::from_ref(first)].concat();
                self.sources.contains_key(&child).then(|| [module, path].concat())
            }
        }
    }

    /// The file that has what a path leads to.
    fn file_of(&self, path: &[String], depth: usize) -> Option<Module> {
        let length = (0..=path.len())
            .rev()
            .find(|length| self.sources.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let Some((name, rest)) = rest.split_first() else {
            return Some(module.to_vec());
        };
        match self.names.get(module).and_then(|names| names.get(name)) {
            Some(target) if depth < REEXPORTS_LIMIT && target.as_slice() != path => {
                self.file_of(&[target.as_slice(), rest].concat(), depth + 1)
            }
            _ => Some(module.to_vec()),
        }
    }

    fn neighbours(&self, module: &Module) -> BTreeSet<Module> {
        let Some(source) = self.sources.get(module) else {
            return BTreeSet::new();
        };
        let paths = source.imports.iter().chain(&source.mentions);
        let targets = paths.filter_map(|path| self.file_of(&self.absolute(module, path)?, 0));
        targets
            .filter(|target| !module.starts_with(target) && !target.starts_with(module))
            .collect()
    }

    /// Sets of files of which each leads to each, by imports.
    fn circles(&self) -> BTreeSet<Vec<String>> {
        let edges: BTreeMap<&Module, BTreeSet<Module>> = self
            .sources
            .keys()
            .map(|module| (module, self.neighbours(module)))
            .collect();
        let reached = |from: &Module| {
            let (mut seen, mut pending) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = pending.pop() {
                for next in edges.get(&module).into_iter().flatten() {
                    if seen.insert(next.clone()) {
                        pending.push(next.clone());
                    }
                }
            }
            seen
        };
        let all: BTreeMap<&Module, BTreeSet<Module>> = edges.keys().map(|module| (*module, reached(module))).collect();
        let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
        for (module, seen) in &all {
            if seen.contains(*module) {
                let is_back = |other: &&Module| all.get(*other).is_some_and(|seen| seen.contains(*module));
                circles.insert(seen.iter().filter(is_back).map(|module| module.join("/")).collect());
            }
        }
        circles
    }
}

#[test]
fn no_file_imports_in_a_circle() {
    let circles: Vec<String> = Graph::read().circles().iter().map(|circle| circle.join(" ")).collect();
    assert_eq!(circles, Vec::<String>::new());
}
