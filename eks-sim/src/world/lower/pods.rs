//! Pod templates: everything about them that decisions need, worked out once.

use super::Errors;
use crate::k8s::{self, Container, PodSpec, PodTemplateSpec, StringMap};
use crate::policy::cluster_autoscaler::requests;
use crate::spec::Manifests;
use crate::spec::scenario::Scenario;
use crate::units::{Bytes, Id, MilliCpu, Quantity, Span};
use crate::world::model::{ClaimModel, ImageModel, Model, ProbeModel, ServiceModel, Template};
use std::sync::Arc;

/// What a template belongs to.
pub(super) struct Owner<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) claims: &'a [k8s::PersistentVolumeClaim],
}

/// Lowers a template and adds it to the model.
pub(super) fn template(
    object: &PodTemplateSpec,
    owner: &Owner<'_>,
    manifests: &Manifests,
    scenario: &Scenario,
    model: &mut Model,
    errors: &mut Errors,
) -> Id<Template> {
    let mut object = object.clone();
    let daemon = owner.kind == "DaemonSet";
    let branch = super::branches::wanted(&object, owner.namespace, manifests, model);
    admit(&mut object.spec, owner, manifests, daemon, model);
    if branch {
        super::branches::request(&mut object.spec);
    }
    super::mesh::inject(&mut object, owner, scenario, model);
    let spec = &object.spec;
    let requests = requests::pod_requests(spec);
    let behavior = behavior(owner, spec, scenario);
    let request_cpu = requests.get("cpu").map_or(MilliCpu::ZERO, |q| q.milli_cpu());
    let request_memory = requests.get("memory").map_or(Bytes::ZERO, |q| q.bytes());
    let job = owner.kind == "Job" || owner.kind == "CronJob";
    let job_behavior = job.then(|| job_behavior(owner, scenario)).flatten();
    let of_job = job_behavior.as_ref().and_then(|j| j.cpu);
    let share = if job { "job.cpu_share" } else { "pod.idle_cpu_share" };
    let idle_cpu = of_job
        .or_else(|| behavior.as_ref().and_then(|b| b.idle_cpu))
        .map_or_else(|| scaled(request_cpu.raw(), model.defaults.f64(share)), |q| q.milli_value());
    let idle_memory = behavior.as_ref().and_then(|b| b.idle_memory).map_or_else(
        || scaled(request_memory.raw(), model.defaults.f64("pod.idle_memory_share")),
        |q| q.value(),
    );
    let duration = job.then(|| {
        let given = job_behavior.as_ref().and_then(|j| j.duration.clone());
        given.or_else(|| serde_json::from_value(model.defaults.dist("job.duration").clone()).ok())
    });
    let services = services_of(owner.namespace, &object.metadata.labels, model);
    let uses = super::containers::uses(spec, idle_cpu, idle_memory);
    let main = super::containers::main(spec, &services, model);
    let restart = spec.restart_policy.as_deref().unwrap_or("Always").to_owned();
    let lowered = Template {
        namespace: owner.namespace.to_owned(),
        owner: Some(k8s::OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind: if owner.kind == "Deployment" { "ReplicaSet" } else { owner.kind }.to_owned(),
            name: owner.name.to_owned(),
            uid: String::new(),
            controller: Some(true),
        }),
        request_cpu,
        request_memory,
        limit_cpu: limit_cpu(spec),
        limit_memory: limit_memory(spec),
        memory_growth: behavior
            .as_ref()
            .and_then(|b| b.memory.as_ref())
            .map_or(0.0, |m| m.growth_per_hour.as_f64().max(0.0) / 3600.0),
        restarts_on_resize: spec
            .containers
            .iter()
            .any(|c| c.resize_policy.iter().any(|p| p.restart_policy == "RestartContainer")),
        priority: spec.priority.unwrap_or(0),
        host_network: spec.host_network,
        branch,
        daemon,
        trace: false,
        images: images(spec, scenario, model),
        init_containers: spec.init_containers.iter().filter(|c| !is_sidecar(c)).count() as u32,
        sidecars: spec.init_containers.iter().filter(|c| is_sidecar(c)).count() as u32,
        containers: spec.containers.len() as u32,
        readiness: readiness(spec),
        grace: seconds(spec.termination_grace_period_seconds.unwrap_or(30)),
        pre_stop: pre_stop(spec),
        services,
        uses,
        main,
        idle_cpu: MilliCpu::new(idle_cpu),
        idle_memory: Bytes::new(idle_memory),
        unreachable_toleration: unreachable_toleration(spec),
        errors: behavior.as_ref().and_then(|b| b.errors).map_or(0.0, |e| e.get().clamp(0.0, 1.0)),
        startup: behavior.and_then(|b| b.startup),
        duration: duration.flatten(),
        failure_probability: job_behavior
            .and_then(|j| j.failure_probability)
            .map_or(0.0, |f| f.get().clamp(0.0, 1.0)),
        restarts_on_failure: restart == "OnFailure" || restart == "Always",
        claims: claims(spec, owner, manifests, model, errors),
        refusal: super::admission::refusal(spec, owner.namespace, manifests),
        quotas: super::admission::quotas_of(owner.namespace, model),
        profile: super::scheduler::profile_of(spec.scheduler_name.as_deref(), model),
        fargate: None,
        object: Arc::new(object),
    };
    model.templates.push(lowered)
}

