//! Reading a case so that no key of its input is passed over in silence.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Refusal;

/// Keys that tell where a case comes from and mean nothing for its result.
const PROVENANCE: [&str; 7] =
    ["name", "expect", "origin", "upstream_test", "upstream_documented", "source", "derived"];

/// An object of the input that remembers which keys were read.
pub(super) struct Keys<'a> {
    path: &'a str,
    object: &'a Map<String, Value>,
    read: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(path: &'a str, value: &'a Value) -> Result<Self, Refusal> {
        let object = value.as_object().ok_or_else(|| wrong(path, "", "an object"))?;
        Ok(Self { path, object, read: RefCell::default() })
    }

    /// The value of a key, `None` when it is absent.
    pub(super) fn optional(&self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.object.get_key_value(key)?;
        self.read.borrow_mut().insert(key);
        Some(value)
    }

    pub(super) fn get(&self, key: &str) -> Result<&'a Value, Refusal> {
        self.optional(key).ok_or_else(|| wrong(self.path, key, "present"))
    }

    pub(super) fn text(&self, key: &str) -> Result<&'a str, Refusal> {
        self.get(key)?.as_str().ok_or_else(|| wrong(self.path, key, "a text"))
    }

    pub(super) fn int(&self, key: &str) -> Result<i64, Refusal> {
        self.get(key)?.as_i64().ok_or_else(|| wrong(self.path, key, "an integer"))
    }

    pub(super) fn count(&self, key: &str) -> Result<u32, Refusal> {
        let value = self.get(key)?.as_u64().and_then(|value| u32::try_from(value).ok());
        value.ok_or_else(|| wrong(self.path, key, "a count"))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Refusal> {
        self.get(key)?.as_bool().ok_or_else(|| wrong(self.path, key, "true or false"))
    }

    /// A flag that is false when it is absent.
    pub(super) fn flag_or_false(&self, key: &str) -> Result<bool, Refusal> {
        if self.object.contains_key(key) { self.flag(key) } else { Ok(false) }
    }

    /// Refuses the case when some key was not read.
    pub(super) fn finish(&self) -> Result<(), Refusal> {
        let read = self.read.borrow();
        let unread =
            |key: &&String| !read.contains(key.as_str()) && !PROVENANCE.contains(&key.as_str());
        match self.object.keys().find(unread) {
            None => Ok(()),
            Some(key) => Err(Refusal::Unsupported(format!("`{}{key}` is not read", self.path))),
        }
    }
}

fn wrong(path: &str, key: &str, what: &str) -> Refusal {
    Refusal::Unsupported(format!("`{path}{key}` is not {what}"))
}
