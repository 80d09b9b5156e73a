//! Queueing hints: which change of the cluster may help which waiting pod.
//!
//! Upstream: kubernetes v1.34.1, each plugin's `EventsToRegister` and `isSchedulableAfter…`.
//! Differences: a class is judged instead of a pod; changes of storage objects other than claims
//! help every pod with a claim.

use super::class::{Class, WhenUnsatisfiable};
use super::framework::{Cx, PreState, filter_node, node_parts};
use super::node_info::NodeStatic;
use super::plugins::inter_pod_affinity::{expand, own_matches};
use super::plugins::{pod_topology_spread, taint_toleration};
use super::profile::{Plugin, PluginSet};
use super::{Cache, ClassId, NodeKey};
use crate::units::Symbol;
use std::sync::Arc;

/// A change that may help waiting pods.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A pod was put on a node.
    PodAdded {
        /// Its class.
        class: ClassId,
    },
    /// A pod is gone.
    PodDeleted {
        /// Its class.
        class: ClassId,
        /// Its node, if it had one.
        node: Option<NodeKey>,
        /// Whether it only had a nominated node or was assumed.
        nominated: bool,
    },
    /// A pod on a node changed labels or requests.
    PodUpdated {
        /// Its class before.
        old: ClassId,
        /// Its class now.
        new: ClassId,
    },
    /// The waiting pod itself changed.
    OwnUpdate {
        /// Its class before.
        old: ClassId,
    },
    /// A node is new.
    NodeAdded(NodeKey),
    /// A node changed.
    NodeUpdated {
        /// The node.
        node: NodeKey,
        /// What it was before.
        old: Arc<NodeStatic>,
    },
    /// A node is gone.
    NodeDeleted(Arc<NodeStatic>),
    /// A claim is new or changed.
    ClaimChanged {
        /// Its namespace.
        namespace: Symbol,
        /// Its name.
        name: Symbol,
    },
    /// A volume, storage class, CSI node or attachment changed.
    StorageChanged,
    /// The flush, or forced activation: helps everyone.
    Wildcard,
}

/// Whether `event` may help a waiting pod of this class that `rejectors` refused.
#[must_use]
pub fn is_worth_requeueing(
    cache: &Cache,
    id: ClassId,
    rejectors: PluginSet,
    event: &ClusterEvent,
) -> bool {
    if rejectors.is_empty() || matches!(event, ClusterEvent::Wildcard) {
        return true;
    }
    let class = cache.class_info(id);
    if let ClusterEvent::PodDeleted { class: deleted, nominated: true, .. } = event
        && class.priority > cache.class_info(*deleted).priority
    {
        return false;
    }
    let cx = Cx { cache, id, class, args: cache.profile_of(class) };
    rejectors.iter().any(|plugin| helps(&cx, plugin, event))
}

/// What stood in the place of the hints before v1.32 (SchedulerQueueingHints off): an event that
/// one of the rejectors registered moves the pod, unless it is about a node that a look at its
/// resources, ports, names, affinity and taints rules out (`pkg/scheduler/eventhandlers.go` of
/// v1.31, preCheckForNode).
#[must_use]
pub fn is_registered(
    cache: &Cache,
    id: ClassId,
    rejectors: PluginSet,
    event: &ClusterEvent,
) -> bool {
    if rejectors.is_empty() || matches!(event, ClusterEvent::Wildcard) {
        return true;
    }
    let class = cache.class_info(id);
    let cx = Cx { cache, id, class, args: cache.profile_of(class) };
    rejectors.iter().any(|plugin| registers(plugin, event)) && passes_precheck(&cx, event)
}

fn registers(plugin: Plugin, event: &ClusterEvent) -> bool {
    use ClusterEvent as E;
    let new_node = matches!(event, E::NodeAdded(_));
    let node = new_node || matches!(event, E::NodeUpdated { .. });
    let gone = matches!(event, E::PodDeleted { .. });
    let pod = gone || matches!(event, E::PodAdded { .. } | E::PodUpdated { .. });
    let own = matches!(event, E::OwnUpdate { .. });
    let storage = matches!(event, E::ClaimChanged { .. } | E::StorageChanged);
    match plugin {
        Plugin::NodeResourcesFit => gone || node || own,
        Plugin::NodeAffinity | Plugin::NodeUnschedulable | Plugin::TaintToleration => node || own,
        Plugin::NodeName => new_node,
        Plugin::NodePorts => gone || new_node,
        Plugin::PodTopologySpread => pod || node || own || matches!(event, E::NodeDeleted(_)),
        Plugin::InterPodAffinity => pod || node || own,
        Plugin::VolumeBinding | Plugin::VolumeZone => storage || node,
        Plugin::NodeVolumeLimits | Plugin::VolumeRestrictions => storage || new_node || gone,
        Plugin::DefaultPreemption => gone,
        Plugin::SchedulingGates => false,
        _ => true,
    }
}

