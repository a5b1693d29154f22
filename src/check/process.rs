//! A process as its loader sees it: what is loaded, under which names, and who sees whose symbols.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::environment::Environment;
use super::fault::{Fault, FaultKind};
use super::lookup::Answers;
use super::object_id::ObjectId;
use super::packaged::PackagedFiles;
use super::platform::{Family, Platform};
use super::secure::{Gain, Start};
use super::tls::TlsBlock;
use super::user::User;
use super::verdict::Phase;
use crate::facts::elf::Elf;
use crate::rootfs::RootFs;

/// One object in the process.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    /// How the loader's messages call it: the path by which it was found, or as it was given.
    pub name: String,
    /// The path by which it was opened, which `$ORIGIN` is taken from.
    pub path: String,
    /// The file, whatever its path.
    pub file: (u64, u64),
    /// What is in it.
    pub elf: Arc<Elf>,
    /// The names that it answers to without a search: those it was asked for by, and in glibc its `DT_SONAME`; in musl the one
    /// by which a search found it.
    pub names: Vec<String>,
    /// What needed it first; none for the host and for what was opened.
    pub parent: Option<ObjectId>,
    /// What it needs itself, in the order of `DT_NEEDED`.
    pub needed: Vec<ObjectId>,
    /// What it needs itself and what that needs, once somebody has asked when all of it was loaded.
    pub linked: OnceCell<Vec<ObjectId>>,
    /// The object with whose local scope it was loaded: the host or a plugin, which may be itself.
    pub root: ObjectId,
    /// That scope: the root and what it needs, breadth first. Only roots have one.
    pub scope: Vec<ObjectId>,
    /// Whether its thread-local storage has a fixed offset from the thread pointer.
    pub has_static_tls: bool,
    /// Whether it was preloaded: what it has, it has in place of others on purpose.
    pub is_preloaded: bool,
    /// Whether everybody sees its symbols since the start.
    pub is_in_startup_scope: bool,
    /// The plugin, by its place in the request, that brought it; none for what was there at the start.
    pub brought_by: Option<usize>,
    /// What its loader passed over in silence, and what shows when something in it is called.
    pub deferred: Vec<Fault>,
    /// Whether its function references may stay unbound until they are called.
    pub is_lazy: bool,
}

impl Loaded {
    /// The directory that `$ORIGIN` stands for.
    #[must_use]
    pub(super) fn origin(&self) -> &str {
        match self.path.rfind('/') {
            Some(0) => "/",
            Some(slash) => &self.path[..slash],
            None => ".",
        }
    }

    /// The last part of its name.
    #[must_use]
    pub(super) fn short(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Whether it was there when the host started.
    #[must_use]
    pub(super) fn is_startup(&self) -> bool {
        self.brought_by.is_none()
    }
}

/// A process.
pub(super) struct Process<'r> {
    /// Where its files are.
    pub root: &'r dyn RootFs,
    /// What it was started with.
    pub environment: &'r Environment,
    /// Who it runs as, if that is known.
    pub user: Option<User>,
    /// What it was given that its starter has not: then it is in secure-execution mode.
    pub gain: Option<Gain>,
    /// Its loader.
    pub platform: Arc<Platform>,
    /// What is loaded, in load order; the host is the first.
    pub objects: Vec<Loaded>,
    /// The global scope, in order.
    pub global: Vec<ObjectId>,
    /// How much of it was there when the host had started, and stays as it is.
    pub startup_count: usize,
    /// What that part answered.
    pub answers: Answers,
    /// How much of the static thread-local storage is used.
    pub tls: TlsBlock,
    /// The symbols of which there is one in a process (`STB_GNU_UNIQUE`), by name; glibc only.
    pub unique: BTreeMap<Vec<u8>, (ObjectId, u32)>,
    /// The interpreter's own object.
    pub interpreter: Option<ObjectId>,
    /// Where in the load order the interpreter came in, by the object that followed; musl only.
    pub interpreter_place: Option<usize>,
    /// Whether the root is the one in which the host runs.
    pub is_root_known: bool,
    /// What the distribution's packages brought.
    pub packaged: PackagedFiles,
    /// Names of which a search that everybody shares finds the object that is loaded under them.
    pub unshadowed: HashMap<String, ObjectId>,
    /// The objects by the names that they answer to; the first that was loaded counts.
    by_name: HashMap<String, ObjectId>,
    /// The objects by their files.
    by_file: HashMap<(u64, u64), ObjectId>,
    /// What the search for libraries needs of the image.
    pub paths: Arc<super::paths::SystemPaths>,
}

