//! Triggers of KEDA's ScaledObjects: what each reads, its threshold, and when it is active.
//!
//! Upstream: kedacore/keda `pkg/scalers` (parameter names and defaults as documented for each
//! scaler). Differences: a scaler is a metric of the scenario; how it asks its source is left out.

use crate::k8s::ScaledObjectTrigger;
use crate::spec::cron::{Schedule, Zone};
use crate::units::Quantity;

/// What a trigger asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// So many replicas between two times.
    Cron {
        /// Beginning.
        start: Schedule,
        /// End.
        end: Schedule,
        /// Their time zone.
        zone: Zone,
        /// Replicas in between.
        desired: i64,
    },
    /// CPU or memory of the pods.
    Resource {
        /// `cpu` or `memory`.
        resource: &'static str,
        /// Percent of the requests, or an average amount.
        target: ResourceTarget,
        /// Only of this container.
        container: Option<String>,
    },
    /// A metric from outside.
    External {
        /// Names under which the scenario may give the metric, best first.
        names: Vec<String>,
        /// Thousandths a replica can take.
        threshold: i64,
        /// Thousandths above which it wakes the target from zero.
        activation: i64,
        /// The threshold is for all replicas together.
        total: bool,
    },
}

/// Target of a CPU or memory trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceTarget {
    /// Percent of the requests.
    Utilization(i32),
    /// Average amount.
    AverageValue(Quantity),
}

/// What is wrong with a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerProblem {
    /// Field of the trigger.
    pub path: String,
    /// A field is missing, rather than wrong.
    pub missing: bool,
    /// What is wrong.
    pub message: String,
    /// The mend.
    pub help: String,
}

/// Parameters of scalers that count something: type, threshold and its default, activation.
const SCALERS: &[(&str, &str, Option<i64>, &str)] = &[
    ("activemq", "targetQueueSize", Some(10), "activationTargetQueueSize"),
    ("apache-kafka", "lagThreshold", Some(10), "activationLagThreshold"),
    ("aws-cloudwatch", "targetMetricValue", None, "activationTargetMetricValue"),
    ("aws-dynamodb", "targetValue", None, "activationTargetValue"),
    ("aws-dynamodb-streams", "shardCount", Some(2), "activationShardCount"),
    ("aws-kinesis-stream", "shardCount", Some(2), "activationShardCount"),
    ("aws-sqs-queue", "queueLength", Some(5), "activationQueueLength"),
    ("azure-queue", "queueLength", Some(5), "activationQueueLength"),
    ("azure-servicebus", "messageCount", Some(5), "activationMessageCount"),
    ("datadog", "queryValue", None, "activationQueryValue"),
    ("external", "targetValue", None, "activationTargetValue"),
    ("gcp-pubsub", "value", Some(10), "activationValue"),
    ("kafka", "lagThreshold", Some(10), "activationLagThreshold"),
    ("metrics-api", "targetValue", None, "activationTargetValue"),
    ("mongodb", "queryValue", None, "activationQueryValue"),
    ("mysql", "queryValue", None, "activationQueryValue"),
    ("nats-jetstream", "lagThreshold", Some(10), "activationLagThreshold"),
    ("new-relic", "threshold", None, "activationThreshold"),
    ("postgresql", "targetQueryValue", None, "activationTargetQueryValue"),
    ("prometheus", "threshold", None, "activationThreshold"),
    ("rabbitmq", "value", Some(20), "activationValue"),
    ("redis", "listLength", Some(5), "activationListLength"),
    ("redis-streams", "pendingEntriesCount", Some(5), "activationLagCount"),
    ("stan", "lagThreshold", Some(10), "activationLagThreshold"),
    ("temporal", "targetQueueSize", Some(5), "activationTargetQueueSize"),
];

/// Parameters that name what a scaler counts.
const NAMES: &[&str] = &[
    "metricName",
    "queueName",
    "queueURL",
    "queue",
    "topic",
    "subscriptionName",
    "streamName",
    "stream",
    "listName",
    "tableName",
    "destinationName",
    "taskQueue",
    "query",
];

