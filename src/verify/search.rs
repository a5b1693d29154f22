//! The smallest set that makes the difference: delta debugging (ddmin; Zeller and Hildebrandt, "Simplifying and isolating
//! failure-inducing input", 2002).

/// A search, step by step: [`Search::next`] says which set is to be tried, [`Search::tell`] takes what came of it.
#[derive(Debug, Clone)]
pub struct Search<T> {
    /// The smallest set so far that makes the difference.
    smallest: Vec<T>,
    /// In how many parts it is taken apart.
    parts: usize,
    /// Which try of this round is next: first each part, then all but each.
    place: usize,
    /// What did not make it.
    refuted: Vec<Vec<T>>,
}

impl<T: Clone + PartialEq> Search<T> {
    /// A search in `all`, which makes the difference.
    #[must_use]
    pub fn new(all: Vec<T>) -> Self {
        Self {
            smallest: all,
            parts: 2,
            place: 0,
            refuted: vec![],
        }
    }

    /// What is to be tried next; none when [`Search::smallest`] is what it says.
    #[expect(clippy::should_implement_trait, reason = "every answer depends on what is told")]
    pub fn next(&mut self) -> Option<Vec<T>> {
        loop {
            let length = self.smallest.len();
            if length <= 1 {
                return None;
            }
            self.parts = self.parts.min(length);
            // Of two parts, all but one is the other one.
            let tries = if self.parts == 2 { 2 } else { 2 * self.parts };
            if self.place == tries {
                if self.parts == length {
                    return None;
                }
                self.parts = (2 * self.parts).min(length);
                self.place = 0;
            }
            let candidate = self.candidate();
            if !self.refuted.contains(&candidate) {
                return Some(candidate);
            }
            self.place += 1;
        }
    }

    /// Takes what came of what [`Search::next`] said last: whether it makes the difference.
    pub fn tell(&mut self, makes_it: bool) {
        let candidate = self.candidate();
        if !makes_it {
            self.refuted.push(candidate);
            self.place += 1;
            return;
        }
        self.parts = match self.place < self.parts {
            true => 2,
            false => (self.parts - 1).max(2),
        };
        self.place = 0;
        self.smallest = candidate;
    }

    /// The smallest set that was found: of it, nothing can be left out.
    #[must_use]
    pub fn smallest(&self) -> &[T] {
        &self.smallest
    }

    fn candidate(&self) -> Vec<T> {
        let length = self.smallest.len();
        let (part, is_rest) = match self.place < self.parts {
            true => (self.place, false),
            false => (self.place - self.parts, true),
        };
        let (start, end) = (part * length / self.parts, (part + 1) * length / self.parts);
        let is_in = |place: &usize| (start..end).contains(place) != is_rest;
        (0..length)
            .filter(is_in)
            .map(|place| self.smallest[place].clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Searches, and says how often it asked.
    fn search(all: u32, makes_it: impl Fn(&[u32]) -> bool) -> (Vec<u32>, usize) {
        let mut search = Search::new((0..all).collect());
        let mut asked = BTreeSet::new();
        while let Some(set) = search.next() {
            assert!(!set.is_empty() && asked.insert(set.clone()), "{set:?} is asked twice");
            search.tell(makes_it(&set));
        }
        (search.smallest().to_vec(), asked.len())
    }

    #[test]
    fn one_of_many_is_found_in_few_steps() {
        for culprit in 0..16 {
            let (found, asked) = search(16, |set| set.contains(&culprit));
            assert_eq!(found, [culprit]);
            assert!(asked <= 8, "{asked}");
        }
    }

    #[test]
    fn two_that_only_together_make_it_are_found() {
        let (found, _) = search(16, |set| set.contains(&2) && set.contains(&13));
        assert_eq!(found, [2, 13]);
    }

    proptest! {
        #[test]
        fn what_is_found_makes_it_and_nothing_of_it_can_be_left_out(
            all in 1_u32..18,
            culprits in prop::collection::vec(prop::collection::btree_set(0_u32..18, 1..4), 1..4),
        ) {
            let makes_it = |set: &[u32]| culprits.iter().any(|culprit| culprit.iter().all(|one| set.contains(one)));
            let everything: Vec<u32> = (0..all).collect();
            prop_assume!(makes_it(&everything));
            let (found, asked) = search(all, makes_it);
            prop_assert!(makes_it(&found));
            for left_out in &found {
                let rest: Vec<u32> = found.iter().copied().filter(|one| one != left_out).collect();
                prop_assert!(!makes_it(&rest));
            }
            let all = all as usize;
            prop_assert!(asked <= all * all + 3 * all);
        }
    }
}
