//! Machines that are no EC2 instances but stand in the same tables: micro-VMs of Fargate, hybrid
//! nodes.

use super::instance_types::{Architecture, FOREIGN_MACHINE, InstanceType};
use crate::units::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

type Rows = BTreeMap<(String, u32, i64, Architecture), &'static InstanceType>;

/// The row of a machine outside EC2. Equal machines share one row, which lives as long as the
/// program does.
#[must_use]
pub fn foreign_machine(
    name: &str,
    vcpu: u32,
    memory: Bytes,
    architecture: Architecture,
) -> &'static InstanceType {
    static ROWS: OnceLock<Mutex<Rows>> = OnceLock::new();
    let rows = ROWS.get_or_init(|| Mutex::new(BTreeMap::new()));
    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (name.to_owned(), vcpu, memory.raw(), architecture);
    rows.entry(key).or_insert_with(|| {
        Box::leak(Box::new(InstanceType {
            name: Box::leak(name.to_owned().into_boxed_str()),
            architecture,
            vcpu: (vcpu > 0).then_some(vcpu),
            memory: Some(memory),
            ..FOREIGN_MACHINE
        }))
    })
}
