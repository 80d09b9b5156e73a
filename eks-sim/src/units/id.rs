//! Dense typed ids and vectors indexed by them.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ops::{Index, IndexMut};

/// A dense index into the table of `T`. Ids of different tables do not mix.
pub struct Id<T> {
    raw: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The id with the given table position.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self { raw, of: PhantomData }
    }
    /// Position in the table.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.raw
    }
    /// Position in the table as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.raw as usize
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.raw.cmp(&other.raw)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.raw)
    }
}

/// A vector of `V` indexed by `Id<T>`.
pub struct IdVec<T, V> {
    items: Vec<V>,
    of: PhantomData<fn() -> T>,
}

impl<T, V> IdVec<T, V> {
    /// An empty vector.
    #[must_use]
    pub const fn new() -> Self {
        Self { items: Vec::new(), of: PhantomData }
    }
    /// Appends a value and returns its id.
    ///
    /// # Panics
    /// When the table would hold 2^32 rows, which no checked scenario can reach.
    pub fn push(&mut self, value: V) -> Id<T> {
        let raw = u32::try_from(self.items.len()).expect("a table holds fewer than 2^32 rows");
        self.items.push(value);
        Id::new(raw)
    }
    /// The value at `id`, if it exists.
    #[must_use]
    pub fn get(&self, id: Id<T>) -> Option<&V> {
        self.items.get(id.index())
    }
    /// The value at `id`, if it exists.
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut V> {
        self.items.get_mut(id.index())
    }
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }
    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
    /// Rows with their ids, in id order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Id<T>, &V)> + ExactSizeIterator {
        self.items.iter().enumerate().map(|(i, v)| (Id::new(i as u32), v))
    }
    /// Rows with their ids, in id order.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (Id<T>, &mut V)> {
        self.items.iter_mut().enumerate().map(|(i, v)| (Id::new(i as u32), v))
    }
    /// All ids in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = Id<T>> + use<T, V> {
        (0..self.items.len() as u32).map(Id::new)
    }
    /// The rows as a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[V] {
        &self.items
    }
    /// Removes all rows.
    pub fn clear(&mut self) {
        self.items.clear();
    }
}

impl<T, V: Clone> Clone for IdVec<T, V> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), of: PhantomData }
    }
}
impl<T, V> Default for IdVec<T, V> {
    fn default() -> Self {
        Self::new()
    }
}
impl<T, V: fmt::Debug> fmt::Debug for IdVec<T, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.fmt(f)
    }
}
impl<T, V> Index<Id<T>> for IdVec<T, V> {
    type Output = V;
    fn index(&self, id: Id<T>) -> &V {
        &self.items[id.index()]
    }
}
impl<T, V> IndexMut<Id<T>> for IdVec<T, V> {
    fn index_mut(&mut self, id: Id<T>) -> &mut V {
        &mut self.items[id.index()]
    }
}
impl<T, V> FromIterator<V> for IdVec<T, V> {
    fn from_iter<I: IntoIterator<Item = V>>(iter: I) -> Self {
        Self { items: iter.into_iter().collect(), of: PhantomData }
    }
}
