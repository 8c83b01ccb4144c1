//! What a process tells at `/metrics`.

use std::collections::BTreeSet;

use tests::stack::Process;

/// One answer.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) text: String,
}

impl Scrape {
    pub(super) async fn of(process: &Process) -> Self {
        let answer = reqwest::get(format!("http://{}/metrics", process.health())).await.unwrap();
        assert!(answer.status().is_success(), "{}: {}", process.name, answer.status());
        Self::read(&answer.text().await.unwrap())
    }

    pub(super) fn read(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// Names of what is told; of a histogram without `_bucket` and its like.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect()
    }

    /// The value of the one series of `name` for `stream`.
    pub(super) fn gauge(&self, name: &str, stream: &str) -> Option<f64> {
        let label = format!("stream=\"{stream}\"");
        let series = self
            .text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') && rest.contains(&label)))?;
        series.rsplit(' ').next()?.parse().ok()
    }
}
