//! Security groups for pods: one branch interface per pod on a node's trunk.
//!
//! Upstream: aws/amazon-vpc-resource-controller-k8s (default branch cooldown 60 s, from memory).
//! Differences: the trunk is present or not; its own attach latency is the component's matter.

use std::collections::VecDeque;

use super::config::CniClocks;
use crate::units::SimTime;

/// The branch interfaces of one node.
#[derive(Clone, Debug, Default)]
pub struct Branches {
    limit: u32,
    trunk: bool,
    in_use: u32,
    /// Interfaces of deleted pods and when these went, oldest first.
    cooling: VecDeque<(SimTime, u32)>,
}

/// Why a pod gets no branch interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoBranch {
    /// The node has no trunk interface.
    #[error("the node has no trunk interface; it needs a free interface and a type that can trunk")]
    NoTrunk,
    /// Every branch interface of the type is in use or waits for its deletion.
    #[error("all branch interfaces of the node are in use or cooling down")]
    Limit,
}

impl Branches {
    /// A node whose type allows `limit` branch interfaces.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { limit, trunk: false, in_use: 0, cooling: VecDeque::new() }
    }
    /// The trunk interface is attached.
    pub const fn trunk_attached(&mut self) {
        self.trunk = true;
    }
    /// What the node advertises as `vpc.amazonaws.com/pod-eni`.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        if self.trunk { self.limit } else { 0 }
    }
    /// Branch interfaces that exist, those of deleted pods included.
    #[must_use]
    pub fn attached(&self) -> u32 {
        self.in_use + self.cooling.len() as u32
    }
    /// Counts an interface for a new pod; the caller takes one address of the pod's subnet.
    ///
    /// # Errors
    /// When the node has no trunk, or no branch is left.
    pub fn attach(&mut self) -> Result<(), NoBranch> {
        match self.trunk {
            false => Err(NoBranch::NoTrunk),
            true if self.attached() >= self.limit => Err(NoBranch::Limit),
            true => {
                self.in_use += 1;
                Ok(())
            }
        }
    }
    /// Addresses of interfaces that wait for their deletion, oldest first.
    pub fn cooling(&self) -> impl Iterator<Item = u32> {
        self.cooling.iter().map(|(_, address)| *address)
    }
    /// When the oldest of these may be deleted.
    #[must_use]
    pub fn next_due(&self, clocks: &CniClocks) -> Option<SimTime> {
        self.cooling.front().map(|(released, _)| *released + clocks.branch_cooldown)
    }
    /// An interface that was counted could not be made.
    pub const fn give_up(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }
    /// The pod with this address is gone.
    pub fn release(&mut self, address: u32, now: SimTime) {
        if let Some(left) = self.in_use.checked_sub(1) {
            self.in_use = left;
            self.cooling.push_back((now, address));
        }
    }
    /// The next interface whose cooldown is over, to be deleted: its address returns to the subnet.
    pub fn next_deleted(&mut self, clocks: &CniClocks, now: SimTime) -> Option<u32> {
        let (released, _) = self.cooling.front()?;
        (now.since(*released) >= clocks.branch_cooldown)
            .then(|| self.cooling.pop_front().map(|(_, address)| address))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_of_a_branch() {
        let clocks = CniClocks::default();
        let mut branches = Branches::new(1);
        assert_eq!((branches.attach(), branches.capacity()), (Err(NoBranch::NoTrunk), 0));
        branches.trunk_attached();
        assert_eq!((branches.attach(), branches.capacity()), (Ok(()), 1));
        assert_eq!(branches.attach(), Err(NoBranch::Limit));
        branches.release(7, SimTime::from_secs(10));
        assert_eq!(branches.attach(), Err(NoBranch::Limit));
        assert_eq!(branches.next_deleted(&clocks, SimTime::from_secs(69)), None);
        assert_eq!(branches.next_deleted(&clocks, SimTime::from_secs(70)), Some(7));
        assert_eq!((branches.attach(), branches.attached()), (Ok(()), 1));
    }
}
