//! Ends of NodeClaims that no simulation precedes: expiration, time-outs, repair.
//!
//! Upstream: karpenter pkg/controllers/nodeclaim (expiration, lifecycle), node/health and
//! node/termination; karpenter-provider-aws pkg/cache.

use crate::units::{SimTime, Span};

/// Time a launch may take.
pub const LAUNCH_TIMEOUT: Span = Span::from_secs(300);
/// Time a launched NodeClaim may take to register.
pub const REGISTRATION_TIMEOUT: Span = Span::from_secs(900);
/// How long an offering without capacity is avoided.
pub const UNAVAILABLE_OFFERING_TTL: Span = Span::from_secs(180);
/// Default `expireAfter`.
pub const DEFAULT_EXPIRE_AFTER: Span = Span::from_secs(720 * 3600);

/// When a NodeClaim expires; none is Never.
#[must_use]
pub fn expires_at(created: SimTime, expire_after: Option<Span>) -> Option<SimTime> {
    expire_after.map(|life| created + life)
}

/// Time after which a disruption command gives up waiting for its replacements.
#[must_use]
pub fn command_timeout(node_claims: u64) -> Span {
    let scaled = Span::from_millis(80) * node_claims;
    scaled.clamp(Span::from_secs(600), Span::from_secs(3600))
}

/// Whether node repair may act in a NodePool: not beyond 20 % unhealthy nodes, rounded up.
#[must_use]
pub const fn repair_allowed(unhealthy: u64, total: u64) -> bool {
    unhealthy <= total.div_ceil(5)
}

/// Order in which a terminating node's pods are evicted; a group waits for the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvictionGroup {
    /// Ordinary pods.
    NonCritical,
    /// DaemonSet pods.
    NonCriticalDaemonSet,
    /// System-critical pods.
    Critical,
    /// System-critical DaemonSet pods.
    CriticalDaemonSet,
}

impl EvictionGroup {
    /// Group of a pod.
    #[must_use]
    pub fn new(priority_class: Option<&str>, daemon_set: bool) -> Self {
        let critical =
            matches!(priority_class, Some("system-cluster-critical" | "system-node-critical"));
        match (critical, daemon_set) {
            (false, false) => Self::NonCritical,
            (false, true) => Self::NonCriticalDaemonSet,
            (true, false) => Self::Critical,
            (true, true) => Self::CriticalDaemonSet,
        }
    }
}

/// Whether a pod's `karpenter.sh/do-not-disrupt` annotation still holds: `true`, or a duration
/// counted from the pod's start.
#[must_use]
pub fn do_not_disrupt(annotation: Option<&str>, started: SimTime, now: SimTime) -> bool {
    match annotation {
        Some("true") => true,
        Some(text) => text.parse::<Span>().is_ok_and(|span| now < started + span),
        None => false,
    }
}