fn scaled(amount: i64, share: f64) -> i64 {
    (amount as f64 * share).round() as i64
}

fn seconds(s: i64) -> Span {
    Span::from_secs(u64::try_from(s).unwrap_or(0))
}

pub(super) fn is_sidecar(c: &Container) -> bool {
    c.restart_policy.as_deref() == Some("Always")
}

/// What admission does: priority by class, default tolerations, DaemonSet tolerations.
fn admit(
    spec: &mut PodSpec,
    owner: &Owner<'_>,
    manifests: &Manifests,
    daemon: bool,
    model: &Model,
) {
    let class = spec.priority_class_name.as_deref().unwrap_or_default();
    let (value, policy) = priority(class, manifests);
    spec.priority = spec.priority.or(Some(value));
    spec.preemption_policy = spec.preemption_policy.take().or(policy);
    if daemon {
        for (key, effect) in [
            ("node.kubernetes.io/not-ready", "NoExecute"),
            ("node.kubernetes.io/unreachable", "NoExecute"),
            ("node.kubernetes.io/disk-pressure", "NoSchedule"),
            ("node.kubernetes.io/memory-pressure", "NoSchedule"),
            ("node.kubernetes.io/pid-pressure", "NoSchedule"),
            ("node.kubernetes.io/unschedulable", "NoSchedule"),
        ] {
            spec.tolerations.push(exists(key, effect, None));
        }
        if spec.host_network {
            let key = "node.kubernetes.io/network-unavailable";
            spec.tolerations.push(exists(key, "NoSchedule", None));
        }
    }
    for (key, constant) in [
        ("node.kubernetes.io/not-ready", "controller_manager.default_not_ready_toleration"),
        ("node.kubernetes.io/unreachable", "controller_manager.default_unreachable_toleration"),
    ] {
        let taint = k8s::Taint {
            key: key.to_owned(),
            effect: "NoExecute".to_owned(),
            ..k8s::Taint::default()
        };
        if !crate::policy::fit::tolerates(spec, &taint) {
            let wait = model.defaults.span(constant).whole_secs();
            spec.tolerations.push(exists(key, "NoExecute", i64::try_from(wait).ok()));
        }
    }
    let items = super::admission::limit_items(owner.namespace, manifests);
    if !items.is_empty() {
        crate::policy::workloads::apply_limit_range(spec, &items);
    }
}

fn exists(key: &str, effect: &str, toleration_seconds: Option<i64>) -> k8s::Toleration {
    k8s::Toleration {
        key: key.to_owned(),
        operator: "Exists".to_owned(),
        value: String::new(),
        effect: effect.to_owned(),
        toleration_seconds,
    }
}

/// Priority admission (scheduler.md B4).
fn priority(class: &str, manifests: &Manifests) -> (i32, Option<String>) {
    match class {
        "system-cluster-critical" => return (2_000_000_000, None),
        "system-node-critical" => return (2_000_001_000, None),
        _ => {}
    }
    let classes = manifests.priority_classes.iter().map(|c| &c.object);
    let found = if class.is_empty() {
        classes.filter(|c| c.global_default).min_by_key(|c| c.value)
    } else {
        classes.into_iter().find(|c| c.metadata.name == class)
    };
    found.map_or((0, None), |c| (c.value, c.preemption_policy.clone()))
}

/// The sum of the containers' CPU limits, if all have one.
fn limit_cpu(spec: &PodSpec) -> Option<MilliCpu> {
    let sidecars = spec.init_containers.iter().filter(|c| is_sidecar(c));
    spec.containers
        .iter()
        .chain(sidecars)
        .map(|c| c.resources.limits.get("cpu").map(|q| q.milli_cpu()).filter(|l| l.raw() > 0))
        .try_fold(0_i64, |sum, limit| Some(sum.saturating_add(limit?.raw())))
        .map(MilliCpu::new)
}

