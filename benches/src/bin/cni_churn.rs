//! `cni_churn [ROUNDS] [NODES] [JOBS]`: CPU time of the same run with the CNI model and without.

use benches::cni_churn::{Churn, Size, model, run};

fn main() {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<u32>());
    let mut next = |default: u32| match numbers.next() {
        Some(Ok(number)) => number,
        Some(Err(error)) => panic!("{error}: write whole numbers, ROUNDS NODES JOBS"),
        None => default,
    };
    let rounds = next(3).max(1);
    let size = Size { nodes: next(Size::default().nodes), jobs: next(Size::default().jobs) };
    let models = [model(size, true), model(size, false)];
    let mut best: [Option<Churn>; 2] = [None, None];
    // In turns, so that a machine that slows down slows both.
    for _ in 0..rounds {
        for (model, best) in models.iter().zip(&mut best) {
            let churn = run(model);
            assert!(best.is_none_or(|b| b.digest == churn.digest), "runs are equal");
            if best.is_none_or(|b| churn.cpu_seconds < b.cpu_seconds) {
                *best = Some(churn);
            }
        }
    }
    for (name, churn) in ["with the CNI", "without"].iter().zip(&best) {
        let Some(c) = churn else { continue };
        println!(
            "{name:>12}: {:.2} s of CPU time, {} events, {} adds, {} ends, {} refusals, digest {:016x}",
            c.cpu_seconds, c.events, c.added, c.ended, c.refused, c.digest
        );
    }
    if let [Some(with), Some(without)] = best {
        let more = with.cpu_seconds - without.cpu_seconds;
        println!("   cni_churn: {more:.2} s more (target: at most 1 s), best of {rounds}");
    }
}
