//! Plots of a study as SVG: mean or median over replications with quantile bands.
//!
//! Stacked areas show means (they add up); lines show medians with two bands, 25 % to 75 % and
//! 5 % to 95 % of the replications. Colours are Okabe and Ito's, told apart by colour-blind eyes.

mod axis;
mod draw;

use crate::observe::series;
use crate::study::replicate::{Band, Study};
use draw::{Figure, Line, Panel, Shape};

/// Lines in one panel at most.
const LINES: usize = 7;
/// Subnets in the small multiples at most.
const SUBNETS: usize = 6;
/// Workloads in the small multiples at most.
const WORKLOADS: usize = 12;

type Builder = for<'a> fn(&'a Study) -> Figure<'a>;

/// All plots for which the study has series, by file name without ending.
#[must_use]
pub fn all(study: &Study) -> Vec<(&'static str, String)> {
    let builders: [(&str, Builder); 8] = [
        ("address-uses", address_uses),
        ("addresses", addresses),
        ("capacity", capacity),
        ("cost", cost),
        ("nodes", nodes),
        ("pods", pods),
        ("traffic", traffic),
        ("workloads", workloads),
    ];
    let drawn = builders.map(|(name, build)| (name, build(study)));
    let kept = drawn.into_iter().filter(|(_, f)| f.panels.iter().any(|p| !p.lines.is_empty()));
    kept.map(|(name, figure)| (name, draw::svg(&figure, study))).collect()
}

fn named<'a>(study: &'a Study, name: &str) -> Vec<&'a Band> {
    study.bands.iter().filter(|b| b.name == name).collect()
}

/// A line of the whole cluster, with its label; absent lines are left out.
fn cluster<'a>(study: &'a Study, names: &[(&str, &str)]) -> Vec<Line<'a>> {
    let line = |(name, label): &(&str, &str)| {
        named(study, name).first().map(|band| Line::new(*label, vec![*band]))
    };
    names.iter().filter_map(line).collect()
}

fn pods(study: &Study) -> Figure<'_> {
    let lines = cluster(
        study,
        &[
            (series::PODS_READY, "Ready"),
            (series::PODS_STARTING, "starting"),
            (series::PODS_PENDING, "pending"),
            (series::PODS_TERMINATING, "terminating"),
        ],
    );
    Figure::one(Panel::new("Pods by phase", "pods", Shape::Stack, lines), "mean over replications")
}

fn nodes(study: &Study) -> Figure<'_> {
    let mut lines = by_object(study, series::NODES_READY, Pick::Largest);
    lines.extend(cluster(study, &[(series::NODES_STARTING, "starting")]));
    let title = "Ready nodes by group";
    Figure::one(Panel::new(title, "nodes", Shape::Bands, lines), draw::BANDS)
}

fn capacity(study: &Study) -> Figure<'_> {
    let cpu = cluster(
        study,
        &[
            (series::CPU_ALLOCATABLE, "allocatable"),
            (series::CPU_REQUESTED, "requested"),
            (series::CPU_USED, "used"),
        ],
    );
    let memory = cluster(
        study,
        &[(series::MEMORY_ALLOCATABLE, "allocatable"), (series::MEMORY_REQUESTED, "requested")],
    );
    let panels = vec![
        Panel::new("CPU: requested against allocatable", "cores", Shape::Bands, cpu),
        Panel::new("Memory: requested against allocatable", "GiB", Shape::Bands, memory),
    ];
    Figure { panels, columns: 1, height: 340, remark: draw::BANDS.to_owned() }
}

fn addresses(study: &Study) -> Figure<'_> {
    let lines = by_object(study, series::ADDRESSES_FREE, Pick::Smallest);
    let all = named(study, series::ADDRESSES_FREE).len();
    let remark = if all > lines.len() {
        format!("the {} of {all} subnets with the fewest; {}", lines.len(), draw::BANDS)
    } else {
        draw::BANDS.to_owned()
    };
    let panel = Panel::new("Free addresses by subnet", "addresses", Shape::Bands, lines);
    Figure::one(panel, &remark)
}

