//! The agenda: the future event list, a radix-64 timing wheel on integer nanoseconds.
//!
//! An entry lies at the *level* of the highest base-64 digit in which its time differs from the
//! current time, in the *slot* that this digit names. The next entry is therefore always in the
//! lowest occupied slot of the lowest occupied level. When that slot is above level 0 the current
//! time jumps to its earliest entry and the rest is dealt out again, each entry to a lower level;
//! an entry moves at most ten times, in practice two to four times.
//!
//! Entries leave by (time, insertion) without a stored sequence number: entries of equal time are
//! always in the same slot, slots are first in first out, and dealing keeps the order.
//!
//! Entries live in fixed-size chunks of one shared pool, so memory follows the number of pending
//! entries, not the high-water mark of every slot.

use crate::units::SimTime;

/// Bits of one base-64 digit.
const DIGIT_BITS: u32 = 6;
/// Slots per level.
const SLOTS: usize = 1 << DIGIT_BITS;
/// Digits of a 64-bit time, rounded up.
const LEVELS: usize = 11;
/// Entries per chunk.
const CHUNK: u32 = 16;
/// No chunk.
const NONE: u32 = u32::MAX;

/// The future event list: entries leave by (time, insertion).
///
/// ```
/// use eks_sim::engine::agenda::Agenda;
/// use eks_sim::units::SimTime;
///
/// let mut agenda = Agenda::new();
/// agenda.push(SimTime::from_secs(2), 'b');
/// agenda.push(SimTime::from_secs(1), 'a');
/// agenda.push(SimTime::from_secs(2), 'c');
/// let mut order = String::new();
/// while let Some((_, event)) = agenda.pop_until(SimTime::NEVER) {
///     order.push(event);
/// }
/// assert_eq!(order, "abc");
/// ```
#[derive(Clone, Debug)]
pub struct Agenda<E: Copy> {
    /// Time of the entry popped last: no entry lies before it.
    now: u64,
    len: usize,
    /// Bit `l` is set when level `l` holds an entry.
    levels: u32,
    /// Bit `s` of element `l` is set when slot `s` of level `l` holds an entry.
    occupied: [u64; LEVELS],
    slots: Vec<Slot>,
    pool: Pool<E>,
}

/// A first-in-first-out list of entries.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Earliest time in the slot.
    earliest: u64,
    /// Position in the pool of the first entry.
    head: u32,
    /// Position in the pool one past the last entry; a multiple of `CHUNK` when its chunk is full.
    tail: u32,
}

