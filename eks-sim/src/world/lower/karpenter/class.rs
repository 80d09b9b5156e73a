//! Node classes: what a NodePool's nodes are made of.

use super::super::Errors;
use super::{Given, Place};
use crate::catalog::{AmiFamily, InstanceType, NodeSettings, PodNetwork, Reserved, Threshold};
use crate::k8s::{Ec2NodeClass, KubeletConfiguration, NodePool, ResourceList, SelectorTerm};
use crate::units::{Bytes, Dist, Id};
use crate::world::model::{Model, SubnetModel};

/// GiB of Bottlerocket's own disk, beside the data volume.
const BOTTLEROCKET_ROOT_GIB: i64 = 4;

/// A node class of the manifests at some time of the run.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) object: Ec2NodeClass,
    /// Changes of it so far.
    pub(super) version: u32,
}

/// A node class, resolved.
#[derive(Clone)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) settings: NodeSettings,
    pub(super) subnets: Vec<Id<SubnetModel>>,
    pub(super) boot: Dist,
    /// All disks of a node.
    pub(super) disk_gib: u32,
    pub(super) auto_mode: bool,
    /// Fingerprint of the fields whose change makes nodes drift.
    pub(super) hash: u64,
    /// Image selector terms as text.
    pub(super) image: String,
    /// Family whose newest image is taken.
    pub(super) latest_of: Option<String>,
}

impl Class {
    /// Settings of a node of this type.
    pub(super) fn settings_for(&self, t: &InstanceType) -> NodeSettings {
        let mut settings = self.settings.clone();
        if self.auto_mode {
            settings.max_pods = t.auto_mode_max_pods();
        }
        settings
    }

    /// Zones of its subnets, sorted.
    pub(super) fn zones<'m>(&self, model: &'m Model) -> Vec<&'m str> {
        let zone = |&s: &Id<SubnetModel>| model.zones[model.subnets[s].zone].as_str();
        let mut zones: Vec<&str> = self.subnets.iter().map(zone).collect();
        zones.sort_unstable();
        zones.dedup();
        zones
    }
}

/// The class of a NodePool; `None` if its nodes cannot be simulated.
pub(super) fn of_pool(
    pool: &NodePool,
    place: &Place,
    classes: &[Source],
    given: &Given<'_>,
    model: &Model,
    errors: &mut Errors,
) -> Option<Class> {
    let reference = &pool.spec.template.spec.node_class_ref;
    let auto = reference.kind == "NodeClass";
    if auto != given.auto_mode {
        let (message, help) = if auto {
            let of = "is one of EKS Auto Mode, which the cluster does not have";
            (of, "use an EC2NodeClass, or set cluster.autoscaler.autoMode")
        } else {
            let of = "is none of EKS Auto Mode; the NodePool is left out";
            (of, "refer to a NodeClass of eks.amazonaws.com")
        };
        errors.place(place.span).warning(
            &place.path,
            format!("the node class `{}` {message}", reference.name),
            help,
        );
        return None;
    }
    if auto {
        return Some(auto_mode(&reference.name, place, given, model, errors));
    }
    let found = classes.iter().find(|c| c.object.metadata.name == reference.name);
    let default = Source { object: Ec2NodeClass::default(), version: 0 };
    if found.is_none() {
        errors.place(place.span).warning(
            &place.path,
            format!("EC2NodeClass `{}` is not among the manifests", reference.name),
            "add it; AL2023 in all subnets with a 20 GiB disk is assumed",
        );
    }
    let source = found.unwrap_or(&default);
    let class = &source.object;
    let (ami_family, boot) = family(class, place, errors)?;
    let mut settings = NodeSettings::new(&model.defaults);
    settings.ami_family = ami_family;
    settings.vm_memory_overhead = (given.overhead * 1e6).round() as u32;
    settings.instance_store_raid0 = class.spec.instance_store_policy.as_deref() == Some("RAID0");
    if let Some(kubelet) = &class.spec.kubelet {
        apply_kubelet(kubelet, &mut settings, place, errors);
    }
    let disk_gib = disks(class, &mut settings);
    let alias = class.spec.ami_selector_terms.iter().find_map(|t| t.alias.as_deref());
    let latest = alias.and_then(|a| a.strip_suffix("@latest")).map(str::to_lowercase);
    Some(Class {
        name: reference.name.clone(),
        version: source.version,
        subnets: subnets(&class.spec.subnet_selector_terms, place, model, errors),
        boot: serde_json::from_value(model.defaults.dist(boot).clone()).ok()?,
        settings,
        disk_gib,
        auto_mode: false,
        hash: hash(class),
        image: serde_json::to_string(&class.spec.ami_selector_terms).unwrap_or_default(),
        latest_of: latest,
    })
}

