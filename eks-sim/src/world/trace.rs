//! Traces: pods with arrival and running time, and nodes that are there from the start.

use super::model::WorkloadModel;
use crate::units::{Bytes, Id, MilliCpu, SimTime, Span};

/// Pods of a trace.
#[derive(Clone, Debug, Default)]
pub struct TraceModel {
    /// Sorted by arrival.
    pub pods: Vec<TracePod>,
    /// Nodes that are there from the start, without instances of EC2.
    pub nodes: Vec<TraceNode>,
}

/// A node of a trace.
#[derive(Clone, Debug)]
pub struct TraceNode {
    /// Name.
    pub name: String,
    /// Allocatable CPU.
    pub cpu: MilliCpu,
    /// Allocatable memory.
    pub memory: Bytes,
    /// Its size among the types of the trace's group.
    pub type_index: u32,
}

/// A pod of a trace.
#[derive(Clone, Copy, Debug)]
pub struct TracePod {
    /// Arrival.
    pub at: SimTime,
    /// Running time.
    pub duration: Span,
    /// Workload of its shape.
    pub workload: Id<WorkloadModel>,
}
