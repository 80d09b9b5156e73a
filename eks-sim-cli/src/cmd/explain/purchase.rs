//! Why Karpenter bought an instance, in words and as JSON.

use eks_sim::components::karpenter::explain::Purchase;
use std::fmt::Write as _;

/// A paragraph with candidates, prices and what narrowed them.
pub fn text(node: &str, why: &Purchase) -> String {
    let mut out = format!(
        "{node} was bought by Karpenter: NodeClaim {} of NodePool {}, made at {}",
        why.claim, why.pool, why.at
    );
    match why.pods {
        0 => out.push_str(" (static capacity)"),
        1 => out.push_str(" for 1 pod"),
        n => {
            let _ = write!(out, " for {n} pods");
        }
    }
    if !why.requests.is_empty() {
        let _ = write!(out, "\n  asked for, DaemonSets included: {}", why.requests);
    }
    out.push_str("\n  instance types left:");
    for (step, left) in &why.narrowed {
        let _ = write!(out, "\n  {left:>6}  {step}");
    }
    let price = |p: f64| if p.is_finite() { format!("${p:.4}/h") } else { "unknown".to_owned() };
    if !why.cheapest.is_empty() {
        let list: Vec<_> = why.cheapest.iter().map(|(t, p)| format!("{t} {}", price(*p))).collect();
        let _ = write!(out, "\n  cheapest of them: {}", list.join(", "));
    }
    for (name, p, reason) in &why.ruled_out {
        let _ = write!(out, "\n  not {name} ({}): {reason}", price(*p));
    }
    for (name, zone, code) in &why.refused {
        let _ = write!(out, "\n  EC2 refused {name} in {zone}: {code}");
    }
    if let Some((name, how, zone, p)) = &why.bought {
        let strategy = match *how {
            "spot" => "the cheapest pool that has capacity (price-capacity-optimized)",
            "reserved" => "the capacity reservation",
            _ => "the lowest price",
        };
        let _ = write!(out, "\n  bought: {how} {name} in {zone} at {}, {strategy}", price(*p));
    }
    out.push('\n');
    out
}

/// The same for machines.
pub fn json(why: &Purchase) -> serde_json::Value {
    let priced = |(name, price): &(String, f64)| serde_json::json!({"instanceType": name, "usdPerHour": price});
    let narrowed = why
        .narrowed
        .iter()
        .map(|(step, left)| serde_json::json!({"step": step, "instanceTypes": left}));
    let ruled_out = why.ruled_out.iter().map(|(name, price, reason)| {
        serde_json::json!({"instanceType": name, "usdPerHour": price, "reason": reason})
    });
    let refused = why.refused.iter().map(
        |(name, zone, code)| serde_json::json!({"instanceType": name, "zone": zone, "code": code}),
    );
    let bought = why.bought.as_ref().map(|(name, how, zone, price)| {
        serde_json::json!({
            "instanceType": name, "capacityType": how, "zone": zone, "usdPerHour": price,
        })
    });
    serde_json::json!({
        "nodeClaim": why.claim, "nodePool": why.pool, "atSeconds": why.at.secs_f64(),
        "pods": why.pods, "requests": why.requests,
        "narrowed": narrowed.collect::<Vec<_>>(),
        "cheapest": why.cheapest.iter().map(priced).collect::<Vec<_>>(),
        "ruledOut": ruled_out.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
        "bought": bought,
    })
}