fn passes_precheck(cx: &Cx<'_>, event: &ClusterEvent) -> bool {
    let (ClusterEvent::NodeAdded(node) | ClusterEvent::NodeUpdated { node, .. }) = event else {
        return true;
    };
    let Some((info, fixed)) = node_parts(cx.cache, *node) else { return false };
    let mut looked_at = PluginSet::default();
    for plugin in [
        Plugin::NodeUnschedulable,
        Plugin::NodeName,
        Plugin::TaintToleration,
        Plugin::NodeAffinity,
        Plugin::NodePorts,
        Plugin::NodeResourcesFit,
    ] {
        looked_at.insert(plugin);
    }
    let pre = PreState { skipped: PluginSet(!looked_at.0), ..PreState::default() };
    filter_node(cx, &pre, info, fixed).is_none()
}

fn helps(cx: &Cx<'_>, plugin: Plugin, event: &ClusterEvent) -> bool {
    match plugin {
        Plugin::NodeResourcesFit => resources(cx, event),
        Plugin::NodeAffinity => node_change(cx, event, |n| matches_node(cx, n)),
        Plugin::NodeUnschedulable => cordon(cx, event),
        Plugin::TaintToleration => taints(cx, event),
        Plugin::NodeName => matches!(event, ClusterEvent::NodeAdded(_)),
        Plugin::NodePorts => ports(cx, event),
        Plugin::PodTopologySpread => spread(cx, event),
        Plugin::InterPodAffinity => affinity(cx, event),
        Plugin::VolumeBinding | Plugin::VolumeZone => volume(cx, event, false),
        Plugin::NodeVolumeLimits | Plugin::VolumeRestrictions => volume(cx, event, true),
        // Preemption and gates never free a pod by events: other rejectors decide.
        Plugin::DefaultPreemption | Plugin::SchedulingGates => false,
        // A plugin without hints is helped by anything.
        _ => true,
    }
}

fn fixed<'a>(cx: &Cx<'a>, node: NodeKey) -> Option<&'a NodeStatic> {
    node_parts(cx.cache, node).map(|p| p.1)
}

/// Node added: it satisfies `good`; changed: it does now and did not before.
fn node_change(cx: &Cx<'_>, event: &ClusterEvent, good: impl Fn(&NodeStatic) -> bool) -> bool {
    match event {
        ClusterEvent::NodeAdded(n) => fixed(cx, *n).is_some_and(good),
        ClusterEvent::NodeUpdated { node, old } => !good(old) && fixed(cx, *node).is_some_and(good),
        _ => false,
    }
}

fn matches_node(cx: &Cx<'_>, node: &NodeStatic) -> bool {
    let symbols = cx.cache.symbols();
    let added = cx.args.added_required.as_ref();
    cx.class.nodes.match_node(node.name, &node.labels, symbols)
        && added
            .is_none_or(|terms| terms.iter().any(|t| t.matches(node.name, &node.labels, symbols)))
}

fn resources(cx: &Cx<'_>, event: &ClusterEvent) -> bool {
    let request = &cx.class.request;
    let holds = |n: &NodeStatic| {
        n.allowed_pods >= 1 && request.requested().all(|(id, r)| r <= n.allocatable.get(id))
    };
    match event {
        ClusterEvent::PodDeleted { node, nominated, .. } => node.is_some() || *nominated,
        ClusterEvent::PodUpdated { old, new } => {
            let (old, new) = (&cx.cache.class_info(*old).held, &cx.cache.class_info(*new).held);
            request.requested().any(|(id, _)| new.get(id) < old.get(id))
        }
        ClusterEvent::OwnUpdate { old } => {
            let old = &cx.cache.class_info(*old).request;
            old.requested().any(|(id, r)| request.get(id) < r)
        }
        ClusterEvent::NodeAdded(n) => fixed(cx, *n).is_some_and(holds),
        ClusterEvent::NodeUpdated { node, old } => fixed(cx, *node).is_some_and(|new| {
            let more = |(id, _)| new.allocatable.get(id) > old.allocatable.get(id);
            holds(new) && (new.allowed_pods > old.allowed_pods || request.requested().any(more))
        }),
        _ => false,
    }
}

fn cordon(cx: &Cx<'_>, event: &ClusterEvent) -> bool {
    let taint = cx.cache.unschedulable_taint();
    match event {
        ClusterEvent::OwnUpdate { old } => {
            cx.class.tolerates(taint) && !cx.cache.class_info(*old).tolerates(taint)
        }
        _ => node_change(cx, event, |n| !n.unschedulable),
    }
}

fn taints(cx: &Cx<'_>, event: &ClusterEvent) -> bool {
    match event {
        ClusterEvent::OwnUpdate { old } => {
            cx.cache.class_info(*old).tolerations != cx.class.tolerations
        }
        _ => node_change(cx, event, |n| taint_toleration::untolerated(cx.class, n).is_none()),
    }
}

