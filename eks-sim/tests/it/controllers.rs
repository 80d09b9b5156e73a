//! Workload controllers in the engine: rollouts, drains, admission, Jobs, with every latency set
//! to zero unless a test is about it.

use crate::rig::text;
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::spec::{Diagnostics, Sources, load_scenario_text, manifest};
use eks_sim::units::SimTime;
use eks_sim::world::{Change, Model, Reason};
use std::path::Path;
use std::sync::Arc;

/// Constants that leave nothing but readiness to wait for.
const INSTANT: &str = "
  constants:
    api_server.write_latency: 0s
    api_server.watch_latency: 0s
    controller_manager.client_qps: 0
    scheduler.client_qps: 0
    scheduler.cycle_time: 0s
    pod.sandbox_create: 0s
    pod.container_start: 0s
    pod.application_start: 0s
    pod.stop_on_sigterm: 0s
    image.check: 0s
    image.registry_latency: 0s
    image.pull_rate: 1000000000.0
  images: [{name: '*', size: 1}]
";

pub fn model(spec: &str, manifests: &str) -> Arc<Model> {
    text(&whole(spec), manifests).model()
}

/// The scenario's body: two large nodes, no latencies, and `spec`.
pub fn whole(spec: &str) -> String {
    format!(
        "  duration: 2h\n  cluster:\n    addons: []\n    nodeGroups:\n    \
         - {{name: base, instanceTypes: [m5.24xlarge], minSize: 2, maxSize: 2, desiredSize: 2}}\n\
         {INSTANT}{spec}"
    )
}

pub fn deployment(replicas: u32, strategy: &str, ready: u32, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  \
         replicas: {replicas}\n  strategy: {strategy}\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    \
         metadata: {{labels: {{app: web}}}}\n    spec:\n      hostNetwork: true\n      containers:\n\
         {:6}- name: main\n{:8}image: web:v1\n{:8}resources: {{requests: {{cpu: 10m}}}}\n\
         {:8}readinessProbe: {{tcpSocket: {{port: 80}}, initialDelaySeconds: {ready}, \
         periodSeconds: {ready}}}\n{more}",
        "", "", "", ""
    )
}

/// What was observed.
#[derive(Default)]
pub struct Log(Vec<(SimTime, Change)>);

impl Observer for Log {
    fn observe(&mut self, now: SimTime, change: &Change, _: &View<'_>) {
        self.0.push((now, *change));
    }
}

impl Log {
    pub fn times(&self, wanted: impl Fn(&Change) -> bool) -> Vec<f64> {
        self.0.iter().filter(|(_, c)| wanted(c)).map(|(t, _)| t.secs_f64()).collect()
    }
}

pub fn run(model: &Arc<Model>) -> (Log, Sim) {
    let (mut log, mut sim) = (Log::default(), Sim::new(model.clone(), 0));
    let diagnosis = sim.run(&mut log);
    assert!(diagnosis.is_none(), "{diagnosis:?}");
    (log, sim)
}

/// Seconds from the change (at 30 min) to the end of the rollout.
fn rollout_time(replicas: u32, strategy: &str, ready: u32) -> f64 {
    let changes = "\n  changes:\n  - {at: 30m, target: Deployment/web, set: {image: 'web:v2'}}\n";
    let (log, _) = run(&model(changes, &deployment(replicas, strategy, ready, "")));
    let done = log.times(|c| matches!(c, Change::RolloutComplete(_)));
    assert_eq!(done.len(), 2, "{done:?}");
    done[1] - 1800.0
}

#[test]
fn rollouts_take_as_long_as_the_arithmetic_says() {
    let quarter = "{rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}";
    let one = "{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}";
    let exactly = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
    exactly(rollout_time(100, quarter, 30), 60.0);
    exactly(rollout_time(10, quarter, 30), 60.0);
    exactly(rollout_time(4, quarter, 20), 40.0);
    exactly(rollout_time(10, one, 30), 300.0);
    exactly(rollout_time(10, "{type: Recreate}", 30), 30.0);
}

#[test]
fn an_earlier_template_uses_its_replica_set_again() {
    let changes = "\n  changes:\n  - {at: 10m, target: Deployment/web, set: {image: 'web:v2'}}\n  \
                   - {at: 20m, target: Deployment/default/web, undo: true}\n";
    let (log, sim) = run(&model(changes, &deployment(10, "{}", 30, "")));
    assert_eq!(log.times(|c| matches!(c, Change::RolloutComplete(_))).len(), 3);
    let api = &sim.world().api;
    let sets: Vec<_> = api.sets.iter().map(|(_, s)| (s.revision, s.desired)).collect();
    assert_eq!(sets, [(3, 10), (2, 0)]);
}

