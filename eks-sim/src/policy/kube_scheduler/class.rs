//! Classes: pods whose scheduling-relevant specification is equal share one lowered form.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/types.go` (PodInfo and what it
//! precomputes). Differences: upstream precomputes a pod at a time; plugins read the pod's
//! specification, the node and the cluster's state only, so equal specifications behave alike.

use super::labels::{Labels, Selector};
use super::node_selector::NodeTerm;
use super::resources::{
    CPU, MEMORY, RequestOptions, ResourceNames, Resources, pod_level, pod_requests,
};
use crate::k8s::{self, OwnerReference, PodSpec, StringMap};
use crate::units::{Symbol, Symbols};

/// Effect of a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// New pods stay away.
    NoSchedule,
    /// New pods rather stay away.
    PreferNoSchedule,
    /// Pods leave.
    NoExecute,
    /// Anything else (matches no rule).
    Other(Symbol),
}

impl Effect {
    fn new(text: &str, symbols: &mut Symbols) -> Self {
        match text {
            "NoSchedule" => Self::NoSchedule,
            "PreferNoSchedule" => Self::PreferNoSchedule,
            "NoExecute" => Self::NoExecute,
            other => Self::Other(symbols.intern(other)),
        }
    }
}

/// A taint of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Taint {
    /// Key.
    pub key: Symbol,
    /// Value.
    pub value: Symbol,
    /// Effect.
    pub effect: Effect,
}

impl Taint {
    /// Interns a taint.
    pub fn new(taint: &k8s::Taint, symbols: &mut Symbols) -> Self {
        Self {
            key: symbols.intern(&taint.key),
            value: symbols.intern(&taint.value),
            effect: Effect::new(&taint.effect, symbols),
        }
    }
}

/// A toleration of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// Key; `None` is every key.
    key: Option<Symbol>,
    /// Value for `Equal`; `None` is `Exists`.
    value: Option<Symbol>,
    /// Whether the operator is known.
    valid: bool,
    /// Effect; `None` is every effect.
    effect: Option<Effect>,
}

impl Toleration {
    fn new(t: &k8s::Toleration, symbols: &mut Symbols) -> Self {
        let equal = matches!(t.operator.as_str(), "" | "Equal");
        Self {
            key: (!t.key.is_empty()).then(|| symbols.intern(&t.key)),
            value: equal.then(|| symbols.intern(&t.value)),
            valid: equal || t.operator == "Exists",
            effect: (!t.effect.is_empty()).then(|| Effect::new(&t.effect, symbols)),
        }
    }
    /// Whether it tolerates `taint`.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.valid
            && self.effect.is_none_or(|e| e == taint.effect)
            && self.key.is_none_or(|k| k == taint.key)
            && self.value.is_none_or(|v| v == taint.value)
    }
    /// Whether it can tolerate PreferNoSchedule taints.
    #[must_use]
    pub fn is_for_prefer_no_schedule(&self) -> bool {
        matches!(self.effect, None | Some(Effect::PreferNoSchedule))
    }
}

/// A port taken on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Address; `None` is `0.0.0.0`.
    pub ip: Option<Symbol>,
    /// Protocol.
    pub protocol: Symbol,
    /// Port.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.port == other.port
            && (self.ip.is_none() || other.ip.is_none() || self.ip == other.ip)
    }
}

/// What a spread constraint does when it cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenUnsatisfiable {
    /// The node is filtered.
    DoNotSchedule,
    /// The node scores less.
    ScheduleAnyway,
}

/// A topology spread constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpreadConstraint {
    /// Allowed difference.
    pub max_skew: i32,
    /// Node label that makes a domain.
    pub key: Symbol,
    /// Filter or score.
    pub when: WhenUnsatisfiable,
    /// Pods that count (matchLabelKeys included).
    pub selector: Selector,
    /// Domains wanted.
    pub min_domains: i32,
    /// Whether nodes outside the pod's selector and affinity are left out.
    pub honor_affinity: bool,
    /// Whether nodes with taints the pod does not tolerate are left out.
    pub honor_taints: bool,
}

