//! Future event lists under the hold model: the agenda and a bare binary heap.

use eks_sim::engine::agenda::Agenda;
use eks_sim::units::SimTime;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// As large as the simulator's own event.
pub type Payload = [u32; 4];

/// A future event list.
pub trait Queue {
    /// An empty one.
    fn new() -> Self;
    /// Adds an entry.
    fn push(&mut self, at: u64, payload: Payload);
    /// Takes the earliest entry.
    fn pop(&mut self) -> (u64, Payload);
}

/// The bare binary heap.
#[derive(Debug)]
pub struct Heap {
    heap: BinaryHeap<Reverse<(u64, u64, Payload)>>,
    sequence: u64,
}

impl Queue for Heap {
    fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }
    #[inline]
    fn push(&mut self, at: u64, payload: Payload) {
        self.heap.push(Reverse((at, self.sequence, payload)));
        self.sequence += 1;
    }
    #[inline]
    fn pop(&mut self) -> (u64, Payload) {
        let Reverse((at, _, payload)) = self.heap.pop().expect("hold keeps the queue filled");
        (at, payload)
    }
}

impl Queue for Agenda<Payload> {
    fn new() -> Self {
        Agenda::new()
    }
    #[inline]
    fn push(&mut self, at: u64, payload: Payload) {
        Agenda::push(self, SimTime::from_nanos(at), payload);
    }
    #[inline]
    fn pop(&mut self) -> (u64, Payload) {
        let (at, payload) = self.pop_until(SimTime::NEVER).expect("hold keeps the queue filled");
        (at.nanos(), payload)
    }
}

/// Delays of the hold model.
#[derive(Clone, Copy, Debug)]
pub enum Delays {
    /// 0 to 2 s.
    Uniform,
    /// Those of a cluster: now, milliseconds, whole seconds (ties), minutes, hours.
    Mixed,
}

/// A small fixed generator, the same for both queues.
#[derive(Debug)]
pub struct Generator(u64);

impl Generator {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    #[inline]
    fn delay(&mut self, delays: Delays) -> u64 {
        let r = self.next();
        let value = r >> 8;
        match (delays, r & 15) {
            (Delays::Uniform, _) => value % 2_000_000_000,
            (Delays::Mixed, 0..=2) => 0,
            (Delays::Mixed, 3..=7) => value % 20_000_000,
            (Delays::Mixed, 8..=11) => (1 + value % 15) * 1_000_000_000,
            (Delays::Mixed, 12..=14) => value % 600_000_000_000,
            (Delays::Mixed, _) => value % 14_400_000_000_000,
        }
    }
}

/// A queue in the steady state of the hold model.
pub fn filled<Q: Queue>(pending: u32, delays: Delays) -> (Q, Generator) {
    let (mut queue, mut generator) = (Q::new(), Generator(0x9E37_79B9_7F4A_7C15));
    for n in 0..pending {
        let delay = generator.delay(delays);
        queue.push(delay, [n, 0, 0, 0]);
    }
    // Forget the start: one turn over all entries.
    hold(&mut queue, &mut generator, delays, 2 * pending);
    (queue, generator)
}

/// Takes the next entry and adds one, so many times.
pub fn hold<Q: Queue>(queue: &mut Q, generator: &mut Generator, delays: Delays, times: u32) {
    for _ in 0..times {
        let (at, payload) = queue.pop();
        queue.push(at + generator.delay(delays), payload);
    }
}

/// Timers by generation: an entry counts only if nobody re-armed its timer since.
#[derive(Debug)]
pub struct Timers<Q> {
    queue: Q,
    generator: Generator,
    generations: Vec<u32>,
    now: u64,
}

impl<Q: Queue> Timers<Q> {
    /// So many timers, all armed.
    #[must_use]
    pub fn new(pending: u32) -> Self {
        let (queue, generator) = filled::<Q>(pending, Delays::Uniform);
        Self { queue, generator, generations: vec![0; pending as usize], now: 0 }
    }
    fn arm(&mut self, timer: u32) {
        let generation = &mut self.generations[timer as usize];
        *generation += 1;
        let payload = [timer, *generation, 0, 0];
        let at = self.now + self.generator.delay(Delays::Uniform);
        self.queue.push(at, payload);
    }
    /// One timer is due and starts anew; every second time another one is re-armed early.
    pub fn turn(&mut self) {
        loop {
            let (at, [timer, generation, ..]) = self.queue.pop();
            self.now = at;
            let live = self.generations[timer as usize];
            if generation == live || generation == 0 {
                self.arm(timer);
                if at & 1 == 0 {
                    let other = self.generator.next() % self.generations.len() as u64;
                    self.arm(other as u32);
                }
                return;
            }
        }
    }
}
