//! Who listens to what: one exhaustive match from a [`Change`] to the events it causes, with each
//! watcher's delay. Components never name each other.

use super::draws;
use super::event::Event;
use crate::components::{
    cluster_autoscaler, control_plane, ec2, fargate, hpa, karpenter, kubelet, load_balancers,
    node_groups, node_lifecycle, scheduler, traffic, user, volumes, vpa, vpc_cni, workloads,
};
use crate::units::{Id, Span};
use crate::world::model::GroupKind;
use crate::world::nodes::SystemTaint;
use crate::world::{Change, Client, Model, Node, PodId, Request, Set, World};

/// Calls `push` for each event that `change` causes.
pub(super) fn fan_out(
    change: Change,
    world: &World,
    model: &Model,
    push: &mut impl FnMut(Span, Event),
) {
    if model.cluster_autoscaler.is_some() {
        fan_out_autoscaler(change, world, model.settings.watch_delay, push);
    }
    if model.karpenter.is_some() {
        fan_out_karpenter(change, world, model, push);
    }
    fan_out_groups(change, world, model, push);
    fan_out_objects(change, world, model, push);
}

/// What node groups and Fargate are told.
fn fan_out_groups(
    change: Change,
    world: &World,
    model: &Model,
    push: &mut impl FnMut(Span, Event),
) {
    use node_groups::Event as G;
    let watch = model.settings.watch_delay;
    let group = |event| Event::NodeGroups(event);
    let startup = |n| world.api.nodes[n].has_taint(SystemTaint::Startup);
    match change {
        Change::RebalanceRecommended(i) => push(Span::ZERO, group(G::Rebalance(i))),
        Change::SpotNotice(i) => push(Span::ZERO, group(G::SpotNotice(i))),
        Change::ScaleInChosen(i) => push(Span::ZERO, group(G::ScaleIn(i))),
        Change::ZoneRebalance(i) => push(Span::ZERO, group(G::Level(i))),
        Change::NodeGroupUpdateWanted(step) => push(Span::ZERO, group(G::Update(step))),
        Change::NodeConditionChanged(n) => {
            if startup(n) {
                push(watch, group(G::NodeChanged(n)));
            }
            if is_fargate_node(n, world, model) {
                push(watch, Event::Fargate(fargate::Event::NodeChanged(n)));
            }
        }
        Change::PodReady(p) => {
            let Some(pod) = world.api.pods.get(p) else { return };
            if let Some(n) =
                pod.node.filter(|&n| model.templates[pod.template].daemon && startup(n))
            {
                push(watch, group(G::NodeChanged(n)));
            }
        }
        Change::PodSucceeded(p) | Change::PodFailed(p) | Change::PodDeleted(p)
            if is_fargate(p, world, model) =>
        {
            push(watch, Event::Fargate(fargate::Event::PodGone(p)));
        }
        Change::InstanceCrashed(i)
            if model.groups[world.cloud.instances[i].group].kind == GroupKind::Fargate =>
        {
            push(Span::ZERO, Event::Fargate(fargate::Event::Crashed(i)));
        }
        Change::NodeGroupUpdateBegan(g) => {
            push(Span::ZERO, Event::Ec2(ec2::Event::NewVersion(g)));
        }
        Change::NodeGroupSurgeWanted(g, n) => push(Span::ZERO, Event::Ec2(ec2::Event::Surge(g, n))),
        Change::DrainEnded(i) => push(Span::ZERO, Event::Ec2(ec2::Event::Drained(i))),
        Change::SpotReclaimWanted(f) => {
            push(Span::ZERO, Event::Ec2(ec2::Event::ReclaimByFault(f)));
        }
        Change::RetirementDue(i) => push(Span::ZERO, Event::Ec2(ec2::Event::Retired(i))),
        _ => {}
    }
}

fn is_fargate(p: PodId, world: &World, model: &Model) -> bool {
    world.api.pods.get(p).is_some_and(|pod| model.templates[pod.template].fargate.is_some())
}

fn is_fargate_node(n: Id<Node>, world: &World, model: &Model) -> bool {
    let instance = &world.cloud.instances[world.api.nodes[n].instance];
    model.groups[instance.group].kind == GroupKind::Fargate
}