impl SpreadConstraint {
    /// Lowers a constraint of a pod with these labels.
    ///
    /// # Errors
    /// The selector's error.
    pub fn new(
        c: &k8s::TopologySpreadConstraint,
        labels: &StringMap,
        symbols: &mut Symbols,
    ) -> Result<Self, String> {
        let mut selector = Selector::new(c.label_selector.as_ref(), symbols)?;
        for key in &c.match_label_keys {
            if let Some(value) = labels.get(key) {
                let (key, value) = (symbols.intern(key), symbols.intern(value));
                selector.require(key, value);
            }
        }
        let soft = c.when_unsatisfiable == "ScheduleAnyway";
        Ok(Self {
            max_skew: c.max_skew,
            key: symbols.intern(&c.topology_key),
            when: if soft {
                WhenUnsatisfiable::ScheduleAnyway
            } else {
                WhenUnsatisfiable::DoNotSchedule
            },
            selector,
            min_domains: c.min_domains.unwrap_or(1),
            honor_affinity: c.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: c.node_taints_policy.as_deref() == Some("Honor"),
        })
    }
}

/// A term of pod affinity or anti-affinity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AffinityTerm {
    /// Pods it speaks of.
    pub selector: Selector,
    /// Their namespaces by name.
    pub namespaces: Vec<Symbol>,
    /// Their namespaces by label.
    pub namespace_selector: Selector,
    /// Node label that makes a domain.
    pub key: Symbol,
}

impl AffinityTerm {
    fn new(
        t: &k8s::PodAffinityTerm,
        namespace: Symbol,
        symbols: &mut Symbols,
    ) -> Result<Self, String> {
        let mut namespaces: Vec<_> = t.namespaces.iter().map(|n| symbols.intern(n)).collect();
        if namespaces.is_empty() && t.namespace_selector.is_none() {
            namespaces.push(namespace);
        }
        Ok(Self {
            selector: Selector::new(t.label_selector.as_ref(), symbols)?,
            namespaces,
            namespace_selector: Selector::new(t.namespace_selector.as_ref(), symbols)?,
            key: symbols.intern(&t.topology_key),
        })
    }
    /// Whether it speaks of pods with these labels in a namespace with these labels.
    #[must_use]
    pub fn matches(&self, namespace: Symbol, labels: &Labels, namespace_labels: &Labels) -> bool {
        (self.namespaces.contains(&namespace) || self.namespace_selector.matches(namespace_labels))
            && self.selector.matches(labels)
    }
}

/// The pod-affinity terms of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodTerms {
    /// Required affinity.
    pub affinity: Vec<AffinityTerm>,
    /// Required anti-affinity.
    pub anti_affinity: Vec<AffinityTerm>,
    /// Preferred affinity with weights.
    pub preferred: Vec<(i64, AffinityTerm)>,
    /// Preferred anti-affinity with weights.
    pub preferred_anti: Vec<(i64, AffinityTerm)>,
}

impl PodTerms {
    fn new(affinity: &k8s::Affinity, ns: Symbol, symbols: &mut Symbols) -> Result<Self, String> {
        let (required, preferred) =
            terms(affinity.pod_affinity.as_ref(), ns, symbols, "requiredAffinityTerms")?;
        let (required_anti, preferred_anti) =
            terms(affinity.pod_anti_affinity.as_ref(), ns, symbols, "requiredAntiAffinityTerms")?;
        Ok(Self { affinity: required, anti_affinity: required_anti, preferred, preferred_anti })
    }
    /// Whether there is no term at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.affinity.is_empty()
            && self.anti_affinity.is_empty()
            && self.preferred.is_empty()
            && self.preferred_anti.is_empty()
    }
}

type Terms = (Vec<AffinityTerm>, Vec<(i64, AffinityTerm)>);

