//! Wrong subnets and CNI settings: the command says where, what and how to mend it.

use std::process::Command;

/// Exit code and everything printed by `run` on a scenario with this network, and whether the
/// output folder came to be.
fn run(network: &str, number: usize) -> (Option<i32>, String, bool) {
    let folder =
        std::env::temp_dir().join(format!("eks-sim-network-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let (path, out) = (folder.join("scenario.yaml"), folder.join("out"));
    let text = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: t}}\nspec:\n  cluster:\n    \
         network:\n{network}"
    );
    std::fs::write(&path, text).expect("the scenario is written");
    let done = Command::new(env!("CARGO_BIN_EXE_eks-sim"))
        .arg("run")
        .arg(&path)
        .arg("--out")
        .arg(&out)
        .output()
        .expect("the command runs");
    let mut said = String::from_utf8_lossy(&done.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&done.stderr));
    let written = out.exists();
    std::fs::remove_dir_all(&folder).expect("the folder of the test goes");
    (done.status.code(), said, written)
}

fn subnet(more: &str) -> String {
    format!("      subnets:\n      - {{name: a, zone: us-east-1a, {more}}}\n")
}

#[test]
fn mistakes_are_shown_with_their_place_and_mend() {
    let twice = |more: &str| format!("{}      - {{{more}}}\n", subnet("cidr: 10.0.0.0/24"));
    let cases = [
        (subnet("prefix: 29"), ":8:", "cannot be a /29", "a number from 16 to 28"),
        (subnet("cidr: 10.0.0.0/33"), ":8:", "is no address block", "such as `10.0.0.0/16`"),
        (subnet("cidr: ten"), ":8:", "is no address block", "such as `10.0.0.0/16`"),
        (
            twice("name: b, zone: us-east-1b, cidr: 10.0.0.128/25"),
            ":9:",
            "overlaps the subnet `a`",
            "choose a block that is free",
        ),
        (
            twice("name: b, zone: us-east-1q, cidr: 10.0.1.0/24"),
            ":9:",
            "is not a zone of us-east-1",
            "us-east-1f",
        ),
        (
            twice("name: a, zone: us-east-1b, cidr: 10.0.1.0/24"),
            ":9:",
            "are called `a`",
            "give each its own name",
        ),
        (subnet("prefix: 24, usedAddresses: 300"), ":8:", "do not fit into", "251 usable"),
        (
            subnet("prefix: 24, prefixReservations: [10.1.0.0/28]"),
            ":8:",
            "is no part of",
            "inside the subnet",
        ),
        (subnet("prefix: 24, role: pods"), ":7:", "no subnet has the role", "leave `role` out"),
        (
            "      cni: {WARM_IP_TARGETS: 3}\n".to_owned(),
            ":7:",
            "unknown field `WARM_IP_TARGETS`",
            "did you mean `WARM_IP_TARGET`?",
        ),
        (
            "      cni: {WARM_IP_TARGET: -3}\n".to_owned(),
            ":7:",
            "cannot be the number `-3`",
            "a whole number from 0",
        ),
        ("      controlPlaneSubnets: [zz]\n".to_owned(), ":7:", "no subnet `zz`", "leave it out"),
        ("      ipFamily: ipv5\n".to_owned(), ":7:", "cannot be `ipv5`", "did you mean `ipv4`?"),
    ];
    for (number, (network, place, what, mend)) in cases.iter().enumerate() {
        let (code, said, written) = run(network, number);
        assert_eq!((code, written), (Some(2), false), "{network}: {said}");
        for part in [place, what, mend] {
            assert!(said.contains(part), "`{part}` is missing for {network}: {said}");
        }
    }
}