/// The part of [`fan_out`] about pods, workloads and nodes.
fn fan_out_objects(
    change: Change,
    world: &World,
    model: &Model,
    push: &mut impl FnMut(Span, Event),
) {
    let watch = model.settings.watch_delay;
    match change {
        Change::PodCreated(p) => {
            if is_fargate(p, world, model) {
                push(watch, Event::Fargate(fargate::Event::PodAdded(p)));
            } else {
                push(watch, Event::Scheduler(scheduler::Event::PodAdded(p)));
            }
            if let Some(pod) =
                world.api.pods.get(p).filter(|pod| has_controller(pod.set, world, model))
            {
                push(Span::ZERO, Event::Workloads(workloads::Event::Created(pod.set)));
                push(watch, Event::Workloads(workloads::Event::SyncSet(pod.set)));
            }
        }
        Change::PodBound(p) => {
            push(watch, Event::Scheduler(scheduler::Event::PodBound(p)));
            match trace_duration(p, world, model) {
                Some(running) => {
                    push(running, Event::Kubelet(kubelet::Event::Finished(p, true)));
                }
                None => push(watch, Event::Kubelet(kubelet::Event::Observe(p))),
            }
        }
        Change::JobFinished(w, _) => {
            push(watch, Event::Workloads(workloads::Event::JobFinished(w)));
        }
        Change::PodReady(p) | Change::PodUnready(p) | Change::PodDeleting(p, _) => {
            if let Change::PodDeleting(..) = change {
                push(watch, Event::Kubelet(kubelet::Event::Terminate(p)));
                push(watch, Event::Scheduler(scheduler::Event::PodTerminating(p)));
            }
            sync_set_of(p, world, model, watch, push);
            endpoints_of(p, world, model, push);
        }
        // A pod of a trace is gone at the same instant.
        Change::PodSucceeded(p) if is_trace(p, world, model) => {}
        Change::PodSucceeded(p) | Change::PodFailed(p) => {
            push(watch, Event::Scheduler(scheduler::Event::PodGone(p)));
            sync_set_of(p, world, model, watch, push);
            endpoints_of(p, world, model, push);
        }
        Change::PodDeleted(p) => {
            push(watch, Event::Scheduler(scheduler::Event::PodGone(p)));
            sync_set_of(p, world, model, watch, push);
            endpoints_of(p, world, model, push);
        }
        Change::WorkloadCreated(w) | Change::WorkloadScaled(w, _) => {
            push(watch, Event::Workloads(workloads::Event::SyncWorkload(w)));
            let row = &model.workloads[world.api.workloads[w].model];
            if let (Change::WorkloadCreated(_), Some(_)) = (change, row.vpa) {
                push(watch, Event::Vpa(vpa::Event::WorkloadCreated(w)));
            }
        }
        Change::WorkloadChanged(w, _) => {
            push(watch, Event::Workloads(workloads::Event::WorkloadChanged(w)));
        }
        Change::WorkloadDeleted(w, _) => {
            push(watch, Event::Workloads(workloads::Event::SyncWorkload(w)));
        }
        Change::SetScaled(s) => {
            push(watch, Event::Workloads(workloads::Event::SetWritten(s)));
        }
        Change::EvictionRefused(p, _) => {
            push(model.settings.eviction_retry, Event::User(user::Event::Evict(p)));
            if model.groups.iter().any(|(_, g)| g.scaling.drains) {
                let event = Event::NodeGroups(node_groups::Event::Evict(p));
                push(model.settings.eviction_retry, event);
            }
        }
        Change::NodeRegistered(n) => {
            push(watch, Event::Scheduler(scheduler::Event::NodeChanged(n)));
            push(watch, Event::Workloads(workloads::Event::NodeChanged(n)));
            push(Span::ZERO, Event::VpcCni(vpc_cni::Event::NodeAdded(n)));
            push(Span::ZERO, Event::Kubelet(kubelet::Event::Registered(n)));
        }
        Change::NodeConditionChanged(n) | Change::NodeTainted(n, _, _) => {
            push(watch, Event::Scheduler(scheduler::Event::NodeChanged(n)));
            push(watch, Event::Workloads(workloads::Event::NodeChanged(n)));
            push(watch, Event::NodeLifecycle(node_lifecycle::Event::NodeChanged(n)));
            if let Change::NodeTainted(_, SystemTaint::Unschedulable, false) = change {
                push(watch, Event::VpcCni(vpc_cni::Event::Uncordoned(n)));
            }
        }
        Change::NodeImagesChanged(n) => {
            push(watch, Event::Scheduler(scheduler::Event::NodeChanged(n)));
        }
        Change::VolumeCreated(p, i) => {
            let index = u8::try_from(i).unwrap_or(u8::MAX);
            push(watch, Event::Scheduler(scheduler::Event::VolumeCreated(p, index)));
        }
        Change::NodeDeleted(n) => {
            push(watch, Event::Scheduler(scheduler::Event::NodeChanged(n)));
            push(watch, Event::Workloads(workloads::Event::NodeChanged(n)));
            push(watch, Event::NodeLifecycle(node_lifecycle::Event::NodeGone(n)));
        }
        _ => fan_out_machines(change, world, model, push),
    }
}

