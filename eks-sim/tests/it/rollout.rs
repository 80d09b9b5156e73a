//! Blue/green, canary and deletion as steps of the scenario.

use crate::controllers::{Log, deployment, model, run, whole};
use crate::rig::text;
use eks_sim::engine::{Observer, View};
use eks_sim::units::SimTime;
use eks_sim::world::{Change, Reason};

const SERVICE: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n";

/// Two Deployments behind one Service.
fn colours(blue: u32, green: u32) -> String {
    let one = |name: &str, replicas: u32| {
        deployment(replicas, "{}", 5, "")
            .replace("metadata: {name: web}", &format!("metadata: {{name: web-{name}}}"))
            .replace("app: web}", &format!("app: web, colour: {name}}}"))
            .replace("image: web:v1", &format!("image: web:{name}"))
            .replace("cpu: 10m", "cpu: 500m")
    };
    format!("{}---\n{}{SERVICE}", one("blue", blue), one("green", green))
}

/// The scenario's traffic with weights, and its changes.
fn traffic(weights: &str, more: &str) -> String {
    format!(
        "\n  traffic:\n  - to: Service/web\n    rate: {{constant: 100/s}}\n    \
         perRequest: {{cpu: 5ms}}\n    weights: {{{weights}}}\n{more}"
    )
}

/// Success and the backends' requests whenever the load changes.
#[derive(Default)]
struct Loads(Vec<(f64, f64, Vec<f64>)>);

impl Observer for Loads {
    fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        if let Change::LoadChanged(s) = change {
            let load = &view.world.machines.load[*s];
            let offered = load.backends.iter().map(|b| b.offered).collect();
            self.0.push((now.secs_f64(), load.success, offered));
        }
    }
}

impl Loads {
    /// What held at a time.
    fn at(&self, time: f64) -> (f64, Vec<f64>) {
        let last = self.0.iter().rfind(|l| l.0 <= time).expect("a load");
        (last.1, last.2.clone())
    }
}

fn loads(spec: &str, manifests: &str) -> Loads {
    let mut loads = Loads::default();
    let mut sim = eks_sim::engine::Sim::new(model(spec, manifests), 0);
    assert!(sim.run(&mut loads).is_none());
    loads
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-6, "{a} is not {b}");
}

#[test]
fn requests_are_split_by_weight_and_a_bad_canary_loses_its_share() {
    let changes = "  changes:\n  - {at: 30m, target: Service/web, weights: {Deployment/web-blue: 90, \
                   Deployment/web-green: 10}}\n  workloads:\n  - {for: Deployment/web-green, errors: 20%}\n";
    let seen =
        loads(&traffic("Deployment/web-blue: 1, Deployment/web-green: 0", changes), &colours(4, 1));
    let (success, offered) = seen.at(1790.0);
    near(success, 1.0);
    assert_eq!(offered, [100.0, 0.0]);
    let (success, offered) = seen.at(3000.0);
    near(offered[0], 90.0);
    near(offered[1], 10.0);
    near(success, 1.0 - 0.1 * 0.2);
}

#[test]
fn blue_gives_way_to_green() {
    let switch = |at: &str| {
        format!(
            "  changes:\n  - {{at: 10m, target: Deployment/web-green, set: {{replicas: 4}}}}\n  \
             - {{at: {at}, target: Service/web, weights: {{Deployment/web-green: 1}}}}\n  \
             - {{at: 20m, target: Deployment/web-blue, set: {{replicas: 0}}}}\n"
        )
    };
    let weights = "Deployment/web-blue: 1, Deployment/web-green: 0";
    let seen = loads(&traffic(weights, &switch("11m")), &colours(4, 0));
    for time in [300.0, 700.0, 1190.0, 1300.0] {
        near(seen.at(time).0, 1.0);
    }
    assert_eq!(seen.at(1300.0).1, [0.0, 100.0]);
    // Too early: nothing listens yet behind the new weights.
    let early = loads(&traffic(weights, &switch("10m1s")), &colours(4, 0));
    near(early.at(602.0).0, 0.0);
    near(early.at(700.0).0, 1.0);
}

#[test]
fn a_canary_goes_up_in_steps_and_back_when_too_many_fail() {
    let shift = "  changes:\n  - at: 30m\n    target: Service/web\n    shift: {from: Deployment/web-blue, \
                 to: Deployment/web-green, steps: [5, 50, 100], every: 10m, abortAbove: 1%}\n";
    let weights = "Deployment/web-blue: 100, Deployment/web-green: 0";
    let good = loads(&traffic(weights, shift), &colours(4, 4));
    for (time, share) in [(1700.0, 0.0), (2000.0, 5.0), (2500.0, 50.0), (3100.0, 100.0)] {
        near(good.at(time).1[1], share);
    }
    let errors = format!(
        "{shift}  workloads:\n  - {{for: Deployment/web-green, image: 'web:g*', errors: 0.02}}\n"
    );
    let bad = loads(&traffic(weights, &errors), &colours(4, 4));
    for (time, share) in [(2000.0, 5.0), (2500.0, 0.0), (3100.0, 0.0), (7000.0, 0.0)] {
        near(bad.at(time).1[1], share);
    }
    near(bad.at(2000.0).0, 1.0 - 0.05 * 0.02);
    near(bad.at(3000.0).0, 1.0);
}

