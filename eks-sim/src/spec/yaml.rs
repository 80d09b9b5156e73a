//! YAML (and JSON) texts into trees with places.
//!
//! kubectl's reading of YAML 1.1 for manifests, a stricter one for scenarios (see
//! [`Flavour`]). Depth, number of values, alias expansion and length of values are bounded, so no
//! text can take unbounded memory.

use super::codes;
use super::diagnostic::Reporter;
use super::json;
use super::node::{Entry, Flavour, MAX_ALIAS_NODES, MAX_DEPTH, MAX_NODES, MAX_SCALAR, Node, Value};
use super::scalar;
use super::source::{SourceId, SourceSpan};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Reads all documents of a text; mistakes go to the reporter, and documents that have one are
/// left out.
pub fn parse<'s>(
    id: SourceId,
    text: &'s str,
    flavour: Flavour,
    reporter: &mut Reporter<'_>,
) -> Vec<Node<'s>> {
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    let named_json = reporter.sources.name(id).ends_with(".json");
    if looks_like_json || named_json {
        match json::parse(id, text) {
            Ok(mut documents) => {
                for document in &mut documents {
                    unique_keys(document, flavour, reporter);
                }
                return documents;
            }
            Err(e) if e.budget || (named_json && looks_like_json) => {
                let span = SourceSpan::new(id, e.at, e.at + 1);
                let code = if e.budget { codes::BUDGET } else { codes::JSON_SYNTAX };
                if !e.budget && has_template_near(text, e.at) {
                    template_error(span, reporter);
                } else {
                    reporter.error(code, span, e.message, e.help);
                }
                return Vec::new();
            }
            // Flow-style YAML, or a template: the other reader has the better messages.
            Err(_) => {}
        }
    }
    Builder::new(id, text, flavour).run(reporter)
}

/// Keeps the last of equal keys in every mapping (JSON path; the YAML path does it on the way).
fn unique_keys(node: &mut Node<'_>, flavour: Flavour, reporter: &mut Reporter<'_>) {
    match &mut node.value {
        Value::Seq(items) => {
            for item in items {
                unique_keys(item, flavour, reporter);
            }
        }
        Value::Map(entries) => {
            for entry in entries.iter_mut() {
                unique_keys(&mut entry.value, flavour, reporter);
            }
            drop_repeated(entries, flavour, reporter);
        }
        _ => {}
    }
}

/// Handles equal keys: the last wins in manifests (with a warning), a mistake in scenarios.
fn drop_repeated(entries: &mut Vec<Entry<'_>>, flavour: Flavour, reporter: &mut Reporter<'_>) {
    let mut gone = Vec::new();
    for (earlier, later) in repeated(entries) {
        let key = later.1;
        let related = ("first here", earlier.1);
        let text = reporter.sources.slice(key).trim_matches(['"', '\'']).to_owned();
        if flavour == Flavour::Scenario {
            let message = format!("`{text}` is set twice");
            let texts = (message, "remove one of the two");
            reporter.error_with(codes::DUPLICATE_KEY, key, texts, related);
        } else {
            let message = format!("`{text}` is set twice; the last one counts, as with kubectl");
            let texts = (message, "remove one of the two");
            reporter.warning_with(codes::REPEATED_KEY, key, texts, related);
        }
        gone.push(earlier.0);
    }
    if gone.is_empty() {
        return;
    }
    let mut index = 0;
    entries.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
}

type Place = (usize, SourceSpan);

/// Pairs (earlier, next) of entries with equal keys.
fn repeated(entries: &[Entry<'_>]) -> Vec<(Place, Place)> {
    let mut pairs = Vec::new();
    if entries.len() <= 12 {
        for (i, a) in entries.iter().enumerate() {
            if let Some(j) = (i + 1..entries.len()).find(|&j| entries[j].key == a.key) {
                pairs.push(((i, a.key_span), (j, entries[j].key_span)));
            }
        }
        return pairs;
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|&a, &b| entries[a].key.cmp(&entries[b].key).then(a.cmp(&b)));
    for pair in order.windows(2) {
        if let [a, b] = *pair
            && entries[a].key == entries[b].key
        {
            pairs.push(((a, entries[a].key_span), (b, entries[b].key_span)));
        }
    }
    pairs
}

enum Frame<'s> {
    Seq {
        items: Vec<Node<'s>>,
        start: usize,
        anchor: usize,
        before: usize,
    },
    Map {
        entries: Vec<Entry<'s>>,
        key: Option<Key<'s>>,
        start: usize,
        anchor: usize,
        before: usize,
    },
}

struct Key<'s> {
    text: Cow<'s, str>,
    span: SourceSpan,
    merge: bool,
}

