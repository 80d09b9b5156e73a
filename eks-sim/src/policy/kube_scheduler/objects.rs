//! The cache's other objects: namespaces, Services, workloads, storage.

use super::Cache;
use super::labels::{Labels, Selector};
use crate::k8s::{self, LabelSelector, StringMap};
use crate::units::Symbol;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// The Services of one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    /// Name → selector pairs.
    by_name: BTreeMap<Symbol, Vec<(Symbol, Symbol)>>,
    /// First pair of the selector → names.
    by_pair: FxHashMap<(Symbol, Symbol), Vec<Symbol>>,
}

impl Services {
    fn set(&mut self, name: Symbol, pairs: Vec<(Symbol, Symbol)>) {
        self.remove(name);
        if let Some(first) = pairs.first() {
            self.by_pair.entry(*first).or_default().push(name);
        }
        self.by_name.insert(name, pairs);
    }
    fn remove(&mut self, name: Symbol) {
        let old = self.by_name.remove(&name);
        let first = old.as_ref().and_then(|pairs| pairs.first());
        if let Some(names) = first.and_then(|pair| self.by_pair.get_mut(pair)) {
            names.retain(|n| *n != name);
        }
    }
    /// The pairs of all Services that select pods with these labels, sorted.
    pub(super) fn merged(&self, labels: &Labels) -> Vec<(Symbol, Symbol)> {
        let mut pairs = Vec::new();
        let names = labels.pairs().iter().filter_map(|pair| self.by_pair.get(pair)).flatten();
        for wanted in names.filter_map(|name| self.by_name.get(name)) {
            if wanted.iter().all(|&(k, v)| labels.get(k) == Some(v)) {
                pairs.extend_from_slice(wanted);
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}

/// Other objects that plugins read.
impl Cache {
    /// Sets a namespace's labels.
    pub fn set_namespace(&mut self, name: &str, labels: &StringMap) {
        let labels = Labels::new(labels, &mut self.symbols);
        let name = self.symbols.intern(name);
        self.namespaces.insert(name, labels);
        self.fast.forget_terms();
    }
    /// Removes a namespace.
    pub fn remove_namespace(&mut self, name: &str) {
        if let Some(name) = self.symbols.lookup(name) {
            self.namespaces.remove(&name);
            self.fast.forget_terms();
        }
    }
    /// Adds or updates a Service.
    pub fn set_service(&mut self, service: &k8s::Service) {
        let pairs = service.spec.selector.iter();
        let pairs = pairs.map(|(k, v)| (self.symbols.intern(k), self.symbols.intern(v))).collect();
        let namespace = self.symbols.intern(service.metadata.namespace_or_default());
        let name = self.symbols.intern(&service.metadata.name);
        self.services.entry(namespace).or_default().set(name, pairs);
        self.fast.forget_defaults();
    }
    /// Removes a Service.
    pub fn remove_service(&mut self, namespace: &str, name: &str) {
        let (namespace, name) = (self.symbols.intern(namespace), self.symbols.intern(name));
        if let Some(services) = self.services.get_mut(&namespace) {
            services.remove(name);
        }
        self.fast.forget_defaults();
    }
    /// Sets the selector of a `ReplicaSet`, `StatefulSet` or `ReplicationController`.
    pub fn set_owner(
        &mut self,
        kind: &str,
        namespace: &str,
        name: &str,
        selector: Option<&LabelSelector>,
    ) {
        // A selector that cannot be read adds nothing upstream either (the error is logged).
        let selector = Selector::new(selector, &mut self.symbols).unwrap_or(Selector::Nothing);
        let key = [namespace, kind, name].map(|t| self.symbols.intern(t));
        self.owners.insert((key[0], key[1], key[2]), selector);
        self.fast.forget_defaults();
    }
    /// Removes a workload.
    pub fn remove_owner(&mut self, kind: &str, namespace: &str, name: &str) {
        let key = [namespace, kind, name].map(|t| self.symbols.intern(t));
        self.owners.remove(&(key[0], key[1], key[2]));
        self.fast.forget_defaults();
    }
    /// Adds or updates a claim.
    pub fn set_claim(&mut self, claim: &k8s::PersistentVolumeClaim) {
        self.volumes.set_claim(claim, &mut self.symbols);
        self.fast.forget_others();
    }
    /// Removes a claim.
    pub fn remove_claim(&mut self, namespace: &str, name: &str) {
        let key = (self.symbols.intern(namespace), self.symbols.intern(name));
        self.volumes.remove_claim(key);
        self.fast.forget_others();
    }
    /// Adds or updates a volume.
    pub fn set_volume(&mut self, volume: &k8s::PersistentVolume) {
        self.volumes.set_volume(volume, &mut self.symbols);
        self.fast.forget_others();
    }
    /// Removes a volume.
    pub fn remove_volume(&mut self, name: &str) {
        self.volumes.remove_volume(name);
        self.fast.forget_others();
    }
    /// Adds or updates a storage class.
    pub fn set_storage_class(&mut self, class: &k8s::StorageClass) {
        self.volumes.set_storage_class(class);
        self.fast.forget_others();
    }
    /// Adds or updates a CSINode.
    pub fn set_csi_node(&mut self, node: &k8s::CsiNode) {
        self.volumes.set_csi_node(node, &mut self.symbols);
        self.fast.forget_others();
    }
}
