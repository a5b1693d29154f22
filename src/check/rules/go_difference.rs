//! Packages of a Go plugin that are in the process already, compiled otherwise.

use super::go_side::GoSide;
use crate::facts::go::Hash;

/// A package of the plugin that is in the process already, compiled otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Difference<'a> {
    /// Its import path.
    pub package: &'a str,
    /// The hash in the plugin.
    pub linked: &'a Hash,
    /// The hash in the process.
    pub present: &'a Hash,
    /// Who brought it there: the host, or an earlier plugin.
    pub holder: GoSide<'a>,
}

/// Compares a plugin with a host alone, in the runtime's order.
#[must_use]
pub(super) fn differences<'a>(host: &GoSide<'a>, plugin: &GoSide<'a>) -> Vec<Difference<'a>> {
    let Some(go) = host.go else {
        return vec![];
    };
    compare(plugin, |package| Some((go.packages.get(package)?, *host)))
}

/// Compares a plugin with what is in the process, in the runtime's order.
pub(super) fn compare<'a>(
    plugin: &GoSide<'a>,
    present: impl Fn(&str) -> Option<(&'a Hash, GoSide<'a>)>,
) -> Vec<Difference<'a>> {
    let checked = plugin.go.map_or(&[][..], |go| &go.module.checked);
    let differing = checked.iter().filter_map(|entry| {
        let linked = entry.hash.as_ref()?;
        let (present, holder) = present(&entry.package)?;
        (linked != present).then_some(Difference {
            package: &entry.package,
            linked,
            present,
            holder,
        })
    });
    differing.collect()
}