#[test]
fn a_pause_holds_the_rollout_and_scaling_goes_on() {
    let changes = "\n  changes:\n  \
                   - {at: 10m, target: Deployment/web, set: {paused: true, image: 'web:v2'}}\n  \
                   - {at: 20m, target: Deployment/web, set: {replicas: 14}}\n  \
                   - {at: 30m, target: Deployment/web, set: {paused: false}}\n";
    let (log, sim) = run(&model(changes, &deployment(10, "{}", 30, "")));
    let created = log.times(|c| matches!(c, Change::PodCreated(_)));
    assert!(created.iter().all(|t| !(600.0..1200.0).contains(t)), "{created:?}");
    assert_eq!(created.iter().filter(|t| **t == 1200.0).count(), 4);
    assert_eq!(sim.world().api.sets.iter().map(|(_, s)| s.desired).collect::<Vec<_>>(), [0, 14]);
}

#[test]
fn old_revisions_are_kept_up_to_the_limit() {
    let change =
        |n: u32| format!("  - {{at: {n}0m, target: Deployment/web, set: {{image: 'web:v{n}'}}}}\n");
    let changes: String = (2..7).map(change).collect();
    let limit = "  revisionHistoryLimit: 2\n";
    let (_, sim) =
        run(&model(&format!("\n  changes:\n{changes}"), &deployment(3, "{}", 10, limit)));
    let api = &sim.world().api;
    let kept = api.workloads.iter().map(|(_, w)| w.sets.len()).next();
    assert_eq!((kept, api.sets.len()), (Some(3), 6));
}

#[test]
fn a_rollout_without_progress_is_reported() {
    let changes = "\n  changes:\n  - {at: 10m, target: Deployment/web, \
                   set: {'resources.requests.cpu': '500'}}\n";
    let deadline = "  progressDeadlineSeconds: 120\n";
    let (log, _) = run(&model(changes, &deployment(4, "{}", 30, deadline)));
    let late = log.times(|c| matches!(c, Change::ProgressDeadlineExceeded(_)));
    assert_eq!(late.len(), 1, "{late:?}");
    assert!((720.0..=725.0).contains(&late[0]), "{late:?}");
}

#[test]
fn a_finished_rollout_does_not_time_out_when_it_is_scaled_or_its_pods_move() {
    let changes = "\n  changes:\n  - {at: 30m, target: Deployment/web, set: {replicas: 0}}\n  \
                   - {at: 60m, target: Deployment/web, set: {replicas: 5}}\n  \
                   - {at: 80m, drain: {nodeGroup: base}}\n";
    let deadline = "  progressDeadlineSeconds: 120\n";
    let (log, _) = run(&model(changes, &deployment(4, "{}", 200, deadline)));
    // The first rollout is late: its pods take longer than the deadline.
    let late = log.times(|c| matches!(c, Change::ProgressDeadlineExceeded(_)));
    assert!(late.len() == 1 && late[0] < 300.0, "{late:?}");
    assert_eq!(log.times(|c| matches!(c, Change::RolloutComplete(_))).len(), 1);
}

#[test]
fn a_job_of_another_manager_gets_no_pods() {
    let job = |manager: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec:\n  {manager}\n  template:\n    \
             spec:\n      restartPolicy: Never\n      containers:\n      - {{name: a, image: a}}\n"
        )
    };
    let pods = |manager: &str| {
        let (log, _) = run(&model("", &job(manager)));
        log.times(|c| matches!(c, Change::PodCreated(_))).len()
    };
    assert_eq!(pods("managedBy: kubernetes.io/job-controller"), 1);
    assert_eq!(pods("managedBy: kueue.x-k8s.io/multikueue"), 0);
}

#[test]
fn stateful_sets_update_several_at_once_from_1_35() {
    let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  replicas: 4\n  \
               serviceName: db\n  podManagementPolicy: Parallel\n  \
               updateStrategy: {rollingUpdate: {maxUnavailable: 2}}\n  \
               selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    \
               spec:\n      containers:\n      - {name: a, image: 'a:1', readinessProbe: \
               {tcpSocket: {port: 80}, initialDelaySeconds: 30, periodSeconds: 30}}\n";
    let changes = "\n  changes:\n  - {at: 30m, target: StatefulSet/db, set: {image: 'a:2'}}\n";
    let took = |version: &str| {
        let spec =
            whole(changes).replace("cluster:\n", &format!("cluster:\n    version: '{version}'\n"));
        let (log, _) = run(&text(&spec, set).model());
        let created = log.times(|c| matches!(c, Change::PodCreated(_)));
        created.iter().copied().fold(0.0, f64::max) - 1800.0
    };
    let (one, two) = (took("1.34"), took("1.35"));
    // Four pods one by one: the last is made after three times 30 s; two by two after one.
    assert!((90.0..180.0).contains(&one) && (30.0..60.0).contains(&two), "{one} {two}");
}

