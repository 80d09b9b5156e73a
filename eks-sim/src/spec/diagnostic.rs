//! Mistakes and remarks about the input, collected and rendered; the library never prints them.

use super::source::{Location, SourceSpan, Sources};
use core::fmt::Write as _;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Nothing is run.
    Error,
    /// The run goes on; the result may not be what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// `error`, `warning` or `note`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One mistake or remark.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable code such as `E0103`; see [`super::codes`].
    pub code: &'static str,
    /// What is wrong, a lower-case fragment.
    pub message: String,
    /// Where.
    pub location: Location,
    /// The text that is wrong.
    pub offending: String,
    /// How to mend it.
    pub help: String,
    /// A second place that belongs to the matter, with a word about it.
    pub related: Vec<(String, Location)>,
}

impl Diagnostic {
    /// A diagnostic at a span.
    #[must_use]
    pub fn new(
        sources: &Sources,
        severity: Severity,
        code: &'static str,
        span: SourceSpan,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            location: sources.locate(span),
            offending: sources.offending(span),
            help: help.into(),
            related: Vec::new(),
        }
    }
    /// Adds a second place.
    #[must_use]
    pub fn with_related(mut self, sources: &Sources, what: &str, span: SourceSpan) -> Self {
        self.related.push((what.to_owned(), sources.locate(span)));
        self
    }
    /// `file:line:column: error[E0103]: message`, the source line with a marker, and the mend.
    #[must_use]
    pub fn render(&self) -> String {
        let at = &self.location;
        let mut out = format!(
            "{}:{}:{}: {}[{}]: {}\n",
            at.file,
            at.line,
            at.column,
            self.severity.word(),
            self.code,
            self.message
        );
        excerpt(&mut out, at);
        for (what, place) in &self.related {
            let _ = writeln!(out, "  = {what}: {}:{}:{}", place.file, place.line, place.column);
        }
        if !self.help.is_empty() {
            let _ = writeln!(out, "  = help: {}", self.help);
        }
        out
    }
    fn to_json(&self) -> serde_json::Value {
        let at = &self.location;
        let related: Vec<_> = self
            .related
            .iter()
            .map(|(what, l)| {
                serde_json::json!({"message": what, "file": &*l.file, "line": l.line, "column": l.column})
            })
            .collect();
        serde_json::json!({
            "severity": self.severity.word(), "code": self.code, "message": self.message,
            "file": &*at.file, "line": at.line, "column": at.column,
            "start": at.start, "end": at.end, "text": self.offending, "help": self.help,
            "related": related,
        })
    }
}

fn excerpt(out: &mut String, at: &Location) {
    if at.excerpt.trim().is_empty() {
        return;
    }
    let number = at.line.to_string();
    let pad = " ".repeat(number.len());
    let _ = writeln!(out, "{pad} |\n{number} | {}", at.excerpt);
    let _ = writeln!(out, "{pad} | {}{}", " ".repeat(at.marker), "^".repeat(at.marker_len));
}

/// Diagnostics kept; more are counted.
const KEPT: usize = 2000;
/// Errors and warnings shown by [`Diagnostics::render`]; the rest is counted.
pub const SHOWN: usize = 50;

/// All mistakes and remarks about one input.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    dropped: usize,
}

