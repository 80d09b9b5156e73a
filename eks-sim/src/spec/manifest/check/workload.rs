//! Workloads and Services.

use super::{Checker, dns_label, pod};
use crate::k8s::{self, IntOrPercent, LabelSelector, ObjectMeta, PodTemplateSpec};
use crate::spec::codes;
use crate::spec::cron::{Schedule, Zone};
use std::collections::BTreeSet;

/// Selector and template of a workload.
fn owner(
    meta: &ObjectMeta,
    selector: Option<&LabelSelector>,
    template: &PodTemplateSpec,
    claims: &[&str],
    c: &mut Checker<'_, '_, '_>,
) {
    c.meta(meta);
    let labels = &template.metadata.labels;
    match selector {
        None if c.old => {}
        None => c.error(
            codes::BAD_SELECTOR,
            "spec.selector",
            format!("the {} has no `selector`", c.kind),
            format!("add `selector: {{matchLabels: {}}}`", flow(labels)),
        ),
        Some(s) if s.is_empty() => c.error(
            codes::BAD_SELECTOR,
            "spec.selector",
            "an empty selector would own every pod",
            format!("write `matchLabels: {}`", flow(labels)),
        ),
        Some(s) if !s.matches(labels) => c.error(
            codes::BAD_SELECTOR,
            "spec.selector",
            "the selector does not match the labels of the template",
            format!("make them equal; the template has `{}`", flow(labels)),
        ),
        Some(_) => {}
    }
    if let Some(policy) = template.spec.restart_policy.as_deref().filter(|p| *p != "Always") {
        let message = format!("pods of a {} cannot have `restartPolicy: {policy}`", c.kind);
        let at = "spec.template.spec.restartPolicy";
        c.error(codes::CONTRADICTION, at, message, "write `Always`, or make it a Job");
    }
    pod::spec(&template.spec, "spec.template.spec", claims, c);
}

/// `{app: web}`.
fn flow(labels: &k8s::StringMap) -> String {
    let pairs: Vec<String> = labels.iter().take(3).map(|(k, v)| format!("{k}: {v}")).collect();
    if pairs.is_empty() { "{app: …}".to_owned() } else { format!("{{{}}}", pairs.join(", ")) }
}

fn part(path: &str, value: Option<IntOrPercent>, c: &mut Checker<'_, '_, '_>) {
    match value {
        Some(IntOrPercent::Int(n) | IntOrPercent::Percent(n)) if n < 0 => {
            c.not_negative(path, Some(n.into()));
        }
        _ => {}
    }
}

pub(in crate::spec::manifest) fn deployment(o: &k8s::Deployment, c: &mut Checker<'_, '_, '_>) {
    owner(&o.metadata, o.spec.selector.as_ref(), &o.spec.template, &[], c);
    c.not_negative("spec.replicas", o.spec.replicas.map(i64::from));
    c.not_negative("spec.minReadySeconds", Some(o.spec.min_ready_seconds.into()));
    let strategy = &o.spec.strategy;
    c.one_of("spec.strategy.type", strategy.kind.as_deref(), &["RollingUpdate", "Recreate"]);
    let Some(numbers) = &strategy.rolling_update else { return };
    if strategy.kind.as_deref() == Some("Recreate") {
        let message = "`rollingUpdate` has no meaning with `type: Recreate`";
        c.error(
            codes::CONTRADICTION,
            "spec.strategy.rollingUpdate",
            message,
            "remove one of the two",
        );
    }
    part("spec.strategy.rollingUpdate.maxSurge", numbers.max_surge, c);
    part("spec.strategy.rollingUpdate.maxUnavailable", numbers.max_unavailable, c);
    let none = |v: Option<IntOrPercent>| {
        matches!(v, Some(IntOrPercent::Int(0) | IntOrPercent::Percent(0)))
    };
    if none(numbers.max_surge) && none(numbers.max_unavailable) {
        let message =
            "`maxSurge` and `maxUnavailable` are both 0, so a rollout could never proceed";
        c.error(
            codes::CONTRADICTION,
            "spec.strategy.rollingUpdate",
            message,
            "set one of them to 1 or more",
        );
    }
}

pub(in crate::spec::manifest) fn replica_set(o: &k8s::ReplicaSet, c: &mut Checker<'_, '_, '_>) {
    owner(&o.metadata, o.spec.selector.as_ref(), &o.spec.template, &[], c);
    c.not_negative("spec.replicas", o.spec.replicas.map(i64::from));
}

pub(in crate::spec::manifest) fn stateful_set(o: &k8s::StatefulSet, c: &mut Checker<'_, '_, '_>) {
    let claims: Vec<&str> =
        o.spec.volume_claim_templates.iter().map(|t| t.metadata.name.as_str()).collect();
    owner(&o.metadata, o.spec.selector.as_ref(), &o.spec.template, &claims, c);
    c.not_negative("spec.replicas", o.spec.replicas.map(i64::from));
    let policies = ["OrderedReady", "Parallel"];
    c.one_of("spec.podManagementPolicy", o.spec.pod_management_policy.as_deref(), &policies);
    let kinds = ["RollingUpdate", "OnDelete"];
    c.one_of("spec.updateStrategy.type", o.spec.update_strategy.kind.as_deref(), &kinds);
    for (i, template) in o.spec.volume_claim_templates.iter().enumerate() {
        pod::claim(&template.spec, &format!("spec.volumeClaimTemplates.{i}.spec"), c);
    }
}

pub(in crate::spec::manifest) fn daemon_set(o: &k8s::DaemonSet, c: &mut Checker<'_, '_, '_>) {
    owner(&o.metadata, o.spec.selector.as_ref(), &o.spec.template, &[], c);
    let kinds = ["RollingUpdate", "OnDelete"];
    c.one_of("spec.updateStrategy.type", o.spec.update_strategy.kind.as_deref(), &kinds);
}