/// A mistake that ends a document.
struct Stop {
    code: &'static str,
    span: SourceSpan,
    message: String,
    help: &'static str,
}

struct Builder<'s> {
    id: SourceId,
    text: &'s str,
    flavour: Flavour,
    stack: Vec<Frame<'s>>,
    anchors: BTreeMap<usize, (Node<'s>, usize)>,
    merges: Vec<(usize, Node<'s>)>,
    nodes: usize,
    alias_nodes: usize,
    document: Option<Node<'s>>,
    documents: Vec<Node<'s>>,
}

impl<'s> Builder<'s> {
    fn new(id: SourceId, text: &'s str, flavour: Flavour) -> Self {
        Self {
            id,
            text,
            flavour,
            stack: Vec::new(),
            anchors: BTreeMap::new(),
            merges: Vec::new(),
            nodes: 0,
            alias_nodes: 0,
            document: None,
            documents: Vec::new(),
        }
    }

    fn run(mut self, reporter: &mut Reporter<'_>) -> Vec<Node<'s>> {
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH + 20,
            block_nesting_limit: MAX_DEPTH + 20,
        };
        let mut parser = Parser::new_from_str_with_options(self.text, options);
        loop {
            match parser.next_event() {
                None => break,
                Some(Ok((event, span))) => {
                    if let Err(stop) = self.event(event, &span, reporter) {
                        reporter.error(stop.code, stop.span, stop.message, stop.help);
                        self.abandon();
                        if stop.code == codes::BUDGET {
                            break;
                        }
                        if !matches!(parser.proceed_next_document(), Ok(true)) {
                            break;
                        }
                    }
                }
                Some(Err(e)) => {
                    self.syntax(&e, reporter);
                    self.abandon();
                    let deep = matches!(e.kind(), ErrorKind::RecursionLimitExceeded);
                    if deep || !matches!(parser.proceed_next_document(), Ok(true)) {
                        break;
                    }
                }
            }
        }
        self.documents
    }

    /// Forgets the document that is being built.
    fn abandon(&mut self) {
        self.stack.clear();
        self.anchors.clear();
        self.merges.clear();
        self.document = None;
    }

    fn span(&self, span: &granit_parser::Span) -> SourceSpan {
        let (start, end) = (span.start.byte_offset(), span.end.byte_offset());
        let start = start.unwrap_or(0);
        SourceSpan::new(self.id, start, end.unwrap_or(start).max(start))
    }

    fn event(
        &mut self,
        event: Event<'s>,
        at: &granit_parser::Span,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), Stop> {
        let span = self.span(at);
        match event {
            Event::DocumentStart(..) => self.abandon(),
            Event::DocumentEnd => {
                if let Some(node) = self.document.take() {
                    self.documents.push(node);
                }
                self.abandon();
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(span, 1)?;
                if text.len() > MAX_SCALAR {
                    return Err(self.too_long(span));
                }
                let suffix = tag.as_ref().and_then(|t| t.core_suffix().map(str::to_owned));
                let merge = style == ScalarStyle::Plain && text == "<<" && tag.is_none();
                let value = self.scalar(text, style, suffix.as_deref(), span)?;
                let node = Node { span, value };
                if anchor > 0 {
                    self.anchors.insert(anchor, (node.clone(), 1));
                }
                self.place(node, merge)?;
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id) else {
                    return Err(Stop {
                        code: codes::BAD_ALIAS,
                        span,
                        message: "an alias inside the value that it names".to_owned(),
                        help: "write the value out instead of the alias",
                    });
                };
                let (mut node, size) = (node.clone(), *size);
                node.span = span;
                self.alias_nodes += size;
                if self.alias_nodes > MAX_ALIAS_NODES {
                    return Err(Stop {
                        code: codes::BUDGET,
                        span,
                        message: format!("aliases expand to more than {MAX_ALIAS_NODES} values"),
                        help: "use fewer aliases, or write the values out",
                    });
                }
                self.count(span, size)?;
                self.place(node, false)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(span)?;
                let (start, before) = (span.start as usize, self.nodes);
                self.stack.push(Frame::Seq { items: Vec::new(), start, anchor, before });
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(span)?;
                let (start, before) = (span.start as usize, self.nodes);
                self.stack.push(Frame::Map {
                    entries: Vec::new(),
                    key: None,
                    start,
                    anchor,
                    before,
                });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span, reporter)?,
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, span: SourceSpan, more: usize) -> Result<(), Stop> {
        self.nodes += more;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(Stop {
            code: codes::BUDGET,
            span,
            message: format!("more than {MAX_NODES} values in one file"),
            help: "split the file",
        })
    }

    fn open(&mut self, span: SourceSpan) -> Result<(), Stop> {
        self.count(span, 1)?;
        if self.stack.len() < MAX_DEPTH {
            return Ok(());
        }
        Err(Stop {
            code: codes::BUDGET,
            span,
            message: format!("nested more than {MAX_DEPTH} deep"),
            help: "take the inner values out; no Kubernetes object is nested this deep",
        })
    }

    fn too_long(&self, span: SourceSpan) -> Stop {
        Stop {
            code: codes::BUDGET,
            span,
            message: format!("a value of more than {} MiB", MAX_SCALAR >> 20),
            help: "shorten it; an API server refuses objects above 1.5 MiB",
        }
    }

    fn scalar(
        &self,
        text: Cow<'s, str>,
        style: ScalarStyle,
        tag: Option<&str>,
        span: SourceSpan,
    ) -> Result<Value<'s>, Stop> {
        let quoted = style != ScalarStyle::Plain;
        match tag {
            None if quoted => Ok(Value::Str(text)),
            Some("str" | "binary") => Ok(Value::Str(text)),
            None => Ok(scalar::plain(text, self.flavour)),
            Some(tag) => {
                let value = scalar::plain(text, self.flavour);
                let fits = match tag {
                    "int" => matches!(value, Value::Int(_) | Value::Big(_)),
                    "float" => {
                        matches!(value, Value::Int(_) | Value::Big(_) | Value::Float(_))
                    }
                    "bool" => matches!(value, Value::Bool(_)),
                    "null" => matches!(value, Value::Null),
                    _ => true,
                };
                if fits {
                    return Ok(value);
                }
                Err(Stop {
                    code: codes::BAD_TAG,
                    span,
                    message: format!("the value does not fit its tag `!!{tag}`"),
                    help: "remove the tag, or write a value of that type",
                })
            }
        }
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node<'s>, merge: bool) -> Result<(), Stop> {
        let depth = self.stack.len();
        match self.stack.last_mut() {
            None => self.document = Some(node),
            Some(Frame::Seq { items, .. }) => items.push(node),
            Some(Frame::Map { entries, key, .. }) => match key.take() {
                None => *key = Some(as_key(node, merge, self.text)?),
                Some(k) if k.merge => self.merges.push((depth, node)),
                Some(k) => entries.push(Entry { key: k.text, key_span: k.span, value: node }),
            },
        }
        Ok(())
    }

    fn close(&mut self, end: SourceSpan, reporter: &mut Reporter<'_>) -> Result<(), Stop> {
        let depth = self.stack.len();
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let (value, start, anchor, before) = match frame {
            Frame::Seq { items, start, anchor, before } => {
                (Value::Seq(items), start, anchor, before)
            }
            Frame::Map { mut entries, start, anchor, before, .. } => {
                drop_repeated(&mut entries, self.flavour, reporter);
                while self.merges.last().is_some_and(|m| m.0 == depth) {
                    if let Some((_, from)) = self.merges.pop() {
                        merge(&mut entries, from)?;
                    }
                }
                (Value::Map(entries), start, anchor, before)
            }
        };
        let end = (end.end as usize).max(start);
        let node = Node { span: SourceSpan::new(self.id, start, end), value };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        self.place(node, false)
    }

    /// A mistake of the scanner in our words.
    fn syntax(&self, e: &ScanError, reporter: &mut Reporter<'_>) {
        let mark = e.marker();
        let at = mark
            .byte_offset()
            .unwrap_or_else(|| reporter.sources.offset(self.id, mark.line(), mark.col() + 1));
        let span = SourceSpan::new(self.id, at, at + 1);
        if has_template_near(self.text, at) {
            return template_error(span, reporter);
        }
        if let Some(tab) = tab_indent(self.text, at) {
            let help = "indent with blanks; YAML allows no tabs there";
            let span = SourceSpan::new(self.id, tab, tab + 1);
            return reporter.error(codes::TAB_INDENT, span, "a tab in the indentation", help);
        }
        let (code, help) = mend(e.kind());
        reporter.error(code, span, format!("malformed YAML: {}", e.info()), help);
    }
}