#[test]
fn a_rolling_update_to_a_version_with_errors_loses_more_and_more() {
    let spec = "\n  traffic:\n  - {to: Service/web, rate: {constant: 100/s}, perRequest: {cpu: 5ms}}\n  \
                changes:\n  - {at: 30m, target: Deployment/web, set: {image: 'web:v2'}}\n  workloads:\n  \
                - {for: Deployment/web, image: 'web:v2', errors: 10%}\n";
    let manifests = deployment(4, "{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}", 60, "")
        .replace("cpu: 10m", "cpu: 500m");
    let seen = loads(spec, &format!("{manifests}{SERVICE}"));
    for (time, share) in
        [(1800.0, 0.0), (1870.0, 0.25), (1930.0, 0.5), (1990.0, 0.75), (2050.0, 1.0)]
    {
        near(seen.at(time).0, 1.0 - 0.1 * share);
    }
}

/// Pods that were deleted, and those left at the end.
fn deletion(cascade: &str, manifests: &str, target: &str) -> (Log, usize, eks_sim::engine::Sim) {
    let changes = format!("\n  changes:\n  - {{at: 10m, target: {target}, delete: {cascade}}}\n");
    let (log, sim) = run(&model(&changes, manifests));
    let left = sim.world().api.pods.len() as usize;
    (log, left, sim)
}

#[test]
fn what_a_deleted_owner_leaves() {
    let web = deployment(6, "{}", 5, "");
    for cascade in ["background", "foreground"] {
        let (log, left, _) = deletion(cascade, &web, "Deployment/web");
        let gone = log.times(|c| matches!(c, Change::PodDeleting(_, Reason::OwnerDeleted)));
        assert_eq!((gone.len(), left), (6, 0), "{cascade}");
        assert_eq!(log.times(|c| matches!(c, Change::PodCreated(_))).len(), 6);
    }
    // Orphaned ReplicaSets keep their pods: they replace those that a drain evicts.
    let drained = "\n  changes:\n  - {at: 10m, target: Deployment/web, delete: orphan}\n  \
                   - {at: 20m, drain: {nodeGroup: base}}\n";
    let (log, sim) = run(&model(drained, &web));
    let evicted = log.times(|c| matches!(c, Change::PodDeleting(_, Reason::Drained))).len();
    assert!(evicted > 0);
    assert_eq!(log.times(|c| matches!(c, Change::PodCreated(_))).len(), 6 + evicted);
    assert_eq!(sim.world().api.pods.len(), 6);
    // Orphaned pods of other owners are replaced by nobody.
    let single =
        web.replace("kind: Deployment", "kind: ReplicaSet").replace("  strategy: {}\n", "");
    let drained = drained.replace("Deployment/web", "ReplicaSet/web");
    let (log, sim) = run(&model(&drained, &single));
    let evicted = log.times(|c| matches!(c, Change::PodDeleting(_, Reason::Drained))).len();
    assert_eq!(sim.world().api.pods.len() as usize, 6 - evicted);
}

#[test]
fn mistakes_about_weights_and_deletion_say_how_to_mend_them() {
    let changes = "  changes:\n  - {at: 1m, target: Service/web, weights: {Deployment/web-gren: 1}}\n  \
                   - {at: 2m, target: Service/wep, weights: {Deployment/web-blue: 1}}\n  \
                   - {at: 3m, target: Service/web, weights: {Deployment/web-blue: 0}}\n  \
                   - {at: 4m, target: Service/web, shift: {from: Deployment/web-blue, to: Deployment/web-green, steps: [50, 20]}}\n  \
                   - {at: 5m, target: Deployment/web-blue, delete: now}\n  \
                   - {at: 6m, target: Deployment/web-green, delete: orphan}\n  \
                   - {at: 7m, target: Deployment/web-green, set: {replicas: 3}}\n";
    let spec = traffic("Deployment/web-blue: 1, Deployment/web-green: 0", changes);
    let errors = text(&whole(&spec), &colours(1, 1)).try_model().expect_err("mistakes");
    let has = |path: &str, message: &str, help: &str| {
        let found = errors.lines().any(|e| {
            let e = e.replace('\\', "");
            e.contains(path) && e.contains(message) && e.contains(help)
        });
        assert!(found, "{path}: {errors}");
    };
    has("changes[0].weights[\"Deployment/web-gren\"]", "no backend", "use Deployment/web-blue");
    has("changes[1].target", "no Service", "did you mean `Service/web`?");
    has("changes[2].weights", "all weights are 0", "give one");
    has("changes[3].shift.steps", "rising percentages", "steps: [5, 25, 50, 100]");
    has("changes[4].delete", "no way to delete", "background, foreground or orphan");
    has("changes[6]", "was deleted before", "before its deletion");
}
