//! Interned strings: equality is integer equality, order (where needed) is by text.

use core::fmt;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// An interned string of one [`Symbols`] table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(u32);

impl Symbol {
    /// Position in its table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sym{}", self.0)
    }
}

/// A table of interned strings. Numbers follow the order of first use, so they are the same in
/// every run that interns in the same order; never sort results by them.
#[derive(Clone, Default, Debug)]
pub struct Symbols {
    texts: Vec<Arc<str>>,
    index: FxHashMap<Arc<str>, u32>,
}

impl Symbols {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// The symbol of `text`, new if it was not known.
    pub fn intern(&mut self, text: &str) -> Symbol {
        if let Some(&i) = self.index.get(text) {
            return Symbol(i);
        }
        let i = self.texts.len() as u32;
        let shared: Arc<str> = Arc::from(text);
        self.texts.push(Arc::clone(&shared));
        self.index.insert(shared, i);
        Symbol(i)
    }
    /// The symbol of `text`, if it is known.
    #[must_use]
    pub fn lookup(&self, text: &str) -> Option<Symbol> {
        self.index.get(text).map(|&i| Symbol(i))
    }
    /// The text of a symbol of this table.
    #[must_use]
    pub fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol.index()]
    }
    /// Number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }
    /// Whether no string was interned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}
