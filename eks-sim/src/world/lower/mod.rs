//! Checked specifications → [`Model`]: names resolved, templates precomputed, times placed.
//!
//! Mistakes that only show when scenario, manifests and catalogue come together are collected with
//! the scenario path they belong to.

mod addons;
mod admission;
mod autoscaling;
mod branches;
mod cluster;
mod containers;
mod faults;
mod karpenter;
mod keda;
mod load_balancers;
mod mesh;
mod metrics;
mod network;
mod node_groups;
mod objects;
mod outside;
mod pods;
mod policies;
mod scaling;
mod scheduler;
mod steps;
mod trace;
mod traffic;
mod weights;

use super::model::{Limits, Model, NetworkModel, SchedulerObjects};
use super::settings::Settings;
use crate::catalog::{Defaults, Overrides};
use crate::spec::Manifests;
use crate::spec::scenario::Scenario;
use crate::spec::source::SourceSpan;
use crate::units::{IdVec, Span};
use std::path::Path;

/// A mistake of the scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerError {
    /// Path of the field, relative to `spec`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The mend.
    pub help: String,
    /// Only a warning.
    pub warning: bool,
    /// Where it stands, if that is not the scenario's field of the path.
    pub span: Option<SourceSpan>,
}

/// Collects mistakes.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<LowerError>, Option<SourceSpan>);

impl Errors {
    /// The next finding stands at this place of some manifest.
    pub(crate) fn place(&mut self, span: Option<SourceSpan>) -> &mut Self {
        self.1 = span;
        self
    }

    pub(crate) fn error(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (path, message, help) = (path.into(), message.into(), help.into());
        let span = self.1.take();
        self.0.push(LowerError { path, message, help, warning: false, span });
    }
    pub(crate) fn warning(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (path, message, help) = (path.into(), message.into(), help.into());
        let span = self.1.take();
        self.0.push(LowerError { path, message, help, warning: true, span });
    }
}

/// Builds the model. `folder` is where relative CSV paths start.
///
/// The second value holds warnings when a model was built, and at least one error otherwise.
pub fn build(
    scenario: &Scenario,
    manifests: &Manifests,
    folder: &Path,
) -> (Option<Model>, Vec<LowerError>) {
    let mut errors = Errors::default();
    let model = lower(scenario, manifests, folder, &mut errors);
    let failed = errors.0.iter().any(|e| !e.warning);
    (model.filter(|_| !failed), errors.0)
}

