//! Claims, volumes, storage classes and CSI nodes as the volume plugins read them.

use super::node_selector::NodeTerm;
use crate::k8s;
use crate::units::{Symbol, Symbols};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Key of a claim: namespace and name.
pub type ClaimKey = (Symbol, Symbol);

/// A claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The object.
    pub object: Arc<k8s::PersistentVolumeClaim>,
}

const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

impl Claim {
    /// Name of the storage class; empty if there is none.
    #[must_use]
    pub fn class(&self) -> &str {
        let beta = self.object.metadata.annotations.get(BETA_CLASS).map(String::as_str);
        beta.or(self.object.spec.storage_class_name.as_deref()).unwrap_or_default()
    }
    /// Name of the volume; empty if there is none.
    #[must_use]
    pub fn volume(&self) -> &str {
        self.object.spec.volume_name.as_deref().unwrap_or_default()
    }
    /// Whether claim and volume are bound to each other.
    #[must_use]
    pub fn is_fully_bound(&self) -> bool {
        !self.volume().is_empty() && self.object.metadata.annotations.contains_key(BIND_COMPLETED)
    }
    /// The node whose zone the provisioner was told to use.
    #[must_use]
    pub fn selected_node(&self) -> Option<&str> {
        self.object.metadata.annotations.get(SELECTED_NODE).map(String::as_str)
    }
    /// Whether only one pod may use it.
    #[must_use]
    pub fn is_read_write_once_pod(&self) -> bool {
        self.object.spec.access_modes.iter().any(|m| m == "ReadWriteOncePod")
    }
}

/// A volume.
#[derive(Clone, Debug)]
pub struct PersistentVolume {
    /// The object.
    pub object: Arc<k8s::PersistentVolume>,
    /// Required node affinity.
    pub required: Option<Arc<[NodeTerm]>>,
    /// Topology labels with the values a node may have.
    pub zones: Vec<(Symbol, Vec<Symbol>)>,
}

/// Labels that tie a volume to a zone or region, each with the label that also satisfies it.
pub const TOPOLOGY_LABELS: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];

/// All storage objects.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    claims: BTreeMap<ClaimKey, Claim>,
    volumes: BTreeMap<String, PersistentVolume>,
    classes: BTreeMap<String, Arc<k8s::StorageClass>>,
    /// Node name → driver → limit.
    csi_nodes: BTreeMap<Symbol, BTreeMap<String, i64>>,
    topology: Vec<(Symbol, Symbol)>,
    version: u64,
}

impl Volumes {
    /// Adds or updates a claim.
    pub fn set_claim(&mut self, claim: &k8s::PersistentVolumeClaim, symbols: &mut Symbols) {
        let namespace = symbols.intern(claim.metadata.namespace_or_default());
        let key = (namespace, symbols.intern(&claim.metadata.name));
        self.claims.insert(key, Claim { object: Arc::new(claim.clone()) });
        self.version += 1;
    }
    /// Removes a claim.
    pub fn remove_claim(&mut self, key: ClaimKey) {
        self.claims.remove(&key);
        self.version += 1;
    }
    /// Adds or updates a volume.
    pub fn set_volume(&mut self, volume: &k8s::PersistentVolume, symbols: &mut Symbols) {
        self.topology = TOPOLOGY_LABELS
            .map(|(key, general)| (symbols.intern(key), symbols.intern(general)))
            .to_vec();
        let affinity = volume.spec.node_affinity.as_ref().and_then(|a| a.required.as_ref());
        let lowered = PersistentVolume {
            object: Arc::new(volume.clone()),
            required: affinity.map(|s| NodeTerm::all(s, symbols).into()),
            zones: zones(volume, symbols),
        };
        self.volumes.insert(volume.metadata.name.clone(), lowered);
        self.version += 1;
    }
    /// Removes a volume.
    pub fn remove_volume(&mut self, name: &str) {
        self.volumes.remove(name);
        self.version += 1;
    }
    /// Adds or updates a class.
    pub fn set_storage_class(&mut self, class: &k8s::StorageClass) {
        self.classes.insert(class.metadata.name.clone(), Arc::new(class.clone()));
        self.version += 1;
    }
    /// Adds or updates the attachment limits of a node.
    pub fn set_csi_node(&mut self, node: &k8s::CsiNode, symbols: &mut Symbols) {
        let limits = node.spec.drivers.iter().filter_map(|d| {
            let count = d.allocatable.as_ref()?.count?;
            Some((d.name.clone(), i64::from(count)))
        });
        self.csi_nodes.insert(symbols.intern(&node.metadata.name), limits.collect());
        self.version += 1;
    }
    /// A claim.
    #[must_use]
    pub fn claim(&self, key: ClaimKey) -> Option<&Claim> {
        self.claims.get(&key)
    }
    /// A volume.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&PersistentVolume> {
        self.volumes.get(name)
    }
    /// All volumes, by name.
    pub fn volumes(&self) -> impl Iterator<Item = &PersistentVolume> {
        self.volumes.values()
    }
    /// A class.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&k8s::StorageClass> {
        self.classes.get(name).map(Arc::as_ref)
    }
    /// Attachment limits of a node by driver.
    #[must_use]
    pub fn limits(&self, node: Symbol) -> Option<&BTreeMap<String, i64>> {
        self.csi_nodes.get(&node)
    }
    /// Zone and region labels, each with the label that also satisfies it.
    #[must_use]
    pub fn topology_labels(&self) -> &[(Symbol, Symbol)] {
        &self.topology
    }
    /// Driver and handle a claim occupies on a node; `None` if no driver can be told.
    #[must_use]
    pub fn driver_and_handle(&self, key: ClaimKey, claim: &Claim) -> Option<(&str, Handle<'_>)> {
        let Some(volume) = self.volume(claim.volume()) else {
            let class = self.class(claim.class())?;
            return Some((&class.provisioner, Handle::Future(key)));
        };
        let csi = volume.object.spec.csi.as_ref()?;
        let known = !csi.driver.is_empty() && !csi.volume_handle.is_empty();
        known.then_some((&csi.driver, Handle::Existing(&csi.volume_handle)))
    }
}

/// Identity of an attachment within a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handle<'a> {
    /// A volume that exists.
    Existing(&'a str),
    /// The volume that will be made for this claim.
    Future(ClaimKey),
}

fn zones(volume: &k8s::PersistentVolume, symbols: &mut Symbols) -> Vec<(Symbol, Vec<Symbol>)> {
    let mut out = Vec::new();
    for (key, _) in TOPOLOGY_LABELS {
        let Some(value) = volume.metadata.labels.get(key) else { continue };
        let parts: Vec<&str> = value.split("__").map(str::trim).collect();
        // Upstream logs a label with an empty zone and leaves it out.
        if parts.iter().all(|p| !p.is_empty()) {
            let values = parts.iter().map(|p| symbols.intern(p)).collect();
            out.push((symbols.intern(key), values));
        }
    }
    out
}
