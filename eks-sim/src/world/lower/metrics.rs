//! Custom and external metrics: where an adapter would get their values.

use super::{Errors, traffic};
use crate::policy::hpa::{HpaSpec, Source};
use crate::spec::scenario::{CustomMetricSpec, Scenario};
use crate::units::SimTime;
use crate::world::model::{Measure, MetricModel, MetricSource, Model};

pub(super) fn lower(scenario: &Scenario, model: &mut Model, errors: &mut Errors) {
    for (i, metric) in scenario.spec.metrics.iter().enumerate() {
        let path = format!("metrics[{i}]");
        if let Some(source) = source(metric, &path, model, errors) {
            model.metrics.push(MetricModel { name: metric.name.clone(), source });
        }
    }
}

/// Says which metrics of HPAs nothing serves.
pub(super) fn check(model: &Model, errors: &mut Errors) {
    for (_, hpa) in model.hpas.iter() {
        let Ok(spec) = HpaSpec::lower(&hpa.object) else { continue };
        for metric in &spec.metrics {
            let custom = !matches!(metric.source, Source::Resource | Source::ContainerResource);
            if custom && model.metrics.iter().all(|m| m.name != metric.name) {
                errors.warning(
                    "metrics",
                    format!(
                        "HorizontalPodAutoscaler/{} reads the metric `{}`, which nothing serves",
                        hpa.name, metric.name
                    ),
                    "add it to `metrics`; until then the HPA cannot scale on it",
                );
            }
        }
    }
}

fn source(
    metric: &CustomMetricSpec,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<MetricSource> {
    match (&metric.values, &metric.of) {
        (Some(values), None) => {
            let mut points: Vec<(SimTime, i64)> =
                values.iter().map(|v| (SimTime::ZERO + v.at, v.value.milli_value())).collect();
            points.sort_by_key(|p| p.0);
            Some(MetricSource::Values(points, metric.delay))
        }
        (None, Some(of)) => {
            let service = traffic::find(of, &format!("{path}.of"), model, errors)?;
            let measure = match metric.measure.as_deref() {
                None | Some("requestsPerSecond") => Measure::RequestsPerSecond,
                Some("waiting") => Measure::Waiting,
                Some("latencySeconds") => Measure::LatencySeconds,
                Some(other) => {
                    errors.error(
                        format!("{path}.measure"),
                        format!("`{other}` is not measured"),
                        "use requestsPerSecond, waiting or latencySeconds",
                    );
                    return None;
                }
            };
            Some(MetricSource::Service(service, measure, metric.delay))
        }
        _ => {
            errors.error(path, "a metric needs either `values` or `of`", "write one of the two");
            None
        }
    }
}
