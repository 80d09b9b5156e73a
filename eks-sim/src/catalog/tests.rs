//! The embedded table as a whole.

use super::*;
use crate::units::{Bytes, MilliCpu, MoneyRate};

fn get(name: &str) -> &'static InstanceType {
    Catalog::embedded().get(name).unwrap_or_else(|| panic!("{name} is missing"))
}

#[test]
fn the_whole_table_is_read() {
    let catalog = Catalog::embedded();
    assert_eq!(catalog.len(), 1460);
    assert_eq!(Catalog::column_names().count(), 62);
    let families: std::collections::BTreeSet<_> = catalog.iter().map(|t| t.family()).collect();
    assert_eq!(families.len(), 208);
    for t in catalog {
        assert_eq!(catalog.get(t.name), Some(t));
        assert!(!t.source_flags.is_empty(), "{}", t.name);
        for region in Region::all() {
            assert!(t.zones(region).len() == usize::from(t.offer(region).zone_count), "{}", t.name);
        }
    }
    let count = |f: fn(&InstanceType) -> bool| catalog.iter().filter(|t| f(t)).count();
    assert_eq!(count(|t| t.vcpu.is_none()), 38);
    assert_eq!(count(|t| t.interfaces.is_none()), 13);
    assert_eq!(count(|t| t.os_visible_memory.is_some()), 1093);
    assert_eq!(count(|t| t.price(Region::US_EAST_1, CapacityType::OnDemand).is_some()), 1367);
    assert_eq!(count(|t| t.karpenter.is_some()), 1363);
    assert_eq!(count(|t| t.gpu_count() > 0), 76);
    assert_eq!(count(|t| t.architecture == Architecture::Arm64), 454);
    assert_eq!(count(|t| t.burstable == Some(true)), 28);
    assert_eq!(count(|t| t.efa_supported == Some(true)), 303);
    assert_eq!(count(|t| t.reserved_1y.is_some()), 790);
    assert_eq!(count(|t| t.reserved_3y.is_some()), 791);
    assert_eq!(count(|t| t.ebs.limit_type == Some(EbsLimitType::Dedicated)), 681);
}

#[test]
fn one_row_in_full() {
    let t = get("a1.2xlarge");
    assert_eq!((t.family(), t.size(), t.generation), ("a1", "2xlarge", Some(1)));
    assert_eq!((t.category(), get("im4gn.large").category()), ("a", "im"));
    assert_eq!((t.vcpu, t.cpu()), (Some(8), Some(MilliCpu::new(8000))));
    assert_eq!(t.memory, Some(Bytes::from_mib(16384)));
    assert_eq!(t.os_visible_memory, Some(Bytes::from_mib(15418)));
    let nic = t.interfaces.unwrap();
    assert_eq!((nic.max_enis, nic.ipv4_per_eni, nic.ipv6_per_eni), (4, 15, Some(15)));
    assert_eq!((nic.trunking, nic.branch_enis), (Some(true), Some(38)));
    assert_eq!(t.network_performance, Some("Up to 10 Gigabit"));
    assert_eq!((t.network_gbps, t.network_peak_gbps), (Some(2.5), Some(10.0)));
    assert_eq!((t.ebs.max_attachments, t.ebs.max_iops), (Some(27), Some(20_000)));
    assert_eq!(t.local_disks.map(|d| d.count), Some(0));
    let ireland: Region = "eu-west-1".parse().unwrap();
    let price = t.price(ireland, CapacityType::OnDemand);
    assert_eq!(price, Some(MoneyRate::from_usd_per_hour(0.2304)));
    assert_eq!(t.interruption_band(ireland), Some(InterruptionBand::Above20));
    assert_eq!(t.offer(ireland).zone_count, 2);
    assert_eq!(t.source_flags, "DEKMPRV");
}

#[test]
fn spot_quotes_say_what_they_rest_on() {
    let t = get("m5.large");
    let savings = i64::from(t.offer(Region::US_EAST_1).spot_savings_percent.unwrap());
    let quote = t.quote(Region::US_EAST_1, CapacityType::Spot).unwrap();
    assert_eq!(quote.basis, PriceBasis::SpotAdvisor);
    assert_eq!(quote.rate.nanos_per_hour(), 96_000_000 * (100 - savings) / 100);
    let new =
        Catalog::embedded().iter().find(|t| t.family() == "m9g" || t.family() == "r9g").unwrap();
    let quote = new.quote(Region::US_EAST_1, CapacityType::Spot).unwrap();
    assert_eq!(new.offer(Region::US_EAST_1).spot_savings_percent, None);
    assert_eq!(quote.basis, PriceBasis::SpotMedian);
    let never = Catalog::embedded().iter().find(|t| t.spot_supported == Some(false)).unwrap();
    assert_eq!(never.price(Region::US_EAST_1, CapacityType::Spot), None);
}

#[test]
fn volume_limits_follow_the_driver() {
    // m5.large: 27 shared, less the root volume, less two further interfaces.
    assert_eq!(get("m5.large").csi_volume_limit(3, 0), Some(24));
    assert_eq!(get("m5.large").csi_volume_limit(60, 60), Some(1));
    let dedicated = Catalog::embedded()
        .iter()
        .find(|t| t.ebs.limit_type == Some(EbsLimitType::Dedicated))
        .unwrap();
    let limit = dedicated.ebs.max_attachments.unwrap();
    assert_eq!(dedicated.csi_volume_limit(8, 2), Some(limit - 3));
}

#[test]
fn broken_tables_are_refused() {
    let error = Catalog::parse("head\nm5.large,5,vax").unwrap_err().to_string();
    assert_eq!(error, "instance table line 2: column 3 holds `vax`, not an architecture");
    let error = Catalog::parse("head\nm5.large,x").unwrap_err().to_string();
    assert_eq!(error, "instance table line 2: column 2 holds `x`, not a whole number");
    assert!(Catalog::parse("").unwrap().is_empty());
}

#[test]
fn bands_count_as_in_the_facts() {
    for (band, name) in [
        (InterruptionBand::Below5, "spot.band_count_us_east_1.lt5"),
        (InterruptionBand::From5To10, "spot.band_count_us_east_1.5_10"),
        (InterruptionBand::From10To15, "spot.band_count_us_east_1.10_15"),
        (InterruptionBand::From15To20, "spot.band_count_us_east_1.15_20"),
        (InterruptionBand::Above20, "spot.band_count_us_east_1.gt20"),
    ] {
        let found = Catalog::embedded()
            .iter()
            .filter(|t| t.interruption_band(Region::US_EAST_1) == Some(band))
            .count();
        assert_eq!(Some(found as i64), constants().get(name).unwrap().as_i64(), "{name}");
    }
}