impl Diagnostics {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds one; exact repetitions and those past a large bound are only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Note => {}
        }
        if self.list.len() < KEPT {
            self.list.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }
    /// Adds all of another collection.
    pub fn append(&mut self, other: Self) {
        self.dropped += other.dropped;
        let kept = (
            other.list.iter().filter(|d| d.severity == Severity::Error).count(),
            other.list.iter().filter(|d| d.severity == Severity::Warning).count(),
        );
        self.errors += other.errors - kept.0;
        self.warnings += other.warnings - kept.1;
        for diagnostic in other.list {
            self.push(diagnostic);
        }
    }
    /// Sorts by file, line and column; errors first at the same place.
    pub fn sort(&mut self) {
        self.list.sort_by(|a, b| {
            let key = |d: &Diagnostic| (d.location.line, d.location.column, d.severity, d.code);
            a.location.file.cmp(&b.location.file).then(key(a).cmp(&key(b)))
        });
    }
    /// Whether there is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }
    /// Number of errors.
    #[must_use]
    pub fn error_count(&self) -> usize {
        self.errors
    }
    /// Number of warnings.
    #[must_use]
    pub fn warning_count(&self) -> usize {
        self.warnings
    }
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// The diagnostics in order.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }
    /// Text for people: errors first, at most [`SHOWN`] of them, the rest counted.
    #[must_use]
    pub fn render(&self) -> String {
        let mut order: Vec<&Diagnostic> = self.list.iter().collect();
        order.sort_by_key(|d| d.severity);
        let mut out = String::new();
        for diagnostic in order.iter().take(SHOWN) {
            out.push_str(&diagnostic.render());
            out.push('\n');
        }
        let hidden = order.len().saturating_sub(SHOWN) + self.dropped;
        if hidden > 0 {
            let _ = writeln!(out, "… and {hidden} more");
        }
        out.push_str(&self.summary());
        out
    }
    /// `2 errors, 1 warning`, empty if there are none.
    #[must_use]
    pub fn summary(&self) -> String {
        let word = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        match (self.errors, self.warnings) {
            (0, 0) => String::new(),
            (e, 0) => word(e, "error"),
            (0, w) => word(w, "warning"),
            (e, w) => format!("{}, {}", word(e, "error"), word(w, "warning")),
        }
    }
    /// A JSON array with one object per diagnostic.
    #[must_use]
    pub fn to_json(&self) -> String {
        let list: Vec<_> = self.list.iter().map(Diagnostic::to_json).collect();
        serde_json::Value::Array(list).to_string()
    }
}

/// Where diagnostics go while something is read: the texts and the collection.
#[derive(Debug)]
pub struct Reporter<'a> {
    /// Texts, for positions.
    pub sources: &'a Sources,
    /// The collection.
    pub out: &'a mut Diagnostics,
}

impl Reporter<'_> {
    /// Adds an error.
    pub fn error(
        &mut self,
        code: &'static str,
        span: SourceSpan,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.out.push(Diagnostic::new(self.sources, Severity::Error, code, span, message, help));
    }
    /// Adds a warning.
    pub fn warning(
        &mut self,
        code: &'static str,
        span: SourceSpan,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.out.push(Diagnostic::new(self.sources, Severity::Warning, code, span, message, help));
    }
    /// Adds a note.
    pub fn note(
        &mut self,
        code: &'static str,
        span: SourceSpan,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.out.push(Diagnostic::new(self.sources, Severity::Note, code, span, message, help));
    }
    /// Adds an error with a second place.
    pub fn error_with(
        &mut self,
        code: &'static str,
        span: SourceSpan,
        texts: (String, &str),
        related: (&str, SourceSpan),
    ) {
        let d =
            Diagnostic::new(self.sources, Severity::Error, code, span, texts.0, texts.1.to_owned());
        self.out.push(d.with_related(self.sources, related.0, related.1));
    }
    /// Adds a warning with a second place.
    pub fn warning_with(
        &mut self,
        code: &'static str,
        span: SourceSpan,
        texts: (String, &str),
        related: (&str, SourceSpan),
    ) {
        let d = Diagnostic::new(
            self.sources,
            Severity::Warning,
            code,
            span,
            texts.0,
            texts.1.to_owned(),
        );
        self.out.push(d.with_related(self.sources, related.0, related.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sources: &mut Sources) -> Diagnostic {
        let id = sources.add("a.yaml", "spec:\n  replcas: 3\n");
        let span = SourceSpan::new(id, 8, 15);
        let message = "unknown field `replcas`";
        Diagnostic::new(sources, Severity::Error, "E0302", span, message, "write `replicas`")
    }

    #[test]
    fn text() {
        let d = one(&mut Sources::new());
        let expected = "a.yaml:2:3: error[E0302]: unknown field `replcas`\n  |\n2 |   replcas: 3\n  |   ^^^^^^^\n  = help: write `replicas`\n";
        assert_eq!(d.render(), expected);
        assert_eq!(d.offending, "replcas");
    }

    #[test]
    fn json_and_counts() {
        let mut all = Diagnostics::new();
        let mut sources = Sources::new();
        for _ in 0..60 {
            all.push(one(&mut sources));
        }
        assert!(all.has_errors());
        assert!(all.render().contains("… and 10 more\n60 errors"));
        let json: serde_json::Value = serde_json::from_str(&all.to_json()).unwrap();
        assert_eq!(json[0]["line"], 2);
        assert_eq!(json[0]["text"], "replcas");
        let mut sum = Diagnostics::new();
        sum.append(all);
        assert_eq!(sum.error_count(), 60);
    }
}
