//! In what a rebuild is done otherwise than a build.

use std::collections::BTreeMap;

use crate::owner::Owner;

/// In what a rebuild is done otherwise than a build; by default in nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setting {
    /// What stands for `/lockstep`.
    pub root: Option<&'static str>,
    /// Who compiles, and whose the files are.
    pub owner: Option<Owner>,
    /// The host's name.
    pub host_name: Option<&'static str>,
    /// Its domain's.
    pub domain_name: Option<&'static str>,
    /// The processors that there are, as cpuset(7) lists them.
    pub processors: Option<&'static str>,
    /// Variables; those that a unit sets itself stay.
    pub variables: BTreeMap<&'static str, &'static str>,
    /// Lines of shell that are run first. `/lockstep` in them is what stands for it.
    pub first: Vec<&'static str>,
    /// Options of setarch(8).
    pub personality: Vec<&'static str>,
    /// Whether each source file has a time of its own.
    pub has_source_times: bool,
    /// Where the sources lie.
    pub sources: SourcePlace,
    /// What programs are told that ask for the time of day.
    pub clock: Option<Clock>,
    /// Whether what earlier builds left is there.
    pub has_kept: bool,
    /// Whether it is done in the image as it was made again.
    pub is_in_remade_image: bool,
}

/// Where the sources lie, and in which order they got there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourcePlace {
    /// In the container's volume.
    #[default]
    Volume,
    /// In memory, in the order of their names.
    Memory,
    /// In memory, in the opposite order; memory lists the youngest entry first.
    MemoryReversed,
}

/// What programs are told that ask for the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// So many seconds more.
    Later(u64),
    /// Always the second in which the run began.
    Stopped,
}
