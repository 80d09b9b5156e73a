//! Throttling of the EC2 API calls that interfaces and addresses need.
//!
//! Upstream: Amazon EC2 developer guide, "Request throttling" (a token bucket for each action,
//! account and Region); aws-sdk-go-v2 `retry.Standard` (jittered powers of two, at most 20 s);
//! amazon-vpc-cni-k8s pkg/awsutils/awssession/session.go (ten attempts). Differences: the SDK's
//! own retry quota, which only a client with hundreds of failing calls exhausts, is left out.

use crate::units::{SimTime, Span};

/// EC2 actions that ipamd and the VPC resource controller call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiCall {
    /// Which subnets are there, for discovery.
    DescribeSubnets,
    /// Which device numbers of the instance are taken.
    DescribeInstances,
    /// A new interface, with its first addresses.
    CreateNetworkInterface,
    /// Puts it on the instance.
    AttachNetworkInterface,
    /// Lets it end with the instance.
    ModifyNetworkInterfaceAttribute,
    /// Addresses or prefixes for an interface.
    AssignPrivateIpAddresses,
    /// Takes them back.
    UnassignPrivateIpAddresses,
    /// Takes an interface off the instance.
    DetachNetworkInterface,
    /// Ends it.
    DeleteNetworkInterface,
    /// Puts a branch interface on a trunk.
    AssociateTrunkInterface,
}

/// How many [`ApiCall`]s there are.
pub const API_CALLS: usize = ApiCall::AssociateTrunkInterface as usize + 1;

/// A token bucket: its depth, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Calls that an idle account may make at once.
    pub depth: u32,
    /// Time for one more token.
    pub refill: Span,
}

/// The buckets of all actions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApiLimits(pub [Bucket; API_CALLS]);

/// How full the account's buckets are.
#[derive(Clone, Debug, Default)]
pub struct ApiBuckets {
    /// When each bucket is full again.
    full_at: [SimTime; API_CALLS],
    throttled: u64,
    calls: u64,
}

impl ApiBuckets {
    /// Takes a token, or refuses with `RequestLimitExceeded`.
    pub fn take(&mut self, call: ApiCall, limits: &ApiLimits, now: SimTime) -> bool {
        self.calls += 1;
        let bucket = limits.0[call as usize];
        let full = self.full_at[call as usize].max(now) + bucket.refill;
        if full.since(now) > bucket.refill * u64::from(bucket.depth.max(1)) {
            self.throttled += 1;
            return false;
        }
        self.full_at[call as usize] = full;
        true
    }

    /// Calls that were refused.
    #[must_use]
    pub const fn throttled(&self) -> u64 {
        self.throttled
    }

    /// Calls so far, the refused ones included.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }
}

/// Attempts of one call before its error counts.
pub const MAX_ATTEMPTS: u8 = 10;
/// Longest pause between two attempts.
const LONGEST_PAUSE: Span = Span::from_secs(20);

/// Pause before attempt `attempt + 1`; `luck` in (0, 1) is the jitter.
#[must_use]
pub fn pause(attempt: u8, luck: f64) -> Span {
    let whole = 1_u64 << attempt.min(30);
    Span::from_secs_f64(luck * whole as f64).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_bucket_serves_its_depth_and_then_the_refill() {
        let bucket = Bucket { depth: 100, refill: Span::from_millis(200) };
        let limits = ApiLimits([bucket; API_CALLS]);
        let mut buckets = ApiBuckets::default();
        let now = SimTime::from_secs(1_000);
        let call = ApiCall::CreateNetworkInterface;
        let served = (0..500).filter(|_| buckets.take(call, &limits, now)).count();
        assert_eq!((served, buckets.throttled()), (100, 400));
        assert!(buckets.take(ApiCall::AttachNetworkInterface, &limits, now), "another bucket");
        let later = now + Span::from_secs(2);
        assert_eq!((0..500).filter(|_| buckets.take(call, &limits, later)).count(), 10);
    }

    #[test]
    fn pauses_double_up_to_twenty_seconds() {
        let all: Vec<u64> = (0..8).map(|n| pause(n, 1.0).whole_secs()).collect();
        assert_eq!(all, [1, 2, 4, 8, 16, 20, 20, 20]);
        assert_eq!(pause(3, 0.5), Span::from_secs(4));
    }
}
