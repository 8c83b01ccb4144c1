//! What a role tells at `/metrics`, in Prometheus' text format.

use std::collections::BTreeMap;

use prometheus_parse::{Sample, Scrape, Value};

use super::histogram::Histogram;

/// The samples of one scrape.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    samples: Vec<Sample>,
}

/// Which samples are meant: those of a name that bear all these labels.
#[derive(Debug, Clone)]
pub(super) struct Series {
    name: &'static str,
    labels: Vec<(&'static str, &'static str)>,
}

impl Series {
    /// All samples of that name.
    pub(super) fn of(name: &'static str) -> Self {
        Self { name, labels: Vec::new() }
    }

    /// Only those that bear this label, too.
    pub(super) fn with(mut self, label: &'static str, value: &'static str) -> Self {
        self.labels.push((label, value));
        self
    }

    fn means(&self, sample: &Sample) -> bool {
        sample.metric == self.name && self.labels.iter().all(|(label, value)| sample.labels.get(label) == Some(*value))
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Counter(number) | Value::Gauge(number) | Value::Untyped(number) => Some(*number),
        Value::Histogram(_) | Value::Summary(_) => None,
    }
    // A gauge that says that it does not know.
    .filter(|number| number.is_finite())
}

impl Metrics {
    /// Lines that are no samples are left out.
    pub(super) fn parse(text: &str) -> Self {
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned())));
        Self { samples: scrape.map_or_else(|_| Vec::new(), |scrape| scrape.samples) }
    }

    fn of<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(|sample| series.means(sample))
    }

    /// The sum of the samples; `None` when there are none.
    pub(super) fn value(&self, series: &Series) -> Option<f64> {
        let mut numbers = self.of(series).filter_map(|sample| number(&sample.value)).peekable();
        numbers.peek().is_some().then(|| numbers.sum())
    }

    /// Sums by the value of a label; samples without it are under the empty text.
    pub(super) fn by_label(&self, series: &Series, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.of(series) {
            if let Some(number) = number(&sample.value) {
                *sums.entry(sample.labels.get(label).unwrap_or_default().to_owned()).or_insert(0.0) += number;
            }
        }
        sums
    }

    /// All histograms of the series as one; `None` when there are none.
    pub(super) fn histogram(&self, series: &Series) -> Option<Histogram> {
        let buckets = self.of(series).filter_map(|sample| match &sample.value {
            Value::Histogram(buckets) => Some(Histogram::of(buckets.iter().map(|b| (b.less_than, b.count)))),
            _ => None,
        });
        buckets.reduce(|mut all, one| {
            all.add(&one);
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP jobs_total Jobs.
# TYPE jobs_total counter
jobs_total{outcome=\"done\",stream=\"a\"} 5
jobs_total{outcome=\"retry\",stream=\"a\"} 2
jobs_total{outcome=\"done\",stream=\"b\"} 1
# TYPE stale gauge
stale NaN
# TYPE seconds histogram
seconds_bucket{outcome=\"done\",le=\"1\"} 2
seconds_bucket{outcome=\"done\",le=\"2\"} 4
seconds_bucket{outcome=\"done\",le=\"+Inf\"} 4
seconds_sum{outcome=\"done\"} 5.5
seconds_count{outcome=\"done\"} 4
seconds_bucket{outcome=\"retry\",le=\"1\"} 0
seconds_bucket{outcome=\"retry\",le=\"2\"} 0
seconds_bucket{outcome=\"retry\",le=\"+Inf\"} 4
";

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let metrics = Metrics::parse(TEXT);
        let jobs = || Series::of("jobs_total");
        assert_eq!(metrics.value(&jobs()), Some(8.0));
        assert_eq!(metrics.value(&jobs().with("stream", "a")), Some(7.0));
        assert_eq!(metrics.value(&jobs().with("stream", "c")), None);
        assert_eq!(metrics.value(&Series::of("stale")), None, "NaN is no value");
        let by_outcome = metrics.by_label(&jobs(), "outcome");
        assert_eq!(by_outcome.into_iter().collect::<Vec<_>>(), [("done".to_owned(), 6.0), ("retry".to_owned(), 2.0)]);
        assert_eq!(metrics.value(&Series::of("seconds_sum")), Some(5.5));
    }

    #[test]
    fn histograms_of_a_series_are_one() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.histogram(&Series::of("seconds")).unwrap().count(), 8.0);
        let done = metrics.histogram(&Series::of("seconds").with("outcome", "done")).unwrap();
        assert_eq!((done.count(), done.quantile(0.5)), (4.0, Some(1.0)));
        assert!(metrics.histogram(&Series::of("jobs_total")).is_none());
    }

    #[test]
    fn what_is_no_scrape_has_no_samples() {
        assert_eq!(Metrics::parse("<html>\nnot found").value(&Series::of("<html>")), None);
    }
}
