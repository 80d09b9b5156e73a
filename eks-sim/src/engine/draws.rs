//! Random numbers addressed by (seed, purpose, entity).
//!
//! A draw is a hash, not a step of a shared generator: asking for one number moves no other.
//! Adding a component, a metric or a node therefore changes nobody else's luck, two variants
//! compared under one seed see the same arrivals, boot times and failures, and replications can
//! run on any thread or machine.
//!
//! The hash is fixed here for good: a changed bit changes every published result.

use crate::units::key::PHI;
pub use crate::units::key::{key, key_str, mix64};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng, TryRng};

/// Separates replications from streams.
const REPLICATION: u64 = 0x7265_706C;

/// What a draw is for.
///
/// The numbers are part of the results: a new purpose takes a new number, and the number of a
/// dropped purpose is never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
#[repr(u32)]
pub enum Stream {
    /// Time from a launched instance to a running kubelet.
    NodeBoot = 1,
    /// Time EC2 needs to answer and start an instance.
    InstanceLaunch = 2,
    /// Time of an image pull.
    ImagePull = 3,
    /// Time a container needs to start and to become ready.
    ContainerStart = 4,
    /// Choice among nodes of equal score.
    SchedulerTie = 5,
    /// Latency of a request to the Kubernetes API.
    ApiLatency = 6,
    /// Time to create and attach a network interface.
    EniAttach = 7,
    /// Time to assign addresses or prefixes to an interface.
    AddressAssign = 8,
    /// Time to create a volume.
    VolumeCreate = 9,
    /// Time to attach a volume.
    VolumeAttach = 10,
    /// Time to detach a volume.
    VolumeDetach = 11,
    /// Failure of a node.
    NodeFailure = 12,
    /// Outage of an availability zone.
    ZoneOutage = 13,
    /// Failure of an etcd member.
    EtcdFailure = 14,
    /// Failure of an API server.
    ApiServerFailure = 15,
    /// Reclaim of a Spot instance.
    SpotInterruption = 16,
    /// Noise on the request rate of a service.
    TrafficNoise = 17,
    /// Run time of a Job's pod.
    JobDuration = 18,
    /// Failure of a Job's pod.
    JobFailure = 19,
    /// Cluster Autoscaler's random expander.
    ExpanderTie = 20,
    /// Phase and jitter of a kubelet's sync loop.
    KubeletSync = 21,
    /// Phase of a probe.
    ProbePhase = 22,
    /// Phase of a metrics scrape.
    MetricsPhase = 23,
    /// Registration with a load balancer.
    LoadBalancer = 24,
    /// Start of a Fargate node.
    Fargate = 25,
    /// Zone an Auto Scaling group takes next.
    AsgZone = 26,
    /// Address taken from a subnet.
    SubnetAddress = 27,
    /// Where preemption starts its search.
    PreemptionOffset = 28,
    /// Whether a pool has capacity at a moment.
    InsufficientCapacity = 29,
    /// Arrival of a request or a pod.
    Arrival = 30,
    /// Service time of a request.
    ServiceTime = 31,
    /// Time a container needs to stop.
    ContainerStop = 32,
    /// Crash of a container.
    ContainerCrash = 33,
    /// Repair time of something that failed.
    Repair = 34,
    /// Phase of a controller's periodic loop.
    ControllerPhase = 35,
    /// Noise on the resource use of a pod.
    UsageNoise = 36,
    /// Movement of the Spot price.
    SpotPrice = 37,
    /// Jitter of a retry.
    Backoff = 38,
    /// Time of a DNS lookup.
    Dns = 39,
    /// Order of events in the tie-shuffling test mode.
    TieShuffle = 40,
    /// Generated scenarios of the swarm test.
    Swarm = 41,
    /// Bootstrap resampling in a study.
    Bootstrap = 42,
    /// Order in which CreateFleet tries pools of equal price.
    FleetChoice = 43,
}

/// The random numbers of one replication.
///
/// ```
/// use eks_sim::engine::draws::{Draws, Stream, key_str};
/// let draws = Draws::new(42, 0);
/// let node = key_str("default/worker-3");
/// assert_eq!(draws.uniform(Stream::NodeBoot, node), draws.uniform(Stream::NodeBoot, node));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Draws {
    seed: u64,
    mirrored: bool,
}

impl Draws {
    /// The draws of replication `replication` under `root_seed`.
    #[must_use]
    pub const fn new(root_seed: u64, replication: u64) -> Self {
        Self { seed: mix(root_seed, replication), mirrored: false }
    }