/// Memory limit of the pod; none when a container has no limit. A limit of 0 sets no cgroup bound
/// (`pkg/kubelet/cm/helpers_linux.go`), so it counts as none.
fn limit_memory(spec: &PodSpec) -> Option<Bytes> {
    let sidecars = spec.init_containers.iter().filter(|c| is_sidecar(c));
    spec.containers
        .iter()
        .chain(sidecars)
        .map(|c| c.resources.limits.get("memory").map(|q| q.value()).filter(|&l| l > 0))
        .try_fold(0_i64, |sum, limit| Some(sum.saturating_add(limit?)))
        .map(Bytes::new)
}

fn images(spec: &PodSpec, scenario: &Scenario, model: &mut Model) -> Vec<(Id<ImageModel>, bool)> {
    spec.init_containers
        .iter()
        .chain(&spec.containers)
        .filter_map(|c| {
            let name = c.image.as_deref()?;
            let always = c.image_pull_policy.as_deref() == Some("Always");
            Some((image(name, scenario, model), always))
        })
        .collect()
}

fn image(name: &str, scenario: &Scenario, model: &mut Model) -> Id<ImageModel> {
    let known = model.images.iter().find(|(_, i)| i.name == name).map(|(id, _)| id);
    known.unwrap_or_else(|| {
        let given = scenario.spec.images.iter().find(|i| wildcard(&i.name, name));
        let default = model.defaults.f64("image.default_size") * 1e6;
        let size = given.map_or(Bytes::new(default as i64), |i| i.size.bytes());
        model.images.push(ImageModel { name: name.to_owned(), size })
    })
}

/// `*` stands for any text, also with `/` in it.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last: Option<&str> = None;
    for part in parts {
        if let Some(previous) = last {
            let Some(at) = rest.find(previous) else { return false };
            rest = &rest[at + previous.len()..];
        }
        last = Some(part);
    }
    last.map_or(rest.is_empty(), |l| rest.ends_with(l))
}

/// The slowest readiness probe.
fn readiness(spec: &PodSpec) -> Option<ProbeModel> {
    spec.containers
        .iter()
        .filter_map(|c| c.readiness_probe.as_ref())
        .map(|p| ProbeModel {
            initial_delay: seconds(p.initial_delay_seconds.into()),
            period: seconds(i64::from(p.period_seconds.max(1))),
            successes: p.success_threshold.max(1).unsigned_abs(),
        })
        .max_by_key(|p| p.initial_delay + p.period * u64::from(p.successes))
}

fn pre_stop(spec: &PodSpec) -> Span {
    let sleep = |c: &Container| {
        let hook = c.lifecycle.as_ref()?.pre_stop.as_ref()?.sleep.as_ref()?;
        Some(seconds(hook.seconds))
    };
    spec.containers.iter().filter_map(sleep).max().unwrap_or(Span::ZERO)
}

/// The smallest `tolerationSeconds` of the tolerations that cover the unreachable taint; `None`
/// is for ever.
fn unreachable_toleration(spec: &PodSpec) -> Option<Span> {
    let taint = k8s::Taint {
        key: "node.kubernetes.io/unreachable".to_owned(),
        effect: "NoExecute".to_owned(),
        ..k8s::Taint::default()
    };
    let covering =
        || spec.tolerations.iter().filter(|t| crate::policy::fit::toleration_covers(t, &taint));
    if covering().next().is_none() {
        return Some(Span::ZERO);
    }
    covering().filter_map(|t| t.toleration_seconds).min().map(seconds)
}

/// Services whose selector the labels satisfy.
fn services_of(namespace: &str, labels: &StringMap, model: &Model) -> Vec<Id<ServiceModel>> {
    model
        .services
        .iter()
        .zip(&model.objects.services)
        .filter(|((_, s), object)| {
            s.namespace == namespace
                && !object.spec.selector.is_empty()
                && object.spec.selector.iter().all(|(k, v)| labels.get(k) == Some(v))
        })
        .map(|((id, _), _)| id)
        .collect()
}

