//! Load balancers of Services and Ingresses: kind, scheme, subnets.
//!
//! The in-tree controller makes Classic load balancers; the AWS Load Balancer Controller makes
//! network load balancers of Services and application load balancers of Ingresses. It takes one
//! subnet a zone: those tagged for the scheme, of several in a zone the first by id.

use super::Errors;
use crate::k8s::{ObjectMeta, Service};
use crate::policy::vpc_cni::consumers::LoadBalancer;
use crate::spec::Manifests;
use crate::units::Id;
use crate::units::key::key_str;
use crate::world::model::{LoadBalancerModel, Model, ServiceModel, SubnetModel, SubnetRole};

pub(super) fn lower(manifests: &Manifests, model: &mut Model, errors: &mut Errors) {
    for service in manifests.services.iter().map(|s| &s.object) {
        if service.spec.kind.as_deref() == Some("LoadBalancer") {
            let (kind, public, subnets) = of_service(service);
            let meta = &service.metadata;
            let name = format!("Service/{}/{}", meta.namespace_or_default(), meta.name);
            let carried =
                find(meta.namespace_or_default(), &meta.name, model).into_iter().collect();
            add(name, kind, public, subnets, carried, model, errors);
        }
    }
    ingresses(manifests, model, errors);
}

/// Kind, whether it faces the internet, and subnets that an annotation names.
fn of_service(service: &Service) -> (LoadBalancer, bool, Option<&str>) {
    let annotation = |name: &str| {
        let key = format!("service.beta.kubernetes.io/aws-load-balancer-{name}");
        service.metadata.annotations.get(&key).map(String::as_str)
    };
    let class = service.spec.load_balancer_class.is_some();
    let network = class || matches!(annotation("type"), Some("nlb" | "nlb-ip" | "external"));
    let kind = if network { LoadBalancer::Network } else { LoadBalancer::Classic };
    // The Load Balancer Controller makes internal ones unless told; the in-tree one the opposite.
    let controller = class || matches!(annotation("type"), Some("nlb-ip" | "external"));
    let internal = annotation("internal").is_some_and(|v| v != "false" && v != "0.0.0.0/0");
    let public = match annotation("scheme") {
        Some(scheme) => scheme == "internet-facing",
        None => !controller && !internal,
    };
    (kind, public, annotation("subnets"))
}

/// One application load balancer for each Ingress of class `alb`, or for each group of them.
fn ingresses(manifests: &Manifests, model: &mut Model, errors: &mut Errors) {
    let mut others = 0_u32;
    let mut grouped: Vec<(String, LoadBalancerKey<'_>)> = Vec::new();
    for ingress in manifests.ingresses.iter().map(|i| &i.object) {
        let meta = &ingress.metadata;
        let annotated = meta.annotations.get("kubernetes.io/ingress.class");
        let class = ingress.spec.ingress_class_name.as_ref().or(annotated);
        if class.is_none_or(|c| c != "alb") {
            others += 1;
            continue;
        }
        let namespace = meta.namespace_or_default();
        let services = ingress.services();
        let carried = services.iter().filter_map(|name| find(namespace, name, model));
        let name = match annotation(meta, "group.name") {
            Some(group) => format!("Ingress group {group}"),
            None => format!("Ingress/{namespace}/{}", meta.name),
        };
        let carried: Vec<Id<ServiceModel>> = carried.collect();
        match grouped.iter_mut().find(|(known, _)| *known == name) {
            Some((_, balancer)) => balancer.carried.extend(carried),
            None => {
                let public = annotation(meta, "scheme") == Some("internet-facing");
                let subnets = annotation(meta, "subnets");
                grouped.push((name, LoadBalancerKey { public, subnets, carried }));
            }
        }
    }
    for (name, LoadBalancerKey { public, subnets, carried }) in grouped {
        add(name, LoadBalancer::Application, public, subnets, carried, model, errors);
    }
    if others > 0 {
        errors.warning(
            "manifests",
            format!("{others} Ingress objects of other classes than `alb` are not simulated"),
            "nothing to do; their controller's own Service gets a load balancer if it has the type",
        );
    }
}

/// What the Ingresses of one load balancer say together; the first one's scheme counts.
struct LoadBalancerKey<'a> {
    public: bool,
    subnets: Option<&'a str>,
    carried: Vec<Id<ServiceModel>>,
}

fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    let key = format!("alb.ingress.kubernetes.io/{name}");
    meta.annotations.get(&key).map(String::as_str)
}

fn find(namespace: &str, name: &str, model: &Model) -> Option<Id<ServiceModel>> {
    let is = |s: &ServiceModel| s.namespace == namespace && s.name == name;
    model.services.iter().find(|(_, s)| is(s)).map(|(id, _)| id)
}

fn add(
    name: String,
    kind: LoadBalancer,
    public: bool,
    named: Option<&str>,
    services: Vec<Id<ServiceModel>>,
    model: &mut Model,
    errors: &mut Errors,
) {
    let subnets = match named {
        Some(list) => {
            let wanted: Vec<&str> = list.split(',').map(str::trim).collect();
            one_a_zone(model, |s| wanted.iter().any(|w| s.is_called(w)))
        }
        None => discovered(public, model),
    };
    if subnets.is_empty() {
        errors.warning(
            "cluster.network.subnets",
            format!("{name} finds no subnet for its load balancer"),
            "name subnets of the scenario in its annotation, or tag them `kubernetes.io/role/elb`",
        );
        return;
    }
    let key = key_str(&name);
    model.network.load_balancers.push(LoadBalancerModel { name, kind, services, subnets, key });
}

/// Tagged subnets; where nothing is tagged, public ones or those of the nodes by their role. A
/// VPC without public subnets has its load balancers beside the nodes.
fn discovered(public: bool, model: &Model) -> Vec<Id<SubnetModel>> {
    let tag = if public { "kubernetes.io/role/elb" } else { "kubernetes.io/role/internal-elb" };
    let tagged =
        one_a_zone(model, |s| s.tags.iter().any(|(k, v)| k == tag && (v == "1" || v.is_empty())));
    if !tagged.is_empty() {
        return tagged;
    }
    let role = if public { SubnetRole::Public } else { SubnetRole::Nodes };
    let found = one_a_zone(model, |s| s.role == role);
    if found.is_empty() { one_a_zone(model, |s| s.role == SubnetRole::Nodes) } else { found }
}

/// Matching subnets, of several in a zone the first by id.
fn one_a_zone(model: &Model, suits: impl Fn(&SubnetModel) -> bool) -> Vec<Id<SubnetModel>> {
    let mut chosen: Vec<Id<SubnetModel>> = Vec::new();
    let by_id = |id: Id<SubnetModel>| {
        let s = &model.subnets[id];
        (s.id.clone().unwrap_or_else(|| s.name.clone()), id.raw())
    };
    for (id, subnet) in model.subnets.iter().filter(|(_, s)| suits(s)) {
        match chosen.iter_mut().find(|c| model.subnets[**c].zone == subnet.zone) {
            Some(known) if by_id(id) < by_id(*known) => *known = id,
            Some(_) => {}
            None => chosen.push(id),
        }
    }
    chosen
}
