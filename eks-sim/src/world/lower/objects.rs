//! Workloads, Services, HPAs, budgets and traces.

use super::Errors;
use super::pods::{self, Owner};
use crate::k8s::{self, LabelSelector, ObjectMeta, PodTemplateSpec};
use crate::policy::hpa::HpaSpec;
use crate::policy::vpa::UpdateMode;
use crate::spec::Manifests;
use crate::spec::scenario::Scenario;
use crate::units::key::key_str;
use crate::units::{Id, Quantity, SimTime, Span};
use crate::world::model::{
    BudgetModel, CronModel, HpaModel, JobModel, Model, ServiceModel, Template, TraceModel,
    TracePod, VpaModel, WorkloadKind, WorkloadModel,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(super) fn services(manifests: &Manifests, model: &mut Model) {
    model.objects.namespaces = manifests.namespaces.iter().map(|n| n.object.clone()).collect();
    for service in &manifests.services {
        let meta = &service.object.metadata;
        let namespace = meta.namespace_or_default().to_owned();
        model.services.push(ServiceModel {
            key: key_str(&format!("Service/{namespace}/{}", meta.name)),
            namespace,
            name: meta.name.clone(),
            traffic: None,
            load_balancer: service.object.spec.kind.as_deref() == Some("LoadBalancer"),
        });
        model.objects.services.push(service.object.clone());
    }
}

struct Lowering<'a> {
    manifests: &'a Manifests,
    scenario: &'a Scenario,
    model: &'a mut Model,
    errors: &'a mut Errors,
}

impl Lowering<'_> {
    fn add(
        &mut self,
        kind: WorkloadKind,
        meta: &ObjectMeta,
        template: &PodTemplateSpec,
        replicas: Option<i32>,
        min_ready: i32,
    ) -> Id<WorkloadModel> {
        let namespace = meta.namespace_or_default().to_owned();
        let claims = match &kind {
            WorkloadKind::StatefulSet(spec) => spec.volume_claim_templates.clone(),
            _ => Vec::new(),
        };
        let owner_kind = kind.name();
        let owner =
            Owner { kind: owner_kind, namespace: &namespace, name: &meta.name, claims: &claims };
        let template = pods::template(
            template,
            &owner,
            self.manifests,
            self.scenario,
            self.model,
            self.errors,
        );
        let addon = meta.labels.get(super::addons::LABEL).is_some();
        self.model.workloads.push(WorkloadModel {
            key: key_str(&format!("{owner_kind}/{namespace}/{}", meta.name)),
            kind,
            namespace,
            name: meta.name.clone(),
            template,
            replicas: u32::try_from(replicas.unwrap_or(1)).unwrap_or(0),
            min_ready: Span::from_secs(u64::try_from(min_ready).unwrap_or(0)),
            vpa: None,
            addon,
        })
    }
}

pub(super) fn workloads(
    manifests: &Manifests,
    scenario: &Scenario,
    model: &mut Model,
    errors: &mut Errors,
) {
    let mut l = Lowering { manifests, scenario, model, errors };
    for d in &manifests.daemon_sets {
        let spec = &d.object.spec;
        let kind = WorkloadKind::DaemonSet(Box::new(spec.clone()));
        l.add(kind, &d.object.metadata, &spec.template, None, spec.min_ready_seconds);
    }
    for d in &manifests.deployments {
        let spec = &d.object.spec;
        let kind = WorkloadKind::Deployment(Box::new(spec.clone()));
        l.add(kind, &d.object.metadata, &spec.template, spec.replicas, spec.min_ready_seconds);
    }
    for r in &manifests.replica_sets {
        let spec = &r.object.spec;
        let kind = WorkloadKind::ReplicaSet;
        l.add(kind, &r.object.metadata, &spec.template, spec.replicas, spec.min_ready_seconds);
    }
    for s in &manifests.stateful_sets {
        let spec = &s.object.spec;
        let kind = WorkloadKind::StatefulSet(Box::new(spec.clone()));
        l.add(kind, &s.object.metadata, &spec.template, spec.replicas, spec.min_ready_seconds);
    }
    for j in &manifests.jobs {
        let kind = WorkloadKind::Job(Box::new(JobModel { spec: j.object.spec.clone() }));
        l.add(kind, &j.object.metadata, &j.object.spec.template, None, 0);
    }
    for p in &manifests.pods {
        let template =
            PodTemplateSpec { metadata: p.object.metadata.clone(), spec: p.object.spec.clone() };
        l.add(WorkloadKind::Pod, &p.object.metadata, &template, None, 0);
    }
    for c in &manifests.cron_jobs {
        cron_job(&c.object, &mut l);
    }
}

/// Due times beyond this number are a mistake of units, not a schedule.
const MOST_RUNS: usize = 100_000;