    /// The antithetic partner: every uniform `u` becomes `1 - u`, every index counts from the end.
    /// Generators from [`Self::rng`] are the same.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        Self { seed: self.seed, mirrored: !self.mirrored }
    }

    /// The seed of this replication.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The 64 bits of a draw.
    #[must_use]
    pub const fn word(&self, stream: Stream, key: u64) -> u64 {
        let place = mix64(self.seed.wrapping_add((stream as u64).wrapping_mul(PHI)));
        mix64(place.wrapping_add(mix64(key ^ PHI)))
    }

    /// A number strictly between 0 and 1.
    #[must_use]
    pub fn uniform(&self, stream: Stream, key: u64) -> f64 {
        let u = unit_interval(self.word(stream, key));
        if self.mirrored { 1.0 - u } else { u }
    }

    /// A number below `n`, each with equal probability; zero if `n` is zero.
    #[must_use]
    pub fn index(&self, stream: Stream, key: u64, n: u64) -> u64 {
        let first = self.word(stream, key);
        let mut state = first;
        let chosen = bounded(n, first, || {
            state = state.wrapping_add(PHI);
            mix64(state)
        });
        if self.mirrored { n.saturating_sub(1) - chosen } else { chosen }
    }

    /// Whether an event of probability `p` happens.
    #[must_use]
    pub fn happens(&self, stream: Stream, key: u64, p: f64) -> bool {
        self.uniform(stream, key) < p
    }

    /// A generator for a question that needs many numbers.
    #[must_use]
    pub fn rng(&self, stream: Stream, key: u64) -> Rng {
        Rng(Xoshiro256PlusPlus::seed_from_u64(self.word(stream, key)))
    }
}

/// The generator of one question: xoshiro256++.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// A generator from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// The next number strictly between 0 and 1.
    pub fn uniform(&mut self) -> f64 {
        unit_interval(self.word())
    }

    /// The next number below `n`, each with equal probability; zero if `n` is zero.
    pub fn index(&mut self, n: u64) -> u64 {
        let first = self.word();
        bounded(n, first, || self.word())
    }

    /// Puts `items` into a uniformly random order (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last as u64 + 1) as usize);
        }
    }
}

impl TryRng for Rng {
    type Error = core::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.0.try_next_u32()
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0.try_next_u64()
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.try_fill_bytes(bytes)
    }
}

/// The seed of replication `replication` under `root_seed`.
#[must_use]
pub const fn mix(root_seed: u64, replication: u64) -> u64 {
    mix64(mix64(root_seed ^ REPLICATION).wrapping_add(mix64(replication.wrapping_add(PHI))))
}

