//! Each lint speaks on its mistake and is silent on a good input.

use crate::spec::{Diagnostics, load_scenario_text};

const GOOD: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: web:1.4
        resources: {requests: {cpu: 250m, memory: 256Mi}}
        readinessProbe: {periodSeconds: 5}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 9
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

const SCENARIO: &str = "apiVersion: eks-sim/v1
kind: Scenario
metadata: {name: t}
spec:
  manifests: [m.yaml]
  cluster:
    network:
      subnets: [{name: a, zone: us-east-1a, cidr: 10.0.0.0/22}]
    nodeGroups:
      - {name: base, instanceTypes: [m6i.large], maxSize: 20}
  traffic:
    - {to: Service/web, rate: {constant: 10/s}}
";

fn warnings(scenario: &str, manifests: &str) -> Diagnostics {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.yaml"), manifests).unwrap();
    match load_scenario_text("s.yaml", scenario, folder.path(), &[]) {
        Ok(loaded) => loaded.warnings,
        Err(out) => panic!("{}", out.render()),
    }
}

#[test]
fn a_good_input_is_silent() {
    let out = warnings(SCENARIO, GOOD);
    assert!(out.is_empty(), "{}", out.render());
}

#[test]
fn each_mistake_is_found() {
    let vpa = "---\napiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nmetadata: {name: web}\nspec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n";
    let keda = "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {name: web}\n  minReplicaCount: 1\n  triggers: [{type: cpu, metadata: {value: '70'}}]\n";
    let no_hpa = GOOD
        .split("---\n")
        .filter(|d| !d.contains("HorizontalPodAutoscaler"))
        .collect::<Vec<_>>()
        .join("---\n");
    let pool = "spec:\n      nodeSelector: {kubernetes.io/arch: arm64}\n      containers:";
    let second =
        GOOD.split("---\n").nth(1).unwrap().replace("{name: web}\nspec", "{name: two}\nspec");
    for (code, file, manifests) in [
        ("W0501", SCENARIO.to_owned(), GOOD.replace("cpu: 250m, ", "")),
        ("W0502", SCENARIO.to_owned(), GOOD.replace("maxUnavailable: 1", "minAvailable: 2")),
        ("W0502", SCENARIO.to_owned(), GOOD.replace("maxUnavailable: 1", "maxUnavailable: 0")),
        ("W0503", SCENARIO.to_owned(), format!("{GOOD}{vpa}")),
        ("W0503", SCENARIO.to_owned(), format!("{no_hpa}{vpa}{keda}")),
        ("W0515", SCENARIO.to_owned(), format!("{GOOD}{keda}")),
        ("W0504", SCENARIO.replace("/22", "/25"), GOOD.to_owned()),
        ("W0505", SCENARIO.to_owned(), GOOD.replace("memory: 256Mi", "memory: 64Gi")),
        ("W0506", SCENARIO.to_owned(), GOOD.replace("spec:\n      containers:", pool)),
        ("W0507", SCENARIO.to_owned(), GOOD.replace("cpu: 250m, memory: 256Mi", "")),
        ("W0508", SCENARIO.to_owned(), GOOD.replace("selector: {app: web}, ports", "ports")),
        (
            "W0509",
            SCENARIO.to_owned(),
            GOOD.replace("selector: {app: web}, ports", "selector: {app: wep}, ports"),
        ),
        (
            "W0510",
            SCENARIO.to_owned(),
            GOOD.replace("spec:\n  selector", "spec:\n  replicas: 3\n  selector"),
        ),
        (
            "W0511",
            SCENARIO.to_owned(),
            GOOD.replace("minReplicas: 2", "minReplicas: 1")
                .replace("maxUnavailable: 1", "minAvailable: 1"),
        ),
        ("W0512", SCENARIO.to_owned(), GOOD.replace("web:1.4", "web:latest")),
        (
            "W0513",
            SCENARIO.to_owned(),
            GOOD.replace(
                "1, selector: {matchLabels: {app: web}}",
                "1, selector: {matchLabels: {app: x}}",
            ),
        ),
        (
            "W0514",
            SCENARIO.to_owned(),
            GOOD.replace("        readinessProbe: {periodSeconds: 5}\n", ""),
        ),
        ("W0515", SCENARIO.to_owned(), format!("{GOOD}---\n{second}")),
        (
            "W0413",
            SCENARIO.to_owned(),
            GOOD.replace("kind: Deployment, name: web", "kind: Deployment, name: wep"),
        ),
        ("W0410", SCENARIO.to_owned(), GOOD.replace("readinessProbe", "readynessProbe")),
    ] {
        let out = warnings(&file, &manifests);
        let found: Vec<_> = out.iter().map(|d| d.code).collect();
        assert!(found.contains(&code), "{code}: {found:?}\n{}", out.render());
        assert!(out.iter().all(|d| !d.help.is_empty() && d.location.line > 0));
    }
}