/// The part of [`fan_out`] about pods on their machines.
fn fan_out_machines(
    change: Change,
    world: &World,
    model: &Model,
    push: &mut impl FnMut(Span, Event),
) {
    let watch = model.settings.watch_delay;
    match change {
        Change::PodAddressed(p) => push(Span::ZERO, Event::Kubelet(kubelet::Event::Addressed(p))),
        Change::PodAddressRefused(p) => {
            push(Span::ZERO, Event::Kubelet(kubelet::Event::AddressRefused(p)));
        }
        Change::SandboxWanted(p) => push(Span::ZERO, Event::VpcCni(vpc_cni::Event::Assign(p))),
        Change::VolumesMounted(p) => {
            push(Span::ZERO, Event::Kubelet(kubelet::Event::VolumesReady(p)))
        }
        Change::VolumesWanted(p) => push(Span::ZERO, Event::Volumes(volumes::Event::Attach(p))),
        Change::PodStopped(p) if is_trace(p, world, model) => {}
        Change::PodStopped(p) => {
            push(Span::ZERO, Event::VpcCni(vpc_cni::Event::Release(p)));
            let pod = world.api.pods.get(p);
            if pod.is_some_and(|pod| !model.templates[pod.template].services.is_empty()) {
                push(Span::ZERO, Event::Traffic(traffic::Event::PodStopped(p)));
            }
            if pod.is_some_and(|pod| !model.templates[pod.template].claims.is_empty()) {
                push(Span::ZERO, Event::Volumes(volumes::Event::Detach(p)));
            }
        }
        Change::NodeNetworkReady(n) => {
            push(Span::ZERO, Event::Kubelet(kubelet::Event::NodeReady(n)));
        }
        Change::LoadChanged(s) => {
            let held = model.services[s].traffic.as_ref().is_some_and(|t| t.memory.raw() > 0);
            if held {
                push(Span::ZERO, Event::Kubelet(kubelet::Event::LoadChanged(s)));
            }
        }
        Change::PodUngated(p) => {
            push(watch, Event::Scheduler(scheduler::Event::PodUngated(p)));
        }
        Change::WeightsChanged(_, step) => {
            let delay = model.settings.endpoint_propagation;
            push(delay, Event::Traffic(traffic::Event::Weights(step)));
        }
        Change::PodResizing(p) => push(watch, Event::Kubelet(kubelet::Event::Resize(p))),
        Change::PodResized(p) => {
            push(watch, Event::Scheduler(scheduler::Event::PodResized(p)));
            push(Span::ZERO, Event::Traffic(traffic::Event::PodResized(p)));
        }
        Change::PodOomKilled(p) => {
            push(Span::ZERO, Event::Traffic(traffic::Event::PodStopped(p)));
            push(watch, Event::Vpa(vpa::Event::OomKilled(p)));
        }
        _ => fan_out_cloud(change, world, model, push),
    }
}

/// What Karpenter is told.
fn fan_out_karpenter(
    change: Change,
    world: &World,
    model: &Model,
    push: &mut impl FnMut(Span, Event),
) {
    use karpenter::Event as K;
    let watch = model.settings.watch_delay;
    let (delay, event) = match change {
        Change::PodUnschedulable(p) => (watch, K::PodPending(p)),
        Change::PodBound(p)
        | Change::PodDeleting(p, _)
        | Change::PodSucceeded(p)
        | Change::PodFailed(p)
        | Change::PodDeleted(p) => (watch, K::PodMoved(p)),
        // DaemonSet pods that come up may end a node's start.
        Change::PodReady(p) => {
            let Some(pod) = world.api.pods.get(p) else { return };
            match pod.node.filter(|_| model.templates[pod.template].daemon) {
                Some(node) => (watch, K::NodeChanged(node)),
                None => return,
            }
        }
        Change::NodeRegistered(n)
        | Change::NodeConditionChanged(n)
        | Change::NodeTainted(n, _, _) => (watch, K::NodeChanged(n)),
        Change::NodeDeleted(n) => (watch, K::NodeGone(n)),
        Change::InstanceTerminated(i) => (Span::ZERO, K::InstanceGone(i)),
        Change::SpotNotice(i) => (Span::ZERO, K::SpotNotice(i)),
        Change::FleetAnswered(f) => (Span::ZERO, K::Answered(f)),
        Change::NodePoolsChanged(step) => (watch, K::PoolsChanged(step)),
        _ => return,
    };
    push(delay, Event::Karpenter(event));
}