/// The upper bits of a word as a number strictly between 0 and 1.
///
/// The values are the odd multiples of 2^-53, so neither end occurs and `1 - u` is exact.
#[must_use]
pub fn unit_interval(word: u64) -> f64 {
    ((word >> 11) | 1) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// A number below `n` without bias (Lemire 2019); `more` is asked only after a rejection.
fn bounded(n: u64, first: u64, mut more: impl FnMut() -> u64) -> u64 {
    let mut wide = u128::from(first) * u128::from(n);
    if (wide as u64) < n {
        let threshold = n.wrapping_neg() % n;
        while (wide as u64) < threshold {
            wide = u128::from(more()) * u128::from(n);
        }
    }
    (wide >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAMS: [Stream; 3] = [Stream::NodeBoot, Stream::ImagePull, Stream::Arrival];

    /// Chi-squared statistic of counts against equal expectation.
    fn chi_squared(counts: &[u32]) -> f64 {
        let total: u32 = counts.iter().sum();
        let expected = f64::from(total) / counts.len() as f64;
        counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum()
    }

    /// Bounds of chi-squared with 99 degrees of freedom that a fair source passes in about
    /// 99.99 % of trials.
    fn assert_even(counts: &[u32], what: &str) {
        assert_eq!(counts.len(), 100);
        let statistic = chi_squared(counts);
        assert!((53.0..162.0).contains(&statistic), "{what}: {statistic}");
    }

    fn cell(u: f64, cells: usize) -> usize {
        (u * cells as f64) as usize
    }

    #[test]
    fn uniform_over_keys_seeds_and_replications() {
        for stream in STREAMS {
            let mut by_key = [0; 100];
            let mut by_text = [0; 100];
            let mut by_seed = [0; 100];
            let mut by_replication = [0; 100];
            for n in 0..50_000u64 {
                let draws = Draws::new(1, 0);
                by_key[cell(draws.uniform(stream, n), 100)] += 1;
                let name = key_str(&format!("default/web-{n}"));
                by_text[cell(draws.uniform(stream, name), 100)] += 1;
                by_seed[cell(Draws::new(n, 0).uniform(stream, 7), 100)] += 1;
                by_replication[cell(Draws::new(1, n).uniform(stream, 7), 100)] += 1;
            }
            assert_even(&by_key, "keys");
            assert_even(&by_text, "names");
            assert_even(&by_seed, "seeds");
            assert_even(&by_replication, "replications");
        }
    }

    #[test]
    fn neighbours_are_independent() {
        type Pair = fn(u64) -> (f64, f64);
        let pairs: [(&str, Pair); 4] = [
            ("keys", |n| {
                let d = Draws::new(3, 0);
                (d.uniform(Stream::NodeBoot, n), d.uniform(Stream::NodeBoot, n + 1))
            }),
            ("streams", |n| {
                let d = Draws::new(3, 0);
                (d.uniform(Stream::NodeBoot, n), d.uniform(Stream::InstanceLaunch, n))
            }),
            ("replications", |n| {
                let of = |r| Draws::new(3, r).uniform(Stream::NodeBoot, n);
                (of(0), of(1))
            }),
            ("seeds", |n| {
                let of = |s| Draws::new(s, 0).uniform(Stream::NodeBoot, n);
                (of(n), of(n + 1))
            }),
        ];
        for (what, pair) in pairs {
            let mut joint = [0; 100];
            let mut product = 0.0;
            for n in 0..50_000 {
                let (a, b) = pair(n);
                joint[cell(a, 10) * 10 + cell(b, 10)] += 1;
                product += (a - 0.5) * (b - 0.5) * 12.0;
            }
            assert_even(&joint, what);
            // The correlation of 50,000 independent pairs has a standard deviation of 0.0045.
            assert!((product / 50_000.0).abs() < 0.02, "{what}: {product}");
        }
    }

    #[test]
    fn one_bit_of_the_key_changes_half_of_the_word() {
        let draws = Draws::new(9, 9);
        for bit in 0..64 {
            let flips: u32 = (0..200u64)
                .map(|n| {
                    let key = key(&[n]);
                    let other = draws.word(Stream::Backoff, key ^ (1 << bit));
                    (draws.word(Stream::Backoff, key) ^ other).count_ones()
                })
                .sum();
            let share = f64::from(flips) / 200.0;
            assert!((30.5..33.5).contains(&share), "bit {bit}: {share}");
        }
    }

    #[test]
    fn index_is_even_and_in_range() {
        let draws = Draws::new(5, 1);
        let mut counts = [0; 100];
        for n in 0..50_000 {
            counts[draws.index(Stream::SchedulerTie, n, 100) as usize] += 1;
        }
        assert_even(&counts, "index");
        for n in [1, 2, 3, 1 << 63, (1 << 63) + 1, u64::MAX] {
            for key in 0..50 {
                let plain = draws.index(Stream::AsgZone, key, n);
                assert!(plain < n);
                assert_eq!(draws.mirrored().index(Stream::AsgZone, key, n), n - 1 - plain);
            }
        }
        assert_eq!(draws.index(Stream::AsgZone, 0, 0), 0);
        assert_eq!(draws.mirrored().index(Stream::AsgZone, 0, 0), 0);
    }

    #[test]
    fn mirrored_draws_sum_to_one() {
        let draws = Draws::new(5, 1);
        for key in 0..1000 {
            let sum = draws.uniform(Stream::NodeBoot, key)
                + draws.mirrored().uniform(Stream::NodeBoot, key);
            assert_eq!(sum, 1.0);
        }
        assert!(unit_interval(0) > 0.0);
        assert!(unit_interval(u64::MAX) < 1.0);
    }

    #[test]
    fn keys_tell_parts_apart() {
        let keys = [
            key(&[]),
            key(&[0]),
            key(&[0, 0]),
            key(&[1, 2]),
            key(&[2, 1]),
            key_str(""),
            key_str("a"),
            key_str("a\0"),
            key_str("default/web-10"),
            key_str("default/web-01"),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(one), "key {at}");
        }
    }

    #[test]
    fn shuffle_reaches_every_order_alike() {
        let mut counts = std::collections::BTreeMap::new();
        let mut rng = Draws::new(8, 0).rng(Stream::TieShuffle, 0);
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            rng.shuffle(&mut items);
            *counts.entry(items).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        // Chi-squared with 23 degrees of freedom.
        let statistic = chi_squared(&counts.values().copied().collect::<Vec<_>>());
        assert!((5.0..55.0).contains(&statistic), "{statistic}");
    }

    #[test]
    fn pinned_values() {
        let draws = Draws::new(42, 7);
        let got = [
            mix(0, 0),
            mix(42, 7),
            key(&[1, 2, 3]),
            key_str("default/web-0"),
            draws.word(Stream::NodeBoot, 0),
            draws.word(Stream::Bootstrap, key_str("kube-system/coredns")),
            draws.uniform(Stream::NodeBoot, 1).to_bits(),
            draws.index(Stream::SchedulerTie, 1, 1_000_000),
            draws.rng(Stream::TrafficNoise, 1).word(),
        ];
        // All but the last were computed by a second implementation, in Python.
        let want = [
            660_935_827_677_360_786,
            2_650_257_290_952_033_410,
            14_790_613_046_411_877_257,
            15_925_402_411_510_304_874,
            3_074_532_836_971_537_305,
            15_287_982_779_193_165_294,
            4_590_521_991_214_803_864,
            977_626,
            7_367_967_109_037_703_545,
        ];
        assert_eq!(got, want);
    }
}
