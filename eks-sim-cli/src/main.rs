//! The `eks-sim` command line.

fn main() {}
