//! EBS volumes of pods: created in the zone of the pod's node, attached, mounted.
//!
//! A volume belongs to its claim and stays in its zone: a later pod of the same claim can only run
//! there (the scheduler sees this through the claim's volume). A volume that is attached to a node
//! that died is detached by force after six minutes.

use crate::engine::{self, Cx, Stream};
use crate::units::{Id, SimTime, Span};
use crate::world::cloud::Volume;
use crate::world::{Change, Node, PodId};

/// What can happen to volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pod on its node needs its volumes.
    Attach(PodId),
    /// A pod is gone: its volumes are detached.
    Detach(PodId),
    /// A pod's volumes are mounted.
    Mounted(PodId),
    /// Look again whether the pod's volumes are free.
    Retry(PodId),
}

/// The EBS CSI driver. Its state is in [`crate::world::Cloud`].
#[derive(Clone, Debug, Default)]
pub struct Volumes {}

impl Volumes {
    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Attach(p) | Event::Retry(p) => attach(p, cx),
            Event::Mounted(p) => cx.emit(Change::VolumesMounted(p)),
            Event::Detach(p) => detach(p, cx),
        }
    }
}

/// The pod's claims: position in its template, and the key of the volume.
fn claims_of(pod: PodId, cx: &Cx<'_>) -> Vec<(usize, u64)> {
    cx.api().volumes_of(pod, cx.model())
}

fn attach(pod: PodId, cx: &mut Cx<'_>) {
    let now = cx.now();
    let Some(p) = cx.api().pods.get(pod) else { return };
    let (template, Some(node)) = (p.template, p.node) else { return };
    if p.is_terminating() {
        return;
    }
    let model = cx.model();
    let settings = &model.settings;
    let mut ready = now;
    for (i, key) in claims_of(pod, cx) {
        let claim = &model.templates[template].claims[i];
        let draw = engine::draws::key(&[key, now.nanos()]);
        let mut at = now;
        match cx.cloud().volumes.get(&key).copied() {
            None => {
                at += cx.sample(&settings.ebs[0], Stream::VolumeCreate, draw);
                let zone = cx.cloud().instances[cx.api().nodes[node].instance].zone;
                let volume = Volume {
                    zone,
                    gib: claim.gib,
                    rate: claim.rate,
                    created: now,
                    attached: Some(node),
                    free_at: now,
                };
                cx.cloud_mut().volumes.insert(key, volume);
                cx.emit(Change::VolumeCreated(pod, i as u32));
            }
            Some(volume) => {
                if let Some(holder) = volume.attached.filter(|&n| n != node && claim.zonal) {
                    let free = release_time(holder, volume.free_at, cx);
                    if free > now {
                        cx.at(free, engine::Event::Volumes(Event::Retry(pod)));
                        return;
                    }
                }
                at = at.max(volume.free_at);
                if let Some(v) = cx.cloud_mut().volumes.get_mut(&key) {
                    v.attached = Some(node);
                }
            }
        }
        at += cx.sample(&settings.ebs[1], Stream::VolumeAttach, draw);
        at += cx.sample(&settings.ebs[3], Stream::VolumeAttach, draw ^ 1);
        ready = ready.max(at);
    }
    cx.at(ready, engine::Event::Volumes(Event::Mounted(pod)));
}

/// When a volume held by `holder` comes free: now, or six minutes after the holder died.
fn release_time(holder: Id<Node>, free_at: SimTime, cx: &Cx<'_>) -> SimTime {
    let instance = &cx.cloud().instances[cx.api().nodes[holder].instance];
    if instance.alive {
        return free_at.max(cx.now() + Span::from_secs(1));
    }
    let node = &cx.api().nodes[holder];
    let lost = if node.exists() { instance.crashed } else { node.deleted };
    let clean = !node.exists() && instance.terminated != SimTime::NEVER;
    if clean { cx.now() } else { lost + cx.model().settings.force_detach }
}

fn detach(pod: PodId, cx: &mut Cx<'_>) {
    let now = cx.now();
    for (_, key) in claims_of(pod, cx) {
        let draw = engine::draws::key(&[key, now.nanos(), 2]);
        let wait = cx.sample(&cx.model().settings.ebs[2], Stream::VolumeDetach, draw);
        if let Some(v) = cx.cloud_mut().volumes.get_mut(&key) {
            v.free_at = now + wait;
            v.attached = None;
        }
    }
}
