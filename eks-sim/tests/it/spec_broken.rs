//! Broken inputs: each must be refused with its place and its mend.

use eks_sim::spec::{Diagnostics, Severity, load, load_manifests_only, load_scenario_text};
use std::path::Path;

fn check(folder: &Path) -> Diagnostics {
    let scenario = folder.join("scenario.yaml");
    let result = if scenario.exists() {
        load(&scenario, &[])
    } else {
        let json = folder.join("manifest.json").exists();
        let name = if json { "manifest.json" } else { "manifest.yaml" };
        load_manifests_only(folder, &[name.to_owned()], &[])
    };
    match result {
        Ok(_) => panic!("{} was accepted", folder.display()),
        Err(out) => out,
    }
}

#[test]
fn every_broken_input_has_place_code_and_mend() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/broken");
    let mut folders: Vec<_> =
        std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 30);
    let mut wrong = Vec::new();
    for folder in &folders {
        let expected = std::fs::read_to_string(folder.join("expect")).unwrap();
        let out = check(folder);
        let errors: Vec<_> = out.iter().filter(|d| d.severity == Severity::Error).collect();
        for d in &errors {
            let text = d.render();
            let head = format!(
                "{}:{}:{}: error[{}]: ",
                d.location.file, d.location.line, d.location.column, d.code
            );
            assert!(
                text.starts_with(&head) && d.location.line > 0 && d.location.column > 0,
                "{text}"
            );
            assert!(text.contains("= help: ") && !d.help.trim().is_empty(), "{text}");
            assert!(!d.location.file.is_empty(), "{text}");
        }
        if !errors.iter().any(|d| d.code == expected.trim()) {
            wrong.push(format!("{}: expected {expected}{}", folder.display(), out.render()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_of_a_gigabyte_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.yaml");
    // A sparse file: a gigabyte long, nothing on disk.
    std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let out = check(folder.path());
    assert_eq!(out.iter().next().unwrap().code, "E0103", "{}", out.render());
}

mod arbitrary {
    use super::*;
    use proptest::prelude::*;

    const PIECES: &[&str] = &[
        "apiVersion: apps/v1\n",
        "kind: Deployment\n",
        "kind: Scenario\n",
        "apiVersion: eks-sim/v1\n",
        "metadata: {name: a}\n",
        "spec:\n",
        "  replicas: ",
        "- ",
        "  ",
        "&a ",
        "*a",
        "<<: *a\n",
        "{{ x }}",
        "${X}",
        "\t",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        ": ",
        "\n",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "!!int ",
        "|\n",
        ">-\n",
        "99999999999999999999",
        "-1",
        "1e400",
        ".inf",
        "~",
        "yes",
        "017",
        "ä",
        "\u{feff}",
        "\r\n",
        "#",
        "? ",
        "template: ",
        "containers: ",
        "items: ",
        "kind: List\n",
        "null",
        "\u{0}",
        "spec: {template: {spec: {containers: [{name: a, image: b}]}}}\n",
        "status: {}\n",
    ];

    fn run(bytes: &[u8]) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("f.yaml");
        std::fs::write(&path, bytes).expect("a file in it");
        let loaded = load_manifests_only(folder.path(), &["f.yaml".to_owned()], &[]);
        let scenario = load(&path, &[]);
        for out in [loaded.err(), scenario.err()].into_iter().flatten() {
            assert!(out.has_errors());
            let _ = (out.render(), out.to_json());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            run(&bytes);
        }

        #[test]
        fn pieces_never_panic(pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
            let text: String = pieces.iter().map(|&i| PIECES[i]).collect();
            run(text.as_bytes());
        }

        #[test]
        fn overrides_never_panic(path in "[a-z.\\[\\]*\"0-9A-Z]{0,30}", value in ".{0,20}") {
            let text = "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: a}\n";
            let sets = [(format!("cluster.{path}"), value.clone()), (path, value)];
            if let Err(out) = load_scenario_text("s", text, Path::new("/nonexistent"), &sets) {
                assert!(!out.render().is_empty());
            }
        }
    }
}
