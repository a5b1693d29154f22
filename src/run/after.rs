//! Plugins that are not loadable alone: opened once more, each after earlier ones of the project's order that did load.
//!
//! A host opens all plugins in one process, so one of them may use what an earlier one defines. Each is tried alone first,
//! because then what becomes of it says nothing but of itself; what an earlier one does is in the way of this only where
//! the plugin does not load without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::open::{Manner, Opened};
use super::stage::Stage;
use super::{Run, RunError};
use crate::config::Loader;
use crate::facts::elf::Elf;
use crate::rootfs::{OverlayRoot, RootFs as _};
use crate::smoke::{BEFORE_PHASE, Outcome, PluginObservation, uses};

impl Run {
    /// Opens those of the plugins again that were seen to be not loadable alone. What is seen then counts, unless it is an
    /// earlier plugin that does not load there, or what was said before.
    pub(super) async fn open_after_others(&self, stage: &Stage<'_>, opened: &mut [Opened]) -> Result<(), RunError> {
        let mut seen: Vec<PluginObservation> = opened.iter().map(|opened| opened.observation.clone()).collect();
        if self.project.contracts.loader() != Loader::Dlopen || !seen.iter().any(PluginObservation::is_refused_at_open)
        {
            return Ok(());
        }
        let mut order = Order::new(self.objects(stage, opened)?);
        let mut role_number = 1;
        loop {
            let attempts = order.attempts(&seen);
            if attempts.is_empty() {
                break;
            }
            for (before, places) in attempts {
                let plugin = |place: &usize| opened[*place].plugin;
                let earlier: Vec<usize> = before.iter().map(plugin).collect();
                for (manner, places) in self.by_manner(opened, &places) {
                    let plugins: Vec<usize> = places.iter().map(plugin).collect();
                    let role = format!("after-{role_number}");
                    role_number += 1;
                    let observed = self
                        .open_in_containers(manner, stage, &role, &earlier, &plugins)
                        .await?;
                    for (place, observation) in places.into_iter().zip(observed) {
                        let is_same = observation.is_refused_at_open() && observation.message == seen[place].message;
                        if observation.phase.as_deref() != Some(BEFORE_PHASE) && !is_same {
                            seen[place] = PluginObservation {
                                after: before.iter().map(|place| seen[*place].name().to_owned()).collect(),
                                ..observation
                            };
                            order.opened_after.insert(place, before.clone());
                        }
                    }
                }
            }
        }
        for (opened, seen) in opened.iter_mut().zip(seen) {
            opened.observation = seen;
        }
        Ok(())
    }

    /// Those of `places` that are opened alike, with how that is.
    fn by_manner<'a>(&'a self, opened: &'a [Opened], places: &[usize]) -> Vec<(Manner<'a>, Vec<usize>)> {
        let mut manners: Vec<(Manner<'a>, Vec<usize>)> = Vec::new();
        for place in places {
            let Opened { plugin, opener, .. } = &opened[*place];
            let contract = self.project.contracts.of(&self.project.plugins[*plugin]);
            let is_alike = |(manner, _): &&mut (Manner<'a>, Vec<usize>)| {
                std::ptr::eq(manner.contract, contract) && manner.opener == opener
            };
            match manners.iter_mut().find(is_alike) {
                Some((_, alike)) => alike.push(*place),
                None => manners.push((Manner { opener, contract }, vec![*place])),
            }
        }
        manners
    }

    /// What the plugins' files are, as far as they are on this machine.
    fn objects(&self, stage: &Stage<'_>, opened: &[Opened]) -> Result<Vec<Option<Arc<Elf>>>, RunError> {
        let mut root = OverlayRoot::new(None).map_err(RunError::file("look at the plugins"))?;
        let mut object = |opened: &Opened| {
            let place = self.project.plugins.get(opened.plugin)?.main_place();
            let file = stage.plugins.iter().find(|file| file.place == place)?;
            let placed = root.put(&file.path);
            root.look(&placed).ok().and_then(|found| root.object(&found))?.ok()
        };
        Ok(opened.iter().map(&mut object).collect())
    }
}

/// What was tried already, and what is to be tried next.
struct Order {
    /// The earlier plugins to which each refers, by its place.
    uses: Vec<BTreeSet<usize>>,
    /// After which others each was opened last.
    opened_after: BTreeMap<usize, Vec<usize>>,
    /// Each plugin with those after which it was opened.
    tried: BTreeSet<(usize, Vec<usize>)>,
}