fn claims(
    spec: &PodSpec,
    owner: &Owner<'_>,
    manifests: &Manifests,
    model: &Model,
    errors: &mut Errors,
) -> Vec<ClaimModel> {
    let price = model.defaults.money("price.ebs_gp3_gb");
    let claim = |name: &str, per_pod: bool, object: &k8s::PersistentVolumeClaim| {
        let asked = object.spec.resources.requests.get("storage").copied();
        let gib = asked.map_or(1.0, Quantity::as_f64) / f64::from(1 << 30);
        let class = object.spec.storage_class_name.as_deref();
        let efs = manifests.storage_classes.iter().any(|s| {
            Some(s.object.metadata.name.as_str()) == class
                && s.object.provisioner == "efs.csi.aws.com"
        });
        ClaimModel {
            name: name.to_owned(),
            per_pod,
            gib,
            rate: super::cluster::monthly_rate(price, gib),
            zonal: !efs,
            object: Arc::new(object.clone()),
        }
    };
    let mut all: Vec<ClaimModel> =
        owner.claims.iter().map(|c| claim(&c.metadata.name, true, c)).collect();
    for volume in &spec.volumes {
        if let Some(source) = &volume.persistent_volume_claim {
            let found = manifests.pvcs.iter().map(|p| &p.object).find(|p| {
                p.metadata.name == source.claim_name
                    && p.metadata.namespace_or_default() == owner.namespace
            });
            match found {
                Some(object) => all.push(claim(&source.claim_name, false, object)),
                None => errors.warning(
                    "manifests",
                    format!(
                        "{}/{} uses the claim `{}`, which is not among the manifests",
                        owner.kind, owner.name, source.claim_name
                    ),
                    "add the PersistentVolumeClaim; the volume is ignored",
                ),
            }
        } else if let Some(template) =
            volume.ephemeral.as_ref().and_then(|e| e.volume_claim_template.as_ref())
        {
            all.push(claim(&volume.name, true, template));
        }
    }
    all
}

/// `Kind/NAME` or `Kind/NAMESPACE/NAME`, or `*`.
pub(super) fn names(target: &str, kind: &str, namespace: &str, name: &str) -> bool {
    if target == "*" {
        return true;
    }
    let mut parts = target.split('/');
    let given = parts.next();
    let rest: Vec<&str> = parts.collect();
    given.is_some_and(|g| g.eq_ignore_ascii_case(kind))
        && match rest.as_slice() {
            [n] => *n == name,
            [ns, n] => *ns == namespace && *n == name,
            _ => false,
        }
}

fn behavior(
    owner: &Owner<'_>,
    spec: &PodSpec,
    scenario: &Scenario,
) -> Option<crate::spec::scenario::WorkloadBehaviorSpec> {
    let runs = |pattern: &String| {
        let images = spec.containers.iter().filter_map(|c| c.image.as_deref());
        images.into_iter().any(|image| wildcard(pattern, image))
    };
    // Named before `*`, and with an image before without.
    let rank =
        |w: &&crate::spec::scenario::WorkloadBehaviorSpec| (w.target == "*", w.image.is_none());
    let fits = |w: &&crate::spec::scenario::WorkloadBehaviorSpec| {
        names(&w.target, owner.kind, owner.namespace, owner.name)
            && w.image.as_ref().is_none_or(runs)
    };
    scenario.spec.workloads.iter().filter(fits).min_by_key(rank).cloned()
}

fn job_behavior(
    owner: &Owner<'_>,
    scenario: &Scenario,
) -> Option<crate::spec::scenario::JobBehaviorSpec> {
    let all = &scenario.spec.jobs;
    all.iter()
        .find(|j| j.template != "*" && names(&j.template, owner.kind, owner.namespace, owner.name))
        .or_else(|| all.iter().find(|j| j.template == "*"))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_references() {
        for (pattern, text, expected) in [
            ("*", "a/b:c", true),
            ("shop/*", "shop/cart:v1", true),
            ("*/cart:*", "reg.io/shop/cart:v1", true),
            ("cart", "cart:v1", false),
            ("*:v1", "cart:v2", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_limit_of_zero_is_no_limit() {
        let spec = |limits: &[&str]| PodSpec {
            containers: limits
                .iter()
                .map(|l| serde_json::from_str(&format!(r#"{{"resources": {{"limits": {l}}}}}"#)))
                .collect::<Result<_, _>>()
                .unwrap(),
            ..PodSpec::default()
        };
        let whole = r#"{"cpu": "1", "memory": "1Gi"}"#;
        let both = |s: &PodSpec| (limit_cpu(s).map(|l| l.raw()), limit_memory(s).map(|l| l.raw()));
        assert_eq!(both(&spec(&[whole, whole])), (Some(2000), Some(2 << 30)));
        assert_eq!(both(&spec(&[whole, r#"{"cpu": "0", "memory": "0"}"#])), (None, None));
        assert_eq!(both(&spec(&[r#"{"cpu": "1", "memory": 0}"#])), (Some(1000), None));
    }

    #[test]
    fn targets_name_objects() {
        assert!(names("Deployment/cart", "Deployment", "shop", "cart"));
        assert!(names("deployment/shop/cart", "Deployment", "shop", "cart"));
        assert!(!names("Deployment/other/cart", "Deployment", "shop", "cart"));
        assert!(names("*", "Job", "x", "y"));
    }
}
