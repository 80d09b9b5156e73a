//! `eks-sim catalog`: questions to the instance catalogue and the list of constants.

use eks_sim::catalog::{
    Architecture, CapacityType, Catalog, Constant, Hypervisor, InstanceType, NodeSettings,
    PodNetwork, PriceQuote, Query, Region, SortKey, constants, nearest, node_resources,
};
use eks_sim::units::{Bytes, MoneyRate, Quantity};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Exit code of wrong input.
const WRONG_INPUT: u8 = 2;
/// Exit code of output that could not be written.
const WRITE_FAILED: u8 = 3;

/// Query the catalogue of EC2 instance types and the constants behind the simulation.
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  eks-sim catalog --min-vcpu 4 --min-memory 16Gi --arch arm64 --sort price-per-vcpu --limit 10
  eks-sim catalog --family m6i,m7g --region eu-west-1 --capacity-type spot --max-price 0.2
  eks-sim catalog --name 'c7*.large' --columns name,pods,pods-prefix,allocatable-memory
  eks-sim catalog constants kubelet"
)]
pub struct CatalogArgs {
    #[command(subcommand)]
    topic: Option<Topic>,
    #[command(flatten)]
    filter: Filter,
    /// Order: price, price-per-vcpu, price-per-gib, vcpu, memory, max-pods or name.
    #[arg(long, value_name = "KEY", default_value = "price")]
    sort: String,
    /// Largest first.
    #[arg(long)]
    desc: bool,
    /// Print at most so many types.
    #[arg(long, value_name = "N")]
    limit: Option<String>,
    /// Columns, separated by commas; `all` for every one.
    #[arg(long, value_name = "LIST", default_value = DEFAULT_COLUMNS)]
    columns: String,
    /// Output: text, json, csv or markdown.
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    format: String,
}

