//! Looks of the last while: a counter tells something only beside what it was before.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    histogram::Histogram,
    samples::{Metrics, Series},
    scrape::Replica,
};

/// Looks kept of one window: more would only cost memory.
const KEPT: u32 = 10;

type Told = BTreeMap<SocketAddr, Metrics>;

/// What the replicas told, up to a window ago.
#[derive(Debug)]
pub(super) struct History {
    window: Duration,
    looks: VecDeque<(Instant, Told)>,
}

/// One replica now and at its earliest look in the window.
#[derive(Debug)]
struct Pair<'a> {
    now: &'a Metrics,
    before: Option<(&'a Metrics, f64)>,
}

/// What some replicas tell together: of now, and of the window that ends now.
#[derive(Debug)]
pub(super) struct Beside<'a> {
    pairs: Vec<Pair<'a>>,
}

impl History {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, looks: VecDeque::new() }
    }

    /// Keeps a look, and forgets what is older than the window; the newest earlier look stays, however old it is, for without
    /// it nothing can be told to have grown.
    pub(super) fn keep(&mut self, at: Instant, replicas: &[Replica]) {
        while self.looks.len() > 1 && self.looks.front().is_some_and(|(then, _)| at.duration_since(*then) > self.window)
        {
            self.looks.pop_front();
        }
        let spacing = self.window / KEPT;
        if self.looks.back().is_none_or(|(then, _)| at.duration_since(*then) >= spacing) {
            let told = replicas.iter().filter_map(|replica| {
                let answer = replica.answer.as_ref().ok()?;
                Some((replica.address, answer.metrics.clone()))
            });
            self.looks.push_back((at, told.collect()));
        }
    }

    /// What these replicas tell, beside what they told.
    pub(super) fn beside<'a>(&'a self, at: Instant, replicas: impl IntoIterator<Item = &'a Replica>) -> Beside<'a> {
        let pair = |replica: &'a Replica| {
            let now = &replica.answer.as_ref().ok()?.metrics;
            let earlier = self.looks.iter().filter(|(then, _)| *then < at);
            let before =
                earlier.filter_map(|(then, told)| Some((told.get(&replica.address)?, at.duration_since(*then))));
            let before = before.map(|(told, ago)| (told, ago.as_secs_f64())).next();
            Some(Pair { now, before })
        };
        Beside { pairs: replicas.into_iter().filter_map(pair).collect() }
    }

    /// How far back the oldest look lies.
    pub(super) fn reach(&self, at: Instant) -> Duration {
        self.looks.front().map_or(Duration::ZERO, |(then, _)| at.duration_since(*then))
    }
}

impl Beside<'_> {
    /// The sum over all replicas; `None` where nobody tells it.
    pub(super) fn sum(&self, series: &Series) -> Option<f64> {
        total(self.pairs.iter().map(|pair| pair.now.value(series)))
    }

    /// The largest of all replicas: for what each of them tells of the same thing.
    pub(super) fn largest(&self, series: &Series) -> Option<f64> {
        self.pairs.iter().filter_map(|pair| pair.now.value(series)).max_by(f64::total_cmp)
    }

    /// How much it grew in the window; `None` where nobody told it before.
    pub(super) fn increase(&self, series: &Series) -> Option<f64> {
        total(self.pairs.iter().map(|pair| pair.increase(series).map(|(grown, _)| grown)))
    }

    /// How much it grew in a second.
    pub(super) fn rate(&self, series: &Series) -> Option<f64> {
        total(self.pairs.iter().map(|pair| pair.increase(series).map(|(grown, seconds)| grown / seconds)))
    }

    /// Growth in the window by the value of a label, and the sums themselves.
    pub(super) fn by_label(&self, series: &Series, label: &str) -> BTreeMap<String, (f64, f64)> {
        let mut all = BTreeMap::new();
        for pair in &self.pairs {
            let before = pair.before.map(|(before, _)| before.by_label(series, label));
            for (value, now) in pair.now.by_label(series, label) {
                let grown =
                    before.as_ref().map_or(0.0, |before| grown(now, before.get(&value).copied().unwrap_or(0.0)));
                let sums = all.entry(value).or_insert((0.0, 0.0));
                *sums = (sums.0 + grown, sums.1 + now);
            }
        }
        all
    }

    /// Everything counted since the processes began.
    pub(super) fn histogram(&self, series: &Series) -> Option<Histogram> {
        merged(self.pairs.iter().map(|pair| pair.now.histogram(series)))
    }

    /// What was counted in the window.
    pub(super) fn recent_histogram(&self, series: &Series) -> Option<Histogram> {
        merged(self.pairs.iter().map(|pair| {
            let (before, _) = pair.before?;
            let now = pair.now.histogram(series)?;
            Some(before.histogram(series).map_or_else(|| now.clone(), |before| now.since(&before)))
        }))
    }

    /// The values of a label.
    pub(super) fn labels(&self, series: &Series, label: &str) -> Vec<String> {
        let all: BTreeSet<_> =
            self.pairs.iter().flat_map(|pair| pair.now.by_label(series, label).into_keys()).collect();
        all.into_iter().collect()
    }
}

