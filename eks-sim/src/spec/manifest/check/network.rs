//! ENIConfig and SecurityGroupPolicy.

use super::Checker;
use crate::k8s;
use crate::spec::codes;

pub(in crate::spec::manifest) fn eni_config(object: &k8s::EniConfig, c: &mut Checker<'_, '_, '_>) {
    c.meta(&object.metadata);
    if object.spec.subnet.is_empty() {
        let message = "the ENIConfig names no subnet";
        let help = "add `subnet:` with the id or the name of a subnet of the scenario";
        c.error(codes::MISSING_FIELD, "spec.subnet", message, help);
    }
    if object.spec.security_groups.len() > 5 {
        let message = format!("{} security groups are too many", object.spec.security_groups.len());
        let help = "an interface takes at most 5";
        c.error(codes::OUT_OF_RANGE, "spec.securityGroups", message, help);
    }
}

pub(in crate::spec::manifest) fn security_group_policy(
    object: &k8s::SecurityGroupPolicy,
    c: &mut Checker<'_, '_, '_>,
) {
    c.meta(&object.metadata);
    let spec = &object.spec;
    if spec.pod_selector.is_none() && spec.service_account_selector.is_none() {
        let message = "the SecurityGroupPolicy selects no pods";
        let help =
            "add `podSelector: {matchLabels: {app: NAME}}`; `{}` selects all of its namespace";
        c.error(codes::BAD_SELECTOR, "spec", message, help);
    }
    let groups = spec.security_groups.group_ids.len();
    if !(1..=5).contains(&groups) {
        let message = format!("a SecurityGroupPolicy has 1 to 5 security groups, not {groups}");
        let help = "write for example `securityGroups: {groupIds: [sg-0123456789abcdef0]}`";
        c.error(codes::OUT_OF_RANGE, "spec.securityGroups", message, help);
    }
}
