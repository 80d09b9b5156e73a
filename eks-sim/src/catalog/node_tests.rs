//! Node arithmetic against the conformance vectors and Karpenter's published table.

use super::super::Catalog;
use super::*;
use serde_json::Value;

fn get(name: &str) -> &'static InstanceType {
    Catalog::embedded().get(name).unwrap_or_else(|| panic!("{name} is missing"))
}

#[test]
fn karpenter_reference_table() {
    // Every type of the published table: cpu, memory, storage and pods, no exception.
    let (mut exact, mut all) = (0, 0);
    for t in Catalog::embedded() {
        let Some(want) = t.karpenter else { continue };
        let got = karpenter_estimate(t, &NodeSettings::default()).unwrap();
        all += 1;
        exact += usize::from(
            got.allocatable.cpu == want.cpu
                && got.allocatable.memory.raw() / MIB == want.memory_mib
                && whole_gib(got.allocatable.ephemeral_storage) == want.ephemeral_gib
                && got.pods == want.pods,
        );
    }
    assert_eq!((exact, all), (1363, 1363));
}

#[test]
fn validation_e5() {
    let settings = NodeSettings::default();
    let rows = [("m5.large", 6903), ("c5.large", 3114), ("m5.xlarge", 14162), ("r5.large", 14481)];
    for (name, mib) in rows {
        let got = karpenter_estimate(get(name), &settings).unwrap();
        assert_eq!(got.allocatable.memory.raw() / MIB, mib, "{name}");
    }
    assert_eq!(kube_reserved_cpu(MilliCpu::new(2000), &settings.defaults), MilliCpu::new(70));
    assert_eq!(kube_reserved_cpu(MilliCpu::new(192_000), &settings.defaults), MilliCpu::new(550));
}

#[test]
fn real_nodes_start_from_what_the_system_saw() {
    let t = get("m5.large");
    let seen = t.os_visible_memory.unwrap();
    let node = node_resources(t, &NodeSettings::default()).unwrap();
    assert_eq!(node.capacity.memory, seen);
    assert_eq!(node.allocatable.memory, seen - Bytes::from_mib(255 + 11 * 29 + 100));
    let guess = karpenter_estimate(t, &NodeSettings::default()).unwrap();
    assert!(node.allocatable.memory > guess.allocatable.memory, "the guess is careful");
    let dense = NodeSettings { max_pods: Some(110), ..NodeSettings::default() };
    let node = node_resources(t, &dense).unwrap();
    assert_eq!(node.kube_reserved.memory, Bytes::from_mib(255 + 11 * 110));
}

#[test]
fn no_type_fails() {
    let (mut known, mut unknown) = (0, 0);
    for t in Catalog::embedded() {
        match node_resources(t, &NodeSettings::default()) {
            Some(node) => {
                known += 1;
                assert!(node.capacity.memory >= node.allocatable.memory, "{}", t.name);
                if node.allocatable.memory == Bytes::ZERO {
                    assert!(t.memory.unwrap() <= Bytes::from_mib(1024), "{}", t.name);
                }
            }
            None => unknown += 1,
        }
    }
    assert_eq!((known, unknown), (1422, 38));
}

#[test]
fn devices_are_advertised() {
    assert_eq!(extended_resources(get("p4d.24xlarge"), false), [("nvidia.com/gpu", 8)]);
    assert_eq!(extended_resources(get("inf2.xlarge"), false), [("aws.amazon.com/neuron", 1)]);
    assert_eq!(extended_resources(get("g4ad.xlarge"), false), [("amd.com/gpu", 1)]);
    assert_eq!(extended_resources(get("m5.large"), true), [("vpc.amazonaws.com/pod-eni", 9)]);
    assert_eq!(extended_resources(get("t3.large"), true), []);
}

#[test]
fn thresholds_read() {
    assert_eq!(Threshold::parse("100Mi"), Some(Threshold::Amount(Bytes::from_mib(100))));
    assert_eq!(Threshold::parse("10%"), Some(Threshold::Millionths(100_000)));
    assert_eq!(Threshold::parse("12.5%"), Some(Threshold::Millionths(125_000)));
    for bad in ["", "%", "101%", "-1%", "-5Mi", "ten"] {
        assert_eq!(Threshold::parse(bad), None, "{bad}");
    }
}

fn reserved(value: &Value) -> Reserved {
    let read = |key: &str| value[key].as_str().map(|t| t.parse::<Quantity>().unwrap());
    Reserved {
        cpu: read("cpu").map(Quantity::milli_cpu),
        memory: read("memory").map(Quantity::bytes),
        ephemeral_storage: read("ephemeral-storage").map(Quantity::bytes),
    }
}

fn settings(input: &Value) -> NodeSettings {
    let kubelet = &input["kubelet"];
    let count = |v: &Value| v.as_u64().map(|n| n as u32);
    let threshold = |key: &str| kubelet["evictionHard"][key].as_str().and_then(Threshold::parse);
    NodeSettings {
        ami_family: serde_json::from_value(input["amiFamily"].clone()).unwrap(),
        max_pods: count(&kubelet["maxPods"]),
        pods_per_core: count(&kubelet["podsPerCore"]),
        kube_reserved: reserved(&kubelet["kubeReserved"]),
        system_reserved: reserved(&kubelet["systemReserved"]),
        eviction_memory: threshold("memory.available"),
        eviction_nodefs: threshold("nodefs.available"),
        reserved_enis: count(&input["reservedENIs"]).unwrap(),
        vm_memory_overhead: (input["vmMemoryOverheadPercent"].as_f64().unwrap() * 1e6) as u32,
        ..NodeSettings::default()
    }
}

#[test]
fn conformance_vectors_of_the_overhead() {
    let text =
        include_str!("../../tests/data/conformance/autoscaling/karpenter-node-overhead.json");
    let file: Value = serde_json::from_str(text).unwrap();
    let mut compared = 0;
    for case in file["cases"].as_array().unwrap() {
        let (input, name) = (&case["input"], case["name"].as_str().unwrap());
        let t = get(input["instanceType"].as_str().unwrap());
        let got = karpenter_estimate(t, &settings(input)).unwrap();
        for (section, amounts) in [
            ("capacity", got.capacity),
            ("kubeReserved", got.kube_reserved),
            ("systemReserved", got.system_reserved),
            ("evictionThreshold", got.eviction_threshold),
            ("allocatable", got.allocatable),
        ] {
            let want = &case["expect"][section];
            for (key, got, within) in [
                ("cpuMillicores", amounts.cpu.raw(), 0),
                ("memoryBytes", amounts.memory.raw(), 10),
                ("ephemeralStorageBytes", amounts.ephemeral_storage.raw(), 10),
                ("pods", i64::from(got.pods), 0),
            ] {
                let Some(want) = want[key].as_i64() else { continue };
                compared += 1;
                assert!((want - got).abs() <= within, "{name} {section}.{key}: {want}, got {got}");
            }
        }
    }
    assert!(compared > 250, "{compared}");
}

#[test]
fn overrides_reach_the_formulas() {
    let value = serde_json::json!("300Mi");
    let list = [("kubelet.kube_reserved_memory_base", &value)];
    let defaults = Defaults::with(super::super::Overrides::check(list).unwrap());
    let node = node_resources(get("m5.large"), &NodeSettings::new(&defaults)).unwrap();
    assert_eq!(node.kube_reserved.memory, Bytes::from_mib(300 + 11 * 29));
}
