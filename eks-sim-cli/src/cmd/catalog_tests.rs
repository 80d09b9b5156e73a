//! Answers of `eks-sim catalog`, as printed.

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: CatalogArgs,
}

fn answer(line: &str) -> Result<String, String> {
    let words = std::iter::once("catalog").chain(line.split_whitespace());
    let args = Cli::try_parse_from(words).unwrap().args;
    match &args.topic {
        Some(Topic::Constants { filter }) => list_constants(&args, filter.as_deref()),
        None => list_types(&args),
    }
}

#[test]
fn tables_in_every_format() {
    let ask = "--name m5.*large --max-vcpu 4 --columns name,vcpu,memory,pods,price,gpu-name";
    let text = "name       vcpu  memory  pods  price  gpu-name\n\
                m5.large      2       8    29  0.096  -\n\
                m5.xlarge     4      16    58  0.192  -\n";
    assert_eq!(answer(ask).unwrap(), text);
    let csv = answer(&format!("{ask} --format csv --limit 1")).unwrap();
    assert_eq!(csv, "name,vcpu,memory,pods,price,gpu-name\nm5.large,2,8,29,0.096,\n");
    let json: Value =
        serde_json::from_str(&answer(&format!("{ask} --format json")).unwrap()).unwrap();
    assert_eq!(json[1]["price"], 0.192);
    assert_eq!(json[1]["gpu-name"], Value::Null);
    let markdown = answer("--name m5.large --columns name,pods --format markdown").unwrap();
    assert_eq!(markdown, "| name     | pods |\n| -------- | ---: |\n| m5.large |   29 |\n");
}

#[test]
fn every_column_has_values() {
    let csv = answer("--columns all --format csv --all-offers").unwrap();
    assert_eq!(csv.lines().count(), 1461);
    let names: Vec<_> = COLUMNS.iter().map(|c| c.name).collect();
    assert_eq!(csv.lines().next().unwrap(), names.join(","));
    for column in &COLUMNS {
        let query = Query::default();
        let row = |instance| Row { instance, query: &query };
        let known = Catalog::embedded().iter().any(|t| !(column.value)(&row(t)).is_null());
        assert!(known, "{} is empty", column.name);
    }
}

#[test]
fn filters_act() {
    let lines = |ask: &str| answer(ask).unwrap().lines().count() - 1;
    assert!(lines("--gpu") < 80);
    assert!(lines("--gpu=false") > 1000);
    assert!(lines("--nvme --arch arm64 --sort memory --desc") > 50);
    assert_eq!(lines("--burstable=true --family t3,t3a"), 14);
    assert!(lines("--hypervisor none") > 100);
    assert_eq!(lines("--min-pods 700 --pod-network prefix --family m5"), 8);
    let spot = answer("--name m5.large --capacity-type spot --region eu-west-1").unwrap();
    assert!(spot.contains("spot-advisor"), "{spot}");
    assert_eq!(answer("--min-vcpu 9999").unwrap(), "no instance type satisfies these bounds\n");
    assert_eq!(answer("--min-vcpu 9999 --format json").unwrap(), "[]\n");
}

#[test]
fn constants_are_listed() {
    let text = answer("constants hpa.").unwrap();
    assert!(text.contains("hpa.sync_period") && text.contains("15s"), "{text}");
    let guesses = answer("constants assumption --format json").unwrap();
    let guesses: Value = serde_json::from_str(&guesses).unwrap();
    assert!(guesses.as_array().unwrap().len() > 50);
    assert_eq!(answer("constants xyzzy").unwrap(), "no constant matches `xyzzy`\n");
}

#[test]
fn mistakes_say_how_to_mend() {
    for (ask, part) in [
        ("--min-vcpu four", "--min-vcpu: `four` is not a whole number"),
        ("--min-memory 8", "write for example `8Gi`"),
        ("--min-memory 8GiB", "--min-memory:"),
        ("--arch x86", "write amd64, arm64"),
        ("--family m55", "did you mean"),
        ("--name m[", "not a name pattern"),
        ("--region eu-west1", "did you mean `eu-west-1`"),
        ("--capacity-type reserved", "write `on-demand` or `spot`"),
        ("--max-price cheap", "write for example `0.2`"),
        ("--sort cost", "--sort: unknown sort key"),
        ("--columns name,memroy", "did you mean `memory`"),
        ("--format yaml", "write text, json, csv, markdown"),
        ("--gpu=maybe", "write true, false"),
        ("--hypervisor kvm", "write nitro"),
        ("--min-vcpu 8 --max-vcpu 4", "swap the two"),
    ] {
        let message = answer(ask).unwrap_err();
        assert!(message.contains(part), "{ask}: {message}");
    }
}
