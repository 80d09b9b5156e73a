//! `eks-sim schema`: the JSON Schema of scenario files.

use crate::args::SchemaArgs;
use crate::output;
use eks_sim::spec::scenario::Scenario;
use std::process::ExitCode;

/// Runs the command.
pub fn run(_: &SchemaArgs) -> ExitCode {
    output::print(&text()).map_or_else(|code| code, |()| ExitCode::SUCCESS)
}

/// The schema, with a title and a fixed order of keys.
pub fn text() -> String {
    let schema = schemars::schema_for!(Scenario);
    format!("{:#}\n", schema.as_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `eks-sim schema > scenarios/scenario.schema.json` mends a failure.
    #[test]
    fn the_published_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/scenario.schema.json");
        let published = std::fs::read_to_string(path).unwrap();
        assert!(published == text(), "scenarios/scenario.schema.json is not what `schema` prints");
    }
}