#[test]
fn a_budget_paces_a_drain() {
    let budget = "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\n\
                  spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}\n";
    let changes = "\n  changes:\n  - {at: 10m, drain: {nodeGroup: base}}\n";
    let manifests = format!("{}{budget}", deployment(6, "{}", 30, ""));
    let (log, sim) = run(&model(changes, &manifests));
    let evicted = log.times(|c| matches!(c, Change::PodDeleting(_, Reason::Drained)));
    let ready = log.times(|c| matches!(c, Change::PodReady(_)));
    let last = ready.iter().copied().fold(0.0, f64::max);
    let k = evicted.len();
    assert!(k >= 2, "{evicted:?}");
    let least = 30.0 * k as f64;
    assert!((600.0 + least..=600.0 + least + 5.0 * k as f64).contains(&last), "{k} {last}");
    let first = sim.world().api.live_nodes[0];
    assert!(sim.world().api.nodes[first].pods.is_empty());
}

fn refusal(manifests: &str) -> (String, usize) {
    let (_, sim) = run(&model("", manifests));
    let api = &sim.world().api;
    (api.refusals.values().next().cloned().unwrap_or_default(), api.pods.len() as usize)
}

#[test]
fn refusals_have_the_real_words() {
    // staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go (v1.34).
    let quota = "---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small}\n\
                 spec: {hard: {cpu: 35m, pods: 9}}\n";
    let (text, pods) = refusal(&format!("{}{quota}", deployment(5, "{}", 30, "")));
    let words = "exceeded quota: small, requested: cpu=10m, used: cpu=30m, limited: cpu=35m";
    assert_eq!((text.as_str(), pods), (words, 3));
    // staging/src/k8s.io/pod-security-admission/policy/check_hostNamespaces.go (v1.34).
    let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: default\n  \
                     labels: {pod-security.kubernetes.io/enforce: baseline}\n";
    let (text, pods) = refusal(&format!("{}{namespace}", deployment(5, "{}", 30, "")));
    let words = "violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)";
    assert_eq!((text.as_str(), pods), (words, 0));
    // plugin/pkg/admission/limitranger/admission.go (v1.34).
    let limits = "---\napiVersion: v1\nkind: LimitRange\nmetadata: {name: limits}\n\
                  spec: {limits: [{type: Container, min: {cpu: 20m}}]}\n";
    let (text, pods) = refusal(&format!("{}{limits}", deployment(5, "{}", 30, "")));
    let words = "minimum cpu usage per Container is 20m, but request is 10m";
    assert_eq!((text.as_str(), pods), (words, 0));
}

const STATEFUL: &str = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  \
    replicas: 4\n  updateStrategy: {rollingUpdate: {partition: 2}}\n  \
    selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    \
    spec:\n      hostNetwork: true\n      containers:\n      - name: main\n        image: db:v1\n        \
    readinessProbe: {tcpSocket: {port: 80}, initialDelaySeconds: 30, periodSeconds: 30}\n";

#[test]
fn a_stateful_set_updates_from_the_top_down_to_its_partition() {
    let changes = "\n  changes:\n  - {at: 10m, target: StatefulSet/db, set: {image: 'db:v2'}}\n";
    let (log, sim) = run(&model(changes, STATEFUL));
    let replaced = log.times(|c| matches!(c, Change::PodDeleting(_, Reason::RolledOut)));
    assert_eq!(replaced, [600.0, 630.0]);
    let api = &sim.world().api;
    let newest = api.sets.iter().map(|(_, s)| s.template).next();
    let mut pods: Vec<_> =
        api.pods.iter().map(|(_, p)| (p.ordinal, Some(p.template) == newest)).collect();
    pods.sort_unstable();
    assert_eq!(pods, [(0, false), (1, false), (2, true), (3, true)]);
    let created = log.times(|c| matches!(c, Change::PodCreated(_)));
    assert_eq!(created[..4], [0.0, 30.0, 60.0, 90.0]);
}