/// Bounds. Their texts are read here and not by the argument parser, so that every mistake gets
/// the same kind of message.
#[derive(clap::Args, Debug)]
struct Filter {
    /// At least this many virtual processors.
    #[arg(long, value_name = "N")]
    min_vcpu: Option<String>,
    /// At most this many virtual processors.
    #[arg(long, value_name = "N")]
    max_vcpu: Option<String>,
    /// At least this much memory, for example 8Gi.
    #[arg(long, value_name = "QUANTITY")]
    min_memory: Option<String>,
    /// At most this much memory.
    #[arg(long, value_name = "QUANTITY")]
    max_memory: Option<String>,
    /// Architecture: amd64 or arm64.
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Families, separated by commas, for example m6i,m7g.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    family: Vec<String>,
    /// Name patterns, for example 'm*.large'; may be repeated.
    #[arg(long, value_name = "GLOB")]
    name: Vec<String>,
    /// With GPUs (--gpu) or without (--gpu=false).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    gpu: Option<String>,
    /// With NVMe instance store (--nvme) or without (--nvme=false).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    nvme: Option<String>,
    /// Burstable (--burstable) or not (--burstable=false).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    burstable: Option<String>,
    /// Hypervisor: nitro, xen, none (bare metal) or unknown.
    #[arg(long, value_name = "NAME")]
    hypervisor: Option<String>,
    /// At least this many pods in the mode of --pod-network, without a ceiling.
    #[arg(long, value_name = "N")]
    min_pods: Option<String>,
    /// CNI mode for --min-pods and --sort max-pods: secondary, secondary-custom, prefix or
    /// prefix-custom.
    #[arg(long, value_name = "MODE", default_value = "secondary")]
    pod_network: String,
    /// Region of prices; types that it does not offer are left out.
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    region: String,
    /// Purchase option of prices: on-demand or spot.
    #[arg(long, value_name = "TYPE", default_value = "on-demand")]
    capacity_type: String,
    /// At most this price, USD an hour.
    #[arg(long, value_name = "USD")]
    max_price: Option<String>,
    /// Also list types that the region does not offer.
    #[arg(long)]
    all_offers: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Topic {
    /// List the constants of the simulation with unit, status and source.
    Constants {
        /// Part of a name, source or status, for example `kubelet` or `assumption`.
        filter: Option<String>,
    },
}

/// Answers the question on standard output.
pub fn run(args: &CatalogArgs) -> ExitCode {
    let answer = match &args.topic {
        Some(Topic::Constants { filter }) => list_constants(args, filter.as_deref()),
        None => list_types(args),
    };
    match answer {
        Ok(text) => write_out(&text),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(WRONG_INPUT)
        }
    }
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
fn write_out(text: &str) -> ExitCode {
    use std::io::{ErrorKind, Write};
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write to standard output: {error}");
            ExitCode::from(WRITE_FAILED)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn list_types(args: &CatalogArgs) -> Result<String, String> {
    let format = Format::read(&args.format)?;
    let query = read_query(args)?;
    let columns = read_columns(&args.columns)?;
    let found = query.run(Catalog::embedded()).map_err(|e| e.to_string())?;
    let mut table = Table::new(columns.iter().map(|c| (c.name, c.is_number)).collect());
    for instance in &found {
        let row = Row { instance, query: &query };
        table.rows.push(columns.iter().map(|c| (c.value)(&row)).collect());
    }
    if found.is_empty() && matches!(format, Format::Text | Format::Markdown) {
        return Ok("no instance type satisfies these bounds\n".to_owned());
    }
    Ok(table.render(format))
}

fn list_constants(args: &CatalogArgs, filter: Option<&str>) -> Result<String, String> {
    let format = Format::read(&args.format)?;
    let wanted = filter.unwrap_or_default().to_lowercase();
    let holds = |c: &&Constant| {
        c.name.contains(&wanted)
            || c.status.as_str() == wanted
            || c.source.to_lowercase().contains(&wanted)
    };
    let titles = ["name", "value", "unit", "status", "date", "source", "note"];
    let mut table = Table::new(titles.map(|t| (t, false)).to_vec());
    for c in constants().iter().filter(holds) {
        let note = c.note.unwrap_or_default();
        table.rows.push(vec![
            json!(c.name),
            c.value.to_json(),
            json!(c.unit),
            json!(c.status.as_str()),
            json!(c.date),
            json!(c.source),
            json!(note),
        ]);
    }
    if table.rows.is_empty() && matches!(format, Format::Text | Format::Markdown) {
        return Ok(format!("no constant matches `{wanted}`\n"));
    }
    Ok(table.render(format))
}

// ---- reading the arguments

fn read_query(args: &CatalogArgs) -> Result<Query, String> {
    let f = &args.filter;
    let names = |list: &[String]| list.iter().filter(|n| !n.is_empty()).cloned().collect();
    let query = Query {
        min_vcpu: optional("--min-vcpu", &f.min_vcpu, whole)?,
        max_vcpu: optional("--max-vcpu", &f.max_vcpu, whole)?,
        min_memory: optional("--min-memory", &f.min_memory, memory)?,
        max_memory: optional("--max-memory", &f.max_memory, memory)?,
        architecture: optional("--arch", &f.arch, architecture)?,
        families: names(&f.family),
        names: names(&f.name),
        gpu: optional("--gpu", &f.gpu, switch)?,
        nvme: optional("--nvme", &f.nvme, switch)?,
        burstable: optional("--burstable", &f.burstable, switch)?,
        hypervisor: optional("--hypervisor", &f.hypervisor, hypervisor)?,
        min_pods: optional("--min-pods", &f.min_pods, whole)?,
        pod_network: pod_network(&f.pod_network).map_err(|e| format!("--pod-network: {e}"))?,
        max_price: optional("--max-price", &f.max_price, price)?,
        region: f.region.parse::<Region>().map_err(|e| format!("--region: {e}"))?,
        only_offered: !f.all_offers,
        capacity: f
            .capacity_type
            .parse::<CapacityType>()
            .map_err(|e| format!("--capacity-type: {e}"))?,
        sort: args.sort.parse::<SortKey>().map_err(|e| format!("--sort: {e}"))?,
        descending: args.desc,
        limit: optional("--limit", &args.limit, whole)?.map(|n| n as usize),
    };
    in_order("vcpu", query.min_vcpu, query.max_vcpu)?;
    in_order("memory", query.min_memory, query.max_memory)?;
    Ok(query)
}

fn in_order<T: PartialOrd>(what: &str, min: Option<T>, max: Option<T>) -> Result<(), String> {
    match (min, max) {
        (Some(min), Some(max)) if min > max => {
            Err(format!("--min-{what} is above --max-{what}; swap the two"))
        }
        _ => Ok(()),
    }
}

fn optional<T>(
    flag: &str,
    text: &Option<String>,
    read: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let Some(text) = text else { return Ok(None) };
    read(text.trim()).map(Some).map_err(|e| format!("{flag}: {e}"))
}

fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number; write for example `4`"))
}
fn memory(text: &str) -> Result<Bytes, String> {
    let quantity: Quantity = text.parse().map_err(|e| format!("{e}"))?;
    if text.bytes().all(|b| b.is_ascii_digit()) && quantity.bytes() < Bytes::from_mib(1) {
        return Err(format!("`{text}` has no unit; write for example `{text}Gi`"));
    }
    let positive = !quantity.is_negative();
    positive.then(|| quantity.bytes()).ok_or(format!("`{text}` is negative; write 0 or more"))
}
fn price(text: &str) -> Result<MoneyRate, String> {
    let number = text.trim_start_matches('$').trim_end_matches("USD/h").trim();
    match number.parse::<f64>() {
        Ok(usd) if usd.is_finite() && usd >= 0.0 => Ok(MoneyRate::from_usd_per_hour(usd)),
        _ => Err(format!("`{text}` is not a price in USD an hour; write for example `0.2`")),
    }
}
fn switch(text: &str) -> Result<bool, String> {
    one_of(text, &[("true", true), ("false", false)])
}
fn architecture(text: &str) -> Result<Architecture, String> {
    one_of(text, &[("amd64", Architecture::Amd64), ("arm64", Architecture::Arm64)])
}
fn hypervisor(text: &str) -> Result<Hypervisor, String> {
    let all = [Hypervisor::Nitro, Hypervisor::Xen, Hypervisor::None, Hypervisor::Unknown];
    one_of(text, &all.map(|h| (h.as_str(), h)))
}
fn pod_network(text: &str) -> Result<PodNetwork, String> {
    let names = ["secondary", "secondary-custom", "prefix", "prefix-custom"];
    let pairs: Vec<_> = names.into_iter().zip(PodNetwork::ALL).collect();
    one_of(text, &pairs)
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let near = nearest(text, names.iter().copied(), 1);
    let hint = near.first().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
    Err(format!("unknown value `{text}`; write {}{hint}", names.join(", ")))
}

// ---- columns

struct Row<'a> {
    instance: &'a InstanceType,
    query: &'a Query,
}