fn cron_job(object: &k8s::CronJob, l: &mut Lowering<'_>) {
    use crate::spec::cron::{Schedule, Zone};
    let meta = &object.metadata;
    let spec = &object.spec;
    let job = WorkloadKind::Job(Box::new(JobModel { spec: spec.job_template.spec.clone() }));
    let template = &spec.job_template.spec.template;
    let id = l.add(job, meta, template, None, 0);
    // Behaviour may be given for the CronJob as well as for its Jobs.
    let namespace = meta.namespace_or_default().to_owned();
    let given =
        l.scenario.spec.jobs.iter().find(|j| {
            j.template != "*" && pods::names(&j.template, "CronJob", &namespace, &meta.name)
        });
    if let Some(given) = given {
        let template = l.model.workloads[id].template;
        let row = &mut l.model.templates[template];
        if let Some(duration) = &given.duration {
            row.duration = Some(duration.clone());
        }
        if let Some(share) = given.failure_probability {
            row.failure_probability = share.get().clamp(0.0, 1.0);
        }
    }
    let zone = spec.time_zone.as_deref().map_or(Ok(Zone::default()), Zone::parse);
    let (Ok(schedule), Ok(zone)) = (Schedule::parse(&spec.schedule), zone) else { return };
    let start = l.model.start_unix;
    let end = start.saturating_add(l.model.duration.whole_secs() as i64);
    let mut due = Vec::new();
    let mut at = start - 1;
    while let Some(next) = schedule.next_after(at, &zone).filter(|&n| n < end) {
        due.push(SimTime::from_secs(next.saturating_sub(start).unsigned_abs()));
        at = next;
        if due.len() >= MOST_RUNS {
            break;
        }
    }
    l.model.cron_jobs.push(CronModel {
        key: key_str(&format!("CronJob/{namespace}/{}", meta.name)),
        namespace,
        name: meta.name.clone(),
        spec: spec.clone(),
        due,
        job: id,
    });
}

pub(super) fn vpas(manifests: &Manifests, model: &mut Model, errors: &mut Errors) {
    for vpa in &manifests.vpas {
        let meta = &vpa.object.metadata;
        let namespace = meta.namespace_or_default();
        let Some(target) = &vpa.object.spec.target_ref else { continue };
        let found = model.workloads.iter().find(|(_, w)| {
            w.namespace == namespace && w.name == target.name && w.kind.name() == target.kind
        });
        let Some((id, workload)) = found else {
            errors.warning(
                "manifests",
                format!(
                    "VerticalPodAutoscaler/{} sizes {}/{}, which is not among the manifests",
                    meta.name, target.kind, target.name
                ),
                "add the workload, or correct targetRef; the VPA is ignored",
            );
            continue;
        };
        let mode = vpa.object.spec.update_policy.as_ref().and_then(|p| p.update_mode.as_deref());
        if UpdateMode::lower(mode).is_none() || workload.vpa.is_some() {
            errors.error(
                "manifests",
                format!(
                    "VerticalPodAutoscaler/{}: its updateMode is unknown, or another VPA has the \
                     same target",
                    meta.name
                ),
                "use Off, Initial, Recreate, InPlaceOrRecreate or InPlace, and one VPA a workload",
            );
            continue;
        }
        let number = model.vpas.push(VpaModel {
            namespace: namespace.to_owned(),
            name: meta.name.clone(),
            object: vpa.object.clone(),
            target: id,
        });
        model.workloads[id].vpa = Some(number);
    }
}

/// Changes of replicas by hand.
pub(super) fn scalings(scenario: &Scenario, model: &mut Model, errors: &mut Errors) {
    for (i, behavior) in scenario.spec.workloads.iter().enumerate() {
        let hit =
            |w: &WorkloadModel| pods::names(&behavior.target, w.kind.name(), &w.namespace, &w.name);
        let targets: Vec<Id<WorkloadModel>> =
            model.workloads.iter().filter(|(_, w)| hit(w)).map(|(id, _)| id).collect();
        if targets.is_empty() && !behavior.scale.is_empty() {
            errors.error(
                format!("workloads[{i}].for"),
                format!("no workload is called `{}`", behavior.target),
                "write for example `Deployment/web` or `Deployment/shop/web`",
            );
        }
        for step in &behavior.scale {
            let at = SimTime::ZERO + step.at;
            model.scalings.extend(targets.iter().map(|&w| (at, w, step.replicas)));
        }
    }
}

