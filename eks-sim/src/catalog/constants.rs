//! Numbers taken from outside, each with unit, source, date and status.
//!
//! Three files under `data/` share one format, a table per number: `eks_constants.toml` (AWS),
//! `kubernetes_defaults.toml` (components) and `model_defaults.toml` (this simulator's own
//! parameters). They are read on first use, by hand because the TOML parser would take longer than
//! everything else that a short command does; a test compares the two readings.

use crate::units::{Bytes, Money, MoneyRate, Quantity, Span};
use core::fmt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const FILES: [(&str, &str); 3] = [
    ("eks_constants.toml", include_str!("../../data/eks_constants.toml")),
    ("kubernetes_defaults.toml", include_str!("../../data/kubernetes_defaults.toml")),
    ("model_defaults.toml", include_str!("../../data/model_defaults.toml")),
];

/// How far a number can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Status {
    /// Read in the named source.
    Documented,
    /// Computed from source data.
    Measured,
    /// From a third party's page.
    ThirdParty,
    /// Follows from other entries.
    Derived,
    /// General knowledge, not read again.
    Memory,
    /// A guess of this project.
    Assumption,
}

impl Status {
    /// The spelling in the files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Measured => "measured",
            Self::ThirdParty => "third-party",
            Self::Derived => "derived",
            Self::Memory => "memory",
            Self::Assumption => "assumption",
        }
    }
    pub(super) fn parse(text: &str) -> Option<Self> {
        use Status::{Assumption, Derived, Documented, Measured, Memory, ThirdParty};
        let all = [Documented, Measured, ThirdParty, Derived, Memory, Assumption];
        all.into_iter().find(|s| s.as_str() == text)
    }
}
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A constant's value; its kind follows from the file's value and unit.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ConstantValue {
    /// A duration (unit `duration`, or a number with unit `s`).
    Span(Span),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A switch.
    Bool(bool),
    /// A Kubernetes quantity (unit `quantity`).
    Quantity(Quantity),
    /// A word.
    Text(String),
    /// A distribution, as an object with one key that names its family.
    Distribution(Value),
}

impl ConstantValue {
    /// What the value is, in words.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Span(_) => "a duration",
            Self::Integer(_) => "a whole number",
            Self::Number(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Quantity(_) => "a quantity",
            Self::Text(_) => "a text",
            Self::Distribution(_) => "a distribution",
        }
    }
    /// The value as JSON: durations and quantities are strings.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Span(s) => s.to_string().into(),
            Self::Integer(n) => (*n).into(),
            Self::Number(x) => (*x).into(),
            Self::Bool(b) => (*b).into(),
            Self::Quantity(q) => q.to_string().into(),
            Self::Text(t) => t.clone().into(),
            Self::Distribution(d) => d.clone(),
        }
    }
}
impl fmt::Display for ConstantValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(t) => f.pad(t),
            Self::Span(s) => f.pad(&s.to_string()),
            Self::Quantity(q) => f.pad(&q.to_string()),
            other => f.pad(&other.to_json().to_string()),
        }
    }
}

/// One number with its origin.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Constant {
    /// Dotted name, for example `kubelet.lease_renew_interval`.
    pub name: &'static str,
    /// The value.
    pub value: ConstantValue,
    /// Unit, with a remark where the file has one.
    pub unit: &'static str,
    /// Where it was read.
    pub source: &'static str,
    /// When the source was of that state.
    pub date: &'static str,
    /// How far to trust it.
    pub status: Status,
    /// Remark.
    pub note: Option<&'static str>,
    /// File under `data/` that holds it.
    pub file: &'static str,
}

impl Constant {
    /// The value if it is a whole number.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.value {
            ConstantValue::Integer(n) => Some(n),
            _ => None,
        }
    }
    /// The unit without its remark: `s, without image pull` is `s`.
    #[must_use]
    pub fn bare_unit(&self) -> &'static str {
        self.unit.split([',', ' ']).next().unwrap_or_default()
    }
}