impl Row<'_> {
    fn quote(&self) -> Option<PriceQuote> {
        self.instance.quote(self.query.region, self.query.capacity)
    }
    fn usd(&self) -> Option<f64> {
        self.quote().map(|q| q.rate.usd_per_hour())
    }
    fn memory_gib(&self) -> Option<f64> {
        self.instance.memory.map(gib)
    }
    fn pods(&self, mode: PodNetwork) -> Value {
        json!(self.instance.calculated_max_pods_uncapped(mode, None))
    }
    fn calculated(&self, mode: PodNetwork) -> Value {
        json!(self.instance.calculated_max_pods(mode, None))
    }
}

struct Column {
    name: &'static str,
    is_number: bool,
    value: fn(&Row<'_>) -> Value,
}

const DEFAULT_COLUMNS: &str =
    "name,vcpu,memory,arch,gpu,pods,pods-prefix,price,price-per-vcpu,price-per-gib,basis";

const fn number(name: &'static str, value: fn(&Row<'_>) -> Value) -> Column {
    Column { name, is_number: true, value }
}
const fn text(name: &'static str, value: fn(&Row<'_>) -> Value) -> Column {
    Column { name, is_number: false, value }
}

/// All columns. Memory is in GiB, prices in USD an hour; `pods*` have no ceiling, `calc*` are the
/// max-pods calculator's.
static COLUMNS: [Column; 37] = [
    text("name", |r| json!(r.instance.name)),
    text("family", |r| json!(r.instance.family())),
    text("size", |r| json!(r.instance.size())),
    number("generation", |r| json!(r.instance.generation)),
    number("vcpu", |r| json!(r.instance.vcpu)),
    number("memory", |r| rounded(r.memory_gib(), 3)),
    number("os-memory", |r| rounded(r.instance.os_visible_memory.map(gib), 3)),
    text("arch", |r| json!(r.instance.architecture)),
    text("cpu", |r| json!(r.instance.cpu_manufacturer)),
    text("hypervisor", |r| json!(r.instance.hypervisor)),
    text("burstable", |r| json!(r.instance.burstable)),
    text("bare-metal", |r| json!(r.instance.bare_metal)),
    number("gpu", |r| json!(r.instance.gpu.map(|g| g.count))),
    text("gpu-name", |r| json!(r.instance.gpu.map(|g| g.name).filter(|n| !n.is_empty()))),
    number("nvme-gb", |r| json!(r.instance.local_disks.map(|d| d.nvme_gb))),
    number("network-gbps", |r| rounded(r.instance.network_gbps, 3)),
    number("network-peak-gbps", |r| rounded(r.instance.network_peak_gbps, 3)),
    number("enis", |r| json!(r.instance.interfaces.map(|i| i.max_enis_default_card))),
    number("ipv4-per-eni", |r| json!(r.instance.interfaces.map(|i| i.ipv4_per_eni))),
    number("branch-enis", |r| json!(r.instance.interfaces.and_then(|i| i.branch_enis))),
    number("ebs-attachments", |r| json!(r.instance.ebs.max_attachments)),
    number("pods", |r| r.pods(PodNetwork::Secondary)),
    number("pods-custom", |r| r.pods(PodNetwork::SecondaryCustom)),
    number("pods-prefix", |r| r.pods(PodNetwork::Prefix)),
    number("pods-prefix-custom", |r| r.pods(PodNetwork::PrefixCustom)),
    number("calc", |r| r.calculated(PodNetwork::Secondary)),
    number("calc-prefix", |r| r.calculated(PodNetwork::Prefix)),
    number("allocatable-cpu", |r| allocatable(r).0),
    number("allocatable-memory", |r| allocatable(r).1),
    number("zones", |r| json!(r.instance.offer(r.query.region).zone_count)),
    number("price", |r| rounded(r.usd(), 6)),
    text("basis", |r| json!(r.quote().map(|q| q.basis.as_str()))),
    number("price-per-vcpu", |r| ratio(r.usd(), r.instance.vcpu.map(f64::from))),
    number("price-per-gib", |r| ratio(r.usd(), r.memory_gib())),
    number("spot-savings", |r| json!(r.instance.offer(r.query.region).spot_savings_percent)),
    text("interruption", |r| {
        json!(r.instance.interruption_band(r.query.region).map(|b| b.as_str()))
    }),
    number("reserved-1y", |r| {
        // The price list behind this column covers us-east-1 alone.
        let known = r.query.region == Region::US_EAST_1;
        let rate = r.instance.reserved_1y.filter(|_| known);
        rounded(rate.map(MoneyRate::usd_per_hour), 6)
    }),
];

