//! Placeholder for the fast path's tables.
use super::node_info::NodeInfo;
use super::{ClassId, NodeKey};
/// Tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Fast;
impl Fast {
    pub(super) fn reorder(&mut self, _order: &[NodeKey]) {}
    pub(super) fn detach_node(&mut self, _key: NodeKey, _node: &NodeInfo) {}
    pub(super) fn forget_images(&mut self) {}
    pub(super) fn forget_terms(&mut self) {}
    pub(super) fn forget_defaults(&mut self) {}
    pub(super) fn count_live(&mut self, _c: ClassId, _n: NodeKey, _d: i64) {}
    pub(super) fn count_pod(&mut self, _c: ClassId, _n: NodeKey, _d: i64, _t: bool) {}
}
impl super::Cache {
    pub(super) fn attach_fast(&mut self, _key: NodeKey) {}
}
