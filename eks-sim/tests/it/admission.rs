//! Admission: ValidatingAdmissionPolicies, and the messages of refused pods and evictions as a user
//! reads them.

use crate::controllers::{deployment, model, whole};
use crate::rig::text;
use eks_sim::observe::outcome::Detail;
use eks_sim::study::Replicate;
use eks_sim::study::run::ModelStudy;

fn detail(spec: &str, manifests: &str) -> Detail {
    ModelStudy::new(model(spec, manifests)).run(0, true).detail.unwrap()
}

/// Messages of events with this reason.
fn messages(detail: &Detail, reason: &str) -> Vec<String> {
    let found = detail.events.iter().filter(|e| e.reason == reason);
    found.map(|e| e.message.clone()).collect()
}

fn policy(resource: &str, group: &str, rest: &str, action: &str) -> String {
    format!(
        "---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\n\
         metadata: {{name: labels.example.com}}\nspec:\n  failurePolicy: Fail\n  matchConstraints:\n    \
         resourceRules: [{{apiGroups: ['{group}'], apiVersions: [v1], operations: [CREATE, UPDATE], \
         resources: [{resource}]}}]\n{rest}---\napiVersion: admissionregistration.k8s.io/v1\n\
         kind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: labels}}\nspec: {{policyName: \
         labels.example.com, validationActions: [{action}]}}\n"
    )
}

#[test]
fn a_policy_refuses_pods_in_the_api_servers_words() {
    let rules = "  variables: [{name: team, expression: \"object.metadata.?labels.team\"}]\n";
    let plain = "  validations:\n  - expression: \"has(object.metadata.labels) && 'team' in \
                 object.metadata.labels\"\n    messageExpression: \"'label team is missing in ' + \
                 object.metadata.namespace\"\n";
    let _ = rules;
    let seen =
        detail("", &format!("{}{}", deployment(2, "{}", 5, ""), policy("pods", "", plain, "Deny")));
    // staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go (v1.34).
    let words = "is forbidden: ValidatingAdmissionPolicy 'labels.example.com' with binding 'labels' \
                 denied request: label team is missing in default";
    let failed = messages(&seen, "FailedCreate");
    assert!(failed[0].starts_with("Error creating: pods \"web-"), "{failed:?}");
    assert!(failed.iter().all(|m| m.ends_with(words)), "{failed:?}");
    assert!(seen.pods.is_empty());
    // With the label, with another namespace's selector, or only warned: nothing is refused.
    let labelled =
        deployment(2, "{}", 5, "").replace("labels: {app: web}}", "labels: {app: web, team: a}}");
    for (pods, rest, action) in [
        (labelled, plain.to_owned(), "Deny"),
        (
            deployment(2, "{}", 5, ""),
            format!(
                "  matchConditions: [{{name: other, expression: \"object.metadata.namespace != 'default'\"}}]\n{plain}"
            ),
            "Deny",
        ),
        (deployment(2, "{}", 5, ""), plain.to_owned(), "Audit"),
    ] {
        let seen = detail("", &format!("{pods}{}", policy("pods", "", &rest, action)));
        assert_eq!(seen.pods.len(), 2);
    }
}

#[test]
fn a_refused_workload_is_left_out_and_said() {
    let plain = "  variables: [{name: r, expression: object.spec.replicas}]\n  validations:\n  \
                 - {expression: variables.r <= 5, message: too many replicas}\n  - expression: \
                 object.spec.template.spec.containers.all(c, has(c.image) && c.image.startsWith('web:'))\n";
    let built = |replicas: u32, rest: &str| {
        let manifests = format!(
            "{}{}",
            deployment(replicas, "{}", 5, ""),
            policy("deployments", "apps", rest, "Deny")
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("manifests.yaml"), &manifests).unwrap();
        let scenario = text(&whole(""), &manifests).scenario();
        let loaded =
            eks_sim::spec::load_scenario_text("s.yaml", &scenario, folder.path(), &[]).unwrap();
        let (model, said) =
            eks_sim::world::lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
        let said: Vec<String> = said.into_iter().map(|e| e.message).collect();
        (model.unwrap().workloads.len(), said)
    };
    assert_eq!(built(5, plain), (1, Vec::new()));
    let (left, said) = built(6, plain);
    let words = "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy \
                 'labels.example.com' with binding 'labels' denied request: too many replicas";
    assert_eq!((left, said), (0, vec![words.to_owned()]));
    // An absent field is an error, and an error refuses (failurePolicy Fail).
    let absent = "  validations: [{expression: object.spec.template.spec.hostPID == false}]\n";
    let (left, said) = built(1, absent);
    assert_eq!(left, 0);
    assert!(said[0].contains("resulted in error: no such key: hostPID"), "{said:?}");
    // What is not simulated is said, and refuses nobody.
    let foreign =
        "  validations: [{expression: \"quantity('1Gi').isLessThan(quantity('2Gi'))\"}]\n";
    let (left, said) = built(1, foreign);
    assert_eq!(left, 1);
    assert!(
        said[0].contains("is not applied") && said[0].contains("which is not known"),
        "{said:?}"
    );
    let broken = "  validations: [{expression: object.spec.replicas <}]\n";
    let (left, said) = built(1, broken);
    assert_eq!(left, 1);
    assert!(said[0].contains("cannot be read"), "{said:?}");
}