fn ports(cx: &Cx<'_>, event: &ClusterEvent) -> bool {
    match event {
        ClusterEvent::NodeAdded(_) => true,
        ClusterEvent::PodDeleted { class, node, nominated } => {
            let theirs = &cx.cache.class_info(*class).ports;
            let conflict = |w: &super::class::HostPort| theirs.iter().any(|p| p.conflicts(w));
            (node.is_some() || *nominated) && cx.class.ports.iter().any(conflict)
        }
        _ => false,
    }
}

fn spread(cx: &Cx<'_>, event: &ClusterEvent) -> bool {
    let constraints = pod_topology_spread::constraints(cx, WhenUnsatisfiable::DoNotSchedule);
    let constraints = constraints.unwrap_or_default();
    let matches = |id: ClassId| {
        let other = cx.cache.class_info(id);
        other.namespace == cx.class.namespace
            && constraints.iter().any(|c| c.selector.matches(&other.labels))
    };
    let has_keys = |n: &NodeStatic| constraints.iter().all(|c| n.labels.get(c.key).is_some());
    match event {
        ClusterEvent::PodAdded { class } => matches(*class),
        ClusterEvent::PodDeleted { class, node, .. } => node.is_some() && matches(*class),
        ClusterEvent::PodUpdated { old, new } => {
            let per = |id: ClassId| {
                let other = cx.cache.class_info(id);
                let here = other.namespace == cx.class.namespace;
                let each = constraints.iter();
                each.map(move |c| here && c.selector.matches(&other.labels)).collect::<Vec<_>>()
            };
            per(*old) != per(*new)
        }
        ClusterEvent::OwnUpdate { old } => {
            let old = cx.cache.class_info(*old);
            old.tolerations != cx.class.tolerations || old.labels != cx.class.labels
        }
        ClusterEvent::NodeAdded(n) => fixed(cx, *n).is_some_and(has_keys),
        ClusterEvent::NodeDeleted(old) => has_keys(old),
        ClusterEvent::NodeUpdated { node, old } => fixed(cx, *node).is_some_and(|new| {
            let values = |n: &NodeStatic| {
                constraints.iter().map(|c| n.labels.get(c.key)).collect::<Vec<_>>()
            };
            let (before, now) = (has_keys(old), has_keys(new));
            before != now || (now && (values(old) != values(new) || old.taints != new.taints))
        }),
        _ => false,
    }
}

fn affinity(cx: &Cx<'_>, event: &ClusterEvent) -> bool {
    let terms = cx.class.pod_terms();
    let all = |terms: &[super::class::AffinityTerm], other: &Class| {
        !terms.is_empty() && terms.iter().all(|t| own_matches(&expand(cx, t), other))
    };
    let towards = |id: ClassId| all(&terms.affinity, cx.cache.class_info(id));
    let away = |id: ClassId| all(&terms.anti_affinity, cx.cache.class_info(id));
    match event {
        ClusterEvent::PodAdded { class } => towards(*class),
        ClusterEvent::PodDeleted { class, node, .. } => node.is_some() && away(*class),
        ClusterEvent::PodUpdated { old, new } => {
            (!towards(*old) && towards(*new)) || (away(*old) && !away(*new))
        }
        ClusterEvent::NodeAdded(n) => fixed(cx, *n).is_some_and(|n| {
            !terms.anti_affinity.is_empty()
                || terms.affinity.iter().any(|t| n.labels.get(t.key).is_some())
        }),
        ClusterEvent::NodeUpdated { node, old } => fixed(cx, *node).is_some_and(|new| {
            let gained = |t: &super::class::AffinityTerm| {
                let now = new.labels.get(t.key);
                now.is_some() && now != old.labels.get(t.key)
            };
            let lost = |t: &super::class::AffinityTerm| {
                let before = old.labels.get(t.key);
                before.is_some() && before != new.labels.get(t.key)
            };
            terms.affinity.iter().any(gained) || terms.anti_affinity.iter().any(lost)
        }),
        _ => false,
    }
}

/// `by_pods`: whether the deletion of a pod that shares a claim or disk, or holds volumes, helps.
fn volume(cx: &Cx<'_>, event: &ClusterEvent, by_pods: bool) -> bool {
    let class = cx.class;
    match event {
        ClusterEvent::ClaimChanged { namespace, name } => {
            *namespace == class.namespace && class.claims.iter().any(|c| c.name == *name)
        }
        ClusterEvent::StorageChanged => !class.claims.is_empty(),
        ClusterEvent::NodeAdded(_) => true,
        ClusterEvent::NodeUpdated { node, old } => {
            fixed(cx, *node).is_some_and(|new| new.labels != old.labels)
        }
        ClusterEvent::PodDeleted { class: other, node, .. } => {
            let other = cx.cache.class_info(*other);
            by_pods && node.is_some() && (!other.claims.is_empty() || !other.disks.is_empty())
        }
        _ => false,
    }
}
