//! Disruption budgets of a NodePool.
//!
//! Upstream: karpenter pkg/apis/v1/nodepool.go and disruption/helpers.go.

use super::cron::{CronError, Schedule};
use crate::k8s;
use crate::units::Span;

/// What a disruption is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The node is empty.
    Empty,
    /// Consolidation.
    Underutilized,
    /// The node differs from its NodePool.
    Drifted,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Empty, Self::Underutilized, Self::Drifted];
    /// Upstream's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Underutilized => "Underutilized",
            Self::Drifted => "Drifted",
        }
    }
}

/// No limit.
pub const UNLIMITED: i64 = i32::MAX as i64;

/// Nodes, or percent of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// A number.
    Count(i64),
    /// Whole percent, rounded up.
    Percent(i64),
}

/// A budget, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many nodes.
    pub nodes: Nodes,
    /// Reasons it applies to; empty is all.
    pub reasons: Vec<String>,
    /// When it is active; none is always.
    pub window: Option<(Schedule, Span)>,
}

/// Why a budget is unreadable; it then closes its NodePool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// Bad schedule.
    #[error(transparent)]
    Schedule(#[from] CronError),
    /// Bad number.
    #[error("`{0}` is not a number of nodes; write `5` or `10%`")]
    Nodes(String),
    /// Bad duration.
    #[error("`{0}` is not a duration; write for example `8h`")]
    Duration(String),
    /// Schedule and duration must come together.
    #[error("a budget has both schedule and duration, or neither")]
    Incomplete,
}

impl Budget {
    /// Reads a budget of a NodePool.
    ///
    /// # Errors
    /// When a part is malformed.
    pub fn new(budget: &k8s::Budget) -> Result<Self, BudgetError> {
        let text = budget.nodes.trim();
        let bad = || BudgetError::Nodes(text.to_owned());
        let number = |t: &str| t.parse::<i32>().map(i64::from).map_err(|_| bad());
        let nodes = match text.strip_suffix('%') {
            Some(percent) => Nodes::Percent(number(percent)?),
            None => Nodes::Count(number(text)?),
        };
        let window = match (&budget.schedule, &budget.duration) {
            (None, None) => None,
            (Some(schedule), Some(duration)) => {
                let span = duration.parse().map_err(|_| BudgetError::Duration(duration.clone()))?;
                Some((schedule.parse()?, span))
            }
            _ => return Err(BudgetError::Incomplete),
        };
        Ok(Self { nodes, reasons: budget.reasons.clone(), window })
    }

    /// Whether the budget limits disruption at `now` (Unix seconds).
    #[must_use]
    pub fn is_active(&self, now: i64) -> bool {
        let Some((schedule, duration)) = &self.window else { return true };
        let back = i64::try_from(duration.whole_secs()).unwrap_or(i64::MAX);
        // A schedule that never hits has the zero time as its next hit, which is in the past.
        schedule.next(now.saturating_sub(back)).is_none_or(|hit| hit <= now)
    }

    fn allowed(&self, nodes: i64) -> i64 {
        match self.nodes {
            Nodes::Count(count) => count,
            Nodes::Percent(percent) => {
                let scaled = i128::from(percent) * i128::from(nodes);
                i64::try_from((scaled + 99).div_euclid(100)).unwrap_or(UNLIMITED)
            }
        }
    }
}

/// State of a NodePool as its budgets see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolNodes {
    /// Initialised nodes.
    pub total: i64,
    /// Of these, not ready or being deleted.
    pub disrupting: i64,
}

/// Nodes that may be disrupted at `now` for `reason`; one unreadable budget allows none.
#[must_use]
pub fn allowed_disruptions(
    budgets: &[Result<Budget, BudgetError>],
    pool: PoolNodes,
    reason: Reason,
    now: i64,
) -> i64 {
    let mut least = UNLIMITED;
    for budget in budgets {
        let Ok(budget) = budget else { return 0 };
        let applies =
            budget.reasons.is_empty() || budget.reasons.iter().any(|r| r == reason.name());
        if applies && budget.is_active(now) {
            least = least.min(budget.allowed(pool.total));
        }
    }
    least.saturating_sub(pool.disrupting).max(0)
}

/// The budgets of a NodePool: those given, or one of 10 %.
#[must_use]
pub fn of_pool(disruption: Option<&k8s::Disruption>) -> Vec<Result<Budget, BudgetError>> {
    match disruption {
        Some(d) if !d.budgets.is_empty() => d.budgets.iter().map(Budget::new).collect(),
        _ => vec![Ok(Budget { nodes: Nodes::Percent(10), reasons: Vec::new(), window: None })],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_nineteen_nodes_is_four() {
        let budget = k8s::Budget { nodes: "20%".into(), ..k8s::Budget::default() };
        let pool = PoolNodes { total: 19, disrupting: 0 };
        assert_eq!(allowed_disruptions(&[Budget::new(&budget)], pool, Reason::Empty, 0), 4);
    }
}