fn job_spec(spec: &k8s::JobSpec, path: &str, c: &mut Checker<'_, '_, '_>) {
    let at = |field: &str| format!("{path}.{field}");
    c.not_negative(at("parallelism"), spec.parallelism.map(i64::from));
    c.not_negative(at("completions"), spec.completions.map(i64::from));
    c.not_negative(at("backoffLimit"), spec.backoff_limit.map(i64::from));
    c.not_negative(at("activeDeadlineSeconds"), spec.active_deadline_seconds);
    c.not_negative(at("ttlSecondsAfterFinished"), spec.ttl_seconds_after_finished.map(i64::from));
    c.one_of(at("completionMode"), spec.completion_mode.as_deref(), &["NonIndexed", "Indexed"]);
    if spec.completion_mode.as_deref() == Some("Indexed") && spec.completions.is_none() {
        let message = "an Indexed Job needs `completions`";
        c.error(codes::MISSING_FIELD, &at("completions"), message, "add `completions: …`");
    }
    if spec.has_other_manager() {
        let span = c.span(&at("managedBy"));
        let message = "another controller manages this Job: it gets no pods here".to_owned();
        let help = "leave `managedBy` out to let the built-in controller run it".to_owned();
        c.reporter.warning(codes::NOT_MODELLED, span, message, help);
    }
    let policy = at("template.spec.restartPolicy");
    match spec.template.spec.restart_policy.as_deref() {
        Some("Never" | "OnFailure") => {}
        Some("Always") => {
            let message = "pods of a Job cannot have `restartPolicy: Always`";
            c.error(codes::CONTRADICTION, &policy, message, "write `Never` or `OnFailure`");
        }
        None => {
            let message = "pods of a Job need a `restartPolicy`";
            c.error(
                codes::MISSING_FIELD,
                &policy,
                message,
                "add `restartPolicy: Never` or `OnFailure`",
            );
        }
        other => c.one_of(&policy, other, &["Never", "OnFailure"]),
    }
    pod::spec(&spec.template.spec, &at("template.spec"), &[], c);
}

pub(in crate::spec::manifest) fn job(o: &k8s::Job, c: &mut Checker<'_, '_, '_>) {
    c.meta(&o.metadata);
    job_spec(&o.spec, "spec", c);
}

pub(in crate::spec::manifest) fn cron_job(o: &k8s::CronJob, c: &mut Checker<'_, '_, '_>) {
    c.meta(&o.metadata);
    c.cron("spec.schedule", &o.spec.schedule);
    if let Some(zone) = &o.spec.time_zone
        && let Err(e) = Zone::parse(zone)
    {
        let text = e.to_string();
        if zone.contains('/') {
            // A real zone outside our table must not stop anyone.
            let span = c.span("spec.timeZone");
            let message = format!("the rules of the time zone `{zone}` are not known; UTC is used");
            let help = text.split_once("; ").map_or("write an offset", |t| t.1).to_owned();
            c.reporter.warning(codes::UNKNOWN_ZONE, span, message, help);
        } else {
            c.with_mend(codes::BAD_CRON, "spec.timeZone", &text);
        }
    }
    let policies = ["Allow", "Forbid", "Replace"];
    c.one_of("spec.concurrencyPolicy", o.spec.concurrency_policy.as_deref(), &policies);
    c.not_negative("spec.startingDeadlineSeconds", o.spec.starting_deadline_seconds);
    job_spec(&o.spec.job_template.spec, "spec.jobTemplate.spec", c);
}

impl Checker<'_, '_, '_> {
    /// A message of the form `wrong; mend`.
    pub(super) fn with_mend(&mut self, code: &'static str, path: &str, text: &str) {
        let (wrong, mend) = text.split_once("; ").unwrap_or((text, "correct it"));
        let name = path.rsplit('.').next().unwrap_or(path);
        self.error(code, path, format!("`{name}`: {wrong}"), mend);
    }
    pub(super) fn cron(&mut self, path: &str, text: &str) {
        if let Err(e) = Schedule::parse(text) {
            self.with_mend(codes::BAD_CRON, path, &e.to_string());
        }
    }
}

pub(in crate::spec::manifest) fn service(o: &k8s::Service, c: &mut Checker<'_, '_, '_>) {
    c.meta(&o.metadata);
    if let Some(mend) = dns_label(&o.metadata.name).filter(|_| !o.metadata.name.contains('.')) {
        let message = format!("`{}` is no name for a Service", o.metadata.name);
        c.error(codes::BAD_NAME, "metadata.name", message, mend);
    }
    let kinds = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
    c.one_of("spec.type", o.spec.kind.as_deref(), &kinds);
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (i, port) in o.spec.ports.iter().enumerate() {
        let at = format!("spec.ports.{i}");
        c.between(format_args!("{at}.port"), port.port.into(), 1, 65535);
        c.one_of(format_args!("{at}.protocol"), port.protocol.as_deref(), &["TCP", "UDP", "SCTP"]);
        let name = port.name.as_deref().unwrap_or("");
        if o.spec.ports.len() > 1 && name.is_empty() {
            let message = "a Service with several ports must name each";
            c.error(
                codes::MISSING_FIELD,
                &format!("{at}.name"),
                message,
                "add `name: …` to each port",
            );
        } else if !names.insert(name) {
            let message = format!("two ports are called `{name}`");
            c.error(codes::NOT_UNIQUE, &format!("{at}.name"), message, "give each its own name");
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if !numbers.insert((port.port, protocol)) {
            let message = format!("the port {}/{protocol} is there twice", port.port);
            c.error(codes::NOT_UNIQUE, &format!("{at}.port"), message, "remove one of the two");
        }
    }
}