/// What each subnet's addresses are used for, stacked up to its usable ones, for the subnets that
/// come closest to their end.
fn address_uses(study: &Study) -> Figure<'_> {
    const USES: [(&str, &str); 7] = [
        (series::ADDRESSES_ASSIGNED, "assigned to pods"),
        (series::ADDRESSES_WARM, "warm"),
        (series::ADDRESSES_COOLING, "in cooldown"),
        (series::ADDRESSES_NODES, "nodes, interfaces"),
        (series::ADDRESSES_OTHER, "other"),
        (series::ADDRESSES_FRAGMENTED, "free, in broken /28"),
        (series::ADDRESSES_FREE, "free"),
    ];
    let mut subnets = named(study, series::ADDRESSES_FREE);
    let all = subnets.len();
    let fewest = |band: &Band| band.mean.iter().copied().fold(f64::MAX, f64::min);
    subnets.sort_by(|a, b| fewest(a).total_cmp(&fewest(b)));
    subnets.truncate(SUBNETS);
    // Shown in the order of the scenario.
    let place = |band: &Band| study.bands.iter().position(|b| core::ptr::eq(b, band));
    subnets.sort_by_key(|band| place(band));
    let panel = |subnet: &&'_ Band| {
        let of =
            |name: &str| study.bands.iter().find(|b| b.name == name && b.object == subnet.object);
        let lines = USES.iter().filter_map(|(name, label)| {
            let line = Line::new(*label, vec![of(name)?]);
            // What is free in broken blocks is a part of what is free.
            let part = (*name == series::ADDRESSES_FREE).then(|| of(series::ADDRESSES_FRAGMENTED));
            let grey = match *name {
                series::ADDRESSES_OTHER => Some(120),
                series::ADDRESSES_FRAGMENTED => Some(205),
                series::ADDRESSES_FREE => Some(242),
                _ => None,
            };
            Some(Line { less: part.flatten(), grey, ..line })
        });
        let title = format!("Addresses of subnet {}", subnet.object);
        Panel {
            total: Some("usable"),
            ..Panel::new(title, "addresses", Shape::Stack, lines.collect())
        }
    };
    let panels: Vec<_> = subnets.iter().map(panel).collect();
    let (shown, columns) = (panels.len(), if panels.len() > 1 { 2 } else { 1 });
    let remark = if all > shown {
        format!(
            "mean over replications; the {shown} of {all} subnets with the fewest free addresses"
        )
    } else {
        "mean over replications".to_owned()
    };
    Figure { panels, columns, height: 340, remark }
}

fn cost(study: &Study) -> Figure<'_> {
    let lines = by_object(study, series::COST_RATE, Pick::Largest);
    let panel = Panel::new("Cost rate by component", "USD/h", Shape::Stack, lines);
    Figure::one(panel, "mean over replications")
}

fn traffic(study: &Study) -> Figure<'_> {
    let sum = |name, label: &str| Line::new(label, named(study, name));
    let lines =
        [(series::REQUESTS_OFFERED, "offered"), (series::REQUESTS_SERVED, "served in time")];
    let lines = lines.map(|(name, label)| sum(name, label));
    let lines = lines.into_iter().filter(|l| !l.parts.is_empty()).collect();
    let panel = Panel::new("Requests from outside", "requests/s", Shape::Means, lines);
    Figure::one(panel, "mean over replications, sum of all entry Services")
}

