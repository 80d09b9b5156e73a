//! PodTopologySpread's score from the counts.

use super::super::NodeKey;
use super::super::framework::Cx;
use super::super::plugins::pod_topology_spread;
use super::super::plugins::pod_topology_spread_score::{domain_weight, score_for_count};
use super::cells::parts;
use super::groups::NO_DOMAIN;
use super::place::includes_all;
use super::score::narrow;
use super::window::Window;
use super::{CHUNK, Fast, Plan, Spread};

/// Buffers that keep their memory from one decision to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    raw: Vec<i64>,
    /// Pods by position, all 0 between decisions.
    hosts: Vec<u32>,
    counts: Vec<i64>,
    sums: Vec<f64>,
    /// Domain of each feasible node; the number of domains stands for none.
    domains: Vec<u32>,
    seen: Vec<bool>,
    values: Vec<f64>,
    table: Vec<i32>,
    /// Topology → domain by list position.
    placed: Vec<Placed>,
    /// Domain 0 for every position.
    zeros: Vec<u8>,
    /// Nodes of the window that hold pods of the group: index, domain, pods or raw score.
    holding: Vec<(usize, usize, i64)>,
}

/// Domains by list position, as of some versions of node list and labels.
#[derive(Clone, Debug, Default)]
struct Placed {
    orders: u64,
    version: u64,
    domains: Vec<u8>,
}

/// Domains that [`Fast::add_usual`] handles.
const FEW: usize = 256;
/// Domains that are looked for one by one rather than node by node.
const VERY_FEW: usize = 4;

