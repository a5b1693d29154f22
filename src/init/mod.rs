//! `init`: a directory in, a commented `lockstep.yaml` out.
//!
//! [`Tree::read`] looks at the files once; all that follows is pure: what is compiled how, which program is the host,
//! what its plugins have in common, and the text.

mod asked;
mod beside;
mod build_files;
mod builds;
mod c_family;
mod cargo;
mod go;
mod kinds;
mod known;
mod own;
mod proposal;
mod recipe;
mod render;
mod targets;
mod text;
mod tree;

use std::collections::BTreeMap;

use targets::Targets;

use crate::config::{Build, LanguageName, Loader};
use crate::known_hosts::Beside;

pub use asked::{Asked, NotAsked};
pub use builds::ProposedBuild;
pub use kinds::ProposedContract;
pub use proposal::{LOOKED_FOR, OwnImages, Proposal, ProposedHost, Unrecognised, propose};
pub use recipe::Recipe;
pub use render::{language, render};
pub use tree::{Tree, TreeError};

/// A directory that could be compiled to a host or a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What it is called: a package's or a directory's name.
    pub name: String,
    /// What it is written in.
    pub language: LanguageName,
    /// The directory it is compiled in; `.` for the project's own.
    pub source: String,
    /// What else it reads, of the project.
    pub inputs: Vec<String>,
    /// Which Go package of the module.
    pub package: Option<String>,
    /// The file it yields.
    pub artifact: String,
    /// What it is called where it is shipped, if that is something else.
    pub to: Option<String>,
    /// Host or plugin.
    pub kind: Kind,
    /// The functions (for Go also the variables) that it exports to whoever loads it.
    pub exports: Vec<String>,
    /// The contract that it is held to, by name, where there are several.
    pub contract: Option<String>,
    /// The build that it is taken from, by name, where several units are made by one.
    pub from: Option<String>,
    /// The build system that makes it; none for the language's own command.
    pub build: Option<Build>,
    /// A script in place of the language's command.
    pub command: Option<String>,
    /// Variables for its build.
    pub env: BTreeMap<String, String>,
    /// What is shipped with it; its files are of the project.
    pub beside: Beside,
    /// What should be done first, for example because its own lock file is missing.
    pub advice: Option<String>,
}

/// What a candidate can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program; with how it loads shared objects, where that can be seen.
    Host {
        /// None when its sources do not tell.
        loads: Option<Loader>,
    },
    /// A shared object, for this loader.
    Plugin(Loader),
}

impl Candidate {
    /// Where it is: its directory, or its Go package.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.package {
            Some(package) if package != "." => tree::join(&self.source, package).unwrap_or_default(),
            _ => self.source.clone(),
        }
    }

    /// What it is called where it is shipped.
    #[must_use]
    pub fn placed(&self) -> &str {
        self.to.as_deref().unwrap_or(&self.artifact)
    }

    /// A candidate that its language's own command makes, of a directory.
    fn of(name: &str, language: LanguageName, source: &str, artifact: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            language,
            source: source.to_owned(),
            inputs: vec![],
            package: None,
            artifact: artifact.to_owned(),
            to: None,
            kind,
            exports: vec![],
            contract: None,
            from: None,
            build: None,
            command: None,
            env: BTreeMap::new(),
            beside: Beside::default(),
            advice: None,
        }
    }
}

/// Everything in the tree that could be a host or a plugin; `notes` gets a line for what was seen and is neither.
fn candidates(targets: &Targets<'_>, notes: &mut Vec<String>) -> Vec<Candidate> {
    let tree = targets.tree;
    let mut candidates = cargo::candidates(tree);
    candidates.extend(go::candidates(tree));
    let (own, roots) = own::candidates(targets, notes);
    candidates.extend(own);
    candidates.extend(c_family::candidates(targets, &roots, notes));
    candidates
}