/// What can be put back when a plugin could not be loaded.
#[derive(Default)]
pub(super) struct Checkpoint {
    objects: usize,
    global: Vec<ObjectId>,
    tls: TlsBlock,
    with_static_tls: Vec<ObjectId>,
    interpreter_place: Option<usize>,
}

impl Checkpoint {
    /// Whether an object was loaded already.
    pub(super) fn has(&self, id: ObjectId) -> bool {
        id < self.objects
    }
}

impl<'r> Process<'r> {
    /// A process in which nothing is loaded yet.
    pub(super) fn new(
        root: &'r dyn RootFs,
        (environment, Start { gain, user, .. }): (&'r Environment, Start),
        platform: Platform,
        paths: super::paths::SystemPaths,
        is_root_known: bool,
    ) -> Self {
        Self {
            root,
            environment,
            user,
            gain,
            platform: Arc::new(platform),
            objects: vec![],
            global: vec![],
            startup_count: 0,
            answers: Answers::default(),
            tls: TlsBlock::default(),
            unique: BTreeMap::new(),
            interpreter: None,
            interpreter_place: None,
            is_root_known,
            packaged: PackagedFiles::default(),
            unshadowed: HashMap::new(),
            by_name: HashMap::new(),
            by_file: HashMap::new(),
            paths: Arc::new(paths),
        }
    }
}

impl<'r> Process<'r> {
    /// Whether the loader trusts nothing that comes from whoever started the process.
    #[must_use]
    pub(super) fn is_secure(&self) -> bool {
        self.gain.is_some()
    }

    /// A variable that the loader reads, and goes by whoever has set it.
    #[must_use]
    pub(super) fn trusted_variable(&self, name: &str) -> Option<&'r str> {
        self.environment.variable(name).filter(|_| !self.is_secure())
    }

    /// The object with an ID.
    #[must_use]
    pub(super) fn object(&self, id: ObjectId) -> &Loaded {
        &self.objects[id]
    }

    /// Takes what the host starts with as the global scope.
    pub(super) fn start_with(&mut self, scope: Vec<ObjectId>) {
        for id in &scope {
            self.objects[*id].is_in_startup_scope = true;
        }
        self.answers = Answers::of(scope.iter().map(|id| &*self.objects[*id].elf));
        self.objects[0].scope.clone_from(&scope);
        self.startup_count = scope.len();
        self.global = scope;
    }

    /// Adds an object.
    pub(super) fn add(&mut self, object: Loaded) -> ObjectId {
        let id = self.objects.len();
        for name in &object.names {
            self.by_name.entry(name.clone()).or_insert(id);
        }
        self.by_file.entry(object.file).or_insert(id);
        self.objects.push(object);
        id
    }