/// Small multiples: replicas above, load below, for the workloads that scale most.
fn workloads(study: &Study) -> Figure<'_> {
    let range = |band: &Band| {
        let of = |start, pick: fn(f64, f64) -> f64| band.mean.iter().copied().fold(start, pick);
        of(f64::MIN, f64::max) - of(f64::MAX, f64::min)
    };
    let mut ready = named(study, series::REPLICAS_READY);
    let all = ready.len();
    // Stable: equally lively workloads stay in the order of the series.
    ready.sort_by(|a, b| range(b).total_cmp(&range(a)));
    ready.truncate(WORKLOADS);
    let of = |name: &str, object: &str| {
        study.bands.iter().find(|b| b.name == name && b.object == object)
    };
    let panel = |band: &&'_ Band| {
        let mut lines = Vec::new();
        if let Some(desired) = of(series::REPLICAS_DESIRED, &band.object) {
            lines.push(Line { bare: true, ..Line::new("desired", vec![desired]) });
        }
        let found = study.bands.iter().find(|b| core::ptr::eq(*b, *band));
        lines.extend(found.map(|b| Line::new("Ready", vec![b])));
        let title = band.object.split_once('/').map_or(band.object.as_str(), |(_, name)| name);
        let mut panel = Panel::new(title, "replicas", Shape::Bands, lines);
        panel.below = of(series::LOAD, &band.object)
            .map(|load| ("requests/s", Line::new("load", vec![load])));
        panel
    };
    let panels: Vec<_> = ready.iter().map(panel).collect();
    let columns = match panels.len() {
        0 | 1 => 1,
        2 | 4 => 2,
        _ => 3,
    };
    let shown = panels.len();
    let remark = if all > shown {
        format!("the {shown} of {all} workloads that scale most; {}", draw::BANDS)
    } else {
        draw::BANDS.to_owned()
    };
    Figure { panels, columns, height: 300, remark }
}

/// Which lines matter most when there are too many.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pick {
    /// Those with the largest sums; the rest is added up in one line.
    Largest,
    /// Those with the smallest minimum; the rest is left out.
    Smallest,
}

fn by_object<'a>(study: &'a Study, name: &str, pick: Pick) -> Vec<Line<'a>> {
    let bands = named(study, name);
    let rank = |band: &Band| match pick {
        Pick::Largest => -band.mean.iter().sum::<f64>(),
        Pick::Smallest => band.mean.iter().copied().fold(f64::MAX, f64::min),
    };
    let mut order: Vec<usize> = (0..bands.len()).collect();
    order.sort_by(|&a, &b| rank(bands[a]).total_cmp(&rank(bands[b])).then(a.cmp(&b)));
    let rest = order.split_off(order.len().min(LINES));
    if pick == Pick::Smallest {
        order.sort_unstable();
    }
    let label =
        |band: &Band| if band.object.is_empty() { "all" } else { band.object.as_str() }.to_owned();
    let mut lines: Vec<Line<'a>> =
        order.iter().map(|&i| Line::new(label(bands[i]), vec![bands[i]])).collect();
    if pick == Pick::Largest && !rest.is_empty() {
        let parts = rest.iter().map(|&i| bands[i]).collect();
        lines.push(Line::new(format!("{} others", rest.len()), parts));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::fake::Fake;
    use crate::study::replicate::{StudyOptions, run};

    fn study(model: &Fake) -> Study {
        let stop = core::sync::atomic::AtomicBool::new(false);
        let options = StudyOptions {
            replications: 60,
            precision: None,
            threads: Some(1),
            detail: None,
            stop: &stop,
        };
        run(model, &options, &|_| {})
    }

    /// Set `EKS_SIM_PLOTS` to a folder to look at the pictures.
    #[test]
    fn every_plot_is_drawn_with_title_unit_and_legend() {
        let plots = all(&study(&Fake::default()));
        let names: Vec<_> = plots.iter().map(|p| p.0).collect();
        assert_eq!(
            names,
            ["address-uses", "addresses", "capacity", "cost", "nodes", "pods", "workloads"]
        );
        if let Some(folder) = std::env::var_os("EKS_SIM_PLOTS") {
            for (name, svg) in &plots {
                std::fs::write(std::path::Path::new(&folder).join(format!("{name}.svg")), svg)
                    .unwrap();
            }
        }
        for (name, svg) in &plots {
            assert!(svg.starts_with("<svg "), "{name}");
            assert!(svg.contains("time (h)"), "{name}");
            assert!(!svg.contains("NaN"), "{name}");
        }
        assert!(plots[3].1.contains("EC2 on-demand") && plots[3].1.contains("USD/h"));
    }

    #[test]
    fn nothing_to_draw_draws_nothing() {
        assert!(all(&Study::default()).is_empty());
    }
}