/// Why a constant cannot be used as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstantError {
    /// No such name.
    #[error("no constant is called `{name}`{hint}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Names that look alike, as the end of the message.
        hint: String,
    },
    /// Another kind of value.
    #[error("constant `{name}` is {found} in `{unit}`, not {wanted}")]
    Kind {
        /// The name.
        name: String,
        /// What it is.
        found: &'static str,
        /// Its unit.
        unit: String,
        /// What was asked for.
        wanted: &'static str,
    },
}

/// All constants by name.
#[derive(Clone, Debug)]
pub struct Constants {
    by_name: BTreeMap<&'static str, Constant>,
}

/// The constants that ship with the crate.
#[must_use]
pub fn constants() -> &'static Constants {
    static CONSTANTS: OnceLock<Constants> = OnceLock::new();
    CONSTANTS.get_or_init(|| {
        let mut all = Constants { by_name: BTreeMap::new() };
        for (file, text) in FILES {
            all.read(file, text).expect("the embedded constants are read by a unit test");
        }
        all
    })
}

impl Constants {
    /// The constant with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Constant> {
        self.by_name.get(name)
    }
    /// All constants, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Constant> {
        self.by_name.values()
    }
    /// Number of constants.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
    /// The constant, or an error that names similar ones.
    ///
    /// # Errors
    /// When there is no such constant.
    pub fn find(&self, name: &str) -> Result<&Constant, ConstantError> {
        self.get(name)
            .ok_or_else(|| ConstantError::Unknown { name: name.to_owned(), hint: self.hint(name) })
    }
    /// "; did you mean …" for an unknown name, or where to look.
    fn hint(&self, name: &str) -> String {
        let mut near = super::nearest::nearest(name, self.by_name.keys().copied(), 3);
        if near.is_empty() {
            // Perhaps only the last word is right.
            let word = name.rsplit('.').next().unwrap_or(name);
            let same = |full: &&str| full.rsplit('.').next() == Some(word);
            near = self.by_name.keys().copied().filter(same).take(3).collect();
        }
        if near.is_empty() {
            return "; `eks-sim catalog constants` lists all names".to_owned();
        }
        format!("; did you mean `{}`?", near.join("`, `"))
    }

    fn read(&mut self, file: &'static str, text: &'static str) -> Result<(), String> {
        let mut entry: Option<Entry> = None;
        for line in text.lines().map(str::trim_end) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('[') {
                self.close(file, entry.take())?;
                // Lists (`[[…]]`) are no constants; their lines are passed over.
                let name = line.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
                entry = name.filter(|n| !n.starts_with('[')).map(Entry::new);
            } else if let Some(entry) = &mut entry {
                entry.set(line).ok_or_else(|| format!("{file}: `{line}` is not read"))?;
            }
        }
        self.close(file, entry)
    }
    fn close(&mut self, file: &'static str, entry: Option<Entry>) -> Result<(), String> {
        let Some(entry) = entry else { return Ok(()) };
        let name = entry.name;
        let constant = entry.finish(file).map_err(|e| format!("{file}: `{name}`: {e}"))?;
        match self.by_name.insert(name, constant) {
            None => Ok(()),
            Some(twin) => Err(format!("{file}: `{name}` is also in {}", twin.file)),
        }
    }
}

/// One table of a file while it is read; texts as they stand in the file.
struct Entry {
    name: &'static str,
    value: Option<&'static str>,
    unit: Option<&'static str>,
    source: Option<&'static str>,
    date: Option<&'static str>,
    status: Option<&'static str>,
    note: Option<&'static str>,
}

