//! Conformance cases of this family.

use super::Refusal;
use serde_json::Value;

pub(super) fn evaluate(topic: &str, _file: &Value, _case: &Value) -> Result<Value, Refusal> {
    Err(Refusal::Unsupported(format!("topic `{topic}`")))
}
