//! Values under names, in the form that the encoder takes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric as Sample, MetricFamily, MetricType};

use super::name::{Kind, Metric};

/// Families of samples that are made anew for each scrape.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<&'static str, (Metric, Vec<Sample>)>);

impl Families {
    /// A sample; `labels` are the values in the order of the metric's labels.
    #[expect(
        clippy::cast_precision_loss,
        reason = "every value of this format is a float, and these are far below 2^53"
    )]
    pub(super) fn put(&mut self, metric: Metric, labels: &[&str], value: u64) {
        self.put_float(metric, labels, value as f64);
    }

    /// 1 where it is so, else 0.
    pub(super) fn put_flag(&mut self, metric: Metric, labels: &[&str], is_so: bool) {
        self.put(metric, labels, u64::from(is_so));
    }

    /// Seconds since 1970; 0 where there is no such moment.
    pub(super) fn put_time(&mut self, metric: Metric, labels: &[&str], at: Option<Timestamp>) {
        let seconds = at.map_or(0, Timestamp::as_second);
        self.put(metric, labels, u64::try_from(seconds).unwrap_or(0));
    }

    /// A sample that may have a fraction.
    pub(super) fn put_float(&mut self, metric: Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let pairs = metric.labels.iter().zip(labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut sample = Sample::from_label(pairs.collect());
        match metric.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
        }
        let family = self.0.entry(metric.name);
        family
            .or_insert_with(|| (metric, Vec::new()))
            .1
            .push(sample);
    }

    /// The families, by name.
    pub(super) fn into_families(self) -> impl Iterator<Item = MetricFamily> {
        self.0.into_values().map(|(metric, samples)| {
            let mut family = MetricFamily::default();
            family.set_name(metric.name.to_owned());
            family.set_help(metric.help.to_owned());
            family.set_field_type(match metric.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge | Kind::Histogram => MetricType::GAUGE,
            });
            family.set_metric(samples);
            family
        })
    }
}
