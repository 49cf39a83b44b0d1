//! The page: families of samples, which the library turns into text with their help and kind.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tandem_storage::histogram::Distribution;

use super::help;

/// A label's name and value.
type Label = (&'static str, String);

/// See the chapter above.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<Family>);

/// Samples of one name.
#[derive(Debug)]
struct Family {
    name: String,
    samples: Vec<(Vec<Label>, Sample)>,
}

#[derive(Debug)]
enum Sample {
    Counter(u64),
    Gauge(u64),
    Seconds(f64),
    Histogram(Distribution),
}

impl Page {
    /// What only grows.
    pub(super) fn counter(&mut self, name: &str, value: u64) {
        self.add(name, Vec::new(), Sample::Counter(value));
    }

    /// What rises and falls.
    pub(super) fn gauge(&mut self, name: &str, value: usize) {
        self.add(name, Vec::new(), Sample::Gauge(value as u64));
    }

    /// One if it is so, else zero.
    pub(super) fn flag(&mut self, name: &str, is_so: bool) {
        self.gauge(name, usize::from(is_so));
    }

    /// A time that rises and falls.
    pub(super) fn seconds(&mut self, name: &str, time: Duration) {
        self.add(name, Vec::new(), Sample::Seconds(time.as_secs_f64()));
    }

    /// How long things took.
    pub(super) fn histogram(&mut self, name: &str, times: Distribution) {
        self.add(name, Vec::new(), Sample::Histogram(times));
    }

    /// A gauge with labels.
    pub(super) fn gauge_of(&mut self, name: &str, labels: &[(&'static str, &str)], value: u64) {
        self.add(name, owned(labels), Sample::Gauge(value));
    }

    /// A time with labels.
    pub(super) fn seconds_of(
        &mut self,
        name: &str,
        labels: &[(&'static str, &str)],
        time: Duration,
    ) {
        self.add(name, owned(labels), Sample::Seconds(time.as_secs_f64()));
    }

    /// Every number of a struct of counters; of a map in it, each with its key as the label `cause`.
    pub(super) fn counters(&mut self, part: &str, counters: &Value) {
        for (name, value) in counters.as_object().into_iter().flatten() {
            let name = format!("{part}_{name}");
            if let Some(value) = value.as_u64() {
                self.counter(&name, value);
            }
            for (cause, value) in value.as_object().into_iter().flatten() {
                let value = Sample::Counter(value.as_u64().unwrap_or(0));
                self.add(&name, owned(&[("cause", cause)]), value);
            }
        }
    }

    /// The page as Prometheus text.
    pub(super) fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("tandem");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn add(&mut self, name: &str, labels: Vec<Label>, sample: Sample) {
        let sample = (labels, sample);
        match self.0.last_mut().filter(|last| last.name == name) {
            Some(family) => family.samples.push(sample),
            None => self.0.push(Family {
                name: name.to_owned(),
                samples: vec![sample],
            }),
        }
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, samples } in &self.0 {
            let kind = samples
                .first()
                .map_or(MetricType::Unknown, |(_, s)| s.kind());
            let help = help::of(name).unwrap_or_default();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, sample) in samples {
                sample.encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

impl Sample {
    fn kind(&self) -> MetricType {
        match self {
            Sample::Counter(_) => MetricType::Counter,
            Sample::Gauge(_) | Sample::Seconds(_) => MetricType::Gauge,
            Sample::Histogram(_) => MetricType::Histogram,
        }
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Sample::Counter(value) => encoder.encode_counter::<NoLabelSet, _, u64>(value, None),
            // The format has signed integers.
            Sample::Gauge(value) => {
                encoder.encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX))
            }
            Sample::Seconds(value) => encoder.encode_gauge(value),
            Sample::Histogram(times) => {
                let buckets = times.buckets.iter();
                let mut buckets: Vec<(f64, u64)> = buckets
                    .map(|(bound, count)| (bound.as_secs_f64(), *count))
                    .collect();
                buckets.push((f64::INFINITY, times.beyond));
                let count = buckets.iter().map(|(_, count)| count).sum();
                let sum = times.sum.as_secs_f64();
                encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            }
        }
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<Label> {
    let labels = labels.iter();
    labels
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counters_maps_and_gauges_become_families() {
        let mut page = Page::default();
        let counters = json!({"calls": 3, "ended": {"busy": 1, "normal": 2}});
        page.counters("pbx", &counters);
        page.gauge("calls", 1);
        page.gauge_of("link_up", &[("node", "a\"b\\")], 1);
        assert_eq!(
            page.text().unwrap(),
            "# HELP tandem_pbx_calls_total Calls that came in, refused ones included.\n\
             # TYPE tandem_pbx_calls_total counter\n\
             tandem_pbx_calls_total 3\n\
             # HELP tandem_pbx_ended_total Calls by how they ended.\n\
             # TYPE tandem_pbx_ended_total counter\n\
             tandem_pbx_ended_total{cause=\"busy\"} 1\n\
             tandem_pbx_ended_total{cause=\"normal\"} 2\n\
             # HELP tandem_calls Calls now, in whatever phase.\n\
             # TYPE tandem_calls gauge\n\
             tandem_calls 1\n\
             # HELP tandem_link_up 1 if this other node is there.\n\
             # TYPE tandem_link_up gauge\n\
             tandem_link_up{node=\"a\\\"b\\\\\"} 1\n"
        );
    }

    #[test]
    fn a_distribution_becomes_buckets_that_add_up() {
        let mut page = Page::default();
        let at = Duration::from_millis;
        let times = Distribution {
            buckets: vec![(at(1), 2), (at(2), 1)],
            beyond: 4,
            sum: at(500),
        };
        page.histogram("log_commit_seconds", times);
        let text = page.text().unwrap();
        let (_, samples) = text.split_once("histogram\n").unwrap();
        assert_eq!(
            samples,
            "tandem_log_commit_seconds_bucket{le=\"0.001\"} 2\n\
             tandem_log_commit_seconds_bucket{le=\"0.002\"} 3\n\
             tandem_log_commit_seconds_bucket{le=\"+Inf\"} 7\n\
             tandem_log_commit_seconds_sum 0.5\n\
             tandem_log_commit_seconds_count 7\n"
        );
    }
}