fn terms(
    affinity: Option<&k8s::PodAffinity>,
    ns: Symbol,
    symbols: &mut Symbols,
    what: &str,
) -> Result<Terms, String> {
    let Some(a) = affinity else { return Ok(Terms::default()) };
    let mut required = Vec::new();
    for t in &a.required_during_scheduling_ignored_during_execution {
        let term = AffinityTerm::new(t, ns, symbols);
        required.push(term.map_err(|e| format!("parsing pod: {what}: {e}"))?);
    }
    let mut preferred = Vec::new();
    for t in &a.preferred_during_scheduling_ignored_during_execution {
        let term = AffinityTerm::new(&t.pod_affinity_term, ns, symbols);
        let term = term.map_err(|e| format!("parsing pod: {what}: {e}"))?;
        preferred.push((i64::from(t.weight), term));
    }
    Ok((required, preferred))
}

/// The nodes a pod asks for by label and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeWishes {
    /// `nodeSelector`.
    pub selector: Selectors,
    /// Required terms, if there is a required affinity.
    pub required: Option<Vec<NodeTerm>>,
    /// Preferred terms with weights.
    pub preferred: Vec<(i64, NodeTerm)>,
}

/// Pairs a node must carry.
pub type Selectors = Vec<(Symbol, Symbol)>;

impl NodeWishes {
    fn new(spec: &PodSpec, symbols: &mut Symbols) -> Self {
        let pairs = spec.node_selector.iter();
        let selector = pairs.map(|(k, v)| (symbols.intern(k), symbols.intern(v))).collect();
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let (required, preferred) =
            affinity.map_or((None, Vec::new()), |a| lower_node_affinity(a, symbols));
        Self { selector, required, preferred }
    }
    /// Whether a node satisfies selector and required affinity.
    #[must_use]
    pub fn match_node(&self, name: Symbol, labels: &Labels, symbols: &Symbols) -> bool {
        self.selector.iter().all(|&(k, v)| labels.get(k) == Some(v))
            && self
                .required
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|t| t.matches(name, labels, symbols)))
    }
    /// Whether nothing is required.
    #[must_use]
    pub fn requires_nothing(&self) -> bool {
        self.selector.is_empty() && self.required.is_none()
    }
    /// Whether every alternative names its nodes.
    #[must_use]
    pub fn names_nodes(&self) -> bool {
        let named = |terms: &Vec<NodeTerm>| terms.iter().all(|t| t.named().is_some());
        self.required.as_ref().is_some_and(|terms| !terms.is_empty() && named(terms))
    }
}

/// Required and preferred terms of a node affinity.
pub fn lower_node_affinity(
    a: &k8s::NodeAffinity,
    symbols: &mut Symbols,
) -> (Option<Vec<NodeTerm>>, Vec<(i64, NodeTerm)>) {
    let required = a.required_during_scheduling_ignored_during_execution.as_ref();
    let required = required.map(|s| NodeTerm::all(s, symbols));
    let preferred = a.preferred_during_scheduling_ignored_during_execution.iter();
    let preferred = preferred
        .filter(|t| t.weight != 0)
        .map(|t| (i64::from(t.weight), NodeTerm::new(&t.preference, symbols)))
        .collect();
    (required, preferred)
}

/// A disk that upstream's in-tree drivers attach to one node at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Kind and identity; equal ones are the same disk.
    pub id: (u8, Vec<Symbol>),
    /// Whether the pod mounts it read-only and the kind allows read-only sharing.
    pub shared: bool,
}

/// A claim that a pod mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimUse {
    /// Name, in the pod's namespace.
    pub name: Symbol,
    /// Whether it is made for the pod (a generic ephemeral volume).
    pub ephemeral: bool,
}

