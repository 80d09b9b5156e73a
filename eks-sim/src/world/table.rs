//! A table with reusable rows: handles carry a generation, so a timer for a row that is gone
//! finds nothing.

use core::fmt;
use core::marker::PhantomData;

/// A reference to a row of a [`Table`]. Stale after the row is removed.
pub struct Handle<T> {
    slot: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    /// Position of the row; reused by later rows.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.slot
    }
    /// How often the position was reused before.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}
impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
impl<T> PartialEq for Handle<T> {
    fn eq(&self, o: &Self) -> bool {
        self.slot == o.slot && self.generation == o.generation
    }
}
impl<T> Eq for Handle<T> {}
impl<T> PartialOrd for Handle<T> {
    fn partial_cmp(&self, o: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl<T> Ord for Handle<T> {
    fn cmp(&self, o: &Self) -> core::cmp::Ordering {
        (self.slot, self.generation).cmp(&(o.slot, o.generation))
    }
}
impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot, self.generation)
    }
}

/// Rows addressed by [`Handle`]s. Freed rows are reused last in, first out.
#[derive(Clone, Debug)]
pub struct Table<T> {
    rows: Vec<Option<T>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    live: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), generations: Vec::new(), free: Vec::new(), live: 0 }
    }
}

impl<T> Table<T> {
    /// Adds a row.
    pub fn insert(&mut self, value: T) -> Handle<T> {
        self.live += 1;
        if let Some(slot) = self.free.pop() {
            self.rows[slot as usize] = Some(value);
            return Handle { slot, generation: self.generations[slot as usize], of: PhantomData };
        }
        let slot = self.rows.len() as u32;
        self.rows.push(Some(value));
        self.generations.push(0);
        Handle { slot, generation: 0, of: PhantomData }
    }
    /// The row, unless it is gone.
    #[must_use]
    pub fn get(&self, h: Handle<T>) -> Option<&T> {
        if self.generations.get(h.slot as usize) != Some(&h.generation) {
            return None;
        }
        self.rows[h.slot as usize].as_ref()
    }
    /// The row, unless it is gone.
    pub fn get_mut(&mut self, h: Handle<T>) -> Option<&mut T> {
        if self.generations.get(h.slot as usize) != Some(&h.generation) {
            return None;
        }
        self.rows[h.slot as usize].as_mut()
    }
    /// Removes the row; its handle is stale from now on.
    pub fn remove(&mut self, h: Handle<T>) -> Option<T> {
        if self.generations.get(h.slot as usize) != Some(&h.generation) {
            return None;
        }
        let value = self.rows[h.slot as usize].take()?;
        self.generations[h.slot as usize] += 1;
        self.free.push(h.slot);
        self.live -= 1;
        Some(value)
    }
    /// Rows in order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Handle<T>, &T)> {
        self.rows.iter().zip(&self.generations).enumerate().filter_map(|(i, (row, &generation))| {
            row.as_ref().map(|r| (Handle { slot: i as u32, generation, of: PhantomData }, r))
        })
    }
    /// Number of rows.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.live
    }
    /// Whether there is no row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }
    /// Positions ever used: an upper bound of [`Handle::slot`].
    #[must_use]
    pub fn slots(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_handles_find_nothing() {
        let mut t = Table::default();
        let a = t.insert("a");
        assert_eq!(t.remove(a), Some("a"));
        let b = t.insert("b");
        assert_eq!(a.slot(), b.slot());
        assert_eq!((t.get(a), t.get(b)), (None, Some(&"b")));
        assert_eq!((t.remove(a), t.len()), (None, 1));
    }
}