impl Fast {
    /// Adds the weighted, normalised scores of the soft constraints.
    pub(super) fn add_spread(
        &mut self,
        cx: &Cx<'_>,
        plan: &Plan,
        window: &Window,
        totals: &mut [i32],
    ) {
        let mut scratch = std::mem::take(&mut self.scratch.spread);
        if self.add_usual(cx, plan, window, totals, &mut scratch).is_none() {
            let (mut indices, mut feasible) = (Vec::new(), Vec::new());
            window.each(|i, p| {
                indices.push(i);
                feasible.push(p as u32);
            });
            let mut extra = vec![0; feasible.len()];
            self.add_any(cx, plan, &feasible, &mut extra, &mut scratch);
            for (i, extra) in indices.into_iter().zip(extra) {
                totals[i] += extra;
            }
        }
        self.scratch.spread = scratch;
    }
    /// Any constraints, node by node.
    fn add_any(
        &self,
        cx: &Cx<'_>,
        plan: &Plan,
        feasible: &[u32],
        totals: &mut [i32],
        scratch: &mut Scratch,
    ) {
        let order = &*self.order;
        let topologies = || plan.soft.iter().map(|s| self.groups.topology_info(s.topology));
        let complete = !plan.require_all || topologies().all(|t| t.labelled == order.len());
        let has_all = |node: NodeKey| topologies().all(|t| t.domain(node) != NO_DOMAIN);
        let kept = |p: u32| complete || has_all(order[p as usize]);
        let kept_nodes =
            if complete { feasible.len() } else { feasible.iter().filter(|p| kept(**p)).count() };
        scratch.sums.clear();
        scratch.sums.resize(feasible.len(), 0.0);
        for s in &plan.soft {
            if s.is_hostname {
                self.add_hosts(s, domain_weight(kept_nodes), feasible, scratch);
            } else if complete {
                let trivial = includes_all(cx, &s.constraint);
                let included = |node: NodeKey| is_included(cx, s, node);
                self.count(s, if trivial { None } else { Some(&included) }, scratch);
                self.add_domains(s, feasible, |_| true, scratch);
            } else {
                let included = |node: NodeKey| has_all(node) && is_included(cx, s, node);
                self.count(s, Some(&included), scratch);
                self.add_domains(s, feasible, kept, scratch);
            }
        }
        let Scratch { raw, sums, table, .. } = scratch;
        raw.clear();
        raw.extend(sums.iter().map(|s| rounded(*s)));
        if complete {
            normalise(raw, plan.weights.spread, |_| true, table, totals);
        } else {
            normalise(raw, plan.weights.spread, |i| kept(feasible[i]), table, totals);
        }
    }
    /// The usual case: at most one hostname and one other constraint, all nodes labelled. Nodes
    /// without pods of the group score by their domain alone.
    fn add_usual(
        &self,
        cx: &Cx<'_>,
        plan: &Plan,
        window: &Window,
        totals: &mut [i32],
        scratch: &mut Scratch,
    ) -> Option<()> {
        let nodes = self.order.len();
        let (host, other) = usual(&plan.soft)?;
        if plan.soft.iter().any(|s| self.groups.topology_info(s.topology).labelled != nodes) {
            return None;
        }
        let domains = other.map_or(1, |o| self.groups.topology_info(o.topology).nodes.len());
        if domains > FEW {
            return None;
        }
        if let Some(o) = other {
            let included = |node: NodeKey| is_included(cx, o, node);
            let trivial = includes_all(cx, &o.constraint);
            self.count(o, if trivial { None } else { Some(&included) }, scratch);
            self.locate(o, scratch);
        }
        scratch.zeros.resize(nodes, 0);
        let Scratch { counts, values, placed, zeros, holding, .. } = &mut *scratch;
        let place = other.map_or(&zeros[..nodes], |o| &placed[o.topology as usize].domains);
        self.hold(host, window, place, holding);
        let mut alone = [0; FEW];
        count_domains(window, place, domains, &mut alone);
        let size = alone.iter().filter(|n| **n > 0).count();
        holding.iter().for_each(|(_, d, _)| alone[*d] -= 1);
        let weight = domain_weight(size);
        let value = |s: &Spread, pods: i64, weight: f64| {
            score_for_count(pods, s.constraint.max_skew, weight)
        };
        let pods_in = |d: usize| counts.get(d).copied().unwrap_or(0);
        values.clear();
        values.extend((0..domains).map(|d| other.map_or(0.0, |o| value(o, pods_in(d), weight))));
        let host_weight = domain_weight(window.found);
        let raw = |d: usize, pods: i64| {
            rounded(host.map_or(0.0, |h| value(h, pods, host_weight)) + values[d])
        };
        let (mut max, mut min) = (i64::MIN, i64::MAX);
        for (d, _) in alone.iter().enumerate().filter(|a| *a.1 > 0) {
            let r = raw(d, 0);
            (max, min) = (max.max(r), min.min(r));
        }
        for (_, d, pods) in holding.iter_mut() {
            *pods = raw(*d, *pods);
            (max, min) = (max.max(*pods), min.min(*pods));
        }
        let weigh = plan.weights.spread;
        let score =
            |r: i64| narrow(weigh * if max == 0 { 100 } else { 100 * (max + min - r) / max });
        let mut table = [0; FEW];
        for (d, entry) in table.iter_mut().enumerate().filter(|(d, _)| alone[*d] > 0) {
            *entry = score(raw(d, 0));
        }
        add_by_domain(window, place, &table[..domains], totals);
        for (i, d, raw) in holding.iter() {
            totals[*i] += score(*raw) - table[*d];
        }
        Some(())
    }
    /// Nodes of the window that hold pods of the group of `host`.
    fn hold(
        &self,
        host: Option<&Spread>,
        window: &Window,
        place: &[u8],
        holding: &mut Vec<(usize, usize, i64)>,
    ) {
        holding.clear();
        let Some(g) = host.and_then(|h| h.group) else { return };
        let entries = self.groups.entries(g);
        let mut take = |position: usize, pods: u32| {
            let index = window.index_of(position).filter(|i| window.values[*i] >= 0);
            if let (Some(i), Some(d)) = (index, place.get(position)) {
                holding.push((i, usize::from(*d), i64::from(pods)));
            }
        };
        if entries.len() <= window.values.len() {
            for (node, pods) in entries {
                let position = self.positions.get(*node as usize).copied();
                take(position.unwrap_or(super::NOWHERE) as usize, *pods);
            }
            return;
        }
        for range in window.stretches().map(|s| s.1) {
            for position in range {
                if let Some(pods) = entries.get(&self.order[position]) {
                    take(position, *pods);
                }
            }
        }
    }
    /// Writes the group's pods into `hosts`, or takes them out again.
    fn set_hosts(&self, host: Option<&Spread>, nodes: usize, scratch: &mut Scratch, on: bool) {
        let hosts = &mut scratch.hosts;
        hosts.resize(nodes.max(hosts.len()), 0);
        let entries = host.and_then(|h| h.group).map(|g| self.groups.entries(g));
        for (node, count) in entries.into_iter().flatten() {
            let position = self.positions.get(*node as usize).copied().unwrap_or(u32::MAX);
            if let Some(h) = hosts.get_mut(position as usize) {
                *h = if on { *count } else { 0 };
            }
        }
    }
    /// Brings the domains by position up to date.
    fn locate(&self, s: &Spread, scratch: &mut Scratch) {
        let t = self.groups.topology_info(s.topology);
        let i = s.topology as usize;
        if scratch.placed.len() <= i {
            scratch.placed.resize(i + 1, Placed::default());
        }
        let placed = &mut scratch.placed[i];
        let current = (self.orders, t.version);
        if (placed.orders, placed.version) != current || placed.domains.len() != self.order.len() {
            (placed.orders, placed.version) = current;
            placed.domains.clear();
            let few = |n: &NodeKey| u8::try_from(t.domain(*n)).unwrap_or(u8::MAX);
            placed.domains.extend(self.order.iter().map(few));
        }
    }
    /// Counts pods by domain.
    fn count(&self, s: &Spread, included: Option<&dyn Fn(NodeKey) -> bool>, scratch: &mut Scratch) {
        match s.group {
            Some(g) => self.groups.by_domain(g, s.topology, included, &mut scratch.counts),
            None => {
                let domains = self.groups.topology_info(s.topology).nodes.len();
                scratch.counts.clear();
                scratch.counts.resize(domains, 0);
            }
        }
    }
    fn add_domains(
        &self,
        s: &Spread,
        feasible: &[u32],
        kept: impl Fn(u32) -> bool,
        scratch: &mut Scratch,
    ) {
        let t = self.groups.topology_info(s.topology);
        let order = &*self.order;
        let none = t.nodes.len();
        let Scratch { domains, seen, values, counts, sums, .. } = scratch;
        domains.clear();
        domains.extend(feasible.iter().map(|p| t.domain(order[*p as usize]).min(none as u32)));
        seen.clear();
        seen.resize(none + 1, false);
        for (p, domain) in feasible.iter().zip(&*domains) {
            seen[*domain as usize] |= kept(*p);
        }
        let weight = domain_weight(seen.iter().filter(|s| **s).count());
        let skew = s.constraint.max_skew;
        values.clear();
        values.extend(counts.iter().map(|c| score_for_count(*c, skew, weight)));
        // Nodes without the key get nothing from this constraint.
        values.push(0.0);
        for (domain, sum) in domains.iter().zip(sums) {
            *sum += values[*domain as usize];
        }
    }
    fn add_hosts(&self, s: &Spread, weight: f64, feasible: &[u32], scratch: &mut Scratch) {
        let t = self.groups.topology_info(s.topology);
        let skew = s.constraint.max_skew;
        let empty = score_for_count(0, skew, weight);
        let all_labelled = t.labelled == self.order.len();
        self.set_hosts(Some(s), self.order.len(), scratch, true);
        let Scratch { hosts, sums, .. } = &mut *scratch;
        for (p, sum) in feasible.iter().zip(sums) {
            let pods = hosts[*p as usize];
            if all_labelled || t.domain(self.order[*p as usize]) != NO_DOMAIN {
                *sum += match pods {
                    0 => empty,
                    _ => score_for_count(i64::from(pods), skew, weight),
                };
            }
        }
        self.set_hosts(Some(s), self.order.len(), scratch, false);
    }
}

