//! The addresses of one subnet: who holds each, which are free, which aligned blocks are whole.
//!
//! Upstream: Amazon VPC user guide, "Subnet sizing" (five reserved addresses) and "Assigning
//! prefixes" (a /28 prefix needs an aligned block that is wholly free). How EC2 picks an address
//! is not published, so it is a [`Placement`]: the lowest, or uniformly at random.

use core::net::Ipv4Addr;

use super::cidr::Cidr;

/// Addresses of a /28 prefix.
pub const PREFIX_SIZE: u32 = 16;
/// Subnets may be this large (prefix length).
pub const LARGEST_SUBNET: u8 = 16;
/// Subnets may be this small (prefix length).
pub const SMALLEST_SUBNET: u8 = 28;
/// Reserved addresses at the start of every subnet; one more is reserved at its end.
const RESERVED_AT_START: u32 = 4;

/// What an address of a subnet is used for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[repr(u8)]
#[non_exhaustive]
pub enum Holding {
    /// Nobody holds it.
    Free,
    /// One of the five that AWS keeps.
    Reserved,
    /// Primary address of an instance's first interface.
    NodePrimary,
    /// Primary address of a further interface of an instance.
    EniPrimary,
    /// Secondary address of an interface, for a pod.
    Secondary,
    /// Part of a /28 prefix of an interface.
    Prefix,
    /// Branch interface of a pod with its own security groups.
    Branch,
    /// Interface of the EKS control plane.
    ControlPlane,
    /// Load balancer.
    LoadBalancer,
    /// NAT gateway.
    NatGateway,
    /// Interface endpoint.
    Endpoint,
    /// Fargate pod.
    Fargate,
    /// Anything else in the VPC.
    Other,
}

/// How many [`Holding`]s there are.
const HOLDINGS: usize = Holding::Other as usize + 1;

/// How a free address or block is picked.
pub enum Placement<'a> {
    /// The lowest one.
    Sequential,
    /// The one of this rank among the free ones; the closure gives a number below its argument.
    Random(&'a mut dyn FnMut(u32) -> u32),
}

/// EC2's refusal when a subnet has too few free addresses or blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Shortage {
    /// `InsufficientFreeAddressesInSubnet`.
    #[error("the subnet has {free} free addresses, {wanted} are wanted")]
    Addresses {
        /// Addresses asked for.
        wanted: u32,
        /// Addresses that are free.
        free: u32,
    },
    /// `InsufficientCidrBlocks`.
    #[error("the subnet has {free} free /28 blocks, {wanted} are wanted")]
    Blocks {
        /// Blocks asked for.
        wanted: u32,
        /// Blocks that are free.
        free: u32,
    },
}

/// A range that cannot be a subnet, or a reservation outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// Too large or too small.
    #[error("subnet {0} has the wrong size; use a prefix length from 16 to 28")]
    Size(Cidr),
    /// A reservation that is not inside, or smaller than a /28.
    #[error("reservation {0} is not usable; reserve a /28 or larger range inside the subnet")]
    Reservation(Cidr),
}

/// The addresses of one subnet. Every address has exactly one [`Holding`] at all times.
#[derive(Clone, Debug)]
pub struct AddressSpace {
    cidr: Cidr,
    first: u32,
    holdings: Vec<Holding>,
    /// A bit per address: taken.
    taken: Vec<u64>,
    /// A bit per address: kept for prefixes by a CIDR reservation.
    for_prefixes: Option<Vec<u64>>,
    /// Taken addresses of each aligned /28.
    taken_in_block: Vec<u8>,
    /// A bit per block: wholly free.
    whole: Vec<u64>,
    counts: [u32; HOLDINGS],
    whole_blocks: u32,
    /// Free addresses inside prefix reservations.
    free_for_prefixes: u32,
    /// Addresses that can be picked, by stretch of words: a search skips whole stretches.
    in_stretch: Vec<u32>,
    /// No address in a word below this one can be picked.
    lowest_word: usize,
    /// No block in a word below this one can be picked.
    lowest_block_word: usize,
}

