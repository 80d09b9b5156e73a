//! A day of consolidation in a whole cluster: small nodes, and Deployments that shrink and grow
//! by turns every hour.

use benches::cpu::seconds;
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::spec::load_embedded;
use eks_sim::units::SimTime;
use eks_sim::world::{Change, lower};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Pods of a Deployment.
const REPLICAS: usize = 50;

const POOL: &str = r#"apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: apps}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      expireAfter: 720h
      requirements:
        - {key: karpenter.sh/capacity-type, operator: In, values: [on-demand]}
        - {key: karpenter.k8s.aws/instance-category, operator: In, values: [c, m, r]}
        - {key: karpenter.k8s.aws/instance-generation, operator: Gt, values: ["5"]}
        - {key: karpenter.k8s.aws/instance-cpu, operator: Lt, values: ["3"]}
        - {key: kubernetes.io/arch, operator: In, values: [amd64]}
  disruption:
    consolidationPolicy: WhenEmptyOrUnderutilized
    consolidateAfter: 1m
    budgets: [{nodes: "10%"}]
---
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: default}
spec:
  amiSelectorTerms: [{alias: al2023@latest}]
  subnetSelectorTerms: [{tags: {karpenter.sh/discovery: c}}]
"#;

#[derive(Default)]
struct Counts {
    nodes: i64,
    most: i64,
    launched: u64,
    moved: u64,
}

impl Observer for Counts {
    fn observe(&mut self, _: SimTime, change: &Change, _: &View<'_>) {
        match change {
            Change::NodeRegistered(_) => {
                self.nodes += 1;
                self.launched += 1;
                self.most = self.most.max(self.nodes);
            }
            Change::NodeDeleted(_) => self.nodes -= 1,
            Change::PodDeleting(_, eks_sim::world::Reason::NodeDisrupted) => self.moved += 1,
            _ => {}
        }
    }
}

/// Runs `hours` with `pods` pods and prints the row.
pub fn run(pods: usize, hours: usize) {
    let count = (pods / REPLICAS).max(1);
    let (mut manifests, mut scale) = (POOL.to_owned(), String::new());
    for i in 0..count {
        let _ = write!(
            manifests,
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app-{i}}}\nspec:\n  \
             replicas: {REPLICAS}\n  selector: {{matchLabels: {{app: app-{i}}}}}\n  template:\n    \
             metadata: {{labels: {{app: app-{i}}}}}\n    spec:\n      containers:\n        - name: \
             main\n          image: app:1\n          resources: {{requests: {{cpu: 220m, memory: \
             300Mi}}}}\n"
        );
        // A tenth of the Deployments shrinks by half each hour and grows back two hours later.
        let _ = write!(scale, "    - for: Deployment/app-{i}\n      scale: [");
        for hour in (1..hours).filter(|hour| (hour + i) % 10 == 0) {
            let half = REPLICAS / 2;
            let _ = write!(
                scale,
                "{{at: {hour}h, replicas: {half}}}, {{at: {}h, replicas: {REPLICAS}}}, ",
                hour + 2
            );
        }
        scale.push_str("]\n");
    }
    let text = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: day}}\nspec:\n  duration: \
         {hours}h\n  manifests: [all.yaml]\n  cluster:\n    nodeGroups: [{{name: system, \
         instanceTypes: [m5.large], minSize: 2, maxSize: 2, desiredSize: 2}}]\n    network:\n      \
         vpcCidr: 10.0.0.0/16\n      subnets:\n      - {{name: a, zone: us-east-1a, prefix: 18}}\n      \
         - {{name: b, zone: us-east-1b, prefix: 18}}\n      - {{name: c, zone: us-east-1c, \
         prefix: 18}}\n    autoscaler: {{karpenter: {{}}}}\n  workloads:\n{scale}"
    );
    let loaded = match load_embedded(("day.yaml", &text), ("all.yaml", &manifests), &[]) {
        Ok(loaded) => loaded,
        Err(found) => {
            eprintln!("{}", found.render());
            return;
        }
    };
    let (model, found) = lower::build(&loaded.scenario, &loaded.manifests, Path::new(""));
    let Some(model) = model else {
        eprintln!("{found:?}");
        return;
    };
    let mut sim = Sim::new(Arc::new(model), 0);
    let mut counts = Counts::default();
    let start = seconds();
    let diagnosis = sim.run(&mut counts);
    let spent = seconds() - start;
    println!(
        "karpenter_consolidate: {hours} h, {pods} pods, {} nodes at most, {} launched, {} pods \
         moved, {} events, {spent:.2} s{}",
        counts.most,
        counts.launched,
        counts.moved,
        sim.events(),
        diagnosis.map_or_else(String::new, |d| format!(", ended early: {d:?}"))
    );
}
