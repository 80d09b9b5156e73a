//! What VerticalPodAutoscalers recommend, as etcd holds it, and what admission makes of it.

use super::model::{Template, VpaModel};
use super::shapes::{ContainerShape, Shape};
use super::{Api, Model, Pod};
use crate::policy::vpa::{Amounts, ContainerView, Named, Recommendation, admit, cap};
use crate::units::{Id, IdVec};
use std::collections::BTreeMap;

/// The targets of a VPA's containers, in the order of [`VpaModel::containers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Of each container; absent while nothing is recommended for it.
    pub containers: Vec<Option<Amounts>>,
}

type Key = Vec<Option<[Option<i64>; 2]>>;

/// All targets of a run. They are values: equal ones share a row.
#[derive(Clone, Debug, Default)]
pub struct TargetSets {
    rows: IdVec<Targets, Targets>,
    index: BTreeMap<Key, Id<Targets>>,
}

impl TargetSets {
    /// A row.
    #[must_use]
    pub fn get(&self, id: Id<Targets>) -> &Targets {
        &self.rows[id]
    }

    /// The row of these targets.
    pub fn intern(&mut self, containers: Vec<Option<Amounts>>) -> Id<Targets> {
        let key: Key = containers.iter().map(|c| c.map(|a| [a.cpu, a.memory])).collect();
        if let Some(&id) = self.index.get(&key) {
            return id;
        }
        let id = self.rows.push(Targets { containers });
        self.index.insert(key, id);
        id
    }
}

impl Targets {
    /// As recommendations without bounds, which is what admission reads.
    #[must_use]
    pub fn recommendations(&self) -> Vec<Option<Recommendation>> {
        let one = |target: Amounts| Recommendation { target, ..Recommendation::default() };
        self.containers.iter().map(|c| c.map(one)).collect()
    }
}

impl VpaModel {
    /// Position of a container in [`VpaModel::containers`].
    #[must_use]
    pub fn container(&self, name: &str) -> Option<usize> {
        self.containers.iter().position(|c| c.name == name)
    }

    /// The recommendations as far as they apply to a pod with these containers.
    #[must_use]
    pub fn capped<'a>(
        &self,
        views: &[ContainerView<'a>],
        recommended: &[Option<Recommendation>],
    ) -> Vec<Named<'a, Recommendation>> {
        let named = |view: &ContainerView<'a>| {
            let value = (*recommended.get(self.container(view.name)?)?)?;
            Some(Named { container: view.name, value })
        };
        let named: Vec<_> = views.iter().filter_map(named).collect();
        let policy = |name: &str| {
            self.container(name).map(|at| self.containers[at].policy).unwrap_or_default()
        };
        let (containers, pods) = (self.container_range.as_ref(), self.pod_range.as_ref());
        cap(views, &named, policy, containers, pods)
    }

    /// What the containers get.
    #[must_use]
    pub fn admitted(
        &self,
        views: &[ContainerView<'_>],
        recommended: &[Option<Recommendation>],
    ) -> Vec<ContainerShape> {
        let capped = self.capped(views, recommended);
        let default = self.container_range.map(|r| r.default).unwrap_or_default();
        let one = |v: &ContainerView<'_>| {
            let unchanged = ContainerShape { requests: v.requests, limits: v.limits };
            let Some(r) = capped.iter().find(|r| r.container == v.name) else { return unchanged };
            let Some(at) = self.container(v.name) else { return unchanged };
            let values = self.containers[at].policy.controlled_values;
            let (requests, limits) = admit(v, r.value.target, values, default);
            ContainerShape { requests, limits }
        };
        views.iter().map(one).collect()
    }
}

impl Template {
    /// Requests and limits of its containers.
    #[must_use]
    pub fn container_views(&self) -> Vec<ContainerView<'_>> {
        let view = |c: &'_ crate::k8s::Container| {
            let requests = Amounts::lower(&c.resources.requests);
            (requests, Amounts::lower(&c.resources.limits))
        };
        let containers = self.object.spec.containers.iter();
        containers
            .map(|c| {
                let (requests, limits) = view(c);
                ContainerView { name: &c.name, requests, limits }
            })
            .collect()
    }
}

impl Api {
    /// Requests and limits of a pod's containers.
    #[must_use]
    pub fn container_views<'m>(&self, pod: &Pod, model: &'m Model) -> Vec<ContainerView<'m>> {
        let mut views = model.templates[pod.template].container_views();
        if let Some(shape) = pod.shape {
            for (view, c) in views.iter_mut().zip(&self.shapes.get(shape).containers) {
                (view.requests, view.limits) = (c.requests, c.limits);
            }
        }
        views
    }

    /// The memory limit of a container, by position in [`Template::uses`]; a limit of 0 is none.
    #[must_use]
    pub fn memory_limit(&self, pod: &Pod, container: usize, model: &Model) -> Option<i64> {
        let template = &model.templates[pod.template];
        let of_shape = |shape: Id<Shape>| {
            self.shapes.get(shape).containers.get(container).map(|c| c.limits.memory)
        };
        match pod.shape.and_then(of_shape) {
            Some(limit) => limit.filter(|&l| l > 0),
            None => template.uses.get(container).and_then(|u| u.memory_limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_targets_share_a_row() {
        let mut sets = TargetSets::default();
        let some = |cpu| Some(Amounts { cpu: Some(cpu), memory: None });
        let (a, b) = (sets.intern(vec![some(1), None]), sets.intern(vec![some(2), None]));
        assert_eq!((a == b, sets.intern(vec![some(1), None])), (false, a));
        let recommended = sets.get(b).recommendations();
        assert_eq!(recommended[0].map(|r| r.target.cpu), Some(Some(2)));
        assert!(recommended[1].is_none());
    }
}
