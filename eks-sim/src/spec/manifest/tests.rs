//! Loading of manifests from texts.

use super::*;
use crate::spec::{Diagnostics, Sources};

fn load(text: &str) -> (Manifests, Vec<String>) {
    let (mut sources, mut out) = (Sources::new(), Diagnostics::new());
    let manifests = load_text("m.yaml", text, &mut sources, &mut out);
    out.sort();
    let line = |d: &crate::spec::Diagnostic| {
        assert!(!d.help.is_empty(), "{d:?}");
        format!("{}:{} {} {}", d.location.line, d.location.column, d.code, d.message)
    };
    (manifests, out.iter().map(line).collect())
}

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx:1}]}
";

#[test]
fn a_deployment_is_completed() {
    let (m, said) = load(WEB);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(m.deployments[0].object.spec.replicas, Some(1));
    assert_eq!(m.templates().len(), 1);
}

#[test]
fn a_scenario_beside_the_manifests_is_no_object() {
    let scenario = "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: mine}\nspec: {}\n";
    let (m, said) = load(&format!("{scenario}---\n{WEB}"));
    assert_eq!((m.deployments.len(), said), (1, Vec::new()));
    let (_, said) = load("apiVersion: eks-sim/v1\nkind: Sketch\nmetadata: {name: mine}\n");
    assert_eq!(said.len(), 1, "other kinds are reported: {said:?}");
}

#[test]
fn later_objects_win() {
    let text = format!(
        "{WEB}---\n{}",
        WEB.replace("spec:\n  selector", "spec:\n  replicas: 7\n  selector")
    );
    let (m, said) = load(&text);
    assert_eq!(m.deployments.len(), 1);
    assert_eq!(m.deployments[0].object.spec.replicas, Some(7));
    assert_eq!(
        said,
        ["11:1 W0404 Deployment/web in namespace `default` is there twice; this one counts"]
    );
}

#[test]
fn lists_are_unpacked_and_dumps_accepted() {
    let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
 {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "managedFields": [{}], "ownerReferences": [{"kind": "ReplicaSet", "name": "x", "controller": true}]}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}},
 {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}, "status": {"phase": "Running"}},
 {"apiVersion": "v1", "kind": "ServiceList", "items": [{"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}]}
]}"#;
    let (m, said) = load(text);
    assert_eq!((m.pods.len(), m.services.len()), (1, 1));
    assert_eq!(said, ["2:23 W0409 1 Pod with a controller left out; the controller makes them"]);
}

#[test]
fn placeholders_and_patches() {
    let holes = WEB.replace("image: nginx:1", "image: \"${IMAGE}\"");
    let (m, said) = load(&holes);
    assert_eq!(m.deployments.len(), 1);
    assert_eq!(said, ["8:42 W0405 `${IMAGE}` is not filled in"]);
    let holes = WEB.replace("spec:\n  sel", "spec:\n  replicas: ${N}\n  sel");
    let (m, said) = load(&holes);
    assert_eq!(m.deployments.len(), 0);
    assert_eq!(said, ["5:13 W0405 `${N}` is not filled in; the object is left out"]);
    let (m, said) =
        load("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n");
    assert_eq!(m.deployments.len(), 0);
    assert!(said[0].contains("W0406"), "{said:?}");
}

#[test]
fn yaml_as_kubectl_reads_it() {
    let text = WEB
        .replace("spec:\n  sel", "spec:\n  paused: yes\n  replicas: 017\n  replicas: 0x3\n  sel");
    let (m, said) = load(&text);
    assert_eq!(m.deployments[0].object.spec.replicas, Some(3));
    assert!(m.deployments[0].object.spec.paused);
    assert_eq!(said, ["7:3 W0411 `replicas` is set twice; the last one counts, as with kubectl"]);
    let text = "x: &x {app: web}\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  selector: {<<: *x, tier: front}\n  ports: [{port: 80}]\n";
    let (m, said) = load(&format!("\r\n{}", text.replace('\n', "\r\n")));
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(m.services[0].object.spec.selector["app"], "web");
}

#[test]
fn old_versions_are_read() {
    let text = "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: a}\nspec:\n  selector: {app: a}\n  template:\n    metadata: {labels: {app: a}}\n    spec: {containers: [{name: c, image: x:1}]}\n---\napiVersion: autoscaling/v2beta1\nkind: HorizontalPodAutoscaler\nmetadata: {name: h}\nspec:\n  scaleTargetRef: {kind: ReplicationController, name: a}\n  maxReplicas: 3\n  metrics: [{type: Resource, resource: {name: cpu, targetAverageUtilization: 55}}]\n";
    let (m, said) = load(text);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("W0407"));
    assert_eq!(m.replica_sets[0].object.spec.selector.as_ref().unwrap().match_labels["app"], "a");
    let resource = m.hpas[0].object.spec.metrics[0].resource.as_ref().unwrap();
    assert_eq!(resource.target.average_utilization, Some(55));
}

#[test]
fn bombs_are_refused() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (new, old) in
        ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"])
    {
        bomb.push_str(&format!("{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"));
    }
    let (_, said) = load(&bomb);
    assert!(said[0].contains("E0204 aliases expand"), "{said:?}");
    let (_, said) = load(&"[".repeat(100_000));
    assert!(said[0].contains("E0204"), "{said:?}");
    let (_, said) = load(&"- ".repeat(5000));
    assert!(said[0].contains("E0204"), "{said:?}");
}
