//! Cluster Autoscaler.
use crate::engine::Cx;
use crate::units::Id;
use crate::world::Model;
use crate::world::model::GroupModel;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A launch was refused.
    LaunchRefused(Id<GroupModel>),
}

/// Cluster Autoscaler.
#[derive(Clone, Debug)]
pub struct ClusterAutoscaler {}

impl ClusterAutoscaler {
    /// New.
    #[must_use]
    pub fn new(_: &Model) -> Self {
        Self {}
    }
    /// Start.
    pub fn start(&mut self, _: &mut Cx<'_>) {}
    /// Handle.
    pub fn handle(&mut self, _: Event, _: &mut Cx<'_>) {}
}
