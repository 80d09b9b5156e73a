//! KEDA's operator: polls the triggers of each ScaledObject and moves its target between zero (or
//! idle) and the minimum.

use super::{Event, HpaController, wake};
use crate::engine::Cx;
use crate::policy::hpa::{ScaledObjectView, keda_poll};
use crate::units::{Id, SimTime};
use crate::world::model::{ScaledObjectModel, TriggerKind};
use crate::world::{Change, Client, Request};

/// What the operator remembers of a ScaledObject.
#[derive(Clone, Debug, Default)]
pub(super) struct Poller {
    /// Last poll that found a trigger active.
    last_active: Option<SimTime>,
    active: bool,
}

impl HpaController {
    pub(super) fn poll(&mut self, id: Id<ScaledObjectModel>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let object = &cx.model().scaled_objects[id];
        cx.after(object.rules.polling_interval, wake(Event::Poll(id)));
        let found = cx.api().workloads.iter().find(|(_, w)| w.model == object.target);
        let Some((workload, row)) = found.filter(|_| cx.cloud().api_available()) else { return };
        let active = object.triggers.iter().any(|t| match t.kind {
            TriggerKind::Metric(metric) => {
                self.adapter.value(metric, cx).is_some_and(|value| value > t.activation)
            }
            // CPU and memory neither wake a target nor keep it awake.
            TriggerKind::Resource => false,
        });
        let poller = &mut self.pollers[id.index()];
        if active {
            poller.last_active = Some(now);
        }
        let view = ScaledObjectView {
            now,
            replicas: row.replicas as i32,
            active,
            last_active: poller.last_active,
            created: SimTime::ZERO,
        };
        let wanted = keda_poll(&object.rules, &view);
        if core::mem::replace(&mut poller.active, active) != active {
            cx.emit(Change::TriggersChanged(id, active));
        }
        if let Some(replicas) = wanted {
            let replicas = replicas.max(0) as u32;
            cx.submit(Client::Keda, Request::ScaleWorkload { workload, replicas, hpa: None });
        }
    }
}