fn problem<T>(
    path: &str,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, TriggerProblem> {
    let path = path.to_owned();
    Err(TriggerProblem { path, missing: false, message: message.into(), help: help.into() })
}

fn missing<T>(key: &str, kind: &str, example: &str) -> Result<T, TriggerProblem> {
    Err(TriggerProblem {
        path: "metadata".to_owned(),
        missing: true,
        message: format!("a `{kind}` trigger needs `{key}`"),
        help: format!("add `{key}: \"{example}\"` to its metadata"),
    })
}

/// Reads a trigger.
///
/// # Errors
/// What is wrong with it, and the mend.
pub fn read(trigger: &ScaledObjectTrigger) -> Result<Trigger, TriggerProblem> {
    match trigger.kind.as_str() {
        "cron" => cron(trigger),
        "cpu" => resource(trigger, "cpu"),
        "memory" => resource(trigger, "memory"),
        _ => external(trigger),
    }
}

fn text<'t>(trigger: &'t ScaledObjectTrigger, key: &str) -> Option<&'t str> {
    trigger.metadata.get(key).map(|v| v.trim()).filter(|v| !v.is_empty())
}

fn milli(trigger: &ScaledObjectTrigger, key: &str) -> Result<Option<i64>, TriggerProblem> {
    let Some(word) = text(trigger, key) else { return Ok(None) };
    match word.parse::<Quantity>() {
        Ok(number) if !number.is_negative() => Ok(Some(number.milli_value())),
        _ => problem(
            &format!("metadata.{key}"),
            format!("`{key}` cannot be `{word}`"),
            "write a number of 0 or more, in quotes",
        ),
    }
}

fn cron(trigger: &ScaledObjectTrigger) -> Result<Trigger, TriggerProblem> {
    let schedule = |key: &str, example: &str| {
        let Some(word) = text(trigger, key) else { return missing(key, "cron", example) };
        let path = format!("metadata.{key}");
        match Schedule::parse(word) {
            Ok(schedule) => Ok(schedule),
            Err(e) => {
                let (message, help) = halves(&e.to_string());
                problem(&path, message, help)
            }
        }
    };
    let (start, end) = (schedule("start", "0 8 * * *")?, schedule("end", "0 18 * * *")?);
    if start == end {
        let message = "`start` and `end` of the trigger are the same";
        return problem("metadata.end", message, "let it end later than it starts");
    }
    let Some(name) = text(trigger, "timezone") else {
        return missing("timezone", "cron", "Europe/Berlin");
    };
    let zone = match Zone::parse(name) {
        Ok(zone) => zone,
        Err(e) => {
            let (message, help) = halves(&e.to_string());
            return problem("metadata.timezone", message, help);
        }
    };
    match text(trigger, "desiredReplicas").map(str::parse::<i64>) {
        Some(Ok(desired)) if (0..=i64::from(i32::MAX)).contains(&desired) => {
            Ok(Trigger::Cron { start, end, zone, desired })
        }
        Some(_) => problem(
            "metadata.desiredReplicas",
            "`desiredReplicas` is no number of replicas",
            "write a whole number in quotes, for example \"10\"",
        ),
        None => missing("desiredReplicas", "cron", "10"),
    }
}

/// `wrong; mend` as two texts.
fn halves(text: &str) -> (String, String) {
    let (message, help) = text.split_once("; ").unwrap_or((text, "correct it"));
    (message.to_owned(), help.to_owned())
}

fn resource(
    trigger: &ScaledObjectTrigger,
    resource: &'static str,
) -> Result<Trigger, TriggerProblem> {
    // `metadata.type` is the old place of `metricType`.
    let kind = trigger.metric_type.as_deref().or(text(trigger, "type")).unwrap_or("Utilization");
    let Some(word) = text(trigger, "value") else { return missing("value", resource, "70") };
    let container = text(trigger, "containerName").map(str::to_owned);
    let target = match kind {
        "Utilization" => {
            word.parse::<i32>().ok().filter(|p| *p > 0).map(ResourceTarget::Utilization)
        }
        "AverageValue" => {
            let amount = word.parse::<Quantity>().ok().filter(|q| q.milli_value() > 0);
            amount.map(ResourceTarget::AverageValue)
        }
        _ => {
            let message = format!("`metricType` of a `{resource}` trigger cannot be `{kind}`");
            return problem("metricType", message, "write Utilization or AverageValue");
        }
    };
    match target {
        Some(target) => Ok(Trigger::Resource { resource, target, container }),
        None => problem(
            "metadata.value",
            format!("`value` cannot be `{word}`"),
            "write a number above 0, in quotes: \"70\"",
        ),
    }
}