/// All fields except those that are compared by what they select.
fn hash(class: &Ec2NodeClass) -> u64 {
    let mut spec = class.spec.clone();
    spec.ami_selector_terms.clear();
    spec.subnet_selector_terms.clear();
    crate::units::key::key_str(&serde_json::to_string(&spec).unwrap_or_default())
}

/// Auto Mode's own class: Bottlerocket with prefixes and at most 110 pods. A NodeClass of the
/// manifests chooses subnets and the size of the disk.
fn auto_mode(
    name: &str,
    place: &Place,
    given: &Given<'_>,
    model: &Model,
    errors: &mut Errors,
) -> Class {
    let found = given.manifests.auto_node_classes.iter().map(|c| &c.object);
    let object = found.into_iter().find(|c| c.metadata.name == name);
    if object.is_none() && name != "default" {
        errors.place(place.span).warning(
            &place.path,
            format!("NodeClass `{name}` is not among the manifests"),
            "add it; all subnets and the usual disk are assumed",
        );
    }
    let mut settings = NodeSettings::new(&model.defaults);
    settings.ami_family = AmiFamily::Bottlerocket;
    settings.pod_network = PodNetwork::Prefix;
    settings.vm_memory_overhead = (given.overhead * 1e6).round() as u32;
    let disk = object.and_then(|c| c.spec.ephemeral_storage.as_ref()?.size);
    let gib = disk.map_or_else(|| model.defaults.bytes("auto_mode.data_volume"), |s| s.bytes());
    settings.root_volume = gib;
    let boot = serde_json::from_value(model.defaults.dist("boot.bottlerocket").clone());
    let subnets = match object {
        Some(c) => subnets(&c.spec.subnet_selector_terms, place, model, errors),
        None => super::super::cluster::node_subnets(model),
    };
    Class {
        name: name.to_owned(),
        version: 0,
        settings,
        subnets,
        boot: boot.unwrap_or_else(|_| Dist::constant(crate::units::Span::from_secs(18))),
        disk_gib: u32::try_from((gib.raw() >> 30) + BOTTLEROCKET_ROOT_GIB).unwrap_or(0),
        auto_mode: true,
        hash: 0,
        image: String::new(),
        latest_of: Some("auto-mode".to_owned()),
    }
}

fn family(
    class: &Ec2NodeClass,
    place: &Place,
    errors: &mut Errors,
) -> Option<(AmiFamily, &'static str)> {
    let alias = class.spec.ami_selector_terms.iter().find_map(|t| t.alias.as_deref());
    let of_alias = alias.and_then(|a| a.split('@').next()).unwrap_or_default().to_lowercase();
    let given = class.spec.ami_family.as_deref().unwrap_or_default().to_lowercase();
    let name = if given.is_empty() { of_alias } else { given };
    match name.as_str() {
        "al2023" | "" => Some((AmiFamily::AL2023, "boot.al2023")),
        "al2" => Some((AmiFamily::AL2, "boot.al2")),
        "bottlerocket" => Some((AmiFamily::Bottlerocket, "boot.bottlerocket")),
        "custom" => Some((AmiFamily::Custom, "boot.custom")),
        _ => {
            errors.place(place.span).warning(
                &place.path,
                format!("nodes of the AMI family `{name}` are not simulated"),
                "AL2023, AL2, Bottlerocket and Custom are; the NodePool is left out",
            );
            None
        }
    }
}

