//! Workloads, Services, HPAs, budgets and traces.

use super::Errors;
use super::pods::{self, Owner};
use crate::k8s::{self, LabelSelector, ObjectMeta, PodTemplateSpec};
use crate::spec::Manifests;
use crate::spec::scenario::Scenario;
use crate::units::key::key_str;
use crate::units::{Id, SimTime, Span};
use crate::world::model::{
    BudgetModel, CronModel, JobModel, Model, ServiceModel, Template, WorkloadKind, WorkloadModel,
};

pub(super) fn services(manifests: &Manifests, model: &mut Model) {
    model.objects.namespaces = manifests.namespaces.iter().map(|n| n.object.clone()).collect();
    storage_classes(manifests, model);
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

/// Storage classes of the manifests, and for other names that claims use a class like EKS's `gp2`:
/// EBS, made where the first pod runs.
fn storage_classes(manifests: &Manifests, model: &mut Model) {
    let classes = &mut model.objects.storage_classes;
    classes.extend(manifests.storage_classes.iter().map(|s| s.object.clone()));
    let of_sets =
        manifests.stateful_sets.iter().flat_map(|s| &s.object.spec.volume_claim_templates);
    let claims = manifests.pvcs.iter().map(|p| &p.object).chain(of_sets);
    let names = claims.filter_map(|c| c.spec.storage_class_name.as_deref()).chain(["gp2"]);
    for name in names.filter(|n| !n.is_empty()) {
        if !classes.iter().any(|c| c.metadata.name == name) {
            classes.push(k8s::StorageClass {
                metadata: ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() },
                provisioner: "ebs.csi.aws.com".to_owned(),
                volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
                ..k8s::StorageClass::default()
            });
        }
    }
}

pub(super) struct Lowering<'a> {
    pub(super) manifests: &'a Manifests,
    pub(super) scenario: &'a Scenario,
    pub(super) model: &'a mut Model,
    pub(super) errors: &'a mut Errors,
}

impl Lowering<'_> {
    pub(super) fn add(
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
        let addon = meta.labels.contains_key(super::addons::LABEL);
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
        let kind = WorkloadKind::ReplicaSet(Box::new(spec.clone()));
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
    super::steps::lower(&mut l);
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
