//! Traces: pods with arrival and duration, and nodes that are there from the start.

use super::Errors;
use super::objects::Lowering;
use crate::catalog::{CapacityType, FOREIGN_MACHINE};
use crate::k8s::{self, ObjectMeta, PodTemplateSpec};
use crate::spec::Manifests;
use crate::spec::scenario::Scenario;
use crate::units::{Bytes, Dist, Id, MilliCpu, MoneyRate, Quantity, SimTime, Span};
use crate::world::model::{
    GroupKind, GroupModel, GroupType, Model, ScalingModel, TraceModel, TraceNode, TracePod,
    WorkloadKind, WorkloadModel,
};
use rustc_hash::FxHashMap;
use std::path::Path;
use std::sync::Arc;

/// Reads the trace; pods of one shape share a template.
pub(super) fn lower(scenario: &Scenario, folder: &Path, model: &mut Model, errors: &mut Errors) {
    let Some(trace) = &scenario.spec.trace else { return };
    let mut nodes = Vec::new();
    let mut sizes: FxHashMap<(i64, i64), u32> = FxHashMap::default();
    if let Some(file) = &trace.nodes {
        let path = folder.join(file);
        let ok = rows::<NodeRow>(&path, "trace.nodes", NODE_COLUMNS, errors, |row, _| {
            let sane = row.cpu_millicores >= 0 && row.mem_bytes >= 0;
            if sane {
                let (cpu, memory) = (MilliCpu::new(row.cpu_millicores), Bytes::new(row.mem_bytes));
                let next = sizes.len() as u32;
                let type_index = *sizes.entry((row.cpu_millicores, row.mem_bytes)).or_insert(next);
                nodes.push(TraceNode { name: row.id, cpu, memory, type_index });
            }
            sane.then_some(true)
        });
        if !ok {
            return;
        }
    }
    let mut shapes: FxHashMap<(i64, i64), Id<WorkloadModel>> = FxHashMap::default();
    let mut pods: Vec<TracePod> = Vec::new();
    let empty = Manifests::default();
    let mut problems = Errors::default();
    let path = folder.join(&trace.pods);
    let ok = rows::<PodRow>(&path, "trace.pods", POD_COLUMNS, errors, |row, _| {
        if !row.is_sane() {
            return None;
        }
        let at = SimTime::ZERO + Span::from_secs_f64(row.arrival_s);
        if at.since(SimTime::ZERO) > model.duration {
            return Some(false);
        }
        let shape = (row.cpu_millicores, row.mem_bytes);
        let workload = *shapes.entry(shape).or_insert_with(|| {
            let errors = &mut problems;
            let model = &mut *model;
            shape_workload(shape, &mut Lowering { manifests: &empty, scenario, model, errors })
        });
        pods.push(TracePod { at, duration: Span::from_secs_f64(row.duration_s), workload });
        Some(true)
    });
    if !ok {
        return;
    }
    // Input order breaks ties of arrival.
    if !pods.is_sorted_by_key(|p| p.at) {
        pods.sort_by_key(|p| p.at);
    }
    pods.shrink_to_fit();
    if !nodes.is_empty() {
        model.groups.push(group(&nodes, model));
    }
    model.trace = Some(Arc::new(TraceModel { pods, nodes }));
}

/// The group of the trace's nodes: a type for each size, no price, no address of the cluster.
fn group(nodes: &[TraceNode], model: &Model) -> GroupModel {
    let mut types: Vec<GroupType> = Vec::new();
    for node in nodes {
        if node.type_index as usize == types.len() {
            types.push(node_type(node));
        }
    }
    let count = nodes.len() as u32;
    GroupModel {
        name: "trace".to_owned(),
        kind: GroupKind::Trace,
        types,
        min: count,
        max: count,
        desired: count,
        subnets: model.subnets.ids().take(1).collect(),
        boot: Dist::constant(Span::ZERO),
        disk_rate: MoneyRate::ZERO,
        disk_gib: 0,
        scaling: ScalingModel::default(),
    }
}

/// Pods a node of a trace may hold: traces bound nodes by CPU and memory alone.
const NODE_PODS: u32 = 1_000_000;

