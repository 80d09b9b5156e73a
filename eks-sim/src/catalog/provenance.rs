//! Where each column of the instance table comes from.

use super::constants::Status;
use std::sync::OnceLock;

const TEXT: &str = include_str!("../../data/ec2_instance_types.provenance.toml");

/// Source, date and status of one column.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ColumnProvenance {
    /// Column name in the table.
    pub column: String,
    /// Unit, or what the values are.
    pub unit: String,
    /// Where it was read.
    pub source: String,
    /// State of the source.
    pub date: String,
    /// How far to trust it.
    pub status: Status,
    /// Remark.
    pub note: Option<String>,
}

/// Provenance of every column, in the order of the file.
#[must_use]
pub fn column_provenance() -> &'static [ColumnProvenance] {
    static COLUMNS: OnceLock<Vec<ColumnProvenance>> = OnceLock::new();
    COLUMNS.get_or_init(|| read(TEXT).expect("the embedded provenance is read by a unit test"))
}

fn read(text: &str) -> Option<Vec<ColumnProvenance>> {
    let table: toml::Table = text.parse().ok()?;
    let mut found = Vec::new();
    for group in table.get("group")?.as_array()? {
        let text = |key: &str| group.get(key)?.as_str().map(str::to_owned);
        for column in group.get("columns")?.as_array()? {
            found.push(ColumnProvenance {
                column: column.as_str()?.to_owned(),
                unit: text("unit")?,
                source: text("source")?,
                date: text("date")?,
                status: Status::parse(&text("status")?)?,
                note: text("note"),
            });
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::super::Catalog;
    use super::*;

    #[test]
    fn every_column_has_a_source() {
        let mut columns: Vec<&str> =
            column_provenance().iter().map(|c| c.column.as_str()).collect();
        let mut table: Vec<&str> = Catalog::column_names().collect();
        columns.sort_unstable();
        table.sort_unstable();
        assert_eq!(columns, table);
    }
}
