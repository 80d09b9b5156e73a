//! Runs the vector files of this family and compares.

use super::*;
use std::collections::BTreeSet;
use std::path::Path;

const OTHERS: [&str; 3] = ["deployment", "pod_disruption_budget", "replicaset_scale_down"];

#[test]
fn all_vectors_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conformance/scheduler");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("vectors")
        .filter_map(|e| Some(e.ok()?.path()).filter(|p| p.extension().is_some_and(|x| x == "json")))
        .collect();
    paths.sort();
    let (mut total, mut failures) = (0, Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let topic = file["topic"].as_str().expect("topic").to_owned();
        if OTHERS.iter().any(|o| topic.ends_with(o)) {
            continue;
        }
        for case in file["cases"].as_array().expect("cases") {
            total += 1;
            if let Err(why) = check(&topic, &file, case) {
                failures.push(format!("{} {}: {why}", path.display(), case["name"]));
            }
        }
    }
    assert!(total > 700, "only {total} cases");
    assert!(failures.is_empty(), "{}/{total} failed:\n{}", failures.len(), failures.join("\n"));
}

fn check(topic: &str, file: &Value, case: &Value) -> Result<(), String> {
    let got = evaluate(topic, file, case).map_err(|e| format!("{e:?}"))?;
    for (key, want) in case["expect"].as_object().expect("expect") {
        let have = &got[key];
        let equal = match key.as_str() {
            "reasons" => reasons(want) == reasons(have),
            "candidates" => candidates(want) == candidates(have),
            "victims" | "best_nodes" | "node_any_of" => set(want) == set(have),
            "weighted_plugin_scores" => {
                want.as_object().expect("nodes").iter().all(|(node, plugins)| {
                    let plugins = plugins.as_object().expect("plugins").iter();
                    plugins.clone().all(|(p, s)| have[node].get(p).unwrap_or(&json!(0)) == s)
                })
            }
            _ => want == have,
        };
        if !equal {
            return Err(format!("{key}\n  want {want}\n  have {have}"));
        }
    }
    Ok(())
}

fn set(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(Value::to_string).collect()
}

fn reasons(map: &Value) -> Vec<(String, BTreeSet<String>)> {
    let short = |text: String| match text.find("parsing pod:") {
        Some(_) => "parsing pod:".to_owned(),
        None => text,
    };
    let map = map.as_object().into_iter().flatten();
    map.map(|(node, list)| (node.clone(), set(list).into_iter().map(short).collect())).collect()
}

fn candidates(list: &Value) -> BTreeSet<(String, BTreeSet<String>, String)> {
    let list = list.as_array().into_iter().flatten();
    list.map(|c| (c["node"].to_string(), set(&c["victims"]), c["pdb_violations"].to_string()))
        .collect()
}