fn node_type(node: &TraceNode) -> GroupType {
    let mut resources = k8s::ResourceList::new();
    resources.insert("cpu".to_owned(), Quantity::from_milli(node.cpu.raw()));
    resources.insert("memory".to_owned(), Quantity::from_bytes(node.memory.raw()));
    resources.insert("pods".to_owned(), Quantity::from_units(NODE_PODS.into()));
    let status = k8s::NodeStatus {
        capacity: resources.clone(),
        allocatable: resources,
        ..k8s::NodeStatus::default()
    };
    GroupType {
        instance_type: &FOREIGN_MACHINE,
        capacity: CapacityType::OnDemand,
        weight: 1,
        startup_taints: Vec::new(),
        rate: MoneyRate::ZERO,
        fee: MoneyRate::ZERO,
        interruption_per_hour: 0.0,
        node: k8s::Node {
            metadata: ObjectMeta {
                labels: [("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
                ..ObjectMeta::default()
            },
            status,
            ..k8s::Node::default()
        },
        allocatable_cpu: node.cpu,
        allocatable_memory: node.memory,
        max_pods: NODE_PODS,
    }
}

const NODE_COLUMNS: &str = "columns are id,cpu_millicores,mem_bytes";
const POD_COLUMNS: &str = "columns are id,arrival_s,cpu_millicores,mem_bytes,duration_s";

/// Streams the rows of a CSV file; `take` says whether to go on, or that the row is not sane.
fn rows<R: serde::de::DeserializeOwned>(
    path: &Path,
    field: &str,
    columns: &str,
    errors: &mut Errors,
    mut take: impl FnMut(R, usize) -> Option<bool>,
) -> bool {
    let mut reader = match csv::Reader::from_path(path) {
        Ok(reader) => reader,
        Err(e) => {
            let message = format!("cannot read {}: {e}", path.display());
            errors.error(field, message, "give a path relative to the scenario file");
            return false;
        }
    };
    for (row, record) in reader.deserialize::<R>().enumerate() {
        let line = row + 2;
        match record.map(|r| take(r, line)) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => break,
            Ok(None) => {
                let message = format!("{}:{line}: a number is out of range", path.display());
                errors.error(field, message, "times and amounts must be 0 or more");
                return false;
            }
            Err(e) => {
                errors.error(field, format!("{}: {e}", path.display()), columns);
                return false;
            }
        }
    }
    true
}

#[derive(serde::Deserialize)]
struct NodeRow {
    id: String,
    cpu_millicores: i64,
    mem_bytes: i64,
}

#[derive(serde::Deserialize)]
struct PodRow {
    arrival_s: f64,
    cpu_millicores: i64,
    mem_bytes: i64,
    duration_s: f64,
}

impl PodRow {
    fn is_sane(&self) -> bool {
        let time = |t: f64| t.is_finite() && (0.0..=3.2e9).contains(&t);
        time(self.arrival_s)
            && time(self.duration_s)
            && self.cpu_millicores >= 0
            && self.mem_bytes >= 0
    }
}

fn shape_workload((cpu, memory): (i64, i64), l: &mut Lowering<'_>) -> Id<WorkloadModel> {
    let mut container = k8s::Container { name: "main".to_owned(), ..Default::default() };
    container.resources.requests.insert("cpu".to_owned(), Quantity::from_milli(cpu));
    container.resources.requests.insert("memory".to_owned(), Quantity::from_bytes(memory));
    let template = PodTemplateSpec {
        metadata: ObjectMeta::default(),
        spec: k8s::PodSpec {
            containers: vec![container],
            host_network: true,
            restart_policy: Some("Never".to_owned()),
            ..Default::default()
        },
    };
    let meta = ObjectMeta {
        name: format!("trace-{cpu}m-{memory}"),
        namespace: Some("trace".to_owned()),
        ..Default::default()
    };
    let id = l.add(WorkloadKind::Trace, &meta, &template, None, 0);
    let t = l.model.workloads[id].template;
    l.model.templates[t].owner = None;
    l.model.templates[t].trace = true;
    id
}