/// Words of a stretch.
const STRETCH: usize = 16;

impl AddressSpace {
    /// An empty subnet: only the five reserved addresses are taken.
    ///
    /// # Errors
    /// When the range is larger than /16 or smaller than /28.
    pub fn new(cidr: Cidr) -> Result<Self, SpaceError> {
        if !(LARGEST_SUBNET..=SMALLEST_SUBNET).contains(&cidr.prefix_length()) {
            return Err(SpaceError::Size(cidr));
        }
        let size = cidr.size() as usize;
        let blocks = size / PREFIX_SIZE as usize;
        let mut whole = vec![0u64; blocks.div_ceil(64)];
        (0..blocks).for_each(|block| set(&mut whole, block));
        let mut taken = vec![0u64; size.div_ceil(64)];
        (size..taken.len() * 64).for_each(|beyond| set(&mut taken, beyond));
        let mut counts = [0; HOLDINGS];
        counts[Holding::Free as usize] = size as u32;
        let stretch = |at: usize| (size - at).min(64 * STRETCH) as u32;
        let mut space = Self {
            cidr,
            in_stretch: (0..size).step_by(64 * STRETCH).map(stretch).collect(),
            first: u32::from(cidr.first()),
            holdings: vec![Holding::Free; size],
            taken,
            for_prefixes: None,
            taken_in_block: vec![0; blocks],
            whole,
            counts,
            whole_blocks: blocks as u32,
            free_for_prefixes: 0,
            lowest_word: 0,
            lowest_block_word: 0,
        };
        for at in (0..RESERVED_AT_START).chain([size as u32 - 1]) {
            space.hold(at, Holding::Reserved);
        }
        Ok(space)
    }

    /// Keeps a range for /28 prefixes, as a subnet CIDR reservation of type prefix does.
    ///
    /// # Errors
    /// When the range is not inside the subnet or smaller than a /28.
    pub fn reserve_for_prefixes(&mut self, range: Cidr) -> Result<(), SpaceError> {
        if !self.cidr.covers(range) || range.prefix_length() > SMALLEST_SUBNET {
            return Err(SpaceError::Reservation(range));
        }
        let words = self.taken.len();
        let kept = self.for_prefixes.get_or_insert_with(|| vec![0; words]);
        let start = u32::from(range.first()) - self.first;
        for at in start..start + range.size() as u32 {
            if !get(kept, at as usize) {
                set(kept, at as usize);
                let free = u32::from(!get(&self.taken, at as usize));
                self.free_for_prefixes += free;
                self.in_stretch[at as usize / (64 * STRETCH)] -= free;
            }
        }
        Ok(())
    }

