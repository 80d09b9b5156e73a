//! The static answer for a subnet plan agrees with the simulation.

use super::rig::{deployment, text};
use eks_sim::engine::Sim;
use eks_sim::study::subnets::{Answer, answer};
use eks_sim::world::Model;
use std::sync::Arc;

/// m5.large in subnets /24, so many at the start; pods that request so much CPU, `per_node` of
/// which fill a node.
struct Plan {
    cni: &'static str,
    cpu: &'static str,
    per_node: u32,
    subnets: u32,
}

impl Plan {
    fn model(&self, nodes: u32) -> Arc<Model> {
        let zones = ["us-east-1a", "us-east-1b", "us-east-1c"];
        let mut subnets = String::new();
        for (i, zone) in zones.iter().enumerate().take(self.subnets as usize) {
            subnets += &format!("        - {{name: s{i}, zone: {zone}, cidr: 10.0.{i}.0/24}}\n");
        }
        let spec = format!(
            "  duration: 20m\n  cluster:\n    addons: [vpc-cni, kube-proxy]\n    network:\n      \
             addressPlacement: sequential\n      controlPlaneSubnets: [plane]\n      \
             cni: {{{}}}\n      subnets:\n        \
             - {{name: plane, zone: us-east-1f, prefix: 28, role: public}}\n{subnets}    \
             nodeGroups:\n      - {{name: base, instanceTypes: [m5.large], minSize: 0, \
             desiredSize: {nodes}, maxSize: 500}}\n",
            self.cni
        );
        let pods = nodes * self.per_node;
        let requests = format!("{{cpu: {}}}", self.cpu);
        text(&spec, &deployment("app", pods, &requests, "")).model()
    }

    fn answer(&self, nodes: u32) -> Answer {
        answer(&self.model(nodes))
    }

    /// Nodes with an address, pods with an address, and requests refused, at the end of a run.
    fn run(&self, nodes: u32) -> (u64, u64, u64) {
        let model = self.model(nodes);
        let mut sim = Sim::new(Arc::clone(&model), 0);
        assert!(sim.run(&mut ()).is_none());
        let cloud = &sim.world().cloud;
        let nodes = cloud.groups.iter().map(|(_, g)| g.instances.len() as u64).sum();
        let pods = cloud.subnets.iter().map(|(_, s)| u64::from(s.assigned)).sum();
        (nodes, pods, cloud.subnets.iter().map(|(_, s)| s.refusals).sum())
    }

    /// So many nodes as the answer says fit, and one more does not.
    fn check(&self) {
        let first = self.answer(1);
        let full = first.nodes[0].rest.last().unwrap();
        assert_eq!(full.pods_per_node, u64::from(self.per_node), "{}: pods a node", self.cni);
        let fit = u32::try_from(full.nodes).unwrap();
        for (nodes, fits) in [(fit, true), (fit + 1, false)] {
            let (got, pods, refusals) = self.run(nodes);
            let answer = self.answer(nodes);
            let peak = answer.situations.iter().find(|s| s.name == "at the peak").unwrap();
            let what = format!("`{}` {nodes} nodes, run: {got}, {pods} pods", self.cni);
            assert_eq!(refusals == 0, fits, "{what}: {refusals} refusals");
            assert_eq!(peak.first_dry.is_none(), fits, "{what}: {peak:?}");
            assert_eq!(got, peak.nodes, "{what}: {peak:?}");
            // Beyond the limit, latencies decide who gets the last addresses, and with
            // WARM_IP_TARGET how many are asked for at once.
            let apart = if fits { 0 } else { peak.pods / 100 };
            assert!(pods.abs_diff(peak.pods) <= apart, "{what}: {peak:?}");
            if fits {
                assert_eq!(pods, u64::from(nodes * self.per_node), "{what}");
            }
        }
    }
}

#[test]
fn as_many_nodes_fit_as_the_answer_says_and_no_more() {
    for (cni, cpu, per_node) in [
        ("", "1000m", 1),
        ("", "170m", 10),
        ("", "10m", 27),
        ("WARM_ENI_TARGET: 0", "340m", 5),
        ("WARM_IP_TARGET: 1", "170m", 10),
        ("WARM_IP_TARGET: 2, MINIMUM_IP_TARGET: 10", "340m", 5),
        ("ENABLE_PREFIX_DELEGATION: true", "340m", 5),
        ("ENABLE_PREFIX_DELEGATION: true, WARM_IP_TARGET: 5, MINIMUM_IP_TARGET: 10", "115m", 15),
    ] {
        Plan { cni, cpu, per_node, subnets: 1 }.check();
    }
}

#[test]
fn the_same_over_three_zones() {
    Plan { cni: "", cpu: "170m", per_node: 10, subnets: 3 }.check();
    Plan { cni: "WARM_IP_TARGET: 2", cpu: "340m", per_node: 5, subnets: 3 }.check();
}