impl Entry {
    fn new(name: &'static str) -> Self {
        let (value, unit, source, date, status, note) = (None, None, None, None, None, None);
        Self { name, value, unit, source, date, status, note }
    }
    /// Takes one line; `None` if it is not `key = value` with a known, new key.
    fn set(&mut self, line: &'static str) -> Option<()> {
        let (key, text) = line.split_once(" = ")?;
        let (field, text) = match key {
            "value" => (&mut self.value, text),
            "unit" => (&mut self.unit, unquote(text)?),
            "source" => (&mut self.source, unquote(text)?),
            "date" => (&mut self.date, unquote(text)?),
            "status" => (&mut self.status, unquote(text)?),
            "note" => (&mut self.note, unquote(text)?),
            _ => return None,
        };
        field.replace(text).is_none().then_some(())
    }
    fn finish(self, file: &'static str) -> Result<Constant, String> {
        let (Some(value), Some(unit), Some(source), Some(date), Some(status)) =
            (self.value, self.unit, self.source, self.date, self.status)
        else {
            return Err("lacks value, unit, source, date or status".to_owned());
        };
        let status = Status::parse(status).ok_or_else(|| format!("unknown status `{status}`"))?;
        let value = read_value(value, unit)?;
        let (name, note) = (self.name, self.note);
        Ok(Constant { name, value, unit, source, date, status, note, file })
    }
}

/// The text of a basic string without escapes.
fn unquote(text: &'static str) -> Option<&'static str> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains(['"', '\\'])).then_some(inner)
}

fn read_value(text: &'static str, unit: &str) -> Result<ConstantValue, String> {
    let is_seconds = unit == "s" || unit.starts_with("s ") || unit.starts_with("s,");
    if let Some(word) = unquote(text) {
        return match unit {
            "duration" => word.parse().map(ConstantValue::Span).map_err(|e| format!("{e}")),
            "quantity" => word.parse().map(ConstantValue::Quantity).map_err(|e| format!("{e}")),
            _ => Ok(ConstantValue::Text(word.to_owned())),
        };
    }
    if text.starts_with('{') {
        let line: toml::Table = format!("value = {text}").parse().map_err(|e| format!("{e}"))?;
        let table = line.into_iter().next().ok_or("is empty")?;
        return to_json(table.1).map(ConstantValue::Distribution);
    }
    if let Ok(switch) = text.parse() {
        return Ok(ConstantValue::Bool(switch));
    }
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (_, Ok(secs)) if is_seconds => Ok(ConstantValue::Span(Span::from_secs_f64(secs))),
        (Ok(whole), _) => Ok(ConstantValue::Integer(whole)),
        (_, Ok(number)) if number.is_finite() => Ok(ConstantValue::Number(number)),
        _ => Err(format!("`{text}` is not read")),
    }
}

fn to_json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(t) => t.into(),
        toml::Value::Integer(n) => n.into(),
        toml::Value::Float(x) => x.into(),
        toml::Value::Boolean(b) => b.into(),
        toml::Value::Array(items) => {
            Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(table) => {
            let pairs = table.into_iter().map(|(k, v)| Ok((k, to_json(v)?)));
            Value::Object(pairs.collect::<Result<_, String>>()?)
        }
        toml::Value::Datetime(d) => d.to_string().into(),
    })
}