    /// The subnet's range.
    #[must_use]
    pub fn cidr(&self) -> Cidr {
        self.cidr
    }
    /// Addresses that are not reserved, in use or not.
    #[must_use]
    pub fn usable(&self) -> u32 {
        self.holdings.len() as u32 - self.count(Holding::Reserved)
    }
    /// Free addresses, as `AvailableIpAddressCount` shows them.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.count(Holding::Free)
    }
    /// Aligned /28 blocks that are wholly free.
    #[must_use]
    pub fn free_blocks(&self) -> u32 {
        self.whole_blocks
    }
    /// Free addresses that are in no wholly free block, so of no use for a prefix.
    #[must_use]
    pub fn fragmented(&self) -> u32 {
        self.free() - self.whole_blocks * PREFIX_SIZE
    }
    /// How many addresses have this use.
    #[must_use]
    pub fn count(&self, holding: Holding) -> u32 {
        self.counts[holding as usize]
    }
    /// The use of `address`, if it is in this subnet.
    #[must_use]
    pub fn holding(&self, address: Ipv4Addr) -> Option<Holding> {
        self.offset(address).map(|at| self.holdings[at as usize])
    }
    /// The lowest wholly free /28.
    #[must_use]
    pub fn first_free_block(&self) -> Option<Cidr> {
        let block = nth(&self.whole, 0, 0)?;
        Some(Cidr::containing((self.first + block as u32 * PREFIX_SIZE).into(), SMALLEST_SUBNET))
    }
    /// Addresses with this use, ascending.
    pub fn addresses(&self, holding: Holding) -> impl Iterator<Item = Ipv4Addr> {
        let held = self.holdings.iter().enumerate().filter(move |(_, h)| **h == holding);
        held.map(|(at, _)| Ipv4Addr::from(self.first + at as u32))
    }

    /// Takes `count` single addresses, all or none, and appends them to `out`.
    ///
    /// # Errors
    /// When fewer are free (addresses of prefix reservations do not count).
    pub fn take(
        &mut self,
        holding: Holding,
        count: u32,
        placement: &mut Placement<'_>,
        out: &mut Vec<Ipv4Addr>,
    ) -> Result<(), Shortage> {
        debug_assert!(holding != Holding::Free, "a taken address has a use");
        let free = self.free() - self.free_for_prefixes;
        if count > free {
            return Err(Shortage::Addresses { wanted: count, free });
        }
        for taken in 0..count {
            let at = self.pick_address(free - taken, placement);
            self.hold(at, holding);
            out.push((self.first + at).into());
        }
        Ok(())
    }

    /// Takes `count` /28 prefixes, all or none, and appends their first addresses to `out`.
    ///
    /// # Errors
    /// When fewer blocks are wholly free.
    pub fn take_blocks(
        &mut self,
        count: u32,
        placement: &mut Placement<'_>,
        out: &mut Vec<Ipv4Addr>,
    ) -> Result<(), Shortage> {
        if count > self.whole_blocks {
            return Err(Shortage::Blocks { wanted: count, free: self.whole_blocks });
        }
        for _ in 0..count {
            let start = self.pick_block(placement) * PREFIX_SIZE;
            (start..start + PREFIX_SIZE).for_each(|at| self.hold(at, Holding::Prefix));
            out.push((self.first + start).into());
        }
        Ok(())
    }

    /// Takes one given address; false when it is not free or not here.
    pub fn take_at(&mut self, address: Ipv4Addr, holding: Holding) -> bool {
        match self.offset(address) {
            Some(at) if self.holdings[at as usize] == Holding::Free => {
                self.hold(at, holding);
                true
            }
            _ => false,
        }
    }

    /// Gives one address back; its former use, `None` when it was free, reserved or not here.
    pub fn release(&mut self, address: Ipv4Addr) -> Option<Holding> {
        let at = self.offset(address)?;
        let former = self.holdings[at as usize];
        if matches!(former, Holding::Free | Holding::Reserved) {
            return None;
        }
        self.free_at(at);
        Some(former)
    }

    /// Gives a /28 prefix back; false when it is not one.
    pub fn release_block(&mut self, first: Ipv4Addr) -> bool {
        let Some(at) = self.offset(first).filter(|at| at % PREFIX_SIZE == 0) else { return false };
        let block = at..at + PREFIX_SIZE;
        if !block.clone().all(|at| self.holdings[at as usize] == Holding::Prefix) {
            return false;
        }
        block.for_each(|at| self.free_at(at));
        true
    }

    fn offset(&self, address: Ipv4Addr) -> Option<u32> {
        self.cidr.contains(address).then(|| u32::from(address) - self.first)
    }

    /// A free address outside prefix reservations; `free` of them exist.
    fn pick_address(&mut self, free: u32, placement: &mut Placement<'_>) -> u32 {
        let rank = match placement {
            Placement::Sequential => 0,
            Placement::Random(below) => below(free).min(free - 1),
        };
        let mut left = rank;
        let mut stretch = self.lowest_word / STRETCH;
        while let Some(all) = self.in_stretch.get(stretch).filter(|all| **all <= left) {
            left -= all;
            stretch += 1;
        }
        for word in self.lowest_word.max(stretch * STRETCH)..self.taken.len() {
            let kept = self.for_prefixes.as_ref().map_or(0, |kept| kept[word]);
            let bits = !(self.taken[word] | kept);
            if rank == 0 && bits != 0 {
                self.lowest_word = word;
            }
            match rank_in_word(bits, &mut left) {
                Some(bit) => return word as u32 * 64 + bit,
                None => continue,
            }
        }
        unreachable!("the count of free addresses equals the free bits")
    }

    fn pick_block(&mut self, placement: &mut Placement<'_>) -> u32 {
        let rank = match placement {
            Placement::Sequential => 0,
            Placement::Random(below) => below(self.whole_blocks).min(self.whole_blocks - 1),
        };
        let block = nth(&self.whole, self.lowest_block_word, rank)
            .expect("the count of whole blocks equals the whole bits");
        if rank == 0 {
            self.lowest_block_word = block / 64;
        }
        block as u32
    }

    fn hold(&mut self, at: u32, holding: Holding) {
        let index = at as usize;
        assert!(self.holdings[index] == Holding::Free, "address {at} is held twice");
        self.holdings[index] = holding;
        self.counts[Holding::Free as usize] -= 1;
        self.counts[holding as usize] += 1;
        set(&mut self.taken, index);
        let block = index / PREFIX_SIZE as usize;
        if self.taken_in_block[block] == 0 {
            clear(&mut self.whole, block);
            self.whole_blocks -= 1;
        }
        self.taken_in_block[block] += 1;
        let kept = self.kept(index);
        self.free_for_prefixes -= kept;
        self.in_stretch[index / (64 * STRETCH)] -= 1 - kept;
    }

    fn free_at(&mut self, at: u32) {
        let index = at as usize;
        let former = self.holdings[index];
        assert!(former != Holding::Free, "address {at} is freed twice");
        self.holdings[index] = Holding::Free;
        self.counts[former as usize] -= 1;
        self.counts[Holding::Free as usize] += 1;
        clear(&mut self.taken, index);
        self.lowest_word = self.lowest_word.min(index / 64);
        let block = index / PREFIX_SIZE as usize;
        self.taken_in_block[block] -= 1;
        if self.taken_in_block[block] == 0 {
            set(&mut self.whole, block);
            self.whole_blocks += 1;
            self.lowest_block_word = self.lowest_block_word.min(block / 64);
        }
        let kept = self.kept(index);
        self.free_for_prefixes += kept;
        self.in_stretch[index / (64 * STRETCH)] += 1 - kept;
    }

    fn kept(&self, index: usize) -> u32 {
        u32::from(self.for_prefixes.as_ref().is_some_and(|kept| get(kept, index)))
    }
}

