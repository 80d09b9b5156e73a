//! The error that serde's machinery hands up, with the way to the failing node.

use core::fmt;
use serde::de::{Expected, Unexpected};

/// What is wrong.
#[derive(Clone, Debug)]
pub(super) enum Problem {
    UnknownField { name: String, known: &'static [&'static str] },
    UnknownVariant { name: String, known: &'static [&'static str] },
    MissingField(&'static str),
    Null,
    OneOf { count: usize, known: &'static [&'static str] },
    Type { found: String, wanted: String },
    Value { found: String, wanted: String },
    Custom(String),
}

/// A problem and the way to it: indices of entries and items, innermost first.
#[derive(Debug)]
pub(super) struct DecodeError {
    pub problem: Box<Problem>,
    pub path: Vec<usize>,
    pub at_key: bool,
}

impl DecodeError {
    pub fn new(problem: Problem) -> Self {
        Self { problem: Box::new(problem), path: Vec::new(), at_key: false }
    }
    /// Adds the step from a parent.
    pub fn under(mut self, index: usize) -> Self {
        self.path.push(index);
        self
    }
    /// Adds the step from a mapping whose key is wrong.
    pub fn at_key(mut self, index: usize) -> Self {
        self.path.push(index);
        self.at_key = true;
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.problem)
    }
}
impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Self::new(Problem::Custom(msg.to_string()))
    }
    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::new(Problem::Type { found: found_words(found), wanted: wanted_words(wanted) })
    }
    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::new(Problem::Value { found: found_words(found), wanted: wanted_words(wanted) })
    }
    fn invalid_length(len: usize, wanted: &dyn Expected) -> Self {
        let found = format!("a list of {len}");
        Self::new(Problem::Type { found, wanted: wanted_words(wanted) })
    }
    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownField { name: name.to_owned(), known })
    }
    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownVariant { name: name.to_owned(), known })
    }
    fn missing_field(name: &'static str) -> Self {
        Self::new(Problem::MissingField(name))
    }
}

fn found_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(b) => format!("`{b}`"),
        Unexpected::Unsigned(n) => format!("the number `{n}`"),
        Unexpected::Signed(n) => format!("the number `{n}`"),
        Unexpected::Float(x) => format!("the number `{x}`"),
        Unexpected::Str(text) => {
            let short: String = text.chars().take(40).collect();
            format!("the text `{}`", short.replace('\n', " "))
        }
        Unexpected::Unit | Unexpected::Option => "empty".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

fn wanted_words(wanted: &dyn Expected) -> String {
    let text = wanted.to_string();
    match text.as_str() {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a string" | "string or map" => super::TEXT.to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping (`key: value`)".to_owned(),
        t if t.starts_with("struct ") => "a mapping (`key: value`)".to_owned(),
        t if t.starts_with("a nonzero") => "a whole number other than 0".to_owned(),
        _ => text,
    }
}
