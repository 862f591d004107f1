//! A sorted set of half-open ranges of segment numbers.

#[derive(Clone, Debug, Default)]
pub struct Ranges {
    all: Vec<(u64, u64)>,
}

impl Ranges {
    /// Adds `[from, to)`; `fresh` gets the parts that were not in the set.
    pub fn insert(&mut self, from: u64, to: u64, fresh: &mut Vec<(u64, u64)>) {
        let first = self.all.partition_point(|r| r.1 < from);
        let (mut low, mut high, mut at, mut last) = (from, to, from, first);
        while let Some(&(a, b)) = self.all.get(last).filter(|r| r.0 <= to) {
            if at < a {
                fresh.push((at, a));
            }
            at = at.max(b);
            low = low.min(a);
            high = high.max(b);
            last += 1;
        }
        if at < to {
            fresh.push((at, to));
        }
        self.all.splice(first..last, [(low, high)]);
    }

    /// Forgets everything below `to`.
    pub fn remove_below(&mut self, to: u64) {
        let gone = self.all.partition_point(|r| r.1 <= to);
        self.all.drain(..gone);
        if let Some(r) = self.all.first_mut() {
            r.0 = r.0.max(to);
        }
    }

    pub fn contains(&self, x: u64) -> bool {
        self.range_of(x).is_some()
    }

    /// The range that holds `x`.
    pub fn range_of(&self, x: u64) -> Option<(u64, u64)> {
        let i = self.all.partition_point(|r| r.1 <= x);
        self.all.get(i).copied().filter(|r| r.0 <= x)
    }

    pub fn first(&self) -> Option<(u64, u64)> {
        self.all.first().copied()
    }

    pub fn last(&self) -> Option<(u64, u64)> {
        self.all.last().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn clear(&mut self) {
        self.all.clear();
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(u64, u64)> {
        self.all.iter()
    }
}
