//! Facts ([`Change`]) and wishes ([`Request`]).

use super::cloud::{Fleet, Instance, LaunchFailure};
use super::model::{
    BudgetModel, CronModel, GroupModel, ScaledObjectModel, ServiceModel, SubnetModel, VpaModel,
    Zone,
};
use super::nodes::SystemTaint;
use super::recommendations::Targets;
use super::shapes::Shape;
use super::{Hpa, Node, NodeCondition, PodId, Set, Workload};
use crate::units::Id;

/// Who asks the API server; each has its own client-side rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    /// kube-scheduler.
    Scheduler,
    /// Deployment controller.
    Deployment,
    /// ReplicaSet controller.
    ReplicaSet,
    /// StatefulSet controller.
    StatefulSet,
    /// DaemonSet controller.
    DaemonSet,
    /// Job and CronJob controllers.
    Job,
    /// HPA controller.
    Hpa,
    /// Node lifecycle controller and pod garbage collector.
    NodeLifecycle,
    /// Cluster Autoscaler.
    ClusterAutoscaler,
    /// Managed node group.
    NodeGroup,
    /// Karpenter.
    Karpenter,
    /// A kubelet (not limited: each node has its own client).
    Kubelet,
    /// The user who applies the manifests.
    User,
    /// VerticalPodAutoscaler.
    Vpa,
    /// Fargate's scheduler.
    Fargate,
    /// KEDA's operator.
    Keda,
    /// Garbage collector.
    GarbageCollector,
}

impl Client {
    /// Number of clients.
    pub const COUNT: usize = Self::GarbageCollector.index() + 1;
    /// Position in tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
    /// Name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "kube-scheduler",
            Self::Deployment => "deployment-controller",
            Self::ReplicaSet => "replicaset-controller",
            Self::StatefulSet => "statefulset-controller",
            Self::DaemonSet => "daemonset-controller",
            Self::Job => "job-controller",
            Self::Hpa => "horizontal-pod-autoscaler",
            Self::NodeLifecycle => "node-controller",
            Self::ClusterAutoscaler => "cluster-autoscaler",
            Self::NodeGroup => "eks-node-group",
            Self::Karpenter => "karpenter",
            Self::Kubelet => "kubelet",
            Self::User => "kubectl",
            Self::Vpa => "vertical-pod-autoscaler",
            Self::Fargate => "fargate-scheduler",
            Self::Keda => "keda-operator",
            Self::GarbageCollector => "generic-garbage-collector",
        }
    }
}

/// What a kubelet reports of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodReport {
    /// Containers run.
    Started,
    /// Ready condition True.
    Ready,
    /// Ready condition False.
    Unready,
    /// All containers ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// A container restarted.
    Restarted,
    /// A container was killed for its memory.
    OomKilled,
}