/// The part of [`fan_out`] about AWS, load and faults.
fn fan_out_cloud(change: Change, world: &World, model: &Model, push: &mut impl FnMut(Span, Event)) {
    match change {
        Change::InstanceCrashed(i) => {
            if let Some(n) = world.cloud.instances[i].node {
                push(Span::ZERO, Event::Traffic(traffic::Event::MachineChanged(n)));
                push(Span::ZERO, Event::NodeLifecycle(node_lifecycle::Event::LeaseStops(n)));
            }
            push(Span::ZERO, Event::Ec2(ec2::Event::Crashed(i)));
        }
        Change::InstanceTerminated(i) => {
            let instance = &world.cloud.instances[i];
            if let Some(n) = instance.node {
                push(Span::ZERO, Event::Traffic(traffic::Event::MachineChanged(n)));
                push(Span::ZERO, Event::VpcCni(vpc_cni::Event::NodeRemoved(n)));
                let delay = model.settings.cloud_node_lifecycle_delay;
                push(delay, Event::NodeLifecycle(node_lifecycle::Event::InstanceGone(n)));
            }
            push(Span::ZERO, Event::Ec2(ec2::Event::Reconcile(instance.group)));
        }
        Change::LoadChanged(s) if !model.network.load_balancers.is_empty() => {
            push(Span::ZERO, Event::LoadBalancers(load_balancers::Event::LoadChanged(s)));
        }
        Change::InstanceGone(i) => {
            if let Some(n) = world.cloud.instances[i].node {
                push(Span::ZERO, Event::VpcCni(vpc_cni::Event::NodeGone(n)));
            }
        }
        Change::GroupSizeWanted(g, size) => {
            push(Span::ZERO, Event::Ec2(ec2::Event::SetDesired(g, size)));
        }
        Change::TerminationWanted(i) => push(Span::ZERO, Event::Ec2(ec2::Event::Terminate(i))),
        Change::FleetWanted(f) => push(Span::ZERO, Event::Ec2(ec2::Event::CreateFleet(f))),
        Change::GroupResized(g) => push(Span::ZERO, Event::Ec2(ec2::Event::Reconcile(g))),
        Change::ZoneChanged(z, down) => {
            push(Span::ZERO, Event::Ec2(ec2::Event::ZoneChanged(z, down)))
        }
        Change::StockoutChanged(fault, on) => {
            push(Span::ZERO, Event::Ec2(ec2::Event::Stockout(fault, on)));
        }
        Change::MemberFails(etcd, index, ms) => {
            let event = control_plane::Event::MemberDown(etcd, index, ms);
            push(Span::ZERO, Event::ControlPlane(event));
        }
        Change::RequestRefused(client, request) => {
            refused(client, request, world, model, push);
        }
        // Facts that only observers read, or that the writer itself follows up.
        _ => {}
    }
}

fn is_trace(p: PodId, world: &World, model: &Model) -> bool {
    world.api.pods.get(p).is_some_and(|pod| model.templates[pod.template].trace)
}

/// How long a pod of a trace runs.
fn trace_duration(p: PodId, world: &World, model: &Model) -> Option<Span> {
    let pod = world.api.pods.get(p).filter(|pod| model.templates[pod.template].trace)?;
    let trace = model.trace.as_ref()?;
    trace.pods.get(pod.ordinal as usize).map(|t| t.duration)
}

/// Pods of a trace have no controller that looks after them.
fn has_controller(set: Id<Set>, world: &World, model: &Model) -> bool {
    !model.templates[world.api.sets[set].template].trace
}

