//! Sizes of pods that differ from their template, as a VerticalPodAutoscaler sets them.
//!
//! A pod keeps its template; where its requests or limits differ it also refers to a shape.
//! Shapes are interned, so that all pods of one size share a scheduling class.

use super::model::Template;
use super::{Api, Model, Pod};
use crate::k8s::PodTemplateSpec;
use crate::policy::cluster_autoscaler::requests::pod_requests;
use crate::policy::vpa::Amounts;
use crate::units::{Bytes, Id, IdVec, MilliCpu, Quantity};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Requests and limits of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerShape {
    /// Requests.
    pub requests: Amounts,
    /// Limits.
    pub limits: Amounts,
}

/// Requests and limits of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodSize {
    /// Effective CPU request.
    pub request_cpu: MilliCpu,
    /// Effective memory request.
    pub request_memory: Bytes,
    /// CPU limit: the sum over containers, if all have one.
    pub limit_cpu: Option<MilliCpu>,
    /// Memory limit: the sum over containers, if all have one.
    pub limit_memory: Option<Bytes>,
}

/// A template with other requests and limits.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What it was derived from.
    pub template: Id<Template>,
    /// Of the containers, in the template's order.
    pub containers: Vec<ContainerShape>,
    /// Of the pod.
    pub size: PodSize,
    /// The template with these requests and limits.
    pub object: Arc<PodTemplateSpec>,
}

/// A template and the amounts of its containers.
type Key = (u32, Vec<[Option<i64>; 4]>);

/// All shapes of a run.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    rows: IdVec<Shape, Shape>,
    index: BTreeMap<Key, Id<Shape>>,
}

impl Shapes {
    /// A shape.
    #[must_use]
    pub fn get(&self, id: Id<Shape>) -> &Shape {
        &self.rows[id]
    }

    /// The shape of a template with these containers.
    pub fn intern(
        &mut self,
        template: Id<Template>,
        base: &Template,
        containers: &[ContainerShape],
    ) -> Id<Shape> {
        let amounts =
            |c: &ContainerShape| [c.requests.cpu, c.requests.memory, c.limits.cpu, c.limits.memory];
        let key = (template.raw(), containers.iter().map(amounts).collect());
        if let Some(&id) = self.index.get(&key) {
            return id;
        }
        let mut object = (*base.object).clone();
        for (container, shape) in object.spec.containers.iter_mut().zip(containers) {
            let resources = &mut container.resources;
            for (list, amounts) in
                [(&mut resources.requests, shape.requests), (&mut resources.limits, shape.limits)]
            {
                if let Some(cpu) = amounts.cpu {
                    list.insert("cpu".to_owned(), Quantity::from_milli(cpu));
                }
                if let Some(memory) = amounts.memory {
                    list.insert("memory".to_owned(), Quantity::from_bytes(memory));
                }
            }
        }
        let requests = pod_requests(&object.spec);
        // A limit of 0 is no limit, as in the lowering of templates.
        let sum = |of: fn(&ContainerShape) -> Option<i64>| {
            containers
                .iter()
                .map(|c| of(c).filter(|&limit| limit > 0))
                .try_fold(0_i64, |sum, limit| Some(sum.saturating_add(limit?)))
        };
        let size = PodSize {
            request_cpu: requests.get("cpu").map_or(MilliCpu::ZERO, |q| q.milli_cpu()),
            request_memory: requests.get("memory").map_or(Bytes::ZERO, |q| q.bytes()),
            limit_cpu: sum(|c| c.limits.cpu).map(MilliCpu::new),
            limit_memory: sum(|c| c.limits.memory).map(Bytes::new),
        };
        let object = Arc::new(object);
        let containers = containers.to_vec();
        let id = self.rows.push(Shape { template, containers, size, object });
        self.index.insert(key, id);
        id
    }
}

impl Api {
    /// Requests and limits of a pod.
    #[must_use]
    pub fn size_of(&self, pod: &Pod, model: &Model) -> PodSize {
        if let Some(shape) = pod.shape {
            return self.shapes.get(shape).size;
        }
        let t = &model.templates[pod.template];
        PodSize {
            request_cpu: t.request_cpu,
            request_memory: t.request_memory,
            limit_cpu: t.limit_cpu,
            limit_memory: t.limit_memory,
        }
    }

    /// The pod's template with its own requests and limits.
    #[must_use]
    pub fn object_of<'a>(&'a self, pod: &Pod, model: &'a Model) -> &'a PodTemplateSpec {
        match pod.shape {
            Some(shape) => &self.shapes.get(shape).object,
            None => &model.templates[pod.template].object,
        }
    }
}