/// A write that somebody asks the API server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Create the next pod of a set, with this ordinal or completion index.
    CreatePod {
        /// Owner.
        set: Id<Set>,
        /// Serial, ordinal or index.
        ordinal: u32,
        /// From the template before the update (StatefulSets below the partition).
        previous: bool,
    },
    /// Delete a pod gracefully.
    DeletePod {
        /// Pod.
        pod: PodId,
        /// Why.
        reason: Reason,
    },
    /// Evict a pod if its budgets allow it.
    EvictPod {
        /// Pod.
        pod: PodId,
        /// Who drains.
        reason: Reason,
    },
    /// Remove a pod whose containers are gone, or that never ran.
    RemovePod {
        /// Pod.
        pod: PodId,
    },
    /// Bind a pod.
    Bind {
        /// Pod.
        pod: PodId,
        /// Node.
        node: Id<Node>,
    },
    /// Note the node that preemption reserved.
    Nominate {
        /// Pod.
        pod: PodId,
        /// Node.
        node: Option<Id<Node>>,
    },
    /// Report a pod's status.
    Report {
        /// Pod.
        pod: PodId,
        /// What.
        report: PodReport,
    },
    /// Set `spec.replicas` of a workload.
    ScaleWorkload {
        /// Workload.
        workload: Id<Workload>,
        /// Replicas.
        replicas: u32,
        /// HPA that asks, if any.
        hpa: Option<Id<Hpa>>,
    },
    /// Set the bounds of an HPA.
    PatchHpa {
        /// HPA.
        hpa: Id<Hpa>,
        /// `minReplicas`.
        min: i32,
        /// `maxReplicas`.
        max: i32,
        /// Number of the change in the model.
        patch: u32,
    },
    /// Create the current ReplicaSet of a Deployment.
    CreateSet {
        /// Deployment.
        workload: Id<Workload>,
        /// Size.
        desired: u32,
    },
    /// Set the size of a ReplicaSet.
    ScaleSet {
        /// ReplicaSet.
        set: Id<Set>,
        /// Size.
        desired: u32,
        /// The Deployment's replicas, as an annotation.
        replicas: u32,
        /// These and the surge, as an annotation.
        max: u32,
    },
    /// Make a ReplicaSet of an earlier revision the newest one.
    ReviveSet {
        /// ReplicaSet.
        set: Id<Set>,
    },
    /// Delete a ReplicaSet that is no longer kept.
    DeleteSet {
        /// ReplicaSet.
        set: Id<Set>,
    },
    /// Note that all pods of a StatefulSet are up to date.
    CompleteUpdate {
        /// Its set.
        set: Id<Set>,
    },
    /// Apply a step of the scenario.
    Step {
        /// Its number.
        step: u32,
    },
    /// Register a node.
    RegisterNode {
        /// Its instance.
        instance: Id<Instance>,
    },
    /// Set a node's Ready condition.
    SetNodeCondition {
        /// Node.
        node: Id<Node>,
        /// Condition.
        condition: NodeCondition,
    },
    /// Add or remove a taint.
    TaintNode {
        /// Node.
        node: Id<Node>,
        /// Taint.
        taint: SystemTaint,
        /// Add or remove.
        on: bool,
    },
    /// Report the images on a node.
    ReportImages {
        /// Node.
        node: Id<Node>,
    },
    /// Delete a node.
    DeleteNode {
        /// Node.
        node: Id<Node>,
    },
    /// Write a VPA's recommendation.
    RecommendVpa {
        /// VPA.
        vpa: Id<VpaModel>,
        /// Targets of its containers.
        targets: Id<Targets>,
    },
    /// Resize a pod in place.
    ResizePod {
        /// Pod.
        pod: PodId,
        /// Size.
        shape: Id<Shape>,
    },
    /// Report that a pod has been resized.
    Resized {
        /// Pod.
        pod: PodId,
    },
    /// Create a Job of a CronJob.
    CreateJob {
        /// CronJob.
        cron: Id<CronModel>,
    },
    /// Note that a Job ended.
    FinishJob {
        /// Job.
        job: Id<Workload>,
        /// Well or badly.
        succeeded: bool,
    },
}

/// Why something happened or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A workload shrank.
    ScaledDown,
    /// A rollout replaced it.
    RolledOut,
    /// A rollout needs the place.
    Preempted,
    /// Cluster Autoscaler drains its node.
    NodeScaleDown,
    /// Its node was tainted NoExecute.
    TaintEviction,
    /// Its node is gone.
    NodeGone,
    /// A finished Job is cleaned up.
    JobCleanup,
    /// A CronJob replaces its Job.
    JobReplaced,
    /// The spot instance is reclaimed.
    SpotInterruption,
    /// The user drains its node.
    Drained,
    /// Karpenter drains its node.
    NodeDisrupted,
    /// What owned it was deleted.
    OwnerDeleted,
    /// Its requests are far from the VPA's recommendation.
    VpaEviction,
}

impl Reason {
    /// Whether the pod gets the condition `DisruptionTarget`.
    #[must_use]
    pub const fn is_disruption(self) -> bool {
        matches!(
            self,
            Self::Preempted
                | Self::NodeScaleDown
                | Self::TaintEviction
                | Self::NodeGone
                | Self::SpotInterruption
                | Self::Drained
                | Self::NodeDisrupted
        )
    }
    /// Reason as it appears in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScaledDown => "ScaledDown",
            Self::RolledOut => "RolledOut",
            Self::Preempted => "Preempted",
            Self::NodeScaleDown => "ScaleDown",
            Self::TaintEviction => "TaintManagerEviction",
            Self::NodeGone => "NodeNotFound",
            Self::JobCleanup => "JobCleanup",
            Self::JobReplaced => "JobReplaced",
            Self::SpotInterruption => "SpotInterruption",
            Self::Drained => "EvictionByEvictionAPI",
            Self::NodeDisrupted => "Disrupted",
            Self::OwnerDeleted => "OwnerDeleted",
            Self::VpaEviction => "EvictedByVPA",
        }
    }
}

