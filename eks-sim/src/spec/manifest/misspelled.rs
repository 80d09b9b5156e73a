//! Fields that no type has: probably misspelled, or upstream's and of no interest here.

use crate::spec::decode::IgnoredField;
use crate::spec::diagnostic::Reporter;
use crate::spec::{codes, suggest};
use rustc_hash::FxHashMap;

/// Real fields of upstream that are close to one that we read.
#[rustfmt::skip]
const REAL_FIELDS: &[&str] = &[
    "args", "env", "envFrom", "hosts", "host", "port", "path", "name", "names", "value", "values",
    "labels", "label", "items", "item", "exec", "level", "user", "role", "type", "types", "stdin",
    "tty", "nfs", "csr", "data", "mode", "secret", "ports", "metadata", "spec", "status", "scope",
    "scopes", "allocatedResources", "hostUsers", "hostname", "hostAliases", "nodePort", "hostIP",
    "hostIPs", "podIP", "podIPs", "podCIDR", "podCIDRs", "externalID", "clusterIPs", "driver",
    "drivers", "kubelet", "resource", "resources", "claims", "annotations", "selfLink",
    "serviceAccount", "volumeDevices",
];

/// What was found out about names of fields; a dump repeats the same ones in every object.
#[derive(Default)]
pub(super) struct Misspellings {
    /// By the list of known fields (its address) and the name: the known field it is close to.
    near: FxHashMap<usize, FxHashMap<String, Option<&'static str>>>,
}

impl Misspellings {
    /// Warns of fields that look like a misspelling of one that we read.
    pub(super) fn warn(&mut self, ignored: &[IgnoredField], reporter: &mut Reporter<'_>) {
        for field in ignored {
            let of_type = self.near.entry(field.known.as_ptr() as usize).or_default();
            let near = match of_type.get(&field.name) {
                Some(&near) => near,
                None => {
                    let near = nearest(field);
                    of_type.insert(field.name.clone(), near);
                    near
                }
            };
            if let Some(near) = near {
                let message = format!("unknown field `{}`; it has no effect", field.name);
                let help = format!("did you mean `{near}`?");
                reporter.warning(codes::MISSPELLED, field.span, message, help);
            }
        }
    }
}

fn nearest(field: &IgnoredField) -> Option<&'static str> {
    if field.name.len() < 4 || REAL_FIELDS.contains(&&*field.name) {
        return None;
    }
    let near = field.known.iter().filter_map(|k| {
        let bound = if k.len() >= 7 { 2 } else { 1 };
        suggest::distance(&field.name, k, bound).map(|d| (d, *k))
    });
    near.min().map(|(_, near)| near)
}