/// Counts the window's feasible nodes by domain.
fn count_domains(window: &Window, place: &[u8], domains: usize, into: &mut [u32; FEW]) {
    for (begin, range) in window.stretches() {
        let values = &window.values[begin..begin + range.len()];
        let place = &place[range];
        if domains > VERY_FEW {
            for (v, d) in values.iter().zip(place) {
                into[usize::from(*d)] += u32::from(*v >= 0);
            }
            continue;
        }
        for (d, n) in (0u8..).zip(&mut into[..domains]) {
            // Counted in short numbers, many at a time.
            for (values, place) in values.chunks(CHUNK).zip(place.chunks(CHUNK)) {
                let mut here = 0_u16;
                for (v, at) in values.iter().zip(place) {
                    here += u16::from((*v >= 0) & (*at == d));
                }
                *n += u32::from(here);
            }
        }
    }
}

fn add_by_domain(window: &Window, place: &[u8], table: &[i32], totals: &mut [i32]) {
    for (begin, range) in window.stretches() {
        let totals = &mut totals[begin..begin + range.len()];
        let place = &place[range];
        if table.len() > VERY_FEW {
            for (total, d) in totals.iter_mut().zip(place) {
                *total += table.get(usize::from(*d)).copied().unwrap_or(0);
            }
            continue;
        }
        let mut scores = [0; VERY_FEW];
        scores[..table.len()].copy_from_slice(table);
        let [a, b, c, d] = scores;
        for (total, at) in totals.iter_mut().zip(place) {
            let low = if *at == 0 { a } else { b };
            let high = if *at == 2 { c } else { d };
            *total += if *at < 2 { low } else { high };
        }
    }
}