    /// Lets an object answer to one more name.
    pub(super) fn also_known_as(&mut self, id: ObjectId, name: &str) {
        let names = &mut self.objects[id].names;
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
            self.by_name.entry(name.to_owned()).or_insert(id);
            // What an object is called decides what is told of a version that it does not have.
            self.answers.forget();
        }
    }

    /// The object that answers to a name.
    #[must_use]
    pub(super) fn known_as(&self, name: &str) -> Option<ObjectId> {
        self.by_name.get(name).copied()
    }

    /// The object that a file is loaded as. Never the program: the kernel has mapped it, and neither loader knows of which file.
    #[must_use]
    pub(super) fn loaded_from(&self, file: (u64, u64)) -> Option<ObjectId> {
        self.by_file.get(&file).copied().filter(|id| *id != 0)
    }

    /// The fault of an object whose packed relative relocations nobody applies.
    #[must_use]
    pub(super) fn relative_table_ignored(&self, id: ObjectId) -> Option<Fault> {
        let object = self.object(id);
        let dynamic = object
            .elf
            .dynamic
            .as_ref()
            .filter(|dynamic| dynamic.has_relative_table)?;
        // Distributions have brought it to older releases; the C library says so.
        let is_told = |object: &Loaded| {
            let mut definitions = object.elf.definitions.iter();
            definitions.any(|definition| definition.name == "GLIBC_ABI_DT_RELR")
        };
        if self.platform.applies_relative_table() || self.objects.iter().any(is_told) {
            return None;
        }
        let (major, minor, patch) = self.platform.release?;
        let by = match self.platform.family {
            Family::Glibc => format!("glibc {major}.{minor}"),
            Family::Musl => format!("musl {major}.{minor}.{patch}"),
        };
        // The pointers to what is called first are among those that are wrong.
        let stops = dynamic.has_initialiser_array;
        Some(Fault {
            kind: FaultKind::RelativeRelocationsIgnored { by },
            object: object.name.clone(),
            phase: match (stops, object.is_startup()) {
                (false, _) => Phase::Call,
                (true, true) => Phase::Exec,
                (true, false) => Phase::Load,
            },
            message: None,
            stops,
        })
    }

    /// An object and what it needs, breadth first (`extend_bfs_deps` in musl).
    #[must_use]
    pub(super) fn with_needed(&self, root: ObjectId) -> Vec<ObjectId> {
        let mut list = vec![root];
        let mut next = 0;
        while let Some(id) = list.get(next).copied() {
            next += 1;
            for needed in &self.object(id).needed {
                if !list.contains(needed) {
                    list.push(*needed);
                }
            }
        }
        list
    }

    /// What an object needs, directly and through others; only of one that is loaded with all of that.
    pub(super) fn linked(&self, id: ObjectId) -> &[ObjectId] {
        let linked = || self.with_needed(id).split_off(1);
        self.object(id).linked.get_or_init(linked)
    }

    /// Remembers what is loaded.
    #[must_use]
    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            objects: self.objects.len(),
            global: self.global.clone(),
            tls: self.tls,
            with_static_tls: self.with_static_tls(),
            interpreter_place: self.interpreter_place,
        }
    }

    fn with_static_tls(&self) -> Vec<ObjectId> {
        let all = 0..self.objects.len();
        all.filter(|id| self.object(*id).has_static_tls).collect()
    }

    /// Unloads what was loaded since: a plugin that fails takes everything with it that it brought.
    pub(super) fn restore(&mut self, checkpoint: Checkpoint) {
        self.objects.truncate(checkpoint.objects);
        // What stays may have come to need what goes: a filter's library that was not there at first.
        for object in &mut self.objects {
            object.needed.retain(|id| *id < checkpoint.objects);
            object.scope.retain(|id| *id < checkpoint.objects);
            object.linked.take();
        }
        self.by_name.retain(|_, id| *id < checkpoint.objects);
        self.by_file.retain(|_, id| *id < checkpoint.objects);
        self.unshadowed.retain(|_, id| *id < checkpoint.objects);
        self.global = checkpoint.global;
        self.tls = checkpoint.tls;
        // What stays and got a fixed offset for what goes keeps it.
        for id in self.with_static_tls() {
            if let Some(segment) = self
                .object(id)
                .elf
                .tls
                .filter(|_| !checkpoint.with_static_tls.contains(&id))
            {
                self.tls.take(&segment);
            }
        }
        self.interpreter_place = checkpoint.interpreter_place;
        self.unique.retain(|_, (id, _)| *id < checkpoint.objects);
    }
}
