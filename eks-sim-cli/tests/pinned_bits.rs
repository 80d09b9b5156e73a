//! Other crates of this build must not change the arithmetic of the library's distributions.

use eks_sim::units::dist::{PINNED_DIGEST, pinned_digest};

#[test]
fn samples_have_the_same_bits_as_in_the_library_alone() {
    assert_eq!(pinned_digest(), PINNED_DIGEST);
}
