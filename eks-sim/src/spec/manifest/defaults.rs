//! Upstream's defaults, so that later stages see complete objects.
//!
//! Upstream: kubernetes v1.34, `pkg/apis/{core,apps,batch,autoscaling}/v1/defaults.go`,
//! `pkg/apis/autoscaling/v2/defaults.go`; Karpenter v1.8 CRD defaults.
//! Differences: only fields that this project keeps; LimitRange defaults are admission's work.

use crate::k8s::{
    Container, CronJob, DaemonSet, Deployment, HorizontalPodAutoscaler, IntOrPercent, Job, JobSpec,
    LabelSelector, MetricSpec, MetricTarget, NodePool, PodSpec, Probe, ReplicaSet, ResourceMetric,
    RollingUpdate, Service, StatefulSet,
};

fn text(slot: &mut Option<String>, default: &str) {
    if slot.as_deref().is_none_or(str::is_empty) {
        *slot = Some(default.to_owned());
    }
}

/// Completes a container.
pub fn default_container(container: &mut Container, host_network: bool) {
    if let Some(image) = container.image.as_deref() {
        let policy = if always_pulled(image) { "Always" } else { "IfNotPresent" };
        text(&mut container.image_pull_policy, policy);
    }
    let resources = &mut container.resources;
    for (name, amount) in &resources.limits {
        resources.requests.entry(name.clone()).or_insert(*amount);
    }
    for port in &mut container.ports {
        text(&mut port.protocol, "TCP");
        if host_network && port.host_port == 0 {
            port.host_port = port.container_port;
        }
    }
    let probes = [
        &mut container.readiness_probe,
        &mut container.liveness_probe,
        &mut container.startup_probe,
    ];
    for probe in probes.into_iter().flatten() {
        default_probe(probe);
    }
}

/// Whether the image has the tag `latest` or none, and no digest.
#[must_use]
pub(crate) fn always_pulled(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn default_probe(probe: &mut Probe) {
    let default = Probe::default();
    for (slot, value) in [
        (&mut probe.period_seconds, default.period_seconds),
        (&mut probe.timeout_seconds, default.timeout_seconds),
        (&mut probe.success_threshold, default.success_threshold),
        (&mut probe.failure_threshold, default.failure_threshold),
    ] {
        if *slot == 0 {
            *slot = value;
        }
    }
}

/// Completes a pod's specification. `restart_policy` is what an absent one means, if it may be.
pub fn default_pod_spec(spec: &mut PodSpec, restart_policy: Option<&str>) {
    let host_network = spec.host_network;
    for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
        default_container(container, host_network);
    }
    if let Some(policy) = restart_policy {
        text(&mut spec.restart_policy, policy);
    }
    spec.termination_grace_period_seconds.get_or_insert(30);
    text(&mut spec.scheduler_name, "default-scheduler");
}

/// Completes a Deployment.
pub fn default_deployment(object: &mut Deployment) {
    let spec = &mut object.spec;
    spec.replicas.get_or_insert(1);
    spec.progress_deadline_seconds.get_or_insert(600);
    spec.revision_history_limit.get_or_insert(10);
    text(&mut spec.strategy.kind, "RollingUpdate");
    if spec.strategy.kind.as_deref() == Some("RollingUpdate") {
        let numbers = spec.strategy.rolling_update.get_or_insert_with(RollingUpdate::default);
        numbers.max_surge.get_or_insert(IntOrPercent::Percent(25));
        numbers.max_unavailable.get_or_insert(IntOrPercent::Percent(25));
    }
    default_pod_spec(&mut spec.template.spec, Some("Always"));
}

/// Completes a ReplicaSet; without a selector it owns the pods of its template's labels, as a
/// ReplicationController does.
pub fn default_replica_set(object: &mut ReplicaSet) {
    object.spec.replicas.get_or_insert(1);
    let labels = &object.spec.template.metadata.labels;
    object.spec.selector.get_or_insert_with(|| LabelSelector {
        match_labels: labels.clone(),
        match_expressions: Vec::new(),
    });
    default_pod_spec(&mut object.spec.template.spec, Some("Always"));
}

/// Completes a StatefulSet.
pub fn default_stateful_set(object: &mut StatefulSet) {
    let spec = &mut object.spec;
    spec.replicas.get_or_insert(1);
    text(&mut spec.pod_management_policy, "OrderedReady");
    text(&mut spec.update_strategy.kind, "RollingUpdate");
    if spec.update_strategy.kind.as_deref() == Some("RollingUpdate") {
        let numbers =
            spec.update_strategy.rolling_update.get_or_insert_with(RollingUpdate::default);
        numbers.partition.get_or_insert(0);
        numbers.max_unavailable.get_or_insert(IntOrPercent::Int(1));
    }
    default_pod_spec(&mut spec.template.spec, Some("Always"));
}

