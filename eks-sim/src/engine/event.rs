//! The closed list of who can be woken. Each component owns its own enum.

use crate::components::{
    cluster_autoscaler, control_plane, ec2, fargate, faults, hpa, karpenter, kubelet,
    load_balancers, node_groups, node_lifecycle, scheduler, traffic, user, volumes, vpa, vpc_cni,
    workloads,
};

/// Something that happens to one component at one instant.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// API servers and etcd.
    ControlPlane(control_plane::Event),
    /// kube-scheduler.
    Scheduler(scheduler::Event),
    /// Kubelets.
    Kubelet(kubelet::Event),
    /// Deployment, ReplicaSet, StatefulSet, DaemonSet, Job and CronJob controllers.
    Workloads(workloads::Event),
    /// Node lifecycle controller and pod garbage collector.
    NodeLifecycle(node_lifecycle::Event),
    /// HPA controller.
    Hpa(hpa::Event),
    /// VerticalPodAutoscaler.
    Vpa(vpa::Event),
    /// Cluster Autoscaler.
    ClusterAutoscaler(cluster_autoscaler::Event),
    /// Karpenter.
    Karpenter(karpenter::Event),
    /// EC2 and its Auto Scaling groups.
    Ec2(ec2::Event),
    /// What drains and updates node groups.
    NodeGroups(node_groups::Event),
    /// Fargate.
    Fargate(fargate::Event),
    /// VPC CNI daemons.
    VpcCni(vpc_cni::Event),
    /// Load balancers.
    LoadBalancers(load_balancers::Event),
    /// EBS volumes.
    Volumes(volumes::Event),
    /// Requests to Services.
    Traffic(traffic::Event),
    /// Faults of the scenario.
    Faults(faults::Event),
    /// Steps of the scenario.
    User(user::Event),
}

const _: () = assert!(core::mem::size_of::<Event>() <= 16, "an agenda entry is 24 bytes");

impl Event {
    /// Name of the component, for diagnoses.
    #[must_use]
    pub const fn component(self) -> &'static str {
        match self {
            Self::ControlPlane(_) => "control-plane",
            Self::Scheduler(_) => "kube-scheduler",
            Self::Kubelet(_) => "kubelet",
            Self::Workloads(_) => "workload-controllers",
            Self::NodeLifecycle(_) => "node-lifecycle",
            Self::Hpa(_) => "horizontal-pod-autoscaler",
            Self::Vpa(_) => "vertical-pod-autoscaler",
            Self::ClusterAutoscaler(_) => "cluster-autoscaler",
            Self::Karpenter(_) => "karpenter",
            Self::Ec2(_) => "ec2",
            Self::NodeGroups(_) => "node-groups",
            Self::Fargate(_) => "fargate",
            Self::VpcCni(_) => "vpc-cni",
            Self::LoadBalancers(_) => "load-balancers",
            Self::Volumes(_) => "volumes",
            Self::Traffic(_) => "traffic",
            Self::Faults(_) => "faults",
            Self::User(_) => "user",
        }
    }
}
