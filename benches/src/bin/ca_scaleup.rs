//! CPU time of one loop of Cluster Autoscaler: `ca_scaleup [PODS] [GROUPS]`, 5,000 and 30.

use benches::ca_scaleup::run;

fn main() {
    let number = |n: usize, usual: usize| {
        std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(usual)
    };
    let (pods, groups) = (number(1, 5000), number(2, 30));
    let done = run(pods, groups);
    println!(
        "{} pending pods, {groups} groups: {} nodes, {:.3} s of CPU for one loop ({} events), digest {:016x}",
        done.pending, done.nodes, done.cpu, done.events, done.digest
    );
}
