//! Stable codes of diagnostics. A code keeps its meaning for good; a new meaning gets a new code.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $(
            $(#[$doc])*
            pub const $name: &str = $code;
        )*
        /// Every code with its constant's name.
        pub const ALL: &[(&str, &str)] = &[$(($code, stringify!($name)),)*];
    };
}

codes! {
    /// A file or folder cannot be read.
    UNREADABLE = "E0101";
    /// A pattern matches nothing.
    NO_MATCH = "E0102";
    /// A file is too large.
    TOO_LARGE = "E0103";
    /// A text is not UTF-8.
    NOT_UTF8 = "E0104";
    /// A text has a NUL byte.
    NUL_BYTE = "E0105";
    /// A pattern is not a valid glob.
    BAD_PATTERN = "E0106";
    /// A file has no document.
    EMPTY_INPUT = "E0107";

    /// The YAML is malformed.
    YAML_SYNTAX = "E0201";
    /// A tab indents.
    TAB_INDENT = "E0202";
    /// A key occurs twice.
    DUPLICATE_KEY = "E0203";
    /// Too deep, too many values or too long a value.
    BUDGET = "E0204";
    /// A key is not a plain value.
    COMPLEX_KEY = "E0205";
    /// A merge key has no mapping.
    BAD_MERGE = "E0206";
    /// An alias without an anchor, or inside its own anchor.
    BAD_ALIAS = "E0207";
    /// The JSON is malformed.
    JSON_SYNTAX = "E0208";
    /// A file is a template that must be rendered first.
    TEMPLATE = "E0209";
    /// A tag that is not understood.
    BAD_TAG = "E0210";

    /// A value has the wrong type.
    WRONG_TYPE = "E0301";
    /// A field is unknown.
    UNKNOWN_FIELD = "E0302";
    /// A field is missing.
    MISSING_FIELD = "E0303";
    /// A value is not one of those allowed.
    UNKNOWN_VALUE = "E0304";
    /// A value cannot be understood.
    BAD_VALUE = "E0305";
    /// A field has no value.
    NULL_VALUE = "E0306";
    /// A mapping must have exactly one key.
    ONE_OF = "E0307";

    /// A document is not a Kubernetes object.
    NOT_AN_OBJECT = "E0401";
    /// A name is malformed.
    BAD_NAME = "E0402";
    /// A selector is missing or does not match its template.
    BAD_SELECTOR = "E0403";
    /// A number is out of range.
    OUT_OF_RANGE = "E0404";
    /// A request exceeds its limit.
    REQUEST_OVER_LIMIT = "E0405";
    /// Something that must be unique occurs twice.
    NOT_UNIQUE = "E0406";
    /// Fields contradict each other.
    CONTRADICTION = "E0407";
    /// A cron expression or time zone is malformed.
    BAD_CRON = "E0408";
    /// Something refers to an object that does not exist.
    NO_SUCH_OBJECT = "E0409";
    /// A quantity is negative.
    NEGATIVE_QUANTITY = "E0410";

    /// The scenario is not a scenario.
    NOT_A_SCENARIO = "E0501";
    /// A path of `--set` or `variants` leads nowhere.
    BAD_PATH = "E0502";
    /// A path is malformed.
    PATH_SYNTAX = "E0503";
    /// Traffic goes to a Service that does not exist.
    NO_SUCH_SERVICE = "E0504";

    /// A kind is read but not simulated yet.
    NOT_MODELLED = "W0401";
    /// A kind that has no effect on the simulation.
    NO_EFFECT = "W0402";
    /// A kind that is unknown.
    UNKNOWN_KIND = "W0403";
    /// The same object is there twice.
    DUPLICATE_OBJECT = "W0404";
    /// A placeholder is not filled in.
    PLACEHOLDER = "W0405";
    /// A kustomization or a patch of one.
    KUSTOMIZE = "W0406";
    /// An old API version.
    OLD_API = "W0407";
    /// A Helm hook.
    HELM_HOOK = "W0408";
    /// Objects that a controller manages.
    CONTROLLED = "W0409";
    /// A field that looks like a misspelling.
    MISSPELLED = "W0410";
    /// A key occurs twice; the last one wins.
    REPEATED_KEY = "W0411";
    /// A document is not a Kubernetes object and is skipped.
    FOREIGN_DOCUMENT = "W0412";
    /// A reference to an object that is not among the manifests.
    DANGLING_REFERENCE = "W0413";
    /// A time zone without known rules.
    UNKNOWN_ZONE = "W0414";

    /// An HPA's pods lack the request of its metric.
    HPA_WITHOUT_REQUEST = "W0501";
    /// A budget blocks every drain.
    PDB_BLOCKS_DRAINS = "W0502";
    /// An HPA and a VPA act on the same metric.
    HPA_AND_VPA = "W0503";
    /// A subnet is too small for its node groups.
    SUBNET_TOO_SMALL = "W0504";
    /// A pod fits no allowed instance type.
    POD_FITS_NOWHERE = "W0505";
    /// A node selector or affinity that no node group satisfies.
    NO_NODE_MATCHES = "W0506";
    /// A workload without requests.
    NO_REQUESTS = "W0507";
    /// A Service without a selector gets traffic.
    SERVICE_WITHOUT_SELECTOR = "W0508";
    /// A Service's selector matches no pod.
    SERVICE_MATCHES_NOTHING = "W0509";
    /// `replicas` is set beside an HPA.
    REPLICAS_WITH_HPA = "W0510";
    /// A workload has one replica and a budget.
    SINGLE_REPLICA_BUDGET = "W0511";
    /// An image has no fixed version.
    UNPINNED_IMAGE = "W0512";
    /// A budget matches no pod.
    PDB_MATCHES_NOTHING = "W0513";
    /// A workload has no readiness probe and gets traffic.
    NO_READINESS_PROBE = "W0514";
    /// Something that the real thing refuses on AWS and that is simulated all the same.
    REFUSED_BY_AWS = "W0520";
    /// Instance weights beside Cluster Autoscaler.
    WEIGHTS_WITH_AUTOSCALER = "W0521";
    /// Scenario, manifests and catalogue do not go together.
    DOES_NOT_FIT = "E0601";
    /// Something is ignored when the model is built.
    IGNORED_IN_MODEL = "W0602";
    /// Two HPAs scale the same object.
    TWO_SCALERS = "W0515";
    /// Custom networking without an ENIConfig for some nodes.
    ENI_CONFIG_MISSING = "W0516";
    /// A node allows more pods than the CNI has addresses for.
    MORE_PODS_THAN_ADDRESSES = "W0517";
    /// No type of the node groups can carry branch interfaces.
    NO_TRUNK = "W0518";
    /// ENIConfigs or SecurityGroupPolicies without their switch.
    NETWORK_OBJECT_UNUSED = "W0519";
}

#[cfg(test)]
mod tests {
    #[test]
    fn codes_are_unique() {
        let set: std::collections::BTreeSet<_> = super::ALL.iter().map(|c| c.0).collect();
        assert_eq!(set.len(), super::ALL.len());
    }
}