pub(super) fn hpas(manifests: &Manifests, model: &mut Model, errors: &mut Errors) {
    for hpa in &manifests.hpas {
        let meta = &hpa.object.metadata;
        let namespace = meta.namespace_or_default();
        let target = &hpa.object.spec.scale_target_ref;
        let found = model.workloads.iter().find(|(_, w)| {
            w.namespace == namespace && w.name == target.name && w.kind.name() == target.kind
        });
        let Some((id, _)) = found else {
            errors.warning(
                "manifests",
                format!(
                    "HorizontalPodAutoscaler/{} scales {}/{}, which is not among the manifests",
                    meta.name, target.kind, target.name
                ),
                "add the workload, or correct scaleTargetRef; the HPA is ignored",
            );
            continue;
        };
        if let Err(problem) = HpaSpec::lower(&hpa.object) {
            errors.error(
                "manifests",
                format!("HorizontalPodAutoscaler/{}: {problem}", meta.name),
                "correct the manifest",
            );
            continue;
        }
        model.hpas.push(HpaModel {
            namespace: namespace.to_owned(),
            name: meta.name.clone(),
            key: key_str(&format!("HorizontalPodAutoscaler/{namespace}/{}", meta.name)),
            object: hpa.object.clone(),
            target: id,
        });
    }
}

pub(super) fn budgets(manifests: &Manifests, model: &mut Model) {
    for pdb in &manifests.pdbs {
        let namespace = pdb.object.metadata.namespace_or_default();
        let selector = pdb.object.spec.selector.clone().unwrap_or_default();
        let templates: Vec<Id<Template>> = model
            .templates
            .iter()
            .filter(|(_, t)| t.namespace == namespace && selects(&selector, t))
            .map(|(id, _)| id)
            .collect();
        model.budgets.push(BudgetModel { object: pdb.object.clone(), templates });
    }
}

fn selects(selector: &LabelSelector, template: &Template) -> bool {
    selector.matches(&template.object.metadata.labels)
}

/// Reads the pods of a trace; pods of one shape share a template.
pub(super) fn trace(scenario: &Scenario, folder: &Path, model: &mut Model, errors: &mut Errors) {
    let Some(trace) = &scenario.spec.trace else { return };
    let path = folder.join(&trace.pods);
    let mut reader = match csv::Reader::from_path(&path) {
        Ok(reader) => reader,
        Err(e) => {
            let message = format!("cannot read {}: {e}", path.display());
            errors.error("trace.pods", message, "give a path relative to the scenario file");
            return;
        }
    };
    let empty = Manifests::default();
    let mut shapes: BTreeMap<(i64, i64), Id<WorkloadModel>> = BTreeMap::new();
    let mut pods: Vec<TracePod> = Vec::new();
    for (row, record) in reader.deserialize::<TraceRow>().enumerate() {
        let line = row + 2;
        let record = match record {
            Ok(r) if r.is_sane() => r,
            Ok(_) => {
                let message = format!("{}:{line}: a number is out of range", path.display());
                errors.error("trace.pods", message, "times and amounts must be 0 or more");
                return;
            }
            Err(e) => {
                let help = "columns are id,arrival_s,cpu_millicores,mem_bytes,duration_s";
                errors.error("trace.pods", format!("{}: {e}", path.display()), help);
                return;
            }
        };
        let at = SimTime::ZERO + Span::from_secs_f64(record.arrival_s);
        if at.since(SimTime::ZERO) > model.duration {
            break;
        }
        let shape = (record.cpu_millicores, record.mem_bytes);
        let workload = *shapes.entry(shape).or_insert_with(|| {
            let mut l = Lowering { manifests: &empty, scenario, model: &mut *model, errors };
            trace_workload(shape, &mut l)
        });
        let duration = Span::from_secs_f64(record.duration_s);
        pods.push(TracePod { at, duration, workload });
    }
    // Input order breaks ties of arrival.
    pods.sort_by_key(|p| p.at);
    model.trace = Some(Arc::new(TraceModel { pods }));
}

#[derive(serde::Deserialize)]
struct TraceRow {
    arrival_s: f64,
    cpu_millicores: i64,
    mem_bytes: i64,
    duration_s: f64,
}

impl TraceRow {
    fn is_sane(&self) -> bool {
        let time = |t: f64| t.is_finite() && (0.0..=3.2e9).contains(&t);
        time(self.arrival_s)
            && time(self.duration_s)
            && self.cpu_millicores >= 0
            && self.mem_bytes >= 0
    }
}

fn trace_workload((cpu, memory): (i64, i64), l: &mut Lowering<'_>) -> Id<WorkloadModel> {
    let mut container = k8s::Container { name: "main".to_owned(), ..Default::default() };
    container.resources.requests.insert("cpu".to_owned(), Quantity::from_milli(cpu));
    container.resources.requests.insert("memory".to_owned(), Quantity::from_bytes(memory));
    let template = PodTemplateSpec {
        metadata: ObjectMeta::default(),
        spec: k8s::PodSpec {
            containers: vec![container],
            host_network: true,
            restart_policy: Some("Never".to_owned()),
            ..Default::default()
        },
    };
    let meta = ObjectMeta {
        name: format!("trace-{cpu}m-{memory}"),
        namespace: Some("trace".to_owned()),
        ..Default::default()
    };
    let id = l.add(WorkloadKind::Trace, &meta, &template, None, 0);
    let t = l.model.workloads[id].template;
    l.model.templates[t].owner = None;
    id
}
