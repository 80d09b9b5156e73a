//! Reads the lines of the instance table by hand: start-up time is paid by every command.

use super::instance_types::{
    Accelerators, Architecture, CatalogError, EbsLimitType, EbsLimits, Hypervisor, InstanceType,
    InterfaceLimits, KarpenterReference, LocalDisks,
};
use super::prices::{InterruptionBand, PriceBasis, RegionOffer};
use super::regions::REGION_COUNT;
use crate::units::{Bytes, MilliCpu, MoneyRate};

/// Cells of a line.
const COLUMNS: usize = 62;

/// The cells of one line, left to right.
struct Cells {
    rest: core::str::Split<'static, char>,
    line: usize,
    column: usize,
}

impl Cells {
    fn text(&mut self) -> &'static str {
        self.column += 1;
        self.rest.next().unwrap_or_default()
    }
    fn optional_text(&mut self) -> Option<&'static str> {
        Some(self.text()).filter(|t| !t.is_empty())
    }
    fn wrong(&self, text: &str, expected: &'static str) -> CatalogError {
        CatalogError::Cell { line: self.line, column: self.column, text: text.to_owned(), expected }
    }
    fn read<T: core::str::FromStr>(
        &mut self,
        expected: &'static str,
    ) -> Result<Option<T>, CatalogError> {
        let Some(text) = self.optional_text() else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.wrong(text, expected))
    }
    fn count(&mut self) -> Result<Option<u32>, CatalogError> {
        self.read("a whole number")
    }
    fn mib(&mut self) -> Result<Option<Bytes>, CatalogError> {
        Ok(self.read::<u32>("whole MiB")?.map(|mib| Bytes::from_mib(i64::from(mib))))
    }
    fn flag(&mut self) -> Result<Option<bool>, CatalogError> {
        match self.text() {
            "" => Ok(None),
            "0" => Ok(Some(false)),
            "1" => Ok(Some(true)),
            other => Err(self.wrong(other, "0 or 1")),
        }
    }
    fn price(&mut self) -> Result<Option<MoneyRate>, CatalogError> {
        let Some(text) = self.optional_text() else { return Ok(None) };
        let nanos = read_nanos(text).ok_or_else(|| self.wrong(text, "a decimal price"))?;
        Ok(Some(MoneyRate::from_nanos_per_hour(nanos)))
    }
    fn one_of<T: Copy>(
        &mut self,
        choices: &[(&str, T)],
        expected: &'static str,
    ) -> Result<T, CatalogError> {
        let text = self.text();
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| self.wrong(text, expected))
    }
}

/// A decimal number of dollars as nano-dollars, exactly; at most nine decimals.
fn read_nanos(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse::<u32>().ok()?.into();
    let part: i64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_i64.pow(9 - fraction.len() as u32);
    Some(whole * 1_000_000_000 + part * scale)
}

pub(super) fn read_row(line: &'static str, number: usize) -> Result<InstanceType, CatalogError> {
    let mut c = Cells { rest: line.split(','), line: number, column: 0 };
    let c = &mut c;
    let mut row = InstanceType {
        name: c.text(),
        generation: c.count()?,
        architecture: c.one_of(
            &[("amd64", Architecture::Amd64), ("arm64", Architecture::Arm64)],
            "an architecture",
        )?,
        cpu_manufacturer: c.optional_text().map(|m| if m == "amd" { "AMD" } else { m }),
        burstable: c.flag()?,
        vcpu: c.count()?,
        memory: c.mib()?,
        os_visible_memory: c.mib()?,
        gpu: read_gpu(c)?,
        accelerator: read_accelerator(c)?,
        interfaces: read_interfaces(c)?,
        hypervisor: c.one_of(
            &[
                ("nitro", Hypervisor::Nitro),
                ("none", Hypervisor::None),
                ("xen", Hypervisor::Xen),
                ("unknown", Hypervisor::Unknown),
                ("", Hypervisor::Unknown),
            ],
            "a hypervisor",
        )?,
        bare_metal: c.flag()?,
        network_performance: None,
        network_gbps: None,
        network_peak_gbps: None,
        efa_supported: None,
        local_disks: None,
        ebs: EbsLimits::default(),
        published_max_pods: None,
        spot_supported: None,
        reserved_1y: None,
        reserved_3y: None,
        karpenter: None,
        source_flags: "",
        offers: [RegionOffer::default(); REGION_COUNT],
    };
    // The trunk columns stand after the hypervisor's in the table.
    let (trunking, branch_enis) = (c.flag()?, c.count()?);
    if let Some(limits) = &mut row.interfaces {
        (limits.trunking, limits.branch_enis) = (trunking, branch_enis);
    }
    read_performance(c, &mut row)?;
    read_offers(c, &mut row)?;
    row.karpenter = read_karpenter(c)?;
    row.source_flags = c.text();
    match c.rest.next() {
        None if c.column == COLUMNS => Ok(row),
        _ => Err(c.wrong(line, "the last of 62 cells")),
    }
}