fn set(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}
fn clear(bits: &mut [u64], at: usize) {
    bits[at / 64] &= !(1 << (at % 64));
}
fn get(bits: &[u64], at: usize) -> bool {
    bits[at / 64] >> (at % 64) & 1 == 1
}

/// The set bit of rank `left`, if this word has it; else `left` less the word's set bits.
fn rank_in_word(bits: u64, left: &mut u32) -> Option<u32> {
    let ones = bits.count_ones();
    if *left >= ones {
        *left -= ones;
        return None;
    }
    let mut bits = bits;
    for _ in 0..*left {
        bits &= bits - 1;
    }
    Some(bits.trailing_zeros())
}

/// Position of the set bit of this rank at or after word `start`.
fn nth(bits: &[u64], start: usize, rank: u32) -> Option<usize> {
    let mut left = rank;
    bits.iter()
        .enumerate()
        .skip(start)
        .find_map(|(word, bits)| rank_in_word(*bits, &mut left).map(|bit| word * 64 + bit as usize))
}

/// Usable addresses of an empty subnet of this prefix length; `None` outside /16 to /28.
#[must_use]
pub fn usable_addresses(prefix_length: u8) -> Option<u32> {
    let size = (LARGEST_SUBNET..=SMALLEST_SUBNET)
        .contains(&prefix_length)
        .then(|| 1u32 << (32 - u32::from(prefix_length)))?;
    Some(size - RESERVED_AT_START - 1)
}

#[cfg(test)]
#[path = "address_space_tests.rs"]
pub(crate) mod tests;