/// A fact: something was just written to the World. Watchers are woken and observers told by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// A pod was created.
    PodCreated(PodId),
    /// A pod was bound.
    PodBound(PodId),
    /// The scheduler found no node; `attempt` texts are kept by the scheduler.
    PodUnschedulable(PodId),
    /// A pod's scheduling gates were removed.
    PodUngated(PodId),
    /// A pod reserved a node by preemption.
    PodNominated(PodId),
    /// A pod got an address on its node.
    PodAddressed(PodId),
    /// A pod was refused an address.
    PodAddressRefused(PodId),
    /// A pod's containers run.
    PodStarted(PodId),
    /// A pod's Ready condition became True.
    PodReady(PodId),
    /// A pod's Ready condition became False.
    PodUnready(PodId),
    /// A container of a pod restarted.
    PodRestarted(PodId),
    /// A container of a pod was killed for its memory.
    PodOomKilled(PodId),
    /// A pod is to be resized in place.
    PodResizing(PodId),
    /// A pod has a new size.
    PodResized(PodId),
    /// A VPA recommends something else.
    VpaRecommended(Id<VpaModel>),
    /// A pod ended well.
    PodSucceeded(PodId),
    /// A pod ended badly.
    PodFailed(PodId),
    /// A pod has a deletion time stamp.
    PodDeleting(PodId, Reason),
    /// An eviction was refused by a budget.
    EvictionRefused(PodId, Id<BudgetModel>),
    /// A pod is gone; its row is readable until the change is published.
    PodDeleted(PodId),
    /// A pod's containers stopped on the machine.
    PodStopped(PodId),
    /// `spec.replicas` of a workload changed, by an HPA or a user.
    WorkloadScaled(Id<Workload>, Option<Id<Hpa>>),
    /// A workload appeared.
    WorkloadCreated(Id<Workload>),
    /// A step of the scenario changed a workload.
    WorkloadChanged(Id<Workload>, u32),
    /// A rollout made no progress for `progressDeadlineSeconds`.
    ProgressDeadlineExceeded(Id<Workload>),
    /// A rollout is complete: all pods are new and available.
    RolloutComplete(Id<Workload>),
    /// Admission refused a pod of this set; the text is in [`super::Api::refusals`].
    PodRefused(Id<Set>),
    /// A Job ended.
    JobFinished(Id<Workload>, bool),
    /// A ReplicaSet appeared or changed its size.
    SetScaled(Id<Set>),
    /// An HPA made a decision.
    HpaDecided(Id<Hpa>),
    /// An HPA has other bounds.
    HpaPatched(Id<Hpa>),
    /// Some trigger of a ScaledObject became active, or none is any more.
    TriggersChanged(Id<ScaledObjectModel>, bool),
    /// A node registered.
    NodeRegistered(Id<Node>),
    /// A node's Ready condition changed.
    NodeConditionChanged(Id<Node>),
    /// A node's taints changed.
    NodeTainted(Id<Node>, SystemTaint, bool),
    /// A node is gone.
    NodeDeleted(Id<Node>),
    /// A node's status lists other images.
    NodeImagesChanged(Id<Node>),
    /// An instance was asked for.
    InstanceRequested(Id<Instance>),
    /// An instance runs.
    InstanceRunning(Id<Instance>),
    /// A machine crashed.
    InstanceCrashed(Id<Instance>),
    /// An instance ended.
    InstanceTerminated(Id<Instance>),
    /// An ended instance is gone: its addresses come back.
    InstanceGone(Id<Instance>),
    /// The CNI of a node that was not ready for it has its first interface for pods.
    NodeNetworkReady(Id<Node>),
    /// A launch was refused.
    LaunchRefused(Id<GroupModel>, LaunchFailure),
    /// The desired size of a node group changed.
    GroupResized(Id<GroupModel>),
    /// The autoscaler wants a group at this size.
    GroupSizeWanted(Id<GroupModel>, u32),
    /// Cluster Autoscaler decided to add so many nodes to a group.
    ScaleUpDecided(Id<GroupModel>, u32),
    /// CreateFleet was called.
    FleetWanted(Id<Fleet>),
    /// EC2 answered a CreateFleet call.
    FleetAnswered(Id<Fleet>),
    /// A spot instance will be reclaimed in two minutes.
    SpotNotice(Id<Instance>),
    /// EC2 expects to reclaim a spot instance.
    RebalanceRecommended(Id<Instance>),
    /// A fault of this number reclaims spot instances.
    SpotReclaimWanted(u32),
    /// The host of an instance is retired.
    RetirementDue(Id<Instance>),
    /// An Auto Scaling group chose an instance to go; its node is drained first.
    ScaleInChosen(Id<Instance>),
    /// An Auto Scaling group replaces an instance to level its zones.
    ZoneRebalance(Id<Instance>),
    /// The node of an instance is drained, or the time for that is over.
    DrainEnded(Id<Instance>),
    /// The user asks for an update of a node group, by a step of the scenario.
    NodeGroupUpdateWanted(u32),
    /// The update of a node group began: new instances are of the next version.
    NodeGroupUpdateBegan(Id<GroupModel>),
    /// It wants so many nodes beyond the desired size.
    NodeGroupSurgeWanted(Id<GroupModel>, u32),
    /// It ended, well or badly.
    NodeGroupUpdateEnded(Id<GroupModel>, bool),
    /// A pod runs on Fargate and waits for its micro-VM.
    FargatePodPending(PodId),
    /// Fargate does not run a pod.
    FargateRefused(PodId),
    /// Cluster Autoscaler added nodes for a pod.
    PodTriggeredScaleUp(PodId),
    /// Cluster Autoscaler has another reason not to add nodes for a pod.
    PodTriggeredNothing(PodId),
    /// The autoscaler wants this instance gone, and the group one smaller.
    TerminationWanted(Id<Instance>),
    /// A subnet's free addresses changed.
    SubnetChanged(Id<SubnetModel>),
    /// A subnet had no address for somebody.
    SubnetExhausted(Id<SubnetModel>),
    /// A load balancer was refused for lack of addresses.
    LoadBalancerRefused(u32),
    /// A load balancer has more addresses, or fewer.
    LoadBalancerChanged(u32),
    /// EC2 refused a call of a node with `RequestLimitExceeded`.
    ApiThrottled(Id<Node>),
    /// Endpoints of a Service changed.
    EndpointsChanged(Id<ServiceModel>),
    /// A step of this number split the requests to a Service anew.
    WeightsChanged(Id<ServiceModel>, u32),
    /// A workload was deleted, by the step of this number.
    WorkloadDeleted(Id<Workload>, u32),
    /// Rates of a Service changed.
    LoadChanged(Id<ServiceModel>),
    /// A zone went down or came back.
    ZoneChanged(Id<Zone>, bool),
    /// An etcd member went down or came back.
    EtcdChanged(u32, bool),
    /// An API server went down or came back.
    ApiServerChanged(u32, bool),
    /// Writes became possible or impossible.
    ApiAvailability(bool),
    /// A write was refused; whoever asked looks again later.
    RequestRefused(Client, Request),
    /// A fault began.
    FaultBegan(u32),
    /// A step of the scenario changed NodePools, node classes or their images.
    NodePoolsChanged(u32),
    /// EC2 runs out of capacity that a fault of this number names, or has it again.
    StockoutChanged(u32, bool),
    /// Karpenter has another reason to leave a node alone.
    NodeKept(Id<Node>),
    /// Karpenter's scheduling round found a pod another place, or none.
    PodPromised(PodId),
    /// Something happened to a NodeClaim of Karpenter: its number, and that of the note.
    NodeClaimChanged(u32, u32),
    /// A volume was created for the claim of this number of the pod's template.
    VolumeCreated(PodId, u32),
    /// A pod's sandbox needs an address.
    SandboxWanted(PodId),
    /// A pod's volumes are mounted.
    VolumesMounted(PodId),
    /// A pod's volumes must be attached.
    VolumesWanted(PodId),
    /// A member of the control plane fails: etcd or API server, number, and for how many
    /// milliseconds (0 is until it is replaced).
    MemberFails(bool, u32, u32),
}

const _: () = assert!(core::mem::size_of::<Request>() <= 20);