fn read_columns(list: &str) -> Result<Vec<&'static Column>, String> {
    if list == "all" {
        return Ok(COLUMNS.iter().collect());
    }
    let read = |name: &str| {
        let name = name.trim();
        COLUMNS.iter().find(|c| c.name == name).ok_or_else(|| {
            let near = nearest(name, COLUMNS.iter().map(|c| c.name), 1);
            let hint = match near.first() {
                Some(n) => format!("did you mean `{n}`?"),
                None => {
                    let all: Vec<_> = COLUMNS.iter().map(|c| c.name).collect();
                    format!("write all, or some of {}", all.join(", "))
                }
            };
            format!("--columns: unknown column `{name}`; {hint}")
        })
    };
    list.split(',').map(read).collect()
}

fn gib(bytes: Bytes) -> f64 {
    bytes.raw() as f64 / 1_073_741_824.0
}
fn rounded(value: Option<f64>, places: i32) -> Value {
    let scale = 10_f64.powi(places);
    json!(value.map(|v| (v * scale).round() / scale))
}
fn ratio(usd: Option<f64>, per: Option<f64>) -> Value {
    match (usd, per) {
        (Some(usd), Some(per)) if per > 0.0 => rounded(Some(usd / per), 6),
        _ => Value::Null,
    }
}
/// Millicores and GiB that pods may request on an AL2023 node with default settings.
fn allocatable(row: &Row<'_>) -> (Value, Value) {
    match node_resources(row.instance, &NodeSettings::default()) {
        Some(node) => {
            let memory = rounded(Some(gib(node.allocatable.memory)), 3);
            (json!(node.allocatable.cpu.raw()), memory)
        }
        None => (Value::Null, Value::Null),
    }
}