/// What Cluster Autoscaler watches, if there is one.
fn fan_out_autoscaler(
    change: Change,
    world: &World,
    watch: Span,
    push: &mut impl FnMut(Span, Event),
) {
    use cluster_autoscaler::Event as Notice;
    let group_of = |i| world.cloud.instances[i].group;
    let notice = match change {
        Change::PodUnschedulable(p) => Notice::PodUnschedulable(p),
        Change::PodBound(p) => Notice::PodBound(p),
        Change::PodResized(p) => Notice::PodResized(p),
        Change::PodDeleting(p, _) => Notice::PodTerminating(p),
        Change::PodSucceeded(p) | Change::PodFailed(p) | Change::PodDeleted(p) => {
            Notice::PodGone(p)
        }
        Change::NodeRegistered(n)
        | Change::NodeConditionChanged(n)
        | Change::NodeTainted(n, _, _)
        | Change::NodeDeleted(n) => Notice::NodeChanged(n),
        Change::GroupResized(g) => Notice::GroupChanged(g),
        Change::InstanceRequested(i) | Change::InstanceTerminated(i) => {
            Notice::GroupChanged(group_of(i))
        }
        Change::LaunchRefused(g, _) => Notice::LaunchRefused(g),
        _ => return,
    };
    push(watch, Event::ClusterAutoscaler(notice));
}

fn sync_set_of(
    p: PodId,
    world: &World,
    model: &Model,
    delay: Span,
    push: &mut impl FnMut(Span, Event),
) {
    if let Some(pod) = world.api.pods.get(p).filter(|pod| has_controller(pod.set, world, model)) {
        push(delay, Event::Workloads(workloads::Event::SyncSet(pod.set)));
    }
}

fn endpoints_of(p: PodId, world: &World, model: &Model, push: &mut impl FnMut(Span, Event)) {
    let Some(pod) = world.api.pods.get(p) else { return };
    for &service in &model.templates[pod.template].services {
        let delay = model.settings.endpoint_propagation;
        push(delay, Event::Traffic(traffic::Event::EndpointChanged(service, p)));
    }
}

/// Who asked looks again after a while; nothing is repeated blindly.
fn refused(
    client: Client,
    request: Request,
    world: &World,
    model: &Model,
    push: &mut impl FnMut(Span, Event),
) {
    let retry = model.settings.request_retry;
    match request {
        Request::CreatePod { set, ordinal, .. } => {
            if has_controller(set, world, model) {
                push(Span::ZERO, Event::Workloads(workloads::Event::Refused(set)));
            } else {
                push(retry, Event::Workloads(workloads::Event::TracePodFailed(ordinal)));
            }
        }
        Request::ScaleSet { set, .. } | Request::ReviveSet { set } | Request::DeleteSet { set } => {
            let workload = world.api.sets[set].workload;
            push(retry, Event::Workloads(workloads::Event::WorkloadFailed(workload)));
        }
        Request::CompleteUpdate { set } => {
            push(retry, Event::Workloads(workloads::Event::SyncSet(set)));
        }
        Request::Step { step } => push(retry, Event::User(user::Event::Step(step))),
        Request::DeletePod { pod, .. } => match client {
            Client::Scheduler => push(retry, Event::Scheduler(scheduler::Event::Retry(pod))),
            Client::NodeLifecycle => {
                push(retry, Event::NodeLifecycle(node_lifecycle::Event::RetryPod(pod)));
            }
            _ => push(retry, Event::Workloads(workloads::Event::DeleteFailed(pod))),
        },
        Request::EvictPod { pod, .. } => match client {
            Client::User => push(retry, Event::User(user::Event::Evict(pod))),
            Client::NodeGroup => {
                push(retry, Event::NodeGroups(node_groups::Event::Evict(pod)));
            }
            _ => {}
        },
        Request::RemovePod { pod } => match client {
            Client::NodeLifecycle => {
                push(retry, Event::NodeLifecycle(node_lifecycle::Event::RetryPod(pod)));
            }
            _ => push(retry, Event::Kubelet(kubelet::Event::ReportGone(pod))),
        },
        Request::Bind { pod, .. } if client == Client::Fargate => {
            push(retry, Event::Fargate(fargate::Event::PodAdded(pod)));
        }
        Request::Bind { pod, .. } => {
            push(retry, Event::Scheduler(scheduler::Event::BindFailed(pod)))
        }
        Request::Nominate { pod, .. } => {
            push(retry, Event::Scheduler(scheduler::Event::Retry(pod)))
        }
        Request::Report { pod, .. } if client == Client::NodeLifecycle => {
            push(retry, Event::NodeLifecycle(node_lifecycle::Event::RetryPod(pod)));
        }
        Request::Report { pod, report } => {
            push(retry, Event::Kubelet(kubelet::Event::Report(pod, report)));
        }
        Request::PatchHpa { patch, .. } => push(retry, Event::Hpa(hpa::Event::Patch(patch))),
        Request::ScaleWorkload { .. }
        | Request::RecommendVpa { .. }
        | Request::ResizePod { .. } => {}
        Request::Resized { pod } => push(retry, Event::Kubelet(kubelet::Event::Resize(pod))),
        Request::CreateSet { workload, .. } | Request::FinishJob { job: workload, .. } => {
            push(retry, Event::Workloads(workloads::Event::WorkloadFailed(workload)));
        }
        Request::CreateJob { cron } => {
            push(retry, Event::Workloads(workloads::Event::CronFailed(cron)))
        }
        Request::RegisterNode { instance } if client == Client::Fargate => {
            push(retry, Event::Fargate(fargate::Event::Register(instance)));
        }
        Request::RegisterNode { instance } => {
            push(retry, Event::Ec2(ec2::Event::Register(instance)));
        }
        // Reported again with the next change.
        Request::ReportImages { .. } => {}
        Request::SetNodeCondition { node, .. } => {
            push(retry, Event::NodeLifecycle(node_lifecycle::Event::RetryNode(node)));
        }
        Request::TaintNode { node, .. } if client == Client::ClusterAutoscaler => {
            let event = cluster_autoscaler::Event::TaintRefused(node);
            push(retry, Event::ClusterAutoscaler(event));
        }
        Request::TaintNode { node, .. } | Request::DeleteNode { node } => {
            push(retry, Event::NodeLifecycle(node_lifecycle::Event::RetryNode(node)));
        }
    }
}

