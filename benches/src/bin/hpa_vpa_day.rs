//! CPU time of 2,000 HPAs and 500 VPAs over a day: `hpa_vpa_day [HPAS] [VPAS] [HOURS]`.

fn main() {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let at = |i: usize, default: u32| numbers.get(i).copied().unwrap_or(default);
    benches::hpa_vpa_day::run(at(0, 2000), at(1, 500), at(2, 24));
}