/// Chunks of entries; a free chunk is linked into the free list.
#[derive(Clone, Debug)]
struct Pool<E: Copy> {
    entries: Vec<Entry<E>>,
    /// Per chunk: the chunk that follows it in its slot, or in the free list.
    next: Vec<u32>,
    free: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry<E: Copy> {
    time: u64,
    event: E,
}

impl<E: Copy> Default for Agenda<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Copy> Agenda<E> {
    /// An empty agenda at time zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: 0,
            len: 0,
            levels: 0,
            occupied: [0; LEVELS],
            slots: vec![Slot { earliest: 0, head: 0, tail: 0 }; LEVELS * SLOTS],
            pool: Pool { entries: Vec::new(), next: Vec::new(), free: NONE },
        }
    }

    /// Number of pending entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The current time: that of the entry popped last.
    #[must_use]
    pub fn now(&self) -> SimTime {
        SimTime::from_nanos(self.now)
    }

    /// Empties the agenda and sets it back to time zero; memory is kept for the next run.
    pub fn clear(&mut self) {
        self.now = 0;
        self.len = 0;
        self.levels = 0;
        self.occupied = [0; LEVELS];
        self.pool.entries.clear();
        self.pool.next.clear();
        self.pool.free = NONE;
    }

    /// Adds an entry, behind all entries of the same instant that are already there.
    ///
    /// A time before [`Self::now`] is a defect of the caller: it is refused in debug builds and
    /// taken as now otherwise.
    #[inline]
    pub fn push(&mut self, at: SimTime, event: E) {
        debug_assert!(at.nanos() >= self.now, "event at {at} is before now, {}", self.now());
        self.len += 1;
        self.place(Entry { time: at.nanos().max(self.now), event });
    }

    /// The time of the next entry.
    #[must_use]
    pub fn peek_time(&self) -> Option<SimTime> {
        let (level, slot) = self.first()?;
        Some(SimTime::from_nanos(self.slots[level * SLOTS + slot].earliest))
    }

    /// Takes the next entry if its time is not after `end`, and moves the current time to it.
    #[inline]
    pub fn pop_until(&mut self, end: SimTime) -> Option<(SimTime, E)> {
        let (level, digit) = self.first()?;
        let slot = self.slots[level * SLOTS + digit];
        if slot.earliest > end.nanos() {
            return None;
        }
        self.now = slot.earliest;
        self.len -= 1;
        let event =
            if level == 0 { self.pop_front(digit, slot) } else { self.deal(level, digit, slot) };
        Some((self.now(), event))
    }

    /// The slot that holds the next entry.
    #[inline]
    fn first(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// Appends an entry to the slot its time belongs to.
    #[inline]
    fn place(&mut self, entry: Entry<E>) {
        let differing = (entry.time ^ self.now) | 1;
        let level = (differing.ilog2() / DIGIT_BITS) as usize;
        let digit = (entry.time >> (level as u32 * DIGIT_BITS)) as usize % SLOTS;
        let slot = &mut self.slots[level * SLOTS + digit];
        let bit = 1 << digit;
        if self.occupied[level] & bit == 0 {
            self.occupied[level] |= bit;
            self.levels |= 1 << level;
            let at = self.pool.take_chunk(entry) * CHUNK;
            *slot = Slot { earliest: entry.time, head: at, tail: at + 1 };
            return;
        }
        slot.earliest = slot.earliest.min(entry.time);
        if slot.tail.is_multiple_of(CHUNK) {
            let chunk = self.pool.take_chunk(entry);
            self.pool.next[(slot.tail / CHUNK - 1) as usize] = chunk;
            slot.tail = chunk * CHUNK + 1;
        } else {
            self.pool.entries[slot.tail as usize] = entry;
            slot.tail += 1;
        }
    }

    /// Takes the first entry of a slot of level 0, where all times are equal.
    #[inline]
    fn pop_front(&mut self, digit: usize, mut slot: Slot) -> E {
        let event = self.pool.entries[slot.head as usize].event;
        slot.head += 1;
        if slot.head == slot.tail {
            self.vacate(0, digit);
            self.pool.release((slot.head - 1) / CHUNK);
        } else if slot.head.is_multiple_of(CHUNK) {
            let chunk = slot.head / CHUNK - 1;
            slot.head = self.pool.next[chunk as usize] * CHUNK;
            self.pool.release(chunk);
            self.slots[digit] = slot;
        } else {
            self.slots[digit] = slot;
        }
        event
    }

    /// Takes the first of the earliest entries of a slot and deals the others to lower levels.
    #[inline]
    fn deal(&mut self, level: usize, digit: usize, slot: Slot) -> E {
        self.vacate(level, digit);
        let first = self.pool.entries[slot.head as usize];
        let mut chunk = slot.head / CHUNK;
        if slot.tail == slot.head + 1 {
            self.pool.release(chunk);
            return first.event;
        }
        let mut earliest = None;
        let last = (slot.tail - 1) / CHUNK;
        loop {
            let from = chunk * CHUNK;
            let to = if chunk == last { slot.tail } else { from + CHUNK };
            for position in from..to {
                let entry = self.pool.entries[position as usize];
                if earliest.is_none() && entry.time == self.now {
                    earliest = Some(entry.event);
                } else {
                    self.place(entry);
                }
            }
            let next = self.pool.next[chunk as usize];
            self.pool.release(chunk);
            if chunk == last {
                break;
            }
            chunk = next;
        }
        earliest.expect("a slot holds an entry of its earliest time")
    }

    #[inline]
    fn vacate(&mut self, level: usize, digit: usize) {
        self.occupied[level] &= !(1 << digit);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }
}

impl<E: Copy> Pool<E> {
    /// A chunk with `entry` at its first position.
    #[inline]
    fn take_chunk(&mut self, entry: Entry<E>) -> u32 {
        if self.free == NONE {
            return self.grow(entry);
        }
        let chunk = self.free;
        self.free = self.next[chunk as usize];
        self.entries[(chunk * CHUNK) as usize] = entry;
        chunk
    }

    #[cold]
    fn grow(&mut self, entry: Entry<E>) -> u32 {
        let len = self.entries.len();
        assert!(len < (u32::MAX - CHUNK) as usize, "agenda holds more than 2^32 events");
        self.entries.resize(len + CHUNK as usize, entry);
        self.next.push(NONE);
        len as u32 / CHUNK
    }