impl Order {
    fn new(objects: Vec<Option<Arc<Elf>>>) -> Self {
        let known: Vec<(usize, &Elf)> = objects
            .iter()
            .enumerate()
            .filter_map(|(place, elf)| Some((place, elf.as_deref()?)))
            .collect();
        let uses = objects.iter().enumerate().map(|(place, elf)| {
            let earlier = &known[..known.partition_point(|(other, _)| *other < place)];
            elf.as_deref().map(|elf| uses(elf, earlier)).unwrap_or_default()
        });
        Self {
            uses: uses.collect(),
            opened_after: BTreeMap::new(),
            tried: BTreeSet::new(),
        }
    }

    /// Which plugins to open next after which others, by those others; nothing when there is nothing left to try. A plugin
    /// that refers to one that is tried now waits for it.
    fn attempts(&mut self, seen: &[PluginObservation]) -> BTreeMap<Vec<usize>, Vec<usize>> {
        let mut attempts: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        let mut waited_for = BTreeSet::new();
        for place in (0..seen.len()).filter(|place| seen[*place].is_refused_at_open()) {
            if !self.uses[place].is_disjoint(&waited_for) {
                waited_for.insert(place);
                continue;
            }
            let sets = [self.used_by(place, seen), loaded_before(place, seen)];
            let next = sets.into_iter().find(|set| {
                let attempt = (place, set.clone());
                !set.is_empty() && self.tried.insert(attempt)
            });
            if let Some(before) = next {
                waited_for.insert(place);
                attempts.entry(before).or_default().push(place);
            }
        }
        attempts
    }

    /// The loaded ones to which a plugin refers, and those after which they were opened themselves, in their order.
    fn used_by(&self, place: usize, seen: &[PluginObservation]) -> Vec<usize> {
        let used = self.uses[place].iter().filter(|used| is_loaded(&seen[**used]));
        let with_theirs = used.flat_map(|used| self.opened_after.get(used).into_iter().flatten().chain([used]));
        let distinct: BTreeSet<usize> = with_theirs.copied().collect();
        distinct.into_iter().collect()
    }
}

fn is_loaded(plugin: &PluginObservation) -> bool {
    plugin.outcome == Outcome::Loaded
}

fn loaded_before(place: usize, seen: &[PluginObservation]) -> Vec<usize> {
    (0..place).filter(|earlier| is_loaded(&seen[*earlier])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(outcomes: &[Outcome]) -> Vec<PluginObservation> {
        let one = |outcome: &Outcome| PluginObservation {
            outcome: *outcome,
            phase: (*outcome == Outcome::NotLoadable).then(|| "open".to_owned()),
            ..PluginObservation::ended_loader("/p/x.so", String::new())
        };
        outcomes.iter().map(one).collect()
    }

    fn order(uses: &[&[usize]]) -> Order {
        Order {
            uses: uses.iter().map(|uses| uses.iter().copied().collect()).collect(),
            ..Order::new(vec![])
        }
    }

    fn attempts(order: &mut Order, seen: &[PluginObservation]) -> Vec<(Vec<usize>, Vec<usize>)> {
        order.attempts(seen).into_iter().collect()
    }

    const LOADED: Outcome = Outcome::Loaded;
    const REFUSED: Outcome = Outcome::NotLoadable;

    #[test]
    fn what_a_plugin_refers_to_is_tried_before_all_that_loaded() {
        let mut order = order(&[&[], &[], &[], &[1]]);
        let seen = seen(&[LOADED, LOADED, Outcome::Crashed, REFUSED]);
        assert_eq!(attempts(&mut order, &seen), [(vec![1], vec![3])]);
        assert_eq!(attempts(&mut order, &seen), [(vec![0, 1], vec![3])]);
        assert_eq!(attempts(&mut order, &seen), []);
    }

    #[test]
    fn a_chain_is_opened_link_by_link() {
        let mut order = order(&[&[], &[0], &[1], &[]]);
        let mut seen = seen(&[LOADED, REFUSED, REFUSED, LOADED]);
        assert_eq!(attempts(&mut order, &seen), [(vec![0], vec![1])]);
        seen[1].outcome = LOADED;
        order.opened_after.insert(1, vec![0]);
        assert_eq!(attempts(&mut order, &seen), [(vec![0, 1], vec![2])]);
        seen[2].outcome = LOADED;
        assert_eq!(attempts(&mut order, &seen), []);
    }

    #[test]
    fn nothing_comes_before_the_first_and_those_of_one_need_share_a_container() {
        let mut order = order(&[&[], &[], &[1], &[1]]);
        let seen = seen(&[REFUSED, LOADED, REFUSED, REFUSED]);
        assert_eq!(attempts(&mut order, &seen), [(vec![1], vec![2, 3])]);
        assert_eq!(attempts(&mut order, &seen), []);
    }
}
