//! A JSON reader that keeps places: dumps of large clusters are JSON, and this is the fast path.
//!
//! Strings without escapes are borrowed from the text. Documents may follow one another.

use super::node::{Entry, MAX_DEPTH, MAX_NODES, Node, Value};
use super::source::{SourceId, SourceSpan};
use std::borrow::Cow;

/// Why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Byte where reading stopped.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: &'static str,
    /// Whether a limit was reached (then no other reader should try).
    pub budget: bool,
}

/// Reads all documents of a text.
///
/// # Errors
/// The first mistake.
pub fn parse(id: SourceId, text: &str) -> Result<Vec<Node<'_>>, JsonError> {
    let mut reader = Reader { id, text, bytes: text.as_bytes(), at: 0, nodes: 0 };
    let mut documents = Vec::new();
    loop {
        reader.blanks();
        if reader.at >= reader.bytes.len() {
            return Ok(documents);
        }
        documents.push(reader.value(0)?);
    }
}

struct Reader<'s> {
    id: SourceId,
    text: &'s str,
    bytes: &'s [u8],
    at: usize,
    nodes: usize,
}

/// What of a value need not be kept: in a dump of a cluster more than half is what its
/// controllers wrote.
enum LeftOut {
    Nothing,
    All,
    AllButPhase,
}