/// The hostname and the other constraint, if there is at most one of each.
fn usual(soft: &[Spread]) -> Option<(Option<&Spread>, Option<&Spread>)> {
    match soft {
        [h] if h.is_hostname => Some((Some(h), None)),
        [o] => Some((None, Some(o))),
        [h, o] | [o, h] if h.is_hostname && !o.is_hostname => Some((Some(h), Some(o))),
        _ => None,
    }
}

fn is_included(cx: &Cx<'_>, s: &Spread, node: NodeKey) -> bool {
    let included = |(_, n)| pod_topology_spread::is_included(cx, &s.constraint, n);
    parts(cx, node).is_some_and(included)
}

/// Upstream's rounding (half away from zero), without a call for the usual non-negative sums.
fn rounded(x: f64) -> i64 {
    if !(0.0..1e15).contains(&x) {
        return f64::round(x) as i64;
    }
    let whole = x as i64;
    whole + i64::from(x - whole as f64 >= 0.5)
}

fn normalise(
    raw: &[i64],
    weight: i64,
    kept: impl Fn(usize) -> bool,
    table: &mut Vec<i32>,
    totals: &mut [i32],
) {
    let (mut max, mut min) = (i64::MIN, i64::MAX);
    for (i, r) in raw.iter().enumerate() {
        if kept(i) {
            (max, min) = (max.max(*r), min.min(*r));
        }
    }
    if max < min {
        return;
    }
    let score = |r: i64| narrow(weight * if max == 0 { 100 } else { 100 * (max + min - r) / max });
    let parts = raw.iter().zip(totals).enumerate().filter(|(i, _)| kept(*i));
    let range = max - min;
    if range < raw.len() as i64 {
        // Few distinct values: one division each.
        table.clear();
        table.extend((min..=max).map(score));
        for (_, (r, total)) in parts {
            *total += table[(r - min) as usize];
        }
    } else {
        for (_, (r, total)) in parts {
            *total += score(*r);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_half_away_from_zero() {
        for x in [0.0, 0.499_999_999_999_999_94, 0.5, 1.5, 2.4999, 1e9 + 0.5, -0.5, -1.5, 7.0] {
            assert_eq!(rounded(x), f64::round(x) as i64, "{x}");
        }
    }
}
