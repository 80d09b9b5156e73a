//! The cluster that the autoscaler simulates placements on.
//!
//! Upstream: simulator/clustersnapshot and simulator/scheduling/hinting_simulator.go of release
//! 1.37. The scheduler's filters are behind [`SimCluster`], so that the real scheduler policy
//! and small test clusters serve alike.

/// Why a pod was not placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceError {
    /// The first failing filter was PodTopologySpread with an unmet constraint.
    pub topology_spread: bool,
}

/// A cluster that can be changed and rolled back. Nodes are positions `0..len()` in snapshot
/// order; new nodes go to the end.
pub trait SimCluster {
    /// A pending or bound pod.
    type Pod: Copy;

    /// Number of nodes.
    fn len(&self) -> usize;
    /// Whether there is no node.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Adds a node made from the template of `group`, with its DaemonSet pods, at the end.
    fn add_template_node(&mut self, group: usize);
    /// Places `pod` on node `position` if the scheduler's filters allow it.
    ///
    /// # Errors
    /// Says why the filters refuse the node; then nothing changed.
    fn try_place(&mut self, pod: Self::Pod, position: usize) -> Result<(), PlaceError>;
    /// Takes a bound pod from node `position`.
    fn remove_pod(&mut self, pod: Self::Pod, position: usize);
    /// Remembers the current state.
    fn checkpoint(&mut self) -> usize;
    /// Goes back to the state that `checkpoint` returned `mark` for.
    fn rollback(&mut self, mark: usize);

    /// Places as many of `pods` (identical ones) as node `position` takes, in order. A cluster
    /// that can compute the number may override this.
    fn place_run(&mut self, pods: &[Self::Pod], position: usize) -> (usize, Option<PlaceError>) {
        for (i, &pod) in pods.iter().enumerate() {
            if let Err(error) = self.try_place(pod, position) {
                return (i, Some(error));
            }
        }
        (pods.len(), None)
    }
}

/// Where the search over nodes goes on: one position for all searches of a process, as upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(usize);

impl Cursor {
    /// Places `pod` on the first node from the cursor on, round robin, that is acceptable and
    /// fits; the cursor then stands behind that node.
    pub fn place_on_any<C: SimCluster>(
        &mut self,
        cluster: &mut C,
        pod: C::Pod,
        acceptable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let count = cluster.len();
        if count == 0 {
            return None;
        }
        let start = self.0 % count;
        let found = (start..count)
            .chain(0..start)
            .find(|&node| acceptable(node) && cluster.try_place(pod, node).is_ok())?;
        self.0 = (found + 1) % count;
        Some(found)
    }

    /// The same among the nodes from `first` on, without looking at the others.
    pub fn place_on_new<C: SimCluster>(
        &mut self,
        cluster: &mut C,
        pod: C::Pod,
        first: usize,
    ) -> Option<usize> {
        let count = cluster.len();
        if first >= count {
            return None;
        }
        let start = (self.0 % count).max(first);
        let found = (start..count)
            .chain(first..start)
            .find(|&node| cluster.try_place(pod, node).is_ok())?;
        self.0 = (found + 1) % count;
        Some(found)
    }
}