    #[inline]
    fn release(&mut self, chunk: u32) {
        self.next[chunk as usize] = self.free;
        self.free = chunk;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    /// The reference: a binary heap of (time, sequence number, payload).
    #[derive(Default)]
    struct Reference {
        heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
        sequence: u64,
    }

    impl Reference {
        fn push(&mut self, at: u64, payload: u32) {
            self.heap.push(Reverse((at, self.sequence, payload)));
            self.sequence += 1;
        }
        fn pop_until(&mut self, end: u64) -> Option<(u64, u32)> {
            if self.heap.peek()?.0.0 > end {
                return None;
            }
            self.heap.pop().map(|Reverse((at, _, payload))| (at, payload))
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push { delay: u64 },
        PushAt { at: u64 },
        Pop { window: u64 },
        Peek,
    }

    fn delays() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => Just(0u64),
            4 => 0..4u64,
            2 => (0..5u64).prop_map(|n| n * 1_000_000_000),
            2 => 0..100_000_000_000u64,
            1 => (0..64u32).prop_map(|bit| 1u64 << bit),
            1 => any::<u64>(),
            1 => Just(u64::MAX),
        ]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => delays().prop_map(|delay| Step::Push { delay }),
            1 => any::<u64>().prop_map(|at| Step::PushAt { at }),
            1 => (0..3u64).prop_map(|n| Step::PushAt { at: u64::MAX - n }),
            6 => delays().prop_map(|window| Step::Pop { window }),
            3 => Just(Step::Pop { window: u64::MAX }),
            1 => Just(Step::Peek),
        ];
        proptest::collection::vec(step, 0..600)
    }

    fn check(agenda: &mut Agenda<u32>, steps: &[Step]) -> Result<(), TestCaseError> {
        let mut reference = Reference::default();
        let mut now = 0u64;
        for (payload, step) in (0u32..).zip(steps) {
            match *step {
                Step::Push { delay } => {
                    let at = now.saturating_add(delay);
                    agenda.push(SimTime::from_nanos(at), payload);
                    reference.push(at, payload);
                }
                Step::PushAt { at } => {
                    let at = at.max(now);
                    agenda.push(SimTime::from_nanos(at), payload);
                    reference.push(at, payload);
                }
                Step::Pop { window } => {
                    let end = now.saturating_add(window);
                    let got = agenda.pop_until(SimTime::from_nanos(end));
                    let got = got.map(|(at, payload)| (at.nanos(), payload));
                    prop_assert_eq!(got, reference.pop_until(end));
                    now = got.map_or(now, |(at, _)| at);
                    prop_assert_eq!(agenda.now().nanos(), now);
                }
                Step::Peek => {
                    let want = reference.heap.peek().map(|entry| entry.0.0);
                    prop_assert_eq!(agenda.peek_time().map(SimTime::nanos), want);
                }
            }
            prop_assert_eq!(agenda.len(), reference.heap.len());
        }
        while let Some(want) = reference.pop_until(u64::MAX) {
            let got = agenda.pop_until(SimTime::NEVER);
            prop_assert_eq!(got.map(|(at, payload)| (at.nanos(), payload)), Some(want));
        }
        prop_assert!(agenda.is_empty());
        prop_assert_eq!(agenda.pop_until(SimTime::NEVER), None);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn leaves_in_the_order_of_the_heap(first in steps(), second in steps()) {
            let mut agenda = Agenda::new();
            check(&mut agenda, &first)?;
            // A cleared agenda behaves as a new one.
            agenda.push(SimTime::NEVER, 0);
            agenda.clear();
            check(&mut agenda, &second)?;
        }

        #[test]
        fn a_clone_continues_alike(times in proptest::collection::vec(0..5000u64, 1..200)) {
            let mut one = Agenda::new();
            for (payload, at) in (0u32..).zip(&times) {
                one.push(SimTime::from_nanos(*at), payload);
            }
            for _ in 0..times.len() / 2 {
                one.pop_until(SimTime::NEVER);
            }
            let mut two = one.clone();
            while let Some(entry) = one.pop_until(SimTime::NEVER) {
                prop_assert_eq!(two.pop_until(SimTime::NEVER), Some(entry));
            }
            prop_assert!(two.is_empty());
        }
    }

    #[test]
    fn pushes_at_the_current_instant_queue_behind_it() {
        let mut agenda = Agenda::new();
        let at = SimTime::from_secs(1);
        agenda.push(at, 0);
        agenda.push(at, 1);
        assert_eq!(agenda.pop_until(at), Some((at, 0)));
        agenda.push(at, 2);
        assert_eq!(agenda.pop_until(at), Some((at, 1)));
        assert_eq!(agenda.pop_until(at), Some((at, 2)));
        assert_eq!(agenda.pop_until(at), None);
    }

    #[test]
    fn a_refused_pop_leaves_room_for_earlier_entries() {
        let mut agenda = Agenda::new();
        agenda.push(SimTime::from_secs(100), 'z');
        assert_eq!(agenda.pop_until(SimTime::from_secs(10)), None);
        agenda.push(SimTime::from_secs(11), 'a');
        assert_eq!(agenda.peek_time(), Some(SimTime::from_secs(11)));
        assert_eq!(agenda.pop_until(SimTime::NEVER), Some((SimTime::from_secs(11), 'a')));
    }

    #[test]
    fn memory_follows_the_pending_entries() {
        let mut agenda = Agenda::new();
        for n in 0..1000u64 {
            agenda.push(SimTime::from_nanos(n * 7_919), n);
        }
        for n in 0..100_000u64 {
            let (at, _) = agenda.pop_until(SimTime::NEVER).expect("entries are held");
            agenda.push(SimTime::from_nanos(at.nanos() + 1 + n * 7_907 % 8_000_000), n);
        }
        assert_eq!(agenda.len(), 1000);
        let bound = 1000 + LEVELS * SLOTS * CHUNK as usize;
        assert!(agenda.pool.entries.len() <= bound, "{}", agenda.pool.entries.len());
    }
}
