//! The order in which glibc relocates: an object after what it needs (`_dl_sort_maps` in `elf/dl-sort-maps.c`, by depth-first search,
//! the default since 2.35). It decides which of several errors is told.

use std::collections::BTreeSet;

use super::super::object_id::ObjectId;
use super::super::process::Process;

/// Objects sorted so that each comes before what it needs; the first stays the first. They are relocated from the end.
pub(super) fn sorted(process: &Process<'_>, breadth_first: &[ObjectId]) -> Vec<ObjectId> {
    let root = breadth_first.first().copied();
    // While it is sorted, the root's own list is not there yet.
    let direct = |id: ObjectId| -> &[ObjectId] {
        if Some(id) == root {
            &[]
        } else {
            &process.object(id).needed
        }
    };
    let mut order = depth_first(breadth_first, direct);
    if let Some(root) = root {
        order.retain(|id| *id != root);
        order.insert(0, root);
    }
    order
}

/// The objects of a list that are new, in the order in which `dlopen` relocates them.
pub(super) fn for_relocation(process: &Process<'_>, breadth_first: &[ObjectId], first_new: ObjectId) -> Vec<ObjectId> {
    let mut order = sorted(process, breadth_first);
    order.retain(|id| *id >= first_new);
    order.reverse();
    order
}

/// Reverse postorder, beginning with the last of the list.
fn depth_first<'a>(list: &[ObjectId], direct: impl Fn(ObjectId) -> &'a [ObjectId]) -> Vec<ObjectId> {
    let mut visited = BTreeSet::new();
    let mut finished = Vec::with_capacity(list.len());
    for start in list.iter().rev() {
        if !visited.insert(*start) {
            continue;
        }
        // An own stack: how deep objects need each other is up to their files.
        let mut stack = vec![(*start, 0)];
        while let Some((id, next)) = stack.pop() {
            match direct(id).get(next) {
                Some(needed) => {
                    stack.push((id, next + 1));
                    if visited.insert(*needed) {
                        stack.push((*needed, 0));
                    }
                }
                None => finished.push(id),
            }
        }
    }
    finished.reverse();
    finished
}

#[cfg(test)]
mod tests {
    use super::depth_first;

    #[test]
    fn an_object_comes_before_what_it_needs() {
        let needs: [&[usize]; 4] = [&[1, 2], &[3], &[3], &[]];
        assert_eq!(depth_first(&[0, 1, 2, 3], |id| needs[id]), [0, 1, 2, 3]);
        let crossed: [&[usize]; 3] = [&[1, 2], &[], &[1]];
        assert_eq!(depth_first(&[0, 1, 2], |id| crossed[id]), [0, 2, 1]);
        let circle: [&[usize]; 2] = [&[1], &[0]];
        assert_eq!(depth_first(&[0, 1], |id| circle[id]).len(), 2);
    }
}
