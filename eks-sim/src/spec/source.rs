//! Source texts and positions in them.
//!
//! A [`SourceSpan`] is three integers; lines and columns are worked out only when a message needs
//! them, so a fifty-megabyte dump costs nothing for positions that nobody asks for.

use std::sync::{Arc, OnceLock};

/// Number of a text in [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

/// A range of bytes in one source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceSpan {
    /// The text.
    pub source: SourceId,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

impl SourceSpan {
    /// A span in `source`; offsets beyond 4 GiB are cut (longer texts are refused when read).
    #[must_use]
    pub fn new(source: SourceId, start: usize, end: usize) -> Self {
        let cut = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { source, start: cut(start), end: cut(end.max(start)) }
    }
}

/// A place in a source, resolved for a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// File name, `-` for standard input, `--set …` for a command-line override.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
    /// The line's text, shortened around the place if it is very long.
    pub excerpt: String,
    /// Where the marker starts in the excerpt, in characters from 0.
    pub marker: usize,
    /// Length of the marker in characters.
    pub marker_len: usize,
}

#[derive(Debug)]
struct Source {
    name: Arc<str>,
    text: Arc<str>,
    lines: OnceLock<Vec<u32>>,
}

/// All texts that were read.
#[derive(Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
}

/// Longest excerpt, in characters.
const EXCERPT: usize = 120;
/// Longest offending text kept in a diagnostic, in characters.
const OFFENDING: usize = 80;

impl Sources {
    /// No texts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a text.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> SourceId {
        let id = SourceId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        let (name, text) = (name.into(), text.into());
        self.list.push(Source { name, text, lines: OnceLock::new() });
        id
    }
    fn get(&self, id: SourceId) -> Option<&Source> {
        self.list.get(id.0 as usize)
    }
    /// Name of a text.
    #[must_use]
    pub fn name(&self, id: SourceId) -> &str {
        self.get(id).map_or("", |s| &s.name)
    }
    /// A text.
    #[must_use]
    pub fn text(&self, id: SourceId) -> Arc<str> {
        self.get(id).map_or_else(|| Arc::from(""), |s| Arc::clone(&s.text))
    }
    /// Names and texts in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|s| (&*s.name, &*s.text))
    }
    /// The bytes of a span, empty if it does not fit its text.
    #[must_use]
    pub fn slice(&self, span: SourceSpan) -> &str {
        self.get(span.source)
            .and_then(|s| s.text.get(span.start as usize..span.end as usize))
            .unwrap_or("")
    }
    /// The first line of the bytes of a span, shortened.
    #[must_use]
    pub fn offending(&self, span: SourceSpan) -> String {
        let text = self.slice(span).lines().next().unwrap_or("").trim_end();
        if text.chars().count() <= OFFENDING {
            return text.to_owned();
        }
        text.chars().take(OFFENDING).chain(['…']).collect()
    }
    /// Line and column of a span, with an excerpt.
    #[must_use]
    pub fn locate(&self, span: SourceSpan) -> Location {
        let Some(source) = self.get(span.source) else { return Location::default() };
        let text = &*source.text;
        let lines = source.lines.get_or_init(|| line_starts(text));
        let start = floor_boundary(text, span.start as usize);
        let line = lines.partition_point(|&s| s as usize <= start).max(1);
        let line_start = lines.get(line - 1).map_or(0, |&s| s as usize);
        let line_end = lines.get(line).map_or(text.len(), |&s| s as usize);
        let line_text = text.get(line_start..line_end).unwrap_or("").trim_end_matches(['\n', '\r']);
        let column = text.get(line_start..start).unwrap_or("").chars().count();
        let end = floor_boundary(text, (span.end as usize).min(line_start + line_text.len()));
        let length = text.get(start..end.max(start)).unwrap_or("").trim_end().chars().count();
        let (excerpt, marker) = shorten(line_text, column);
        let room = excerpt.chars().count().saturating_sub(marker).max(1);
        Location {
            file: Arc::clone(&source.name),
            line,
            column: column + 1,
            start: span.start as usize,
            end: span.end as usize,
            excerpt,
            marker,
            marker_len: length.clamp(1, room),
        }
    }
    /// The byte offset of a line and column, both from 1.
    #[must_use]
    pub fn offset(&self, id: SourceId, line: usize, column: usize) -> usize {
        let Some(source) = self.get(id) else { return 0 };
        let lines = source.lines.get_or_init(|| line_starts(&source.text));
        let Some(&start) = lines.get(line.saturating_sub(1)) else { return source.text.len() };
        let rest = source.text.get(start as usize..).unwrap_or("");
        let within = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |c| c.0);
        start as usize + within
    }
}

fn line_starts(text: &str) -> Vec<u32> {
    let after_breaks = text.bytes().enumerate().filter(|&(_, b)| b == b'\n');
    let starts = after_breaks.map(|(i, _)| u32::try_from(i + 1).unwrap_or(u32::MAX));
    std::iter::once(0).chain(starts).collect()
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The part of a long line around `column`, tabs as single blanks, and the column in that part.
fn shorten(line: &str, column: usize) -> (String, usize) {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let first = column.saturating_sub(EXCERPT / 2);
    if first == 0 {
        return (line.chars().take(EXCERPT).map(clean).collect(), column);
    }
    let part: String = line.chars().skip(first).take(EXCERPT).map(clean).collect();
    (format!("…{part}"), column - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let mut sources = Sources::new();
        let id = sources.add("f.yaml", "a: 1\r\nbä: zwei\n");
        let at = sources.locate(SourceSpan::new(id, 11, 15));
        assert_eq!((at.line, at.column, at.excerpt.as_str()), (2, 5, "bä: zwei"));
        assert_eq!((at.marker, at.marker_len), (4, 4));
        assert_eq!(sources.offset(id, 2, 5), 11);
        let past = sources.locate(SourceSpan::new(id, 999, 1000));
        assert_eq!(past.line, 3);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let mut sources = Sources::new();
        let id = sources.add("f", "x".repeat(5000));
        let at = sources.locate(SourceSpan::new(id, 3000, 4000));
        assert_eq!(at.column, 3001);
        assert!(at.excerpt.chars().count() <= EXCERPT + 1);
        assert!(at.marker + at.marker_len <= at.excerpt.chars().count());
    }
}
