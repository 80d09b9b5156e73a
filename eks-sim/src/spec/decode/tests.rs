//! Every mistake is found, once, at its place.

use super::*;
use crate::spec::diagnostic::Diagnostics;
use crate::spec::node::Flavour;
use crate::spec::source::Sources;
use crate::spec::yaml;
use serde::Deserialize;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group {
    name: String,
    max_size: u32,
    #[serde(default)]
    instance_types: Vec<String>,
    #[serde(default)]
    rate: Option<Rate>,
    #[serde(default)]
    timeout: Option<crate::units::Span>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Rate {
    Off,
    Constant(f64),
    Steps { low: u32, high: u32 },
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Top {
    groups: Vec<Group>,
}

fn run(text: &str) -> (Option<Top>, Vec<String>) {
    let mut sources = Sources::new();
    let id = sources.add("t.yaml", text);
    let mut out = Diagnostics::new();
    let mut reporter = Reporter { sources: &sources, out: &mut out };
    let mut documents = yaml::parse(id, text, Flavour::Scenario, &mut reporter);
    let decoded = decode(&mut documents[0], Style::Scenario, &mut reporter);
    out.sort();
    let line = |d: &crate::spec::Diagnostic| {
        assert!(!d.help.is_empty());
        format!("{}:{} {} {} | {}", d.location.line, d.location.column, d.code, d.message, d.help)
    };
    (decoded.map(|d| d.object), out.iter().map(line).collect())
}

#[test]
fn good_input() {
    let text = "groups:\n- {name: a, maxSize: 3, rate: off, timeout: 90s}\n- {name: b, maxSize: 1, rate: {steps: {low: 1, high: 2}}}\n- {name: c, maxSize: 1, rate: {constant: 2}}\n";
    let (top, mistakes) = run(text);
    assert_eq!(mistakes, Vec::<String>::new());
    assert_eq!(top.unwrap().groups[1].rate, Some(Rate::Steps { low: 1, high: 2 }));
}

#[test]
fn all_mistakes_at_once() {
    let text = "groups:
- name: a
  maxSiz: 3
- name: 1.0
  maxSize: \"3\"
  instanceTypes: m6i.large
- {name: c, maxSize: -1, timeout: 90}
- {name: d, maxSize: 1, rate: {step: {}}}
- {name: e, maxSize: 1, rate: {steps: {low: 1}}}
- {name: f, maxSize: 1, rate: {off: , constant: 1}}
- {name: g, maxSize: 1, rate: }
extra: 1
";
    let (top, mistakes) = run(text);
    assert!(top.is_none());
    let expected = [
        "2:3 E0303 `groups[0]` lacks the field `maxSize` | add `maxSize: …`",
        "3:3 E0302 unknown field `maxSiz` in `groups[0]` | did you mean `maxSize`? Allowed here: `name`, `maxSize`, `instanceTypes`, `rate` or `timeout`",
        "4:9 E0301 `groups[1].name` must be text, not the number `1` | put it in quotes: `name: \"1.0\"`",
    ];
    for (have, want) in mistakes.iter().zip(expected) {
        assert_eq!(have, want);
    }
    let has =
        |part: &str| assert!(mistakes.iter().any(|m| m.contains(part)), "{part}\n{mistakes:#?}");
    has("5:12 E0301");
    has("remove the quotes: `maxSize: 3`");
    has("write a list: `instanceTypes: [m6i.large]`");
    has("7:");
    has("did you mean `steps`?");
    has("`groups[4].rate.steps` lacks the field `high`");
    has("needs exactly one key, it has 2");
    has("E0306");
    has("12:1 E0302 unknown field `extra`");
    assert_eq!(mistakes.len(), 12, "{mistakes:#?}");
}
