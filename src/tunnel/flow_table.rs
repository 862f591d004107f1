//! A bounded table of flows by tag; the one that was silent longest is the first to go.
//!
//! Not for: what a flow is. Finding, touching, adding and removing take constant time.

use crate::units::FlowTag;

pub(super) struct FlowTable<T> {
    /// Index of a tag's slot, or `NONE`.
    by_tag: Vec<u16>,
    slots: Vec<Slot<T>>,
    free: Vec<u16>,
    /// Ends of the list by last use.
    newest: u16,
    oldest: u16,
}

struct Slot<T> {
    flow: Option<(FlowTag, T)>,
    newer: u16,
    older: u16,
}

impl<T> FlowTable<T> {
    pub(super) fn new() -> FlowTable<T> {
        FlowTable {
            by_tag: vec![NONE; 1 << 16],
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    /// Adds a flow that is not there; it is the newest. Returns its slot.
    pub(super) fn insert(&mut self, tag: FlowTag, flow: T) -> u16 {
        let slot = Slot { flow: Some((tag, flow)), newer: NONE, older: NONE };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[usize::from(index)] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u16
            }
        };
        self.by_tag[usize::from(tag.0)] = index;
        self.link_newest(index);
        index
    }

    pub(super) fn remove(&mut self, index: u16) -> Option<T> {
        let (tag, flow) = self.slots.get_mut(usize::from(index))?.flow.take()?;
        self.by_tag[usize::from(tag.0)] = NONE;
        self.unlink(index);
        self.free.push(index);
        Some(flow)
    }

    /// The flow was used: it is the newest.
    pub(super) fn touch(&mut self, index: u16) {
        if self.newest != index {
            self.unlink(index);
            self.link_newest(index);
        }
    }

    pub(super) fn at(&mut self, index: u16) -> Option<&mut T> {
        self.slots.get_mut(usize::from(index))?.flow.as_mut().map(|(_, flow)| flow)
    }

    pub(super) fn find(&self, tag: FlowTag) -> Option<u16> {
        Some(self.by_tag[usize::from(tag.0)]).filter(|&index| index != NONE)
    }

    /// The flow whose last use is longest ago.
    pub(super) fn oldest(&self) -> Option<u16> {
        Some(self.oldest).filter(|&index| index != NONE)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn link_newest(&mut self, index: u16) {
        let before = std::mem::replace(&mut self.newest, index);
        self.slots[usize::from(index)].older = before;
        self.slots[usize::from(index)].newer = NONE;
        match before {
            NONE => self.oldest = index,
            _ => self.slots[usize::from(before)].newer = index,
        }
    }

    fn unlink(&mut self, index: u16) {
        let Slot { newer, older, .. } = self.slots[usize::from(index)];
        match newer {
            NONE => self.newest = older,
            _ => self.slots[usize::from(newer)].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            _ => self.slots[usize::from(older)].newer = newer,
        }
    }
}

/// No slot.
const NONE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_oldest_is_the_one_not_used_for_longest(
            steps in proptest::collection::vec((0u16..12, any::<bool>()), 1..200)
        ) {
            let mut table = FlowTable::new();
            let mut order: Vec<u16> = Vec::new();
            for (tag, removes) in steps {
                order.retain(|&t| t != tag);
                match (table.find(FlowTag(tag)), removes) {
                    (Some(slot), true) => prop_assert_eq!(table.remove(slot), Some(tag)),
                    (Some(slot), false) => table.touch(slot),
                    (None, true) => {}
                    (None, false) => _ = table.insert(FlowTag(tag), tag),
                }
                if !removes {
                    order.push(tag);
                }
                prop_assert_eq!(table.len(), order.len());
                let oldest = table.oldest().and_then(|slot| table.at(slot).copied());
                prop_assert_eq!(oldest, order.first().copied());
            }
        }
    }
}
