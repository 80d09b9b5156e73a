//! A fingerprint of a run: folded over every change, in order.

use crate::units::SimTime;
use crate::world::Change;

/// A 64-bit fold (multiply and rotate), the same on every platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Digest {
    /// Folds in one word.
    pub const fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
    }
    /// Folds in a change at its instant.
    pub fn change(&mut self, now: SimTime, change: &Change) {
        self.word(now.nanos());
        let (tag, a, b) = words(change);
        self.word(tag << 56 ^ a);
        self.word(b);
    }
    /// The fingerprint.
    #[must_use]
    pub const fn value(self) -> u64 {
        let x = self.0 ^ (self.0 >> 33);
        x.wrapping_mul(0xc4ce_b9fe_1a85_ec53)
    }
}

/// A change as numbers. Requests in refusals are left to their consequences.
fn words(change: &Change) -> (u64, u64, u64) {
    use crate::world::PodId;
    let pod = |p: PodId| u64::from(p.slot()) << 32 | u64::from(p.generation());
    match *change {
        Change::PodCreated(p) => (1, 0, pod(p)),
        Change::PodBound(p) => (2, 0, pod(p)),
        Change::PodUnschedulable(p) => (3, 0, pod(p)),
        Change::PodNominated(p) => (4, 0, pod(p)),
        Change::PodAddressed(p) => (5, 0, pod(p)),
        Change::PodAddressRefused(p) => (6, 0, pod(p)),
        Change::PodStarted(p) => (7, 0, pod(p)),
        Change::PodReady(p) => (8, 0, pod(p)),
        Change::PodUnready(p) => (9, 0, pod(p)),
        Change::PodRestarted(p) => (10, 0, pod(p)),
        Change::HpaPatched(h) => (120, 0, u64::from(h.raw())),
        Change::TriggersChanged(s, on) => (121, u64::from(on), u64::from(s.raw())),
        Change::PodOomKilled(p) => (50, 0, pod(p)),
        Change::PodResizing(p) => (51, 0, pod(p)),
        Change::PodResized(p) => (52, 0, pod(p)),
        Change::VpaRecommended(v) => (53, 0, u64::from(v.raw())),
        Change::PodSucceeded(p) => (11, 0, pod(p)),
        Change::PodFailed(p) => (12, 0, pod(p)),
        Change::PodDeleting(p, r) => (13, r as u64, pod(p)),
        Change::EvictionRefused(p, b) => (14, u64::from(b.raw()), pod(p)),
        Change::PodDeleted(p) => (15, 0, pod(p)),
        Change::PodStopped(p) => (16, 0, pod(p)),
        Change::WorkloadScaled(w, h) => {
            (17, h.map_or(0, |h| u64::from(h.raw()) + 1), u64::from(w.raw()))
        }
        Change::WorkloadCreated(w) => (18, 0, u64::from(w.raw())),
        Change::JobFinished(w, ok) => (19, u64::from(ok), u64::from(w.raw())),
        Change::SetScaled(s) => (20, 0, u64::from(s.raw())),
        Change::HpaDecided(h) => (21, 0, u64::from(h.raw())),
        Change::NodeRegistered(n) => (22, 0, u64::from(n.raw())),
        Change::NodeConditionChanged(n) => (23, 0, u64::from(n.raw())),
        Change::NodeTainted(n, t, on) => (24, (t as u64) << 1 | u64::from(on), u64::from(n.raw())),
        Change::NodeDeleted(n) => (25, 0, u64::from(n.raw())),
        Change::InstanceRequested(i) => (26, 0, u64::from(i.raw())),
        Change::InstanceRunning(i) => (27, 0, u64::from(i.raw())),
        Change::InstanceCrashed(i) => (28, 0, u64::from(i.raw())),
        Change::InstanceTerminated(i) => (29, 0, u64::from(i.raw())),
        Change::LaunchRefused(g, why) => (30, why as u64, u64::from(g.raw())),
        Change::GroupResized(g) => (31, 0, u64::from(g.raw())),
        Change::GroupSizeWanted(g, n) => (32, u64::from(n), u64::from(g.raw())),
        Change::TerminationWanted(i) => (33, 0, u64::from(i.raw())),
        Change::SubnetChanged(s) => (34, 0, u64::from(s.raw())),
        Change::SubnetExhausted(s) => (35, 0, u64::from(s.raw())),
        Change::EndpointsChanged(s) => (36, 0, u64::from(s.raw())),
        Change::PodUngated(p) => (122, 0, pod(p)),
        Change::WeightsChanged(s, step) => (123, u64::from(step), u64::from(s.raw())),
        Change::WorkloadDeleted(w, step) => (124, u64::from(step), u64::from(w.raw())),
        Change::LoadChanged(s) => (37, 0, u64::from(s.raw())),
        Change::ZoneChanged(z, down) => (38, u64::from(down), u64::from(z.raw())),
        Change::EtcdChanged(m, up) => (39, u64::from(up), u64::from(m)),
        Change::ApiServerChanged(m, up) => (40, u64::from(up), u64::from(m)),
        Change::ApiAvailability(up) => (41, 0, u64::from(up)),
        Change::RequestRefused(c, _) => (42, 0, c.index() as u64),
        Change::FaultBegan(i) => (43, 0, u64::from(i)),
        Change::VolumeCreated(p, i) => (48, u64::from(i), pod(p)),
        Change::ScaleUpDecided(g, n) => (70, u64::from(n), u64::from(g.raw())),
        Change::SandboxWanted(p) => (44, 0, pod(p)),
        Change::VolumesMounted(p) => (49, 0, pod(p)),
        Change::VolumesWanted(p) => (45, 0, pod(p)),
        Change::WorkloadChanged(w, step) => (60, u64::from(step), u64::from(w.raw())),
        Change::ProgressDeadlineExceeded(w) => (61, 0, u64::from(w.raw())),
        Change::RolloutComplete(w) => (62, 0, u64::from(w.raw())),
        Change::PodRefused(s) => (63, 0, u64::from(s.raw())),
        Change::NodeImagesChanged(n) => (64, 0, u64::from(n.raw())),
        Change::FleetWanted(f) => (71, 0, u64::from(f.raw())),
        Change::FleetAnswered(f) => (72, 0, u64::from(f.raw())),
        Change::SpotNotice(i) => (73, 0, u64::from(i.raw())),
        Change::InstanceGone(i) => (74, 0, u64::from(i.raw())),
        Change::NodeNetworkReady(n) => (75, 0, u64::from(n.raw())),
        Change::LoadBalancerRefused(b) => (76, 0, u64::from(b)),
        Change::LoadBalancerChanged(b) => (77, 0, u64::from(b)),
        Change::ApiThrottled(n) => (78, 0, u64::from(n.raw())),
        Change::NodePoolsChanged(step) => (83, 0, u64::from(step)),
        Change::StockoutChanged(f, on) => (84, u64::from(on), u64::from(f)),
        Change::NodeKept(n) => (79, 0, u64::from(n.raw())),
        Change::PodPromised(p) => (85, 0, pod(p)),
        Change::NodeClaimChanged(c, n) => (82, u64::from(n), u64::from(c)),
        Change::RebalanceRecommended(i) => (100, 0, u64::from(i.raw())),
        Change::SpotReclaimWanted(f) => (101, 0, u64::from(f)),
        Change::RetirementDue(i) => (102, 0, u64::from(i.raw())),
        Change::ScaleInChosen(i) => (103, 0, u64::from(i.raw())),
        Change::DrainEnded(i) => (104, 0, u64::from(i.raw())),
        Change::NodeGroupUpdateWanted(step) => (105, 0, u64::from(step)),
        Change::NodeGroupUpdateBegan(g) => (106, 0, u64::from(g.raw())),
        Change::NodeGroupSurgeWanted(g, n) => (107, u64::from(n), u64::from(g.raw())),
        Change::NodeGroupUpdateEnded(g, ok) => (108, u64::from(ok), u64::from(g.raw())),
        Change::ZoneRebalance(i) => (113, 0, u64::from(i.raw())),
        Change::FargatePodPending(p) => (109, 0, pod(p)),
        Change::FargateRefused(p) => (110, 0, pod(p)),
        Change::PodTriggeredScaleUp(p) => (111, 0, pod(p)),
        Change::PodTriggeredNothing(p) => (112, 0, pod(p)),
        Change::MemberFails(etcd, m, ms) => {
            (46, u64::from(etcd), u64::from(m) << 32 | u64::from(ms))
        }
    }
}