/// A stable identity of a request, for the draw of its latency.
pub(super) fn request_key(world: &World, request: &Request) -> u64 {
    let pod = |p: PodId| world.api.pods.get(p).map_or(0, |pod| pod.key);
    match *request {
        Request::CreatePod { set, ordinal, .. } => {
            draws::key(&[1, u64::from(set.raw()), u64::from(ordinal)])
        }
        Request::DeletePod { pod: p, .. } => draws::key(&[2, pod(p)]),
        Request::EvictPod { pod: p, .. } => draws::key(&[3, pod(p)]),
        Request::RemovePod { pod: p } => draws::key(&[4, pod(p)]),
        Request::Bind { pod: p, .. } => draws::key(&[5, pod(p)]),
        Request::Nominate { pod: p, .. } => draws::key(&[6, pod(p)]),
        Request::Report { pod: p, report } => draws::key(&[7, pod(p), report as u64]),
        Request::ScaleWorkload { workload, replicas, .. } => {
            draws::key(&[8, u64::from(workload.raw()), u64::from(replicas)])
        }
        Request::CreateSet { workload, .. } => draws::key(&[9, u64::from(workload.raw())]),
        Request::ScaleSet { set, desired, .. } => {
            draws::key(&[10, u64::from(set.raw()), u64::from(desired)])
        }
        Request::RegisterNode { instance } => {
            draws::key(&[11, world.cloud.instances[instance].key])
        }
        Request::SetNodeCondition { node, condition } => {
            draws::key(&[12, u64::from(node.raw()), condition as u64])
        }
        Request::TaintNode { node, taint, on } => {
            draws::key(&[13, u64::from(node.raw()), taint as u64, u64::from(on)])
        }
        Request::DeleteNode { node } => draws::key(&[14, u64::from(node.raw())]),
        Request::CreateJob { cron } => draws::key(&[15, u64::from(cron.raw())]),
        Request::FinishJob { job, .. } => draws::key(&[16, u64::from(job.raw())]),
        Request::PatchHpa { hpa, patch, .. } => {
            draws::key(&[25, u64::from(hpa.raw()), u64::from(patch)])
        }
        Request::RecommendVpa { vpa, targets } => {
            draws::key(&[22, u64::from(vpa.raw()), u64::from(targets.raw())])
        }
        Request::ResizePod { pod: p, shape } => draws::key(&[23, pod(p), u64::from(shape.raw())]),
        Request::Resized { pod: p } => draws::key(&[24, pod(p)]),
        Request::ReportImages { node } => draws::key(&[21, u64::from(node.raw())]),
        Request::ReviveSet { set } => draws::key(&[17, u64::from(set.raw())]),
        Request::DeleteSet { set } => draws::key(&[18, u64::from(set.raw())]),
        Request::CompleteUpdate { set } => draws::key(&[19, u64::from(set.raw())]),
        Request::Step { step } => draws::key(&[20, u64::from(step)]),
    }
}
