//! Kinds of plugins: which contracts there are, by what the host looks up and where its plugins lie.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{free_name, unit_name};
use super::tree::{self, Tree};
use super::{Candidate, go};
use crate::config::{LanguageName, is_artifact_name};

/// What a host expects of the plugins of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedContract {
    /// What it is called; a name that a contract can have.
    pub name: String,
    /// What is looked up in every plugin of the kind; empty when nothing is.
    pub symbols: Vec<String>,
    /// The directory of its own that the kind has, as in the tree.
    pub into: Option<String>,
}

/// Those that look the same to the host.
struct Group {
    symbols: BTreeSet<String>,
    directories: BTreeSet<String>,
    members: Vec<usize>,
}

/// The contracts, of which each plugin gets one; none when all plugins are of one kind, or when it cannot be seen what the
/// host looks up in them.
pub(super) fn tell_apart(tree: &Tree, host: &Candidate, plugins: &mut [Candidate]) -> Vec<ProposedContract> {
    let looks_up = looked_up(tree, host, plugins);
    if looks_up.is_empty() {
        return vec![];
    }
    let groups = groups(&looks_up, plugins);
    if groups.len() < 2 {
        return vec![];
    }
    let mut names = BTreeSet::new();
    let mut contracts: Vec<ProposedContract> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let is_elsewhere = |directory: &String| {
            let others = groups.iter().enumerate().filter(|(other, _)| *other != index);
            !others
                .map(|(_, other)| other)
                .any(|other| other.directories.contains(directory))
        };
        // A directory tells a kind when it has all of it and nothing else.
        let own = group
            .directories
            .first()
            .filter(|own| group.directories.len() == 1 && is_elsewhere(own) && *own != ".");
        let own = own.map(|directory| tree::file_name(directory));
        let name = free_name(&kind_name(own, &group.symbols), &mut names);
        for member in &group.members {
            if let Some(plugin) = plugins.get_mut(*member) {
                plugin.contract = Some(name.clone());
            }
        }
        let is_free = |own: &&str| {
            let files = plugins.iter().map(|plugin| &plugin.artifact).chain([&host.artifact]);
            is_artifact_name(own)
                && unit_name(own) == **own
                && files.into_iter().all(|file| file != own)
                && contracts.iter().all(|other| other.into.as_deref() != Some(*own))
        };
        let into = own.filter(is_free).map(str::to_owned);
        contracts.push(ProposedContract {
            name,
            symbols: group.symbols.iter().cloned().collect(),
            into,
        });
    }
    contracts
}

/// What the host's sources name of what its plugins export.
pub(super) fn looked_up(tree: &Tree, host: &Candidate, plugins: &[Candidate]) -> BTreeSet<String> {
    let texts: Vec<&str> = match host.language {
        LanguageName::Go => go::loading_sources(tree, &host.source),
        language => {
            let call = match language {
                LanguageName::Rust => ".get",
                _ => "dlsym",
            };
            tree.within(&host.source)
                .filter(|(_, text)| text.contains(call))
                .filter(|(path, _)| !plugins.iter().any(|plugin| is_of(path, plugin, host)))
                .map(|(_, text)| text)
                .collect()
        }
    };
    let is_named = |symbol: &&String| {
        let forms = [
            format!("\"{symbol}\""),
            format!("\"{symbol}\\0\""),
            format!("`{symbol}`"),
        ];
        texts
            .iter()
            .any(|text| forms.iter().any(|form| text.contains(form.as_str())))
    };
    plugins
        .iter()
        .flat_map(|plugin| &plugin.exports)
        .filter(is_named)
        .cloned()
        .collect()
}

/// Whether a file is a plugin's own, and not the host's.
fn is_of(path: &str, plugin: &Candidate, host: &Candidate) -> bool {
    plugin.source != host.source
        && tree::is_within(path, &plugin.source)
        && !tree::is_within(&host.source, &plugin.source)
}

/// Plugins in which the same is looked up; in one directory, what some of them have more is optional.
fn groups(looks_up: &BTreeSet<String>, plugins: &[Candidate]) -> Vec<Group> {
    let mut by_symbols: BTreeMap<BTreeSet<String>, Group> = BTreeMap::new();
    for (index, plugin) in plugins.iter().enumerate() {
        let symbols: BTreeSet<String> = plugin
            .exports
            .iter()
            .filter(|symbol| looks_up.contains(*symbol))
            .cloned()
            .collect();
        let group = by_symbols.entry(symbols.clone()).or_insert_with(|| Group {
            symbols,
            directories: BTreeSet::new(),
            members: vec![],
        });
        group.directories.insert(tree::parent(&plugin.place()).to_owned());
        group.members.push(index);
    }
    let mut groups: Vec<Group> = Vec::new();
    for group in by_symbols.into_values() {
        let is_like = |other: &&mut Group| {
            !other.directories.is_disjoint(&group.directories) && !other.symbols.is_disjoint(&group.symbols)
        };
        match groups.iter_mut().find(is_like) {
            Some(other) => {
                other.symbols = &other.symbols & &group.symbols;
                other.directories.extend(group.directories);
                other.members.extend(group.members);
            }
            None => groups.push(group),
        }
    }
    groups.sort_by_key(|group| group.members.iter().min().copied());
    groups
}