/// Completes a DaemonSet.
pub fn default_daemon_set(object: &mut DaemonSet) {
    let spec = &mut object.spec;
    text(&mut spec.update_strategy.kind, "RollingUpdate");
    if spec.update_strategy.kind.as_deref() == Some("RollingUpdate") {
        let numbers =
            spec.update_strategy.rolling_update.get_or_insert_with(RollingUpdate::default);
        numbers.max_surge.get_or_insert(IntOrPercent::Int(0));
        numbers.max_unavailable.get_or_insert(IntOrPercent::Int(1));
    }
    default_pod_spec(&mut spec.template.spec, Some("Always"));
}

fn default_job_spec(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let unbounded = spec.backoff_limit_per_index.is_some();
    spec.backoff_limit.get_or_insert(if unbounded { i32::MAX } else { 6 });
    text(&mut spec.completion_mode, "NonIndexed");
    spec.suspend.get_or_insert(false);
    default_pod_spec(&mut spec.template.spec, None);
}

/// Completes a Job.
pub fn default_job(object: &mut Job) {
    default_job_spec(&mut object.spec);
}

/// Completes a CronJob.
pub fn default_cron_job(object: &mut CronJob) {
    let spec = &mut object.spec;
    text(&mut spec.concurrency_policy, "Allow");
    spec.suspend.get_or_insert(false);
    spec.successful_jobs_history_limit.get_or_insert(3);
    spec.failed_jobs_history_limit.get_or_insert(1);
    default_job_spec(&mut spec.job_template.spec);
}

/// Completes a Service.
pub fn default_service(object: &mut Service) {
    text(&mut object.spec.kind, "ClusterIP");
    for port in &mut object.spec.ports {
        text(&mut port.protocol, "TCP");
    }
}

/// KEDA's default: the target is a Deployment.
pub fn default_scaled_object(o: &mut crate::k8s::ScaledObject) {
    let target = &mut o.spec.scale_target_ref;
    if target.kind.is_empty() {
        target.kind = "Deployment".to_owned();
    }
}

/// Completes an HPA and turns a v1 target into a v2 metric (80 % of CPU if it has none).
pub fn default_hpa(object: &mut HorizontalPodAutoscaler) {
    let spec = &mut object.spec;
    spec.min_replicas.get_or_insert(1);
    let percent = spec.target_cpu_utilization_percentage;
    if spec.metrics.is_empty() {
        spec.metrics.push(MetricSpec {
            kind: "Resource".to_owned(),
            resource: Some(ResourceMetric {
                name: "cpu".to_owned(),
                container: None,
                target: MetricTarget {
                    kind: "Utilization".to_owned(),
                    average_utilization: Some(percent.unwrap_or(80)),
                    ..MetricTarget::default()
                },
            }),
            ..MetricSpec::default()
        });
    }
}

/// Completes a NodePool.
pub(super) fn default_node_pool(object: &mut NodePool) {
    let disruption = object.spec.disruption.get_or_insert_with(Default::default);
    if disruption.consolidation_policy.as_deref() == Some("WhenUnderutilized") {
        disruption.consolidation_policy = None; // the v1beta1 name of today's default
    }
    text(&mut disruption.consolidation_policy, "WhenEmptyOrUnderutilized");
    text(&mut disruption.consolidate_after, "0s");
    if disruption.budgets.is_empty() {
        disruption
            .budgets
            .push(crate::k8s::Budget { nodes: "10%".to_owned(), ..Default::default() });
    }
    text(&mut object.spec.template.spec.expire_after, "720h");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_policy_follows_the_tag() {
        for image in ["nginx", "nginx:latest", "reg:5000/a/nginx"] {
            assert!(always_pulled(image), "{image}");
        }
        for image in ["nginx:1", "reg:5000/nginx:1.2", "nginx@sha256:00", "nginx:latest@sha256:00"]
        {
            assert!(!always_pulled(image), "{image}");
        }
    }

    #[test]
    fn limits_become_requests() {
        let text = r#"{"spec": {"template": {"spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "x:1",
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}},
            "ports": [{"containerPort": 80}], "readinessProbe": {"periodSeconds": 0}}]}}}}"#;
        let mut object: Deployment = serde_json::from_str(text).unwrap();
        default_deployment(&mut object);
        let container = &object.spec.template.spec.containers[0];
        assert_eq!(container.resources.requests["cpu"].to_string(), "1");
        assert_eq!(container.resources.requests["memory"].to_string(), "1Gi");
        assert_eq!(container.ports[0].host_port, 80);
        assert_eq!(container.readiness_probe.as_ref().unwrap().period_seconds, 10);
        assert_eq!(object.spec.replicas, Some(1));
        let numbers = object.spec.strategy.rolling_update.unwrap();
        assert_eq!(numbers.max_surge, Some(IntOrPercent::Percent(25)));
    }

    #[test]
    fn hpa_v1_becomes_v2() {
        let mut hpa: HorizontalPodAutoscaler = serde_json::from_str(
            r#"{"spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}}"#,
        )
        .unwrap();
        default_hpa(&mut hpa);
        let target = &hpa.spec.metrics[0].resource.as_ref().unwrap().target;
        assert_eq!(target.average_utilization, Some(50));
    }
}