fn as_key<'s>(node: Node<'s>, merge: bool, text: &str) -> Result<Key<'s>, Stop> {
    let span = node.span;
    // kubectl turns YAML into JSON first, whose keys are texts: `on:` becomes `true:`.
    let key = match node.value {
        Value::Str(text) => text,
        Value::Bool(b) => Cow::Borrowed(if b { "true" } else { "false" }),
        Value::Int(n) => n.to_string().into(),
        Value::Big(n) => n.to_string().into(),
        Value::Float(x) => x.to_string().into(),
        Value::Null | Value::Cut => Cow::Borrowed("null"),
        Value::Seq(_) | Value::Map(_) => {
            let raw = text.get(span.start as usize..).unwrap_or("");
            let template = raw.starts_with('{');
            return Err(Stop {
                code: if template { codes::TEMPLATE } else { codes::COMPLEX_KEY },
                span,
                message: if template {
                    "a mapping as a key; this looks like an unrendered template `{{ … }}`"
                        .to_owned()
                } else {
                    "a list as a key".to_owned()
                },
                help: "render templates first (`helm template NAME CHART > rendered.yaml`), or quote the text",
            });
        }
    };
    Ok(Key { text: key, span, merge })
}

/// Adds the entries of a `<<` value that are not set yet.
fn merge<'s>(entries: &mut Vec<Entry<'s>>, from: Node<'s>) -> Result<(), Stop> {
    let span = from.span;
    let maps = match from.value {
        Value::Map(_) => vec![from],
        Value::Seq(items) => items,
        _ => vec![from],
    };
    for map in maps {
        let Value::Map(more) = map.value else {
            return Err(Stop {
                code: codes::BAD_MERGE,
                span,
                message: "`<<` must name a mapping".to_owned(),
                help: "write `<<: *anchor`, where the anchor stands on a mapping",
            });
        };
        for entry in more {
            if !entries.iter().any(|e| e.key == entry.key) {
                entries.push(entry);
            }
        }
    }
    Ok(())
}