/// Everything about a pod that a plugin may read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// Number of the profile that schedules it.
    pub profile: u8,
    /// Namespace.
    pub namespace: Symbol,
    /// Labels.
    pub labels: Labels,
    /// Kind and name of the controlling owner.
    pub owner: Option<(Symbol, Symbol)>,
    /// Priority.
    pub priority: i32,
    /// Whether `preemptionPolicy` is Never.
    pub never_preempts: bool,
    /// Node named at creation.
    pub node_name: Option<Symbol>,
    /// Request as an incoming pod.
    pub request: Resources,
    /// What it occupies once on a node.
    pub held: Resources,
    /// Non-zero request (cpu, memory) once on a node.
    pub held_non_zero: [i64; 2],
    /// What the resource strategies see for the incoming pod (defaults in, pod-level left out).
    pub score_request: Resources,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Nodes asked for.
    pub nodes: NodeWishes,
    /// Host ports.
    pub ports: Vec<HostPort>,
    /// Images of init and normal containers, tags completed.
    pub images: Vec<Symbol>,
    /// Claims in its namespace, in volume order.
    pub claims: Vec<ClaimUse>,
    /// In-tree disks.
    pub disks: Vec<Disk>,
    /// Whether the pod has spread constraints of its own, and these.
    pub spread: Result<Vec<SpreadConstraint>, String>,
    /// Pod affinity, or why it cannot be read.
    pub terms: Result<PodTerms, String>,
}

impl Class {
    /// The pod-affinity terms; none if they cannot be read.
    #[must_use]
    pub fn pod_terms(&self) -> &PodTerms {
        static NONE: PodTerms = PodTerms {
            affinity: Vec::new(),
            anti_affinity: Vec::new(),
            preferred: Vec::new(),
            preferred_anti: Vec::new(),
        };
        self.terms.as_ref().unwrap_or(&NONE)
    }
    /// The class of a pod that must go to one node besides, as the DaemonSet controller has it: the
    /// name replaces the fields of every required term.
    #[must_use]
    pub fn pinned(&self, node: Symbol) -> Self {
        let mut out = self.clone();
        let terms = out.nodes.required.get_or_insert_default();
        if terms.is_empty() {
            terms.push(NodeTerm::default());
        }
        terms.iter_mut().for_each(|t| t.pin(node));
        out
    }
    /// Whether some toleration tolerates `taint`.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|t| t.tolerates(taint))
    }
}

/// The parts of a pod that [`lower`] reads.
pub struct PodParts<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Name; only generic ephemeral volumes need it.
    pub name: &'a str,
    /// Labels.
    pub labels: &'a StringMap,
    /// Controlling owner.
    pub owner: Option<&'a OwnerReference>,
    /// Specification.
    pub spec: &'a PodSpec,
    /// Status, for in-place resizes.
    pub status: Option<&'a k8s::PodStatus>,
    /// Number of the profile.
    pub profile: u8,
}

/// Lowers a pod to its class.
pub fn lower(pod: &PodParts<'_>, symbols: &mut Symbols, names: &mut ResourceNames) -> Class {
    let spec = pod.spec;
    let namespace = symbols.intern(pod.namespace);
    let constraints = spec.topology_spread_constraints.iter();
    let spread = constraints.map(|c| SpreadConstraint::new(c, pod.labels, symbols)).collect();
    let terms = match &spec.affinity {
        Some(a) => PodTerms::new(a, namespace, symbols),
        None => Ok(PodTerms::default()),
    };
    let (request, held, held_non_zero, score_request) = requests(pod, names);
    Class {
        profile: pod.profile,
        namespace,
        labels: Labels::new(pod.labels, symbols),
        owner: pod.owner.map(|o| (symbols.intern(&o.kind), symbols.intern(&o.name))),
        priority: spec.priority.unwrap_or(0),
        never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
        node_name: spec.node_name.as_deref().filter(|n| !n.is_empty()).map(|n| symbols.intern(n)),
        request,
        held,
        held_non_zero,
        score_request,
        tolerations: spec.tolerations.iter().map(|t| Toleration::new(t, symbols)).collect(),
        nodes: NodeWishes::new(spec, symbols),
        ports: host_ports(spec, symbols),
        images: images(spec, symbols),
        claims: claims(pod.name, spec, symbols),
        disks: disks(spec, symbols),
        spread,
        terms,
    }
}

