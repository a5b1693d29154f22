//! Plugins that need an earlier one: which of them their files say, and how that is told.

use std::collections::BTreeSet;

use super::observation::PluginObservation;
use crate::facts::elf::{Binding, Elf, Visibility};

/// How many plugins a line names.
const NAMED_LIMIT_COUNT: usize = 3;

/// The places of those in `earlier` of which a plugin names the file, or to whose symbols it refers. More of them than it needs
/// where several define one name, and none of what it finds by way of their libraries: a guess, which is tried.
#[must_use]
pub fn uses(plugin: &Elf, earlier: &[(usize, &Elf)]) -> BTreeSet<usize> {
    let needed = plugin.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.needed);
    let undefined: BTreeSet<&[u8]> = plugin
        .symbols()
        .filter(|(_, symbol)| !symbol.is_defined() && symbol.binding == Binding::Global && !symbol.name.is_empty())
        .map(|(_, symbol)| symbol.name)
        .collect();
    let is_used = |elf: &Elf| {
        let soname = elf.dynamic.as_ref().and_then(|dynamic| dynamic.soname.as_ref());
        let is_seen = |visibility| matches!(visibility, Visibility::Default | Visibility::Protected);
        soname.is_some_and(|soname| needed.contains(soname))
            || elf
                .symbols()
                .any(|(_, symbol)| symbol.is_defined() && is_seen(symbol.visibility) && undefined.contains(symbol.name))
    };
    let used = earlier.iter().filter(|(_, elf)| is_used(elf));
    used.map(|(place, _)| *place).collect()
}

/// Which plugins loaded after others alone, each with those; nothing for those that need none.
#[must_use]
pub fn order_in_words(plugins: &[PluginObservation]) -> Option<String> {
    let ordered: Vec<String> = plugins
        .iter()
        .filter(|plugin| !plugin.after.is_empty())
        .map(named)
        .collect();
    match ordered.len() {
        0 => None,
        1..=NAMED_LIMIT_COUNT => Some(ordered.join(" · ")),
        count => Some(format!("{count} of them after others")),
    }
}

/// A plugin's name, with those that were opened before it.
pub(super) fn named(plugin: &PluginObservation) -> String {
    let name = plugin.name();
    match plugin.after.as_slice() {
        [] => name.to_owned(),
        [one] => format!("{name} after {one}"),
        [first @ .., last] if plugin.after.len() <= NAMED_LIMIT_COUNT => {
            format!("{name} after {} and {last}", first.join(", "))
        }
        others => format!("{name} after {} others", others.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str, after: &[&str]) -> PluginObservation {
        PluginObservation {
            after: after.iter().map(|name| (*name).to_owned()).collect(),
            ..PluginObservation::ended_loader(&format!("/p/{name}"), String::new())
        }
    }

    #[test]
    fn what_was_opened_before_is_named_as_long_as_it_is_short() {
        for (after, expect) in [
            (&[][..], "x.so"),
            (&["a.so"], "x.so after a.so"),
            (&["a.so", "b.so"], "x.so after a.so and b.so"),
            (&["a.so", "b.so", "c.so"], "x.so after a.so, b.so and c.so"),
            (&["a.so", "b.so", "c.so", "d.so"], "x.so after 4 others"),
        ] {
            assert_eq!(named(&plugin("x.so", after)), expect);
        }
        let (alone, one) = (plugin("a.so", &[]), plugin("x.so", &["a.so"]));
        assert_eq!(order_in_words(std::slice::from_ref(&alone)), None);
        assert_eq!(order_in_words(&[alone, one.clone()]).unwrap(), "x.so after a.so");
        assert_eq!(order_in_words(&vec![one; 4]).unwrap(), "4 of them after others");
    }
}