/// The line's first tab before its text, on the line of `at` or the one before.
fn tab_indent(text: &str, at: usize) -> Option<usize> {
    let upto = text.get(..at).unwrap_or(text);
    let line = upto.rfind('\n').map_or(0, |i| i + 1);
    let before =
        text.get(..line.saturating_sub(1)).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
    [line, before].into_iter().find_map(|start| {
        let rest = text.get(start..)?;
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        rest.get(..blank)?.find('\t').map(|i| start + i)
    })
}

/// Whether `{{` stands on the line of `at` or just before it.
fn has_template_near(text: &str, at: usize) -> bool {
    let upto = text.get(..at).unwrap_or(text);
    let mut start = upto.len();
    for _ in 0..3 {
        start = upto.get(..start).and_then(|t| t.rfind('\n')).unwrap_or(0);
    }
    let rest = text.get(at..).unwrap_or("");
    let end = at + rest.find('\n').unwrap_or(rest.len());
    text.get(start..end).is_some_and(|t| t.contains("{{"))
}

fn template_error(span: SourceSpan, reporter: &mut Reporter<'_>) {
    reporter.error(
        codes::TEMPLATE,
        span,
        "an unrendered template: `{{ … }}` is not YAML",
        "render it first, for example `helm template NAME CHART > rendered.yaml`, and give the result",
    );
}

fn mend(kind: &ErrorKind) -> (&'static str, &'static str) {
    use ErrorKind as K;
    match kind {
        K::TabNotAllowed
        | K::TabInBlockIndentation
        | K::TabInIndentation
        | K::TabAtBlockScalarStart => {
            (codes::TAB_INDENT, "indent with blanks; YAML allows no tabs there")
        }
        K::RecursionLimitExceeded => {
            (codes::BUDGET, "take the inner values out; this is nested too deep")
        }
        K::UnknownAnchor => {
            (codes::BAD_ALIAS, "define the anchor with `&name` before `*name`, or quote the text")
        }
        K::UnclosedQuotedScalar | K::DocumentIndicatorInQuotedScalar => {
            (codes::YAML_SYNTAX, "add the closing quote")
        }
        K::UnclosedFlowCollection { .. }
        | K::MismatchedFlowCollectionEnd { .. }
        | K::UnexpectedEofFlowSequence
        | K::UnexpectedEofFlowMapping
        | K::UnexpectedEofImplicitFlowMapping
        | K::ExpectedFlowMappingSeparator
        | K::ExpectedFlowSequenceSeparator => {
            (codes::YAML_SYNTAX, "close the bracket or brace, and put commas between the values")
        }
        K::UnknownQuotedScalarEscape => {
            (codes::YAML_SYNTAX, "use single quotes, or write the backslash as `\\\\`")
        }
        K::SimpleKeyExpected | K::InvalidSimpleKey => (
            codes::YAML_SYNTAX,
            "write `key: value` with a blank after the colon, and quote texts that hold `: `",
        ),
        K::UnexpectedCharacter { .. } => (codes::YAML_SYNTAX, "put the text in quotes"),
        _ => (
            codes::YAML_SYNTAX,
            "check the indentation of this line and the one before; quote texts with special characters",
        ),
    }
}