fn requests(
    pod: &PodParts<'_>,
    names: &mut ResourceNames,
) -> (Resources, Resources, [i64; 2], Resources) {
    let plain = RequestOptions::default();
    let incoming = pod_requests(pod.spec, plain);
    let placed = RequestOptions { status: pod.status, ..plain };
    let held_list =
        if pod.status.is_some() { pod_requests(pod.spec, placed) } else { incoming.clone() };
    let mut non_zero = placed.non_zero();
    if pod_level(pod.spec).next().is_some() {
        non_zero.default_cpu = non_zero.default_cpu.filter(|_| !held_list.contains_key("cpu"));
        non_zero.default_memory =
            non_zero.default_memory.filter(|_| !held_list.contains_key("memory"));
    }
    let with_defaults = names.resources(&pod_requests(pod.spec, non_zero));
    let score = RequestOptions { skip_pod_level: true, ..plain.non_zero() };
    (
        names.resources(&incoming),
        names.resources(&held_list),
        [with_defaults.get(CPU), with_defaults.get(MEMORY)],
        names.resources(&pod_requests(pod.spec, score)),
    )
}

fn host_ports(spec: &PodSpec, symbols: &mut Symbols) -> Vec<HostPort> {
    let sidecars =
        spec.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    let wanted = ports.filter(|p| p.host_port > 0);
    wanted
        .map(|p| HostPort {
            ip: p
                .host_ip
                .as_deref()
                .filter(|ip| !ip.is_empty() && *ip != "0.0.0.0")
                .map(|ip| symbols.intern(ip)),
            protocol: symbols
                .intern(p.protocol.as_deref().filter(|p| !p.is_empty()).unwrap_or("TCP")),
            port: p.host_port,
        })
        .collect()
}

fn images(spec: &PodSpec, symbols: &mut Symbols) -> Vec<Symbol> {
    let all = spec.init_containers.iter().chain(&spec.containers);
    all.map(|c| symbols.intern(&normalized_image_name(c.image.as_deref().unwrap_or("")))).collect()
}

/// The name with `:latest` when it has no tag.
#[must_use]
pub fn normalized_image_name(name: &str) -> String {
    let position = |c| name.rfind(c).map_or(-1, |i| i64::try_from(i).unwrap_or(i64::MAX));
    if position(':') <= position('/') { format!("{name}:latest") } else { name.to_owned() }
}

fn claims(pod: &str, spec: &PodSpec, symbols: &mut Symbols) -> Vec<ClaimUse> {
    let mut claim = |v: &k8s::Volume| match (&v.persistent_volume_claim, &v.ephemeral) {
        (Some(claim), _) => {
            Some(ClaimUse { name: symbols.intern(&claim.claim_name), ephemeral: false })
        }
        (None, Some(_)) => {
            let name = format!("{pod}-{}", v.name);
            Some(ClaimUse { name: symbols.intern(&name), ephemeral: true })
        }
        (None, None) => None,
    };
    spec.volumes.iter().filter_map(&mut claim).collect()
}

fn disks(spec: &PodSpec, symbols: &mut Symbols) -> Vec<Disk> {
    let mut out = Vec::new();
    for v in &spec.volumes {
        let mut push = |kind: u8, parts: &[&str], shared: bool| {
            let id = (kind, parts.iter().map(|p| symbols.intern(p)).collect());
            out.push(Disk { id, shared });
        };
        if let Some(d) = &v.gce_persistent_disk {
            push(0, &[&d.pd_name], d.read_only);
        }
        if let Some(d) = &v.aws_elastic_block_store {
            push(1, &[&d.volume_id], false);
        }
        if let Some(d) = &v.iscsi {
            push(2, &[&d.iqn], d.read_only);
        }
        if let Some(d) = &v.rbd {
            for monitor in &d.monitors {
                push(3, &[monitor, &d.pool, &d.image], d.read_only);
            }
        }
    }
    out
}