#[test]
fn refused_pods_and_evictions_are_told_in_the_components_words() {
    // staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go (v1.34), as
    // pkg/controller/replicaset/replica_set.go reports it.
    let quota = "---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small}\n\
                 spec: {hard: {cpu: 35m}}\n";
    let seen = detail("", &format!("{}{quota}", deployment(5, "{}", 30, "")));
    let failed = messages(&seen, "FailedCreate");
    assert!(failed[0].starts_with("Error creating: pods \"web-"), "{failed:?}");
    let words =
        "is forbidden: exceeded quota: small, requested: cpu=10m, used: cpu=30m, limited: cpu=35m";
    assert!(failed[0].ends_with(words), "{failed:?}");
    // staging/src/k8s.io/pod-security-admission/{admission/admission.go,policy/check_*.go} (v1.34).
    let restricted = "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: default\n  \
                      labels: {pod-security.kubernetes.io/enforce: restricted}\n";
    let privileged = deployment(1, "{}", 30, "")
        .replace("      hostNetwork: true\n", "")
        .replace("image: web:v1\n", "image: web:v1\n        securityContext: {privileged: true}\n");
    let seen = detail("", &format!("{privileged}{restricted}"));
    let failed = messages(&seen, "FailedCreate");
    let words = "is forbidden: violates PodSecurity \"restricted:latest\": privileged (container \
                 \"main\" must not set securityContext.privileged=true), ";
    assert!(failed[0].contains(words), "{failed:?}");
    assert!(
        failed[0].contains(
            "unrestricted capabilities (container \"main\" must set \
                               securityContext.capabilities.drop=[\"ALL\"])"
        ),
        "{failed:?}"
    );
    // pkg/registry/core/pod/storage/eviction.go (v1.34).
    let budget = "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: all}\n\
                  spec: {minAvailable: 4, selector: {matchLabels: {app: web}}}\n";
    let changes = "\n  changes:\n  - {at: 10m, drain: {nodeGroup: base}}\n";
    let seen = detail(changes, &format!("{}{budget}", deployment(4, "{}", 30, "")));
    let refused = messages(&seen, "EvictionRefused");
    let words = "Cannot evict pod as it would violate the pod's disruption budget. The disruption \
                 budget all needs 4 healthy pods and has 4 currently";
    assert_eq!(refused.first().map(String::as_str), Some(words));
}

#[test]
fn waiting_pods_give_the_schedulers_reasons() {
    // pkg/scheduler/framework/types.go (FitError) and preemption/preemption.go (v1.34.1).
    let big = deployment(1, "{}", 5, "").replace("cpu: 10m", "cpu: 95500m");
    let waits = |more: &str| {
        let seen = detail("", &format!("{}{more}", big.replace("replicas: 1", "replicas: 3")));
        messages(&seen, "FailedScheduling").first().cloned().unwrap_or_default()
    };
    let words = "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: \
                 2 No preemption victims found for incoming pod.";
    assert_eq!(waits(""), words);
    let huge = big.replace("95500m", "200");
    let seen = detail("", &huge);
    let words = "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: \
                 2 Preemption is not helpful for scheduling.";
    assert_eq!(messages(&seen, "FailedScheduling")[0], words);
    let never =
        huge.replace("hostNetwork: true", "preemptionPolicy: Never\n      hostNetwork: true");
    let seen = detail("", &never);
    assert!(
        messages(&seen, "FailedScheduling")[0]
            .ends_with(" preemption: not eligible due to preemptionPolicy=Never.")
    );
    let nobody = huge.replace("hostNetwork: true", "schedulerName: mine\n      hostNetwork: true");
    let seen = detail("", &nobody);
    assert_eq!(seen.pods[0].reason, "no scheduler is called `mine`: the pod waits for it");
    let gated =
        huge.replace("hostNetwork: true", "schedulingGates: [{name: x}]\n      hostNetwork: true");
    let seen = detail("", &gated);
    assert_eq!(seen.pods[0].reason, "Scheduling is blocked due to non-empty scheduling gates");
}