fn read_gpu(c: &mut Cells) -> Result<Option<Accelerators>, CatalogError> {
    let (count, name) = (c.count()?, c.text());
    let (memory_each, memory_total) = (c.mib()?, c.mib()?);
    Ok(count.map(|count| Accelerators { count, name, memory_each, memory_total }))
}

fn read_accelerator(c: &mut Cells) -> Result<Option<Accelerators>, CatalogError> {
    let (count, name) = (c.count()?, c.text());
    Ok(count.map(|count| Accelerators { count, name, memory_each: None, memory_total: None }))
}

fn read_interfaces(c: &mut Cells) -> Result<Option<InterfaceLimits>, CatalogError> {
    let (max_enis, default_card, cards) = (c.count()?, c.count()?, c.count()?);
    let (ipv4_per_eni, ipv6_per_eni) = (c.count()?, c.count()?);
    let (Some(max_enis), Some(max_enis_default_card), Some(network_cards), Some(ipv4_per_eni)) =
        (max_enis, default_card, cards, ipv4_per_eni)
    else {
        return Ok(None);
    };
    Ok(Some(InterfaceLimits {
        max_enis,
        max_enis_default_card,
        network_cards,
        ipv4_per_eni,
        ipv6_per_eni,
        trunking: None,
        branch_enis: None,
    }))
}

fn read_performance(c: &mut Cells, row: &mut InstanceType) -> Result<(), CatalogError> {
    row.network_performance = c.optional_text();
    row.network_gbps = c.read("Gbit/s")?;
    row.network_peak_gbps = c.read("Gbit/s")?;
    row.efa_supported = c.flag()?;
    let (count, nvme_gb, kind) = (c.count()?, c.read("whole GB")?, c.text());
    row.local_disks = count
        .or(if nvme_gb.is_some() { Some(0) } else { None })
        .map(|count| LocalDisks { count, nvme_gb: nvme_gb.unwrap_or(0), kind });
    row.ebs = EbsLimits {
        max_attachments: c.count()?,
        limit_type: c.one_of(
            &[
                ("shared", Some(EbsLimitType::Shared)),
                ("dedicated", Some(EbsLimitType::Dedicated)),
                ("", None),
            ],
            "a limit type",
        )?,
        baseline_mbps: c.count()?,
        max_mbps: c.count()?,
        baseline_iops: c.count()?,
        max_iops: c.count()?,
    };
    row.published_max_pods = c.count()?;
    row.spot_supported = c.flag()?;
    Ok(())
}

fn read_offers(c: &mut Cells, row: &mut InstanceType) -> Result<(), CatalogError> {
    let bases = [
        ("", PriceBasis::List),
        ("list-2025-04", PriceBasis::List),
        ("scaled", PriceBasis::Scaled),
        ("estimate", PriceBasis::Estimate),
    ];
    for offer in &mut row.offers {
        offer.zone_count = c.read("a number of zones")?.unwrap_or(0);
    }
    for (index, offer) in row.offers.iter_mut().enumerate() {
        offer.on_demand = c.price()?;
        // us-east-1 prices are listed ones throughout and carry no basis column.
        offer.basis = if index == 0 { PriceBasis::List } else { c.one_of(&bases, "a basis")? };
    }
    for offer in &mut row.offers {
        offer.list_2025_04 = c.price()?;
    }
    row.reserved_1y = c.price()?;
    row.reserved_3y = c.price()?;
    for offer in &mut row.offers {
        offer.spot_savings_percent = c.read("a percentage")?;
        offer.interruption_band = c.one_of(&InterruptionBand::CELLS, "an interruption band")?;
    }
    Ok(())
}

fn read_karpenter(c: &mut Cells) -> Result<Option<KarpenterReference>, CatalogError> {
    let (cpu, memory_mib) = (c.read("millicores")?, c.read("whole MiB")?);
    let (ephemeral_gib, pods) = (c.read("whole GiB")?, c.count()?);
    let (Some(cpu), Some(memory_mib), Some(ephemeral_gib), Some(pods)) =
        (cpu, memory_mib, ephemeral_gib, pods)
    else {
        return Ok(None);
    };
    Ok(Some(KarpenterReference { cpu: MilliCpu::new(cpu), memory_mib, ephemeral_gib, pods }))
}
