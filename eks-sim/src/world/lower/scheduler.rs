//! kube-scheduler's profiles: the constants' defaults, or what `KubeSchedulerConfiguration`
//! documents among the manifests say.

use super::Errors;
use crate::catalog::Defaults;
use crate::policy::kube_scheduler::{ConfigError, Plugin, Profile};
use crate::spec::{Manifests, suggest};
use crate::world::model::Model;

const DEFAULT: &str = "default-scheduler";

/// Fills in the profiles; the first is the default scheduler's.
pub(super) fn profiles(manifests: &Manifests, model: &mut Model, errors: &mut Errors) {
    let mut all = Vec::new();
    for document in &manifests.scheduler_configurations {
        match Profile::from_configuration(&document.object) {
            Ok(profiles) => all.extend(profiles),
            Err(e) => {
                errors.error("manifests", format!("KubeSchedulerConfiguration: {e}"), mend(&e))
            }
        }
    }
    let twice = (1..all.len()).find(|&i| {
        let name = |p: &Profile| p.scheduler_name.clone();
        all[..i].iter().any(|p: &Profile| name(p) == name(&all[i]))
    });
    if let Some(at) = twice {
        errors.error(
            "manifests",
            format!("two scheduler profiles are called `{}`", all[at].scheduler_name),
            "give each profile its own schedulerName",
        );
    }
    if let Some(at) = all.iter().position(|p| p.scheduler_name == DEFAULT) {
        all.swap(0, at);
    } else {
        // The cluster's own scheduler runs beside those that are configured.
        all.insert(0, from_constants(&model.defaults));
    }
    model.profiles = all;
}

fn mend(error: &ConfigError) -> String {
    let ConfigError::UnknownPlugin(name) = error else {
        return "write it as kubescheduler.config.k8s.io/v1 documents it".to_owned();
    };
    let names = || Plugin::ALL.iter().map(|p| p.name()).filter(|n| *n != "Custom");
    match suggest::nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use some of {}", suggest::list(names())),
    }
}

/// The default profile with the constants' weights and limits.
fn from_constants(d: &Defaults) -> Profile {
    let mut profile = Profile::default();
    for (plugin, name) in [
        (Plugin::TaintToleration, "scheduler.weight_taint_toleration"),
        (Plugin::NodeAffinity, "scheduler.weight_node_affinity"),
        (Plugin::NodeResourcesFit, "scheduler.weight_node_resources_fit"),
        (Plugin::PodTopologySpread, "scheduler.weight_pod_topology_spread"),
        (Plugin::InterPodAffinity, "scheduler.weight_inter_pod_affinity"),
        (
            Plugin::NodeResourcesBalancedAllocation,
            "scheduler.weight_node_resources_balanced_allocation",
        ),
        (Plugin::ImageLocality, "scheduler.weight_image_locality"),
    ] {
        if let Some(weight) = profile.weights.iter_mut().find(|w| w.0 == plugin) {
            weight.1 = d.i64(name);
        }
    }
    profile.percentage_of_nodes_to_score = d.i64("scheduler.percentage_of_nodes_to_score");
    profile.min_candidate_nodes_percentage = d.i64("scheduler.min_candidate_nodes_percentage");
    profile.min_candidate_nodes_absolute = d.i64("scheduler.min_candidate_nodes_absolute");
    profile.hard_pod_affinity_weight = d.i64("scheduler.hard_pod_affinity_weight");
    profile
}

/// Number of the profile that schedules pods with this `schedulerName`.
pub(super) fn profile_of(name: Option<&str>, model: &Model) -> Option<u32> {
    let name = name.filter(|n| !n.is_empty()).unwrap_or(DEFAULT);
    model.profiles.iter().position(|p| p.scheduler_name == name).map(|i| i as u32)
}
