//! `eks-sim subnets` as users call it, with good and bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name).join("scenario.yaml")
}

fn subnets(path: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eks-sim"));
    command.arg("subnets").arg(path).args(more).output().expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}
fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn the_answer_in_three_formats() {
    let path = scenario("webshop");
    let text = subnets(&path, &["--quiet"]);
    assert_eq!(text.status.code(), Some(0), "{}", err(&text));
    for part in
        ["Subnets before any node", "how many fit", "Ways out for", "at the peak", "Assumed"]
    {
        assert!(out(&text).contains(part), "{part}\n{}", out(&text));
    }
    let markdown = subnets(&path, &["--quiet", "--format", "markdown"]);
    assert!(out(&markdown).contains("| subnet | zone | block |"), "{}", out(&markdown));
    let json = subnets(&path, &["--quiet", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out(&json)).expect("JSON");
    assert_eq!(json["format"], "eks-sim-subnets/v1");
    let situations = json["situations"].as_array().expect("a list");
    assert!(situations.iter().all(|s| s["fits"].is_boolean()));
    assert!(json["nodes"][0]["rest"][2]["nodes"].as_u64() > Some(0));
    assert!(err(&text).is_empty());
}

#[test]
fn strict_tells_by_the_exit_code_and_set_changes_the_answer() {
    let path = scenario("webshop");
    let tiny = ["--quiet", "--strict", "--set", "cluster.network.subnets[*].prefix=27"];
    let missed = subnets(&path, &tiny);
    let code = missed.status.code();
    // A scenario that gives blocks refuses a prefix beside them; either way it is not 0.
    assert!(matches!(code, Some(1 | 2)), "{code:?} {}", err(&missed));
    assert_eq!(subnets(&path, &["--quiet", "--strict"]).status.code(), Some(0));
}

#[test]
fn a_variant_is_chosen_by_name() {
    let path = scenario("zone-outage");
    let good = subnets(&path, &["--quiet", "--variant", "prepared"]);
    assert_eq!(good.status.code(), Some(0), "{}", err(&good));
    let bad = subnets(&path, &["--quiet", "--variant", "nobody"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(err(&bad).contains("no variant `nobody`; it has"), "{}", err(&bad));
}

#[test]
fn bad_input_is_refused_with_a_reason() {
    let absent = subnets(Path::new("/nowhere/scenario.yaml"), &[]);
    assert_eq!(absent.status.code(), Some(3), "{}", err(&absent));
    let folder = std::env::temp_dir().join(format!("eks-sim-cli-subnets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("scenario.yaml");
    let head = "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: bad}\nspec:\n";
    for (body, words) in [
        (
            "  cluster: {network: {subnets: [{name: a, zone: us-east-1a, cidr: 10.9.9.9/24}]}}\n",
            "10.9.9.0/24",
        ),
        ("  cluster: {network: {subnets: [{name: a, zone: us-east-1a}]}}\n", "prefix"),
        ("  cluster: {nodeGroups: [{name: x, instanceTypes: [m5.huge]}]}\n", "m5.huge"),
        ("  cluster: {network: {vpcCidr: everything}}\n", "everything"),
        ("  cluster: {network: {subnetz: []}}\n", "subnetz"),
        ("  cluster: [\n", "scenario.yaml"),
    ] {
        std::fs::write(&file, format!("{head}{body}")).expect("a file");
        let refused = subnets(&file, &[]);
        assert_eq!(refused.status.code(), Some(2), "{body}{}", err(&refused));
        assert!(err(&refused).contains(words), "{body}{}", err(&refused));
        assert!(out(&refused).is_empty(), "{body}");
    }
    std::fs::write(&file, format!("{head}  cluster: {{nodeGroups: []}}\n")).expect("a file");
    let empty = subnets(&file, &["--quiet"]);
    assert_eq!(empty.status.code(), Some(0), "no nodes is an answer too: {}", err(&empty));
    assert!(!subnets(&file, &["--format", "xml"]).status.success());
    std::fs::remove_dir_all(&folder).expect("it is ours");
}