// ---- output

#[derive(Clone, Copy)]
enum Format {
    Text,
    Json,
    Csv,
    Markdown,
}

impl Format {
    fn read(text: &str) -> Result<Self, String> {
        let all = [
            ("text", Self::Text),
            ("json", Self::Json),
            ("csv", Self::Csv),
            ("markdown", Self::Markdown),
        ];
        one_of(text, &all).map_err(|e| format!("--format: {e}"))
    }
}

struct Table {
    /// Title, and whether the column is aligned to the right.
    columns: Vec<(&'static str, bool)>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    fn new(columns: Vec<(&'static str, bool)>) -> Self {
        Self { columns, rows: Vec::new() }
    }
    fn render(&self, format: Format) -> String {
        match format {
            Format::Json => self.json(),
            Format::Csv => self.csv(),
            Format::Text => self.aligned("", "  ", ""),
            Format::Markdown => self.aligned("| ", " | ", " |"),
        }
    }
    fn json(&self) -> String {
        let object = |row: &Vec<Value>| {
            let pairs = self.columns.iter().map(|c| c.0.to_owned()).zip(row.iter().cloned());
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        let rows: Vec<Value> = self.rows.iter().map(object).collect();
        format!("{:#}\n", Value::Array(rows))
    }
    fn csv(&self) -> String {
        let quoted = |text: String| match text.contains(['"', ',', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        };
        let titles: Vec<&str> = self.columns.iter().map(|c| c.0).collect();
        let mut out = titles.join(",") + "\n";
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|v| quoted(cell(v, ""))).collect();
            out += &(cells.join(",") + "\n");
        }
        out
    }
    /// Cells padded to the width of their column; Markdown also gets its rule.
    fn aligned(&self, before: &str, between: &str, after: &str) -> String {
        let escape = |text: String| if after.is_empty() { text } else { text.replace('|', "\\|") };
        let titles: Vec<String> = self.columns.iter().map(|c| c.0.to_owned()).collect();
        let body = self.rows.iter().map(|r| r.iter().map(|v| escape(cell(v, "-"))).collect());
        let lines: Vec<Vec<String>> = std::iter::once(titles).chain(body).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| lines.iter().map(|l| l[i].chars().count()).max().unwrap_or(0).max(3))
            .collect();
        let mut out = String::new();
        for (at, line) in lines.iter().enumerate() {
            let pad = |(i, text): (usize, &String)| match self.columns[i].1 {
                true => format!("{text:>0$}", widths[i]),
                false => format!("{text:<0$}", widths[i]),
            };
            let cells: Vec<String> = line.iter().enumerate().map(pad).collect();
            let text = format!("{before}{}{after}", cells.join(between));
            let _ = writeln!(out, "{}", text.trim_end());
            if at == 0 && !after.is_empty() {
                let rule = |(i, width): (usize, &usize)| match self.columns[i].1 {
                    true => "-".repeat(width - 1) + ":",
                    false => "-".repeat(*width),
                };
                let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
                let _ = writeln!(out, "{before}{}{after}", rules.join(between));
            }
        }
        out
    }
}

/// A value as text; nothing is `absent`.
fn cell(value: &Value, absent: &str) -> String {
    match value {
        Value::Null => absent.to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(n) if n.is_f64() => format!("{}", n.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
