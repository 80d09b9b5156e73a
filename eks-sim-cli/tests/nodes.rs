//! Wrong node groups, profiles and flags: the command says where, what and how to mend it.

use std::process::Command;

/// Exit code and everything printed by `check` on a scenario with this cluster.
fn check(cluster: &str) -> (Option<i32>, String) {
    let folder = std::env::temp_dir().join(format!("eks-sim-nodes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let path = folder.join("scenario.yaml");
    let text = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: t}}\nspec:\n  cluster:\n{cluster}"
    );
    std::fs::write(&path, text).expect("the scenario is written");
    let done = Command::new(env!("CARGO_BIN_EXE_eks-sim"))
        .arg("check")
        .arg(&path)
        .output()
        .expect("the command runs");
    let mut said = String::from_utf8_lossy(&done.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&done.stderr));
    (done.status.code(), said)
}

#[test]
fn mistakes_are_shown_with_their_place_and_mend() {
    for (cluster, place, what, mend) in [
        (
            "    nodeGroups:\n    - {name: a, kind: own, instanceTypes: [m5.large]}\n",
            "scenario.yaml:7:",
            "cannot be `own`",
            "write `managed` or `self-managed`",
        ),
        (
            "    autoscaler: {clusterAutoscaler: {expander: prize}}\n",
            "scenario.yaml:6:",
            "prize",
            "price",
        ),
        (
            "    nodeGroups: [{name: workers}]\n    autoscaler: {clusterAutoscaler: {nodes: ['2:9:workerz']}}\n",
            "scenario.yaml:7:",
            "no node group `workerz`",
            "did you mean `workers`?",
        ),
        (
            "    nodeGroups: [{name: workers}]\n    autoscaler: {clusterAutoscaler: {nodes: ['9:2:workers']}}\n",
            "scenario.yaml:7:",
            "not 9 to 2",
            "write sizes from 1 to 20",
        ),
        (
            "    autoscaler: {clusterAutoscaler: {version: '2.x'}}\n",
            "scenario.yaml:6:",
            "is no release of Cluster Autoscaler",
            "1.34",
        ),
        (
            "    nodeGroups:\n    - {name: a, kind: self-managed, mixedInstances: {overrides: [{weightedCapacity: 0}]}}\n",
            "scenario.yaml:7:",
            "either `instanceType` or `instanceRequirements`",
            "weightedCapacity: 2",
        ),
        (
            "    nodeGroups:\n    - {name: a, kind: self-managed, mixedInstances: {overrides: [{instanceType: m6i.large, weightedCapacity: 1000}]}}\n",
            "scenario.yaml:7:",
            "cannot count for 1000 units",
            "from 1 to 999",
        ),
        (
            "    nodeGroups:\n    - {name: a, kind: self-managed, mixedInstances: {overrides: [{instanceRequirements: {vCpuCount: {min: 2}}}]}}\n",
            "scenario.yaml:7:",
            "`memoryMiB` needs a `min`",
            "min: 2",
        ),
        (
            "    fargateProfiles:\n    - {name: p, selectors: [{namespace: a}], subnets: [x]}\n",
            "scenario.yaml:7:",
            "there is no subnet `x`",
            "use one of a, b, c",
        ),
        (
            "    hybridNodes:\n    - {name: rack, count: 1, vcpu: 2, memory: 1Mi}\n",
            "scenario.yaml:7:",
            "leave nothing for pods",
            "memory: 64Gi",
        ),
        (
            "    nodeGroups:\n    - {name: a, amiFamily: WINDOWS, instanceTypes: [m6g.large]}\n",
            "scenario.yaml:7:",
            "Windows does not run on it",
            "x86",
        ),
    ] {
        let (code, said) = check(cluster);
        assert_eq!(code, Some(2), "{cluster}: {said}");
        for part in [place, what, mend] {
            assert!(said.contains(part), "`{part}` is missing for {cluster}: {said}");
        }
    }
}