/// Whether the value of `key`, in a mapping that began with `entries`, is of use to anyone.
fn left_out(key: &str, entries: &[Entry<'_>]) -> LeftOut {
    match key {
        "managedFields" | "kubectl.kubernetes.io/last-applied-configuration" => LeftOut::All,
        "status" => {
            let kind = entries.iter().find(|e| e.key == "kind").and_then(|e| e.value.text());
            match kind {
                None | Some("Node" | "PersistentVolumeClaim" | "PersistentVolume") => {
                    LeftOut::Nothing
                }
                Some("Pod") => LeftOut::AllButPhase,
                Some(_) => LeftOut::All,
            }
        }
        _ => LeftOut::Nothing,
    }
}

const SYNTAX: &str = "write JSON: names and texts in double quotes, no comments, no trailing comma";

impl<'s> Reader<'s> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }
    fn fail<T>(&self, message: impl Into<String>, help: &'static str) -> Result<T, JsonError> {
        Err(JsonError { at: self.at, message: message.into(), help, budget: false })
    }
    fn unexpected<T>(&self, wanted: &str) -> Result<T, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or("");
        match rest.chars().next() {
            None => self.fail(
                format!("the text ends where {wanted} must follow"),
                "the file is cut off; write it again",
            ),
            Some(c) => self.fail(format!("`{c}` stands where {wanted} must be"), SYNTAX),
        }
    }
    fn budget(&mut self, depth: usize) -> Result<(), JsonError> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            let message = if depth > MAX_DEPTH {
                format!("nested more than {MAX_DEPTH} deep")
            } else {
                format!("more than {MAX_NODES} values in one file")
            };
            let help = "split the file, or take the objects out of their wrapping";
            return Err(JsonError { at: self.at, message, help, budget: true });
        }
        Ok(())
    }
    fn value(&mut self, depth: usize) -> Result<Node<'s>, JsonError> {
        self.budget(depth)?;
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::Str(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            _ => return self.unexpected("a value"),
        };
        Ok(Node { span: SourceSpan::new(self.id, start, self.at), value })
    }
    fn word(&mut self, word: &str, value: Value<'s>) -> Result<Value<'s>, JsonError> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(value);
        }
        self.unexpected("a value")
    }
    fn object(&mut self, depth: usize) -> Result<Value<'s>, JsonError> {
        self.at += 1;
        let mut entries = Vec::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(entries));
        }
        loop {
            self.blanks();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return self.unexpected("a name in double quotes");
            }
            let key = self.string()?;
            let key_span = SourceSpan::new(self.id, start, self.at);
            self.colon()?;
            match left_out(&key, &entries) {
                LeftOut::Nothing => {
                    let value = self.value(depth + 1)?;
                    entries.push(Entry { key, key_span, value });
                }
                LeftOut::All => self.skip(depth + 1)?,
                LeftOut::AllButPhase => {
                    let value = self.phase(depth + 1)?;
                    entries.push(Entry { key, key_span, value });
                }
            }
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Map(entries));
                }
                _ => return self.unexpected("`,` or `}`"),
            }
        }
    }
    fn array(&mut self, depth: usize) -> Result<Value<'s>, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Seq(items));
        }
        loop {
            self.blanks();
            items.push(self.value(depth + 1)?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Seq(items));
                }
                _ => return self.unexpected("`,` or `]`"),
            }
        }
    }
    /// Moves to the next byte of a text that is not plain.
    fn plain(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let special = |&b: &u8| b == b'"' || b == b'\\' || b < 0x20;
        self.at += rest.iter().position(special).unwrap_or(rest.len());
    }
    fn string(&mut self) -> Result<Cow<'s, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        self.plain();
        match self.peek() {
            Some(b'"') => {
                let text = self.text.get(start..self.at).unwrap_or("");
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped(start),
            Some(_) => self.fail("a line break inside a text", "write `\\n`"),
            None => self.fail("a text has no closing quote", "add the closing `\"`"),
        }
    }
    /// Passes over a text.
    fn skip_string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.escape()?;
                }
                Some(_) => return self.fail("a line break inside a text", "write `\\n`"),
                None => return self.fail("a text has no closing quote", "add the closing `\"`"),
            }
        }
    }
    /// Passes over a value, as strict as when it is read.
    fn skip(&mut self, depth: usize) -> Result<(), JsonError> {
        let close = match self.peek() {
            Some(b'"') => return self.skip_string(),
            Some(b'{') => b'}',
            Some(b'[') => b']',
            _ => return self.value(depth).map(|_| ()),
        };
        self.budget(depth)?;
        self.at += 1;
        self.blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blanks();
            if close == b'}' {
                if self.peek() != Some(b'"') {
                    return self.unexpected("a name in double quotes");
                }
                self.skip_string()?;
                self.colon()?;
            }
            self.skip(depth + 1)?;
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b) if b == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.unexpected("`,` or the closing bracket"),
            }
        }
    }
    /// A mapping of which only `phase` is kept.
    fn phase(&mut self, depth: usize) -> Result<Node<'s>, JsonError> {
        let mut node = self.value(depth)?;
        if let Value::Map(entries) = &mut node.value {
            entries.retain(|e| e.key == "phase");
        }
        Ok(node)
    }
    fn colon(&mut self) -> Result<(), JsonError> {
        self.blanks();
        if self.peek() != Some(b':') {
            return self.unexpected("`:`");
        }
        self.at += 1;
        self.blanks();
        Ok(())
    }
    fn escaped(&mut self, start: usize) -> Result<Cow<'s, str>, JsonError> {
        let mut out = self.text.get(start..self.at).unwrap_or("").to_owned();
        loop {
            let plain = self.at;
            self.plain();
            out.push_str(self.text.get(plain..self.at).unwrap_or(""));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return self.fail("a line break inside a text", "write `\\n`"),
                None => return self.fail("a text has no closing quote", "add the closing `\"`"),
            }
        }
    }
    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let c = match self.peek() {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'u') => return self.unicode(),
            _ => return self.fail("an unknown escape in a text", "escape a backslash as `\\\\`"),
        };
        self.at += 1;
        Ok(c)
    }
    fn unicode(&mut self) -> Result<char, JsonError> {
        let high = self.hex()?;
        if (0xd800..0xdc00).contains(&high)
            && self.bytes.get(self.at..self.at + 2) == Some(b"\\u".as_slice())
        {
            let back = self.at;
            self.at += 1;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        // A lone surrogate becomes U+FFFD, as Go's decoder does.
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at + 1..self.at + 5).unwrap_or("");
        match u32::from_str_radix(digits, 16) {
            Ok(n) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                self.at += 5;
                Ok(n)
            }
            _ => self.fail("`\\u` needs four hexadecimal digits", "write for example `\\u00e4`"),
        }
    }
    fn number(&mut self) -> Result<Value<'s>, JsonError> {
        let start = self.at;
        let mut whole = true;
        self.at += 1;
        while let Some(b) = self.peek() {
            match b {
                b'0'..=b'9' => {}
                b'.' | b'e' | b'E' | b'+' | b'-' => whole = false,
                _ => break,
            }
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or("");
        if whole && text != "-" {
            if let Ok(n) = text.parse::<i64>() {
                return Ok(Value::Int(n));
            }
            if let Ok(n) = text.parse::<u64>() {
                return Ok(Value::Big(n));
            }
        }
        match text.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(Value::Float(x)),
            Ok(_) => {
                self.at = start;
                self.fail("a number beyond every limit", "write a smaller number")
            }
            Err(_) => {
                self.at = start;
                self.fail(format!("`{text}` is not a number"), SYNTAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_serde_json() {
        let text = r#"{"a": [1, -2, 3.5, 1e2, true, false, null], "b\n": "x\u00e4\ud83d\ude00\"", "c": {}, "d": []} [18446744073709551615]"#;
        let docs = parse(SourceId::default(), text).unwrap();
        assert_eq!(docs.len(), 2);
        assert_eq!(docs[0].at("a.2").unwrap().value, Value::Float(3.5));
        assert_eq!(docs[0].get("b\n").unwrap().text(), Some("xä😀\""));
        assert_eq!(docs[1].items()[0].value, Value::Big(u64::MAX));
        assert_eq!(docs[0].at("a.1").unwrap().span.start, 10);
    }

    #[test]
    fn what_controllers_wrote_is_passed_over() {
        let text = r#"{"kind": "Deployment", "metadata": {"managedFields": [{"a": ["\"]}"]}], "name": "x"},
            "spec": {"status": {"kept": 1}}, "status": {"replicas": 3}}
            {"kind": "Pod", "status": {"phase": "Failed", "podIP": "10.0.0.1"}}"#;
        let docs = parse(SourceId::default(), text).unwrap();
        assert_eq!(docs[0].text_at("metadata.name"), Some("x"));
        assert!(docs[0].at("metadata.managedFields").is_none() && docs[0].get("status").is_none());
        assert_eq!(docs[0].at("spec.status.kept").unwrap().value, Value::Int(1));
        assert_eq!(docs[1].text_at("status.phase"), Some("Failed"));
        assert!(docs[1].at("status.podIP").is_none());
        for wrong in [r#"{"managedFields": [1,]}"#, r#"{"managedFields": {"a" 1}}"#] {
            assert!(parse(SourceId::default(), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mistakes_have_places() {
        for (text, at) in [
            ("{\"a\": 1,}", 8),
            ("{a: 1}", 1),
            ("[1 2]", 3),
            ("\"abc", 4),
            ("[1e999]", 1),
            ("{\"a\"", 4),
            ("\"\\u12\"", 2),
        ] {
            assert_eq!(parse(SourceId::default(), text).unwrap_err().at, at, "{text}");
        }
        let deep = "[".repeat(5000);
        assert!(parse(SourceId::default(), &deep).unwrap_err().budget);
    }
}