fn external(trigger: &ScaledObjectTrigger) -> Result<Trigger, TriggerProblem> {
    let kind = trigger.kind.as_str();
    if kind.is_empty() {
        return problem("type", "the trigger has no `type`", "write for example `type: cron`");
    }
    let known = SCALERS.iter().find(|s| s.0 == kind);
    let (key, default, activation) =
        known.map_or(("threshold", None, "activationThreshold"), |s| (s.1, s.2, s.3));
    let threshold = match milli(trigger, key)? {
        Some(0) => {
            let message = format!("`{key}` cannot be 0");
            return problem(&format!("metadata.{key}"), message, "write a number above 0");
        }
        Some(threshold) => threshold,
        None => match default {
            Some(default) => default * 1000,
            None => return missing(key, kind, "100"),
        },
    };
    let activation = milli(trigger, activation)?.unwrap_or(0);
    let total = match trigger.metric_type.as_deref() {
        None | Some("AverageValue") => false,
        Some("Value") => true,
        Some(other) => {
            let message = format!("`metricType` of a `{kind}` trigger cannot be `{other}`");
            return problem("metricType", message, "write AverageValue or Value");
        }
    };
    Ok(Trigger::External { names: names(trigger), threshold, activation, total })
}

fn names(trigger: &ScaledObjectTrigger) -> Vec<String> {
    let mut names: Vec<String> = trigger.name.iter().cloned().collect();
    for value in NAMES.iter().filter_map(|key| text(trigger, key)) {
        names.push(value.to_owned());
        // `https://sqs.us-east-1.amazonaws.com/123456789012/orders` is the queue `orders`.
        if let Some((_, last)) = value.rsplit_once('/')
            && !last.is_empty()
        {
            names.push(last.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_json(value: serde_json::Value) -> Result<Trigger, TriggerProblem> {
        read(&serde_json::from_value::<ScaledObjectTrigger>(value).unwrap())
    }

    #[test]
    fn thresholds_have_the_scalers_defaults() {
        let sqs = json!({"type": "aws-sqs-queue", "metadata": {
            "queueURL": "https://sqs.us-east-1.amazonaws.com/1/orders", "activationQueueLength": "3"}});
        let Ok(Trigger::External { names, threshold, activation, total }) = read_json(sqs) else {
            panic!("a trigger");
        };
        assert_eq!((threshold, activation, total), (5000, 3000, false));
        assert_eq!(names.last().map(String::as_str), Some("orders"));
        let cpu = json!({"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}});
        let target = ResourceTarget::Utilization(60);
        let want = Trigger::Resource { resource: "cpu", target, container: None };
        assert_eq!(read_json(cpu), Ok(want));
    }

    #[test]
    fn mistakes_name_their_field_and_mend() {
        let cron = |start: &str, end: &str, zone: &str, n: &str| {
            json!({"type": "cron", "metadata":
                {"start": start, "end": end, "timezone": zone, "desiredReplicas": n}})
        };
        for (value, path) in [
            (cron("0 8 * *", "0 18 * * *", "UTC", "3"), "metadata.start"),
            (cron("0 8 * * *", "0 8 * * *", "UTC", "3"), "metadata.end"),
            (cron("0 8 * * *", "0 18 * * *", "Europe/Berlim", "3"), "metadata.timezone"),
            (cron("0 8 * * *", "0 18 * * *", "UTC", "-3"), "metadata.desiredReplicas"),
            (json!({"type": "prometheus", "metadata": {}}), "metadata"),
            (json!({"type": "rabbitmq", "metadata": {"value": "x"}}), "metadata.value"),
            (json!({"type": "rabbitmq", "metricType": "Utilization"}), "metricType"),
            (json!({"type": "memory", "metadata": {"value": "0"}}), "metadata.value"),
            (json!({"metadata": {}}), "type"),
        ] {
            let problem = read_json(value).expect_err("refused");
            assert_eq!(problem.path, path, "{problem:?}");
            assert!(!problem.help.is_empty());
        }
    }
}