const NETWORK: &str = "apiVersion: eks-sim/v1
kind: Scenario
metadata: {name: t}
spec:
  manifests: [m.yaml]
  cluster:
    network:
      cni: {AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: true, ENI_CONFIG_LABEL_DEF: topology.kubernetes.io/zone}
      subnets: [{name: a, zone: us-east-1a, prefix: 22}, {name: b, zone: us-east-1b, prefix: 22}]
    nodeGroups:
      - {name: base, instanceTypes: [m5.large], maxSize: 20, maxPods: 20}
";

fn eni_config(name: &str) -> String {
    format!(
        "---\napiVersion: crd.k8s.amazonaws.com/v1alpha1\nkind: ENIConfig\n\
         metadata: {{name: {name}}}\nspec: {{subnet: a}}\n"
    )
}

const POLICY: &str = "---
apiVersion: vpcresources.k8s.aws/v1beta1
kind: SecurityGroupPolicy
metadata: {name: p}
spec: {podSelector: {}, securityGroups: {groupIds: [sg-1]}}
";

fn codes_of(scenario: &str, manifests: &str) -> Vec<&'static str> {
    let wanted = ["W0516", "W0517", "W0518", "W0519"];
    let all = warnings(scenario, manifests);
    all.iter().map(|d| d.code).filter(|c| wanted.contains(c)).collect()
}

#[test]
fn every_zone_needs_its_eni_config() {
    let both = format!("{GOOD}{}{}", eni_config("us-east-1a"), eni_config("us-east-1b"));
    assert_eq!(codes_of(NETWORK, &both), Vec::<&str>::new());
    let one = format!("{GOOD}{}", eni_config("us-east-1a"));
    assert_eq!(codes_of(NETWORK, &one), ["W0516"]);
    let found = warnings(NETWORK, &one);
    let text = found.iter().find(|d| d.code == "W0516").map(|d| d.render()).unwrap_or_default();
    assert!(text.contains("`us-east-1b`") && text.contains("s.yaml:11:"), "{text}");
}

#[test]
fn max_pods_are_lowered_for_custom_networking() {
    let both = format!("{GOOD}{}{}", eni_config("us-east-1a"), eni_config("us-east-1b"));
    let high = NETWORK.replace("maxPods: 20", "maxPods: 29");
    assert_eq!(codes_of(&high, &both), ["W0517"]);
    let plain = high.replace("CUSTOM_NETWORK_CFG: true", "CUSTOM_NETWORK_CFG: false");
    assert_eq!(codes_of(&plain, GOOD), Vec::<&str>::new());
}

#[test]
fn branch_interfaces_need_a_type_that_can() {
    let on = NETWORK
        .replace("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: true", "ENABLE_POD_ENI: true")
        .replace("maxPods: 20", "maxPods: 8");
    let manifests = format!("{GOOD}{POLICY}");
    assert_eq!(codes_of(&on, &manifests), Vec::<&str>::new());
    assert_eq!(codes_of(&on.replace("m5.large", "t3.small"), &manifests), ["W0518"]);
}

#[test]
fn objects_without_their_switch_are_named_unless_a_variant_sets_it() {
    let off = NETWORK.replace("CUSTOM_NETWORK_CFG: true", "CUSTOM_NETWORK_CFG: false");
    let manifests = format!("{GOOD}{}{POLICY}", eni_config("us-east-1a"));
    assert_eq!(codes_of(&off, &manifests), ["W0519", "W0519"]);
    let varied = format!(
        "{off}  variants:\n  - name: on\n    set: {{cluster.network.cni.ENABLE_POD_ENI: true, \
         cluster.network.cni.AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: true}}\n"
    );
    assert_eq!(codes_of(&varied, &manifests), Vec::<&str>::new());
}