fn lower(
    scenario: &Scenario,
    manifests: &Manifests,
    folder: &Path,
    errors: &mut Errors,
) -> Option<Model> {
    let spec = &scenario.spec;
    let defaults = constants(scenario, errors);
    let (region, minor_version) = cluster::region_and_version(&spec.cluster, errors);
    let settings = Settings::new(&defaults, minor_version)
        .map_err(|(name, problem)| {
            errors.error(
                format!("constants.{name}"),
                format!("constant `{name}`: {problem}"),
                "write a distribution such as `{lognormal: {median: 10s, p95: 30s}}`",
            );
        })
        .ok()?;
    let start_unix = start_time(&spec.start_time, errors);
    check_times(scenario, errors);
    let mut model = Model {
        name: scenario.metadata.name.clone(),
        duration: spec.duration,
        warmup: spec.warmup,
        step: step(spec.duration, spec.time_step),
        seed: spec.seed,
        start_unix,
        limits: Limits {
            events_per_instant: spec.limits.events_per_instant.max(1),
            events_per_run: spec.limits.events_per_run.max(1),
            pods: spec.limits.pods.max(1),
            requests: spec.limits.requests.max(1),
        },
        settings,
        region: region.name().to_owned(),
        minor_version,
        control_plane: cluster::control_plane(&spec.cluster, region, &defaults, start_unix, errors),
        zones: IdVec::new(),
        subnets: IdVec::new(),
        cni: spec.cluster.network.cni.clone(),
        network: NetworkModel::default(),
        groups: IdVec::new(),
        vcpu_quotas: spec.cluster.vcpu_quotas.clone(),
        cluster_autoscaler: spec.cluster.autoscaler.cluster_autoscaler.clone(),
        karpenter: None,
        images: IdVec::new(),
        templates: IdVec::new(),
        workloads: IdVec::new(),
        scalings: Vec::new(),
        cron_jobs: IdVec::new(),
        services: IdVec::new(),
        exact_requests: false,
        service_order: Vec::new(),
        hpas: IdVec::new(),
        metrics: Vec::new(),
        hpa_patches: Vec::new(),
        scaled_objects: IdVec::new(),
        vpas: IdVec::new(),
        budgets: IdVec::new(),
        faults: Vec::new(),
        steps: Vec::new(),
        revisions: IdVec::new(),
        quotas: Vec::new(),
        profiles: Vec::new(),
        objects: SchedulerObjects::default(),
        trace: None,
        defaults,
    };
    network::network(&spec.cluster, region, manifests, &mut model, errors);
    cluster::groups(&spec.cluster, region, &mut model, errors);
    outside::hybrid_nodes(&spec.cluster, &mut model, errors);
    let mut all = addons::with_addons(manifests, &spec.cluster, errors);
    let policies = policies::Policies::read(&all, errors);
    policies.keep_admitted(&mut all, errors);
    objects::services(&all, &mut model);
    load_balancers::lower(&all, &mut model, errors);
    admission::quotas(&all, &mut model);
    scheduler::profiles(&all, &mut model, errors);
    objects::workloads(&all, scenario, &mut model, errors);
    admission::ask_policies(&policies, &all, &mut model);
    objects::scalings(scenario, &mut model, errors);
    autoscaling::hpas(&all, &mut model, errors);
    autoscaling::vpas(&all, &mut model, errors);
    objects::budgets(&all, &mut model);
    karpenter::lower(scenario, region, &all, &mut model, errors);
    outside::fargate_profiles(&spec.cluster, region, &mut model, errors);
    mesh::check(scenario, minor_version, errors);
    traffic::lower(scenario, folder, &mut model, errors);
    mesh::slow_down(scenario, &mut model);
    weights::lower(scenario, &mut model, errors);
    metrics::lower(scenario, &mut model, errors);
    metrics::check(&model, errors);
    keda::lower(&all, &mut model, errors);
    autoscaling::ambiguous(&mut model);
    scaling::lower(scenario, &mut model, errors);
    faults::lower(scenario, &mut model, errors);
    trace::lower(scenario, folder, &mut model, errors);
    Some(model)
}

fn constants(scenario: &Scenario, errors: &mut Errors) -> Defaults {
    let list = scenario.spec.constants.iter().map(|(k, v)| (k.as_str(), v));
    match Overrides::check(list) {
        Ok(overrides) => Defaults::with(overrides),
        Err(problems) => {
            for problem in problems {
                errors.error(
                    format!("constants.{}", problem.name()),
                    problem.to_string(),
                    "list all constants with `eks-sim catalog constants`",
                );
            }
            Defaults::standard()
        }
    }
}

fn start_time(text: &str, errors: &mut Errors) -> i64 {
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => at.as_second(),
        Err(_) => {
            errors.error(
                "startTime",
                format!("`{text}` is not an RFC 3339 time"),
                "write for example `2026-01-05T00:00:00Z`",
            );
            0
        }
    }
}

/// The longest run: a century; beyond it integers of nanoseconds come close to their end.
const LONGEST: Span = Span::from_secs(100 * 365 * 86_400);

fn check_times(scenario: &Scenario, errors: &mut Errors) {
    let spec = &scenario.spec;
    if spec.duration.is_zero() {
        errors.error("duration", "the run has no duration", "write for example `duration: 24h`");
    }
    if spec.duration > LONGEST {
        errors.error(
            "duration",
            format!("a run of {} is too long", spec.duration),
            "at most 36500d are simulated",
        );
    }
    if spec.warmup >= spec.duration && !spec.duration.is_zero() {
        errors.error(
            "warmup",
            format!("the warm-up of {} leaves nothing to measure", spec.warmup),
            format!("make it shorter than the duration of {}", spec.duration),
        );
    }
    if spec.replications == 0 {
        errors.error("replications", "no replication is asked for", "write at least 1");
    }
    if let Some(step) = spec.time_step
        && (step.is_zero() || spec.duration.nanos() / step.nanos().max(1) > 100_000)
    {
        errors.error(
            "timeStep",
            format!("a time step of {step} gives too many points"),
            "use a step that gives at most 100,000 points",
        );
    }
}

/// A 288th of the duration, at least a second: five minutes for a day.
fn step(duration: Span, asked: Option<Span>) -> Span {
    asked.filter(|s| !s.is_zero()).unwrap_or_else(|| (duration / 288).max(Span::from_secs(1)))
}
