//! Scores of the examined nodes, and the choice among the best.

use super::super::framework::Cx;
use super::super::plugins::{image_locality, inter_pod_affinity_score};
use super::cells::parts;
use super::window::Window;
use super::{Fast, NO_FIT, Plan};

/// Total of a node the pod may not go to.
const OUT: i32 = i32::MIN / 2;

impl Fast {
    /// The position of the best node of the window.
    pub(super) fn best(
        &mut self,
        cx: &Cx<'_>,
        plan: &Plan,
        tie: &mut dyn FnMut(u32) -> u32,
    ) -> Option<usize> {
        let window = std::mem::take(&mut self.scratch.window);
        let mut pick = |ties: usize| if ties > 1 { tie(ties as u32) as usize } else { 0 };
        let images = plan.weights.image > 0
            && cx.class.images.iter().any(|i| cx.cache.images.contains_key(i));
        let taints = plan.weights.taint > 0 && self.statics[plan.fixed as usize].any_taint;
        let pods = plan.weights.pod_affinity > 0 && plan.affinity.scores(&self.groups);
        let wishes = plan.weights.affinity > 0 || plan.weights.spread > 0;
        let chosen = if window.found == 1 || !(images || taints || pods || wishes) {
            let (mut top, mut ties) = (NO_FIT, 0_u32);
            for value in &window.values {
                top = top.max(*value);
            }
            for value in &window.values {
                ties += u32::from(*value == top);
            }
            window.nth(top, pick(ties as usize))
        } else {
            let mut totals = std::mem::take(&mut self.scratch.totals);
            totals.clear();
            totals.resize(window.values.len(), OUT);
            for (total, value) in totals.iter_mut().zip(&window.values) {
                *total = if *value >= 0 { i32::from(*value) } else { OUT };
            }
            self.add_static(plan, &window, &mut totals);
            if images {
                self.add_images(cx, plan, &window, &mut totals);
            }
            if plan.weights.spread > 0 {
                self.add_spread(cx, plan, &window, &mut totals);
            }
            if pods {
                self.add_pods(plan, &window, &mut totals);
            }
            let (mut top, mut ties) = (i32::MIN, 0_u32);
            for total in &totals {
                top = top.max(*total);
            }
            for total in &totals {
                ties += u32::from(*total == top);
            }
            let mut best = totals.iter().enumerate().filter(|t| *t.1 == top);
            let chosen = best.nth(pick(ties as usize)).map(|(i, _)| window.position(i));
            self.scratch.totals = totals;
            chosen
        };
        self.scratch.window = window;
        chosen
    }
    /// TaintToleration and NodeAffinity.
    fn add_static(&self, plan: &Plan, window: &Window, totals: &mut [i32]) {
        let (weights, row) = (plan.weights, &self.statics[plan.fixed as usize]);
        if weights.taint > 0 && row.any_taint {
            let mut max = 0;
            window.each(|_, p| max = max.max(i64::from(row.taints[p])));
            if max > 0 {
                window.each(|i, p| {
                    let part = 100 - 100 * i64::from(row.taints[p]) / max;
                    totals[i] += narrow(weights.taint * part);
                });
            }
        }
        if weights.affinity > 0 {
            let mut max = 0;
            window.each(|_, p| max = max.max(i64::from(row.affinities[p])));
            if max > 0 {
                window.each(|i, p| {
                    let part = 100 * i64::from(row.affinities[p]) / max;
                    totals[i] += narrow(weights.affinity * part);
                });
            }
        }
    }
    /// ImageLocality.
    fn add_images(&self, cx: &Cx<'_>, plan: &Plan, window: &Window, totals: &mut [i32]) {
        let all = cx.cache.node_count();
        window.each(|i, p| {
            if let Some((_, node)) = parts(cx, self.order[p]) {
                let score = image_locality::raw_score(cx, node, all);
                totals[i] += narrow(plan.weights.image * score);
            }
        });
    }
    /// InterPodAffinity.
    fn add_pods(&self, plan: &Plan, window: &Window, totals: &mut [i32]) {
        let (mut indices, mut nodes) = (Vec::new(), Vec::new());
        window.each(|i, p| {
            indices.push(i);
            nodes.push(self.order[p]);
        });
        let raw = plan.affinity.raw(&self.groups, &nodes);
        let scores = inter_pod_affinity_score::normalized(&raw);
        for (score, i) in scores.iter().zip(indices) {
            totals[i] += narrow(plan.weights.pod_affinity * score);
        }
    }
}

/// Scores and weights are small: a total stays far below 2^31.
pub(super) fn narrow(x: i64) -> i32 {
    i32::try_from(x).unwrap_or(i32::MAX)
}