#[test]
fn a_daemon_set_replaces_one_node_at_a_time() {
    let daemon = STATEFUL
        .replace("StatefulSet", "DaemonSet")
        .replace("  replicas: 4\n  updateStrategy: {rollingUpdate: {partition: 2}}\n", "");
    let changes = "\n  changes:\n  - {at: 10m, target: DaemonSet/db, set: {image: 'db:v2'}}\n";
    let (log, _) = run(&model(changes, &daemon));
    let replaced = log.times(|c| matches!(c, Change::PodDeleting(_, Reason::RolledOut)));
    assert_eq!(replaced, [600.0, 630.0]);
}

#[test]
fn a_job_counts_failures_and_backs_off() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: work}\nspec:\n  \
               backoffLimit: 2\n  template:\n    spec:\n      hostNetwork: true\n      \
               restartPolicy: Never\n      containers: [{name: main, image: work}]\n";
    let behavior = "\n  jobs:\n  - {template: Job/work, duration: 5s, failureProbability: 1.0}\n";
    let (log, sim) = run(&model(behavior, job));
    let created = log.times(|c| matches!(c, Change::PodCreated(_)));
    // The pod after the n-th failure waits 10 s, 20 s from that failure.
    assert_eq!(created, [0.0, 15.0, 40.0]);
    assert_eq!(log.times(|c| matches!(c, Change::JobFinished(_, false))), [45.0]);
    let failed =
        sim.world().api.workloads.iter().find_map(|(_, w)| w.job.as_ref().map(|j| j.failed));
    assert_eq!(failed, Some(3));
}

#[test]
fn a_mistaken_change_says_how_to_mend_it() {
    let text = "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: test}\nspec:\n  changes:\n  \
                - {at: 1m, target: Deployment/wep, set: {image: a}}\n  \
                - {at: 1m, target: Deployment/web, set: {replicass: 3}}\n  \
                - {at: 1m, target: Deployment/web, undo: true}\n  \
                - {at: 1m}\n";
    let loaded = load_scenario_text("s.yaml", text, Path::new("."), &[]).expect("readable");
    let (mut sources, mut out) = (Sources::default(), Diagnostics::default());
    let manifests = deployment(1, "{}", 1, "");
    let objects = manifest::load_text("m.yaml", &manifests, &mut sources, &mut out);
    let (none, errors) = eks_sim::world::lower::build(&loaded.scenario, &objects, Path::new("."));
    assert!(none.is_none());
    let has = |path: &str, message: &str, help: &str| {
        let found = errors
            .iter()
            .any(|e| e.path == path && e.message.contains(message) && e.help.contains(help));
        assert!(found, "{path}: {errors:?}");
    };
    has("changes[0].target", "no workload `Deployment/wep`", "did you mean `Deployment/web`?");
    has("changes[1].set[\"replicass\"]", "no field `replicass`", "spelling");
    has("changes[2].undo", "no earlier revision", "template");
    has("changes[3]", "needs one of `target`, `drain`", "write for example");
}

#[test]
fn several_scheduler_profiles_are_read() {
    let config = "---\napiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
                  profiles:\n- schedulerName: packer\n  pluginConfig:\n  - name: NodeResourcesFit\n    \
                  args: {scoringStrategy: {type: MostAllocated}}\n  plugins:\n    score:\n      \
                  disabled: [{name: NodeResourcesBalancedAllocation}, {name: PodTopologySpread}]\n";
    let packed = deployment(20, "{}", 30, "")
        .replace("cpu: 10m", "cpu: 2")
        .replace("hostNetwork: true", "schedulerName: packer\n      hostNetwork: true");
    let (_, sim) = run(&model("", &format!("{packed}{config}")));
    let mut pods: Vec<usize> = sim.world().api.nodes.iter().map(|(_, n)| n.pods.len()).collect();
    pods.sort_unstable();
    assert_eq!(pods, [0, 20]);
    let nobody = packed.replace("schedulerName: packer", "schedulerName: nobody");
    let (log, _) = run(&model("", &format!("{nobody}{config}")));
    assert!(
        log.times(|c| matches!(c, Change::PodBound(_) | Change::PodUnschedulable(_))).is_empty()
    );
}

#[test]
fn gated_pods_wait_until_their_gates_are_removed() {
    let changes = "\n  changes:\n  - {at: 20m, target: Deployment/web, ungate: true}\n";
    let gated = deployment(3, "{}", 30, "")
        .replace("hostNetwork: true", "schedulingGates: [{name: quota}]\n      hostNetwork: true");
    let (log, _) = run(&model(changes, &gated));
    assert_eq!(log.times(|c| matches!(c, Change::PodBound(_))), [1200.0; 3]);
    assert!(log.times(|c| matches!(c, Change::PodUnschedulable(_))).is_empty());
}

