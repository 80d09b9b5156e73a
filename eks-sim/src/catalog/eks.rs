//! Tables of `data/eks_constants.toml` that are lists: the version calendar and the sizes that
//! Fargate sells.

use crate::units::{Bytes, MilliCpu};
use jiff::civil::Date;
use std::sync::OnceLock;

const TEXT: &str = include_str!("../../data/eks_constants.toml");
const GIB: f64 = 1_073_741_824.0;

/// A Kubernetes version in Amazon EKS.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EksVersion {
    /// Minor version number: 34 for 1.34.
    pub minor: u32,
    release: Date,
    end_standard: Date,
    end_extended: Date,
    /// Where the dates were read.
    pub source: String,
}

impl EksVersion {
    /// The version as text, `1.34`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("1.{}", self.minor)
    }
    /// Release in EKS, as an ISO date.
    #[must_use]
    pub fn release(&self) -> String {
        self.release.to_string()
    }
    /// First day of extended support, as an ISO date; its surcharge starts at 00:00 UTC.
    #[must_use]
    pub fn end_standard(&self) -> String {
        self.end_standard.to_string()
    }
    /// End of extended support, as an ISO date.
    #[must_use]
    pub fn end_extended(&self) -> String {
        self.end_extended.to_string()
    }
}

/// One row of the Fargate table: processor time and the memory sizes sold with it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FargateSize {
    /// Processor time.
    pub cpu: MilliCpu,
    /// Memory sizes, ascending.
    pub memory: Vec<Bytes>,
}

struct Tables {
    versions: Vec<EksVersion>,
    sizes: Vec<FargateSize>,
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| read(TEXT).expect("the embedded tables are read by a unit test"))
}

/// The version calendar, oldest first.
#[must_use]
pub fn eks_versions() -> &'static [EksVersion] {
    &tables().versions
}
/// The version with this name (`1.34`).
#[must_use]
pub fn eks_version(name: &str) -> Option<&'static EksVersion> {
    let minor: u32 = name.strip_prefix("1.")?.parse().ok()?;
    eks_versions().iter().find(|v| v.minor == minor)
}
/// The sizes of Fargate, smallest first.
#[must_use]
pub fn fargate_sizes() -> &'static [FargateSize] {
    &tables().sizes
}

/// The smallest size that holds `cpu` and `memory` (with the Kubernetes overhead already added).
/// `None` when nothing that Fargate sells is large enough.
#[must_use]
pub fn fargate_fit(cpu: MilliCpu, memory: Bytes) -> Option<(MilliCpu, Bytes)> {
    let rows = fargate_sizes().iter().filter(|row| row.cpu >= cpu);
    let mut fits = rows.filter_map(|row| {
        let size = row.memory.iter().find(|size| **size >= memory)?;
        Some((row.cpu, *size))
    });
    fits.next()
}

fn read(text: &str) -> Option<Tables> {
    let table: toml::Table = text.parse().ok()?;
    let list = |key: &str| table.get(key).and_then(toml::Value::as_array);
    let mut tables = Tables { versions: Vec::new(), sizes: Vec::new() };
    for row in list("eks_version")? {
        let date = |key: &str| row.get(key)?.as_datetime()?.to_string().parse::<Date>().ok();
        tables.versions.push(EksVersion {
            minor: row.get("version")?.as_str()?.strip_prefix("1.")?.parse().ok()?,
            release: date("eks_release")?,
            end_standard: date("end_standard")?,
            end_extended: date("end_extended")?,
            source: row.get("source")?.as_str()?.to_owned(),
        });
    }
    for row in list("fargate_size")? {
        let sizes = row.get("memory_gb")?.as_array()?.iter();
        let memory = sizes.map(|v| Some(Bytes::new((v.as_float()? * GIB).round() as i64)));
        tables.sizes.push(FargateSize {
            cpu: MilliCpu::new((row.get("vcpu")?.as_float()? * 1000.0).round() as i64),
            memory: memory.collect::<Option<_>>()?,
        });
    }
    Some(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_calendar() {
        assert_eq!(eks_versions().len(), 8);
        let version = eks_version("1.34").unwrap();
        assert_eq!(version.end_standard(), "2026-12-02");
        assert_eq!(eks_version("1.5"), None);
        assert_eq!(eks_version("2.0"), None);
        for v in eks_versions() {
            assert!(v.release < v.end_standard && v.end_standard < v.end_extended, "{}", v.name());
        }
    }

    #[test]
    fn fargate_rounds_up() {
        // validation E6; requests already carry the 256 MiB.
        let mib = Bytes::from_mib;
        let fit = |cpu, memory| fargate_fit(MilliCpu::new(cpu), memory);
        assert_eq!(fit(0, mib(0)), Some((MilliCpu::new(250), mib(512))));
        assert_eq!(fit(250, mib(512 + 256)), Some((MilliCpu::new(250), mib(1024))));
        let checkout = Bytes::new(2_500_000_000) + mib(256);
        assert_eq!(fit(1000, checkout), Some((MilliCpu::new(1000), mib(3 * 1024))));
        assert_eq!(fit(1000, mib(8 * 1024 + 256)), Some((MilliCpu::new(2000), mib(9 * 1024))));
        assert_eq!(fit(17_000, mib(1)), None);
        assert_eq!(fit(100, mib(121 * 1024)), None);
    }
}