impl Pair<'_> {
    fn increase(&self, series: &Series) -> Option<(f64, f64)> {
        let (before, seconds) = self.before?;
        let now = self.now.value(series)?;
        // A series that was not there comes into being with its first event.
        Some((grown(now, before.value(series).unwrap_or(0.0)), seconds))
    }
}

/// A counter that is smaller than it was began anew.
fn grown(now: f64, before: f64) -> f64 {
    if now < before { now } else { now - before }
}

fn total(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

fn merged(histograms: impl Iterator<Item = Option<Histogram>>) -> Option<Histogram> {
    histograms.flatten().reduce(|mut all, one| {
        all.add(&one);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::scrape::{Answer, HealthReport};

    fn replica(port: u16, metrics: &str) -> Replica {
        let health =
            HealthReport { role: "test".into(), version: String::new(), ready: true, components: BTreeMap::new() };
        Replica {
            target: format!("127.0.0.1:{port}").parse().unwrap(),
            address: ([127, 0, 0, 1], port).into(),
            answer: Ok(Answer { health, metrics: Metrics::parse(metrics) }),
        }
    }

    fn jobs(done: u32) -> String {
        format!("# TYPE jobs_total counter\njobs_total{{outcome=\"done\"}} {done}\n")
    }

    #[test]
    fn growth_is_told_by_replica_and_a_new_beginning_noticed() {
        let (series, begin) = (Series::of("jobs_total"), Instant::now());
        let mut history = History::new(Duration::from_secs(10));
        history.keep(begin, &[replica(1, &jobs(100)), replica(2, &jobs(50))]);
        let now = begin + Duration::from_secs(5);
        // The second was started anew, and the third was not there before.
        let replicas = [replica(1, &jobs(110)), replica(2, &jobs(5)), replica(3, &jobs(1000))];
        history.keep(now, &replicas);
        let told = history.beside(now, &replicas);
        assert_eq!((told.sum(&series), told.largest(&series)), (Some(1115.0), Some(1000.0)));
        assert_eq!((told.increase(&series), told.rate(&series)), (Some(15.0), Some(3.0)));
        assert_eq!(told.by_label(&series, "outcome")["done"], (15.0, 1115.0));
        assert_eq!(told.increase(&Series::of("absent")), None);
        let later = now + Duration::from_secs(8);
        history.keep(later, &replicas);
        assert_eq!(history.reach(later), Duration::from_secs(8), "what is older than the window is forgotten");
    }

    #[test]
    fn a_look_that_took_longer_than_the_window_has_rates() {
        let (series, mut now) = (Series::of("jobs_total"), Instant::now());
        let mut history = History::new(Duration::from_secs(10));
        history.keep(now, &[replica(1, &jobs(100))]);
        for done in [120, 140] {
            now += Duration::from_secs(20);
            let replicas = [replica(1, &jobs(done))];
            history.keep(now, &replicas);
            assert_eq!(history.beside(now, &replicas).rate(&series), Some(1.0));
            assert_eq!(history.reach(now), Duration::from_secs(20));
        }
    }
}