#[test]
fn a_scheduler_of_500_pods_a_second_takes_20_s_for_10000() {
    // Validation D7: n / s seconds.
    let many = deployment(10_000, "{}", 30, "").replace("cpu: 10m", "cpu: 1m");
    let nodes = "minSize: 60, maxSize: 60, desiredSize: 60";
    let spec = whole("")
        .replace("scheduler.cycle_time: 0s", "scheduler.cycle_time: 2ms")
        .replace("minSize: 2, maxSize: 2, desiredSize: 2", nodes);
    let (log, _) = run(&text(&spec, &many).model());
    let bound = log.times(|c| matches!(c, Change::PodBound(_)));
    assert_eq!(bound.len(), 10_000);
    let last = bound.iter().copied().fold(0.0, f64::max);
    assert!((last - 19.998).abs() < 1e-6, "{last}");
}

const JOB: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: work}\nspec:\n  \
    completionMode: Indexed\n  completions: 6\n  parallelism: 2\n  POLICY\n  template:\n    spec:\n      \
    hostNetwork: true\n      restartPolicy: Never\n      containers: [{name: main, image: work}]\n";

/// When the Job ended well, when badly, and the pods it made.
fn job_end(policy: &str, behavior: &str) -> (Vec<f64>, Vec<f64>, usize) {
    let behavior = format!("\n  jobs:\n  - {{template: Job/work, duration: 60s, {behavior}}}\n");
    let (log, _) = run(&model(&behavior, &JOB.replace("POLICY", policy)));
    let well = log.times(|c| matches!(c, Change::JobFinished(_, true)));
    let badly = log.times(|c| matches!(c, Change::JobFinished(_, false)));
    (well, badly, log.times(|c| matches!(c, Change::PodCreated(_))).len())
}

#[test]
fn policies_of_success_and_failure_end_a_job() {
    let right = "failureProbability: 0.0";
    assert_eq!(job_end("backoffLimit: 6", right), (vec![180.0], vec![], 6));
    let two = "successPolicy: {rules: [{succeededIndexes: \"1-3\", succeededCount: 2}]}";
    assert_eq!(job_end(two, right).0, [120.0]);
    let first = "successPolicy: {rules: [{succeededIndexes: \"0\"}]}";
    assert_eq!(job_end(first, right).0, [60.0]);
    let limit = "backoffLimitPerIndex: 0\n  maxFailedIndexes: 2";
    let (_, badly, made) = job_end(limit, "failureProbability: 1.0");
    assert_eq!((badly, made), (vec![120.0], 4));
    let policy = "podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, \
                  values: [42]}}]}";
    let code = "failureProbability: 1.0, exitCode: 42";
    assert_eq!(job_end(policy, code).1, [60.0]);
    assert_ne!(job_end(policy, "failureProbability: 1.0").1, [60.0]);
}

/// The rollout of validation D2 (100 replicas, 25 %/25 %, ready 30 s after the start) with all
/// latencies at their defaults. The README quotes the mean over these replications.
#[test]
fn with_default_latencies_a_rollout_takes_longer() {
    let quarter = "{rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}";
    let manifests = deployment(100, quarter, 30, "").replace("      hostNetwork: true\n", "");
    let spec = "  duration: 1h\n  cluster:\n    addons: []\n    nodeGroups:\n    \
                - {name: base, instanceTypes: [m5.4xlarge], minSize: 4, maxSize: 4, desiredSize: 4}\n  \
                changes:\n  - {at: 30m, target: Deployment/web, set: {image: 'web:v2'}}\n";
    let model = text(spec, &manifests).model();
    let times: Vec<f64> = (0..20)
        .map(|replication| {
            let (mut log, mut sim) = (Log::default(), Sim::new(model.clone(), replication));
            assert!(sim.run(&mut log).is_none());
            let done = log.times(|c| matches!(c, Change::RolloutComplete(_)));
            assert_eq!(done.len(), 2, "{done:?}");
            done[1] - 1800.0
        })
        .collect();
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let range = times.iter().fold((f64::MAX, 0.0_f64), |r, &t| (r.0.min(t), r.1.max(t)));
    println!("mean {mean:.1} s, {:.1} to {:.1} s", range.0, range.1);
    assert!(range.0 > 60.0, "{times:?}");
}