fn apply_kubelet(
    kubelet: &KubeletConfiguration,
    settings: &mut NodeSettings,
    place: &Place,
    errors: &mut Errors,
) {
    let positive = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
    settings.max_pods = positive(kubelet.max_pods);
    settings.pods_per_core = positive(kubelet.pods_per_core);
    settings.kube_reserved = reserved(&kubelet.kube_reserved);
    settings.system_reserved = reserved(&kubelet.system_reserved);
    let signal = |name: &str| kubelet.eviction_hard.get(name).and_then(|t| Threshold::parse(t));
    settings.eviction_memory = signal("memory.available");
    settings.eviction_nodefs = signal("nodefs.available");
    if !kubelet.eviction_soft.is_empty() {
        errors.place(place.span).warning(
            &place.path,
            "evictionSoft does not change what pods may use",
            "use evictionHard to keep memory free",
        );
    }
}

fn reserved(list: &ResourceList) -> Reserved {
    Reserved {
        cpu: list.get("cpu").map(|q| q.milli_cpu()),
        memory: list.get("memory").map(|q| q.bytes()),
        ephemeral_storage: list.get("ephemeral-storage").map(|q| q.bytes()),
    }
}

/// Sets the volume that pods use; returns the GiB of all disks.
fn disks(class: &Ec2NodeClass, settings: &mut NodeSettings) -> u32 {
    let bottlerocket = settings.ami_family == AmiFamily::Bottlerocket;
    let mappings = &class.spec.block_device_mappings;
    let size = |m: &crate::k8s::BlockDeviceMapping| m.ebs.as_ref()?.volume_size.map(|s| s.bytes());
    // Bottlerocket keeps pods on its second disk.
    let pods = mappings
        .iter()
        .find(|m| m.root_volume)
        .or_else(|| mappings.iter().find(|m| bottlerocket && m.device_name == "/dev/xvdb"))
        .or_else(|| mappings.first().filter(|_| !bottlerocket));
    if let Some(size) = pods.and_then(size) {
        settings.root_volume = size;
    }
    let all: i64 = mappings.iter().filter_map(size).map(Bytes::raw).sum();
    let own = if bottlerocket && mappings.len() < 2 { BOTTLEROCKET_ROOT_GIB } else { 0 };
    let bytes = if all > 0 { all } else { settings.root_volume.raw() };
    u32::try_from((bytes >> 30).saturating_add(own)).unwrap_or(u32::MAX)
}

/// Subnets by id, name or tags (the tag `Name` is the subnet's name). Where the scenario gives
/// its subnets no tags, a discovery tag means those of the nodes.
fn subnets(
    terms: &[SelectorTerm],
    place: &Place,
    model: &Model,
    errors: &mut Errors,
) -> Vec<Id<SubnetModel>> {
    let tagged = |s: &SubnetModel, key: &str, value: &str| {
        key == "Name" && s.name == value
            || s.tags.iter().any(|(k, v)| k == key && (v == value || value == "*"))
    };
    let suits = |s: &SubnetModel, t: &SelectorTerm| match t.id.as_deref().or(t.name.as_deref()) {
        Some(id) => s.is_called(id),
        None => !t.tags.is_empty() && t.tags.iter().all(|(k, v)| tagged(s, k, v)),
    };
    let chosen = model.subnets.iter().filter(|(_, s)| terms.iter().any(|t| suits(s, t)));
    let found: Vec<Id<SubnetModel>> = chosen.map(|(id, _)| id).collect();
    if !found.is_empty() {
        return found;
    }
    let discovery = |t: &SelectorTerm| {
        t.id.is_none() && t.tags.keys().all(|k| k != "Name") && !t.tags.is_empty()
    };
    if !terms.iter().any(discovery) && !terms.is_empty() {
        errors.place(place.span).warning(
            &place.path,
            "no subnet of the scenario has a name that subnetSelectorTerms ask for",
            "name subnets in cluster.network.subnets like the tag `Name` or the id; all are used",
        );
    }
    super::super::cluster::node_subnets(model)
}