/// Typed readings of a value, shared by [`Constants`] and [`super::Defaults`].
pub(super) fn span(value: &ConstantValue) -> Option<Span> {
    if let ConstantValue::Span(s) = value { Some(*s) } else { None }
}
/// A number, whole or not.
pub(super) fn number(value: &ConstantValue) -> Option<f64> {
    match value {
        ConstantValue::Integer(n) => Some(*n as f64),
        ConstantValue::Number(x) => Some(*x),
        _ => None,
    }
}
/// A size: a quantity, or a number with a size unit.
pub(super) fn bytes(value: &ConstantValue, bare_unit: &str) -> Option<Bytes> {
    if let ConstantValue::Quantity(q) = value {
        return Some(q.bytes());
    }
    let scale: f64 = match bare_unit {
        "bytes" => 1.0,
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => 1_099_511_627_776.0,
        _ => return None,
    };
    Some(Bytes::new((number(value)? * scale).round() as i64))
}
/// Whether a unit is a price of an hour, also of one vCPU, GB and the like for an hour.
fn is_hourly(bare_unit: &str) -> bool {
    bare_unit == "USD/h" || (bare_unit.starts_with("USD/") && bare_unit.ends_with("-h"))
}
/// A price an hour.
pub(super) fn rate(value: &ConstantValue, bare_unit: &str) -> Option<MoneyRate> {
    let number = number(value).filter(|_| is_hourly(bare_unit));
    number.map(MoneyRate::from_usd_per_hour)
}
/// A price of anything but an hour.
pub(super) fn money(value: &ConstantValue, bare_unit: &str) -> Option<Money> {
    let priced = bare_unit.starts_with("USD/") && !is_hourly(bare_unit);
    number(value).filter(|_| priced).map(Money::from_usd)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the TOML parser makes of a file: name and table of every constant.
    fn tables(name: String, table: toml::Table, found: &mut Vec<(String, toml::Table)>) {
        if table.contains_key("unit") {
            return found.push((name, table));
        }
        for (key, value) in table {
            let path = if name.is_empty() { key } else { format!("{name}.{key}") };
            if let toml::Value::Table(inner) = value {
                tables(path, inner, found);
            }
        }
    }

    fn same_value(ours: &ConstantValue, theirs: &toml::Value) -> bool {
        match (ours, theirs) {
            (ConstantValue::Span(s), toml::Value::Integer(n)) => s.secs_f64() == *n as f64,
            (ConstantValue::Span(s), toml::Value::Float(x)) => s.secs_f64() == *x,
            (ConstantValue::Span(s), toml::Value::String(t)) => t.parse() == Ok(*s),
            (ConstantValue::Quantity(q), toml::Value::String(t)) => t.parse() == Ok(*q),
            _ => to_json(theirs.clone()).as_ref() == Ok(&ours.to_json()),
        }
    }

    #[test]
    fn every_file_is_read_whole() {
        let mut all = Constants { by_name: BTreeMap::new() };
        for (file, text) in FILES {
            let before = all.len();
            all.read(file, text).unwrap();
            let mut found = Vec::new();
            tables(String::new(), text.parse().unwrap(), &mut found);
            assert_eq!(all.len() - before, found.len(), "{file}");
            for (name, table) in found {
                let c = all.get(&name).unwrap_or_else(|| panic!("{file}: {name} is not read"));
                assert!(same_value(&c.value, &table["value"]), "{name}");
                let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
                assert_eq!(text("unit"), Some(c.unit), "{name}");
                assert_eq!(text("source"), Some(c.source), "{name}");
                assert_eq!(text("date"), Some(c.date), "{name}");
                assert_eq!(text("status"), Some(c.status.as_str()), "{name}");
                assert_eq!(text("note"), c.note, "{name}");
            }
        }
        assert!(all.len() > 400, "{}", all.len());
        for c in all.iter() {
            assert!(!c.source.is_empty() && !c.date.is_empty() && !c.unit.is_empty(), "{}", c.name);
            let guess = c.status == Status::Assumption;
            assert!(!guess || c.source.starts_with("assumption"), "{}", c.name);
        }
    }

    #[test]
    fn unknown_names_get_a_hint() {
        let error = constants().find("kubelet.lease_renew_intervall").unwrap_err().to_string();
        assert!(error.contains("did you mean `kubelet.lease_renew_interval`"), "{error}");
        let error = constants().find("cluster.sync_period").unwrap_err().to_string();
        assert!(error.contains("`hpa.sync_period`"), "{error}");
        let error = constants().find("nothing.like.this.at.all").unwrap_err().to_string();
        assert!(error.contains("lists all names"), "{error}");
    }

    #[test]
    fn duplicates_and_gaps_are_refused() {
        let mut all = constants().clone();
        let twin = "[hpa.sync_period]\nvalue = 1\nunit = \"s\"\nsource = \"x\"\ndate = \"y\"\n\
                    status = \"memory\"\n";
        assert!(all.read("twin.toml", twin).unwrap_err().contains("is also in"));
        let gap = "[new.entry]\nvalue = 1\nunit = \"s\"\n";
        assert!(all.read("gap.toml", gap).unwrap_err().contains("lacks"));
        let odd = "[new.entry]\nvalu = 1\n";
        assert!(all.read("odd.toml", odd).unwrap_err().contains("`valu = 1` is not read"));
    }
}