/// `handler` of `handlers/`, else what is looked up first.
fn kind_name(directory: Option<&str>, symbols: &BTreeSet<String>) -> String {
    let text = match (directory, symbols.first()) {
        (Some(directory), _) => directory.strip_suffix('s').unwrap_or(directory),
        (None, Some(symbol)) => symbol,
        (None, None) => "other",
    };
    unit_name(text)
}

#[cfg(test)]
mod tests {
    use super::super::{Proposal, Tree, propose};

    fn proposed(files: &[(&str, &str)]) -> Proposal {
        propose(&Tree::of(files), "x", None).unwrap()
    }

    fn described(proposal: &Proposal) -> Vec<String> {
        let contract = |contract: &super::ProposedContract| {
            let members = proposal
                .plugins
                .iter()
                .filter(|plugin| plugin.contract.as_ref() == Some(&contract.name));
            let members: Vec<&str> = members.map(|plugin| plugin.name.as_str()).collect();
            format!(
                "{} [{}] {:?} of {}",
                contract.name,
                contract.symbols.join(" "),
                contract.into,
                members.join(" ")
            )
        };
        proposal.contracts.iter().map(contract).collect()
    }

    const MODULE: (&str, &str) = ("go.mod", "module example.com/gateway\n");
    const HANDLER: &str = "package main\n\nvar Route = \"/x\"\n\nfunc Handle() {}\n\nfunc Helper() {}\n";
    const MIDDLEWARE: &str = "package main\n\nfunc Middleware() {}\n";

    #[test]
    fn what_is_looked_up_tells_kinds_apart_and_directories_name_them() {
        let loads = "package load\n\nimport (\n\t\"plugin\"\n)\n\nvar wanted = []string{\"Handle\", \"Route\"}\n\nfunc f() { p.Lookup(\"Middleware\") }\n";
        let main = "package main\n\nimport \"example.com/gateway/internal/load\"\n\nfunc main() {}\n";
        let found = proposed(&[
            MODULE,
            ("internal/load/load.go", loads),
            ("cmd/gateway/main.go", main),
            ("cmd/tool/main.go", "package main\n\nfunc main() {}\n"),
            ("handlers/one/one.go", HANDLER),
            ("handlers/two/two.go", HANDLER),
            ("middlewares/log/log.go", MIDDLEWARE),
        ]);
        assert_eq!(
            described(&found),
            [
                "handler [Handle Route] Some(\"handlers\") of one two",
                "middleware [Middleware] Some(\"middlewares\") of log"
            ]
        );
        // In one directory, their symbols name them, and what only some have is optional.
        let found = proposed(&[
            MODULE,
            ("internal/load/load.go", loads),
            ("cmd/gateway/main.go", main),
            ("plugins/one/one.go", HANDLER),
            ("plugins/two/two.go", "package main\n\nfunc Handle() {}\n"),
            ("plugins/log/log.go", MIDDLEWARE),
        ]);
        assert_eq!(
            described(&found),
            ["middleware [Middleware] None of log", "handle [Handle] None of one two"]
        );
    }

    #[test]
    fn one_kind_needs_no_name() {
        let found = proposed(&[
            MODULE,
            (
                "main.go",
                "package main\n\nimport \"plugin\"\n\nfunc main() { p.Lookup(\"Handle\") }\n",
            ),
            ("plugins/one/one.go", HANDLER),
            ("plugins/two/two.go", HANDLER),
        ]);
        assert_eq!((described(&found), found.symbols), (vec![], vec!["Handle".to_owned()]));
    }

    #[test]
    fn a_host_in_c_tells_kinds_by_dlsym() {
        let found = proposed(&[
            (
                "host/main.c",
                "int main(void) { dlopen(0, 0); dlsym(h, \"encode\"); dlsym(h, \"draw\"); }\n",
            ),
            ("codecs/a/a.c", "int encode(void) {\n}\nint helper(void) {\n}\n"),
            ("filters/b/b.c", "int draw(void) {\n}\n"),
        ]);
        assert_eq!(
            described(&found),
            [
                "codec [encode] Some(\"codecs\") of a",
                "filter [draw] Some(\"filters\") of b"
            ]
        );
    }
}
