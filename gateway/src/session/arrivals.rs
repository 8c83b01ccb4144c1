//! When which audio came: what latencies are measured from.

use std::{collections::VecDeque, time::Instant};

/// Audio between two marks, milliseconds: as exact as a latency need be.
const STEP_MS: u64 = 100;
/// Marks that are kept: 40 s, longer than an utterance can be.
const KEPT: usize = 400;

/// Remembers when the newest audio of a session came. Its memory is taken once.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// What came before this is not known, milliseconds since the session's first sample.
    known_from_ms: u64,
    /// Audio up to here had come by then.
    marks: VecDeque<(u64, Instant)>,
    /// When the newest audio came.
    newest: Option<Instant>,
}

impl Arrivals {
    /// Nothing is known of the audio before `from_ms`.
    pub(super) fn from(from_ms: u64) -> Self {
        Self { known_from_ms: from_ms, marks: VecDeque::with_capacity(KEPT), newest: None }
    }

    /// All audio before `until_ms` has come.
    pub(super) fn came(&mut self, until_ms: u64, now: Instant) {
        self.newest = Some(now);
        let marked = self.marks.back().map_or(self.known_from_ms, |(until, _)| *until);
        if until_ms < marked + STEP_MS {
            return;
        }
        if self.marks.len() == KEPT
            && let Some((until, _)) = self.marks.pop_front()
        {
            self.known_from_ms = until;
        }
        self.marks.push_back((until_ms, now));
    }

    /// When the audio before `at_ms` had come; behind the newest mark, with the newest audio. `None` where nobody knows.
    pub(super) fn of(&self, at_ms: u64) -> Option<Instant> {
        if at_ms <= self.known_from_ms {
            return None;
        }
        let mark = self.marks.partition_point(|(until, _)| *until < at_ms);
        self.marks.get(mark).map(|(_, came)| *came).or(self.newest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn audio_came_when_the_first_mark_behind_it_was_made() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut arrivals = Arrivals::from(1000);
        (1..=100).for_each(|n| arrivals.came(1000 + n * 10, at(n * 10)));
        assert_eq!(arrivals.of(1000), None, "another gateway received that");
        assert_eq!(arrivals.of(1020), Some(at(100)));
        assert_eq!(arrivals.of(1100), Some(at(100)));
        assert_eq!(arrivals.of(1101), Some(at(200)));
        arrivals.came(2010, at(1010));
        assert_eq!(arrivals.of(2001), Some(at(1010)), "it came with the newest, however long ago that is");
    }

    #[test]
    fn a_client_that_sends_faster_than_it_speaks_is_taken_at_its_word() {
        let start = Instant::now();
        let mut arrivals = Arrivals::from(0);
        arrivals.came(30_000, start);
        assert_eq!(arrivals.of(100), Some(start));
    }

    #[test]
    fn what_is_too_long_ago_is_forgotten_and_takes_no_room() {
        let start = Instant::now();
        let mut arrivals = Arrivals::from(0);
        (1..=2000).for_each(|n| arrivals.came(n * STEP_MS, start));
        assert!(arrivals.marks.len() == KEPT && arrivals.marks.capacity() < 2 * KEPT);
        assert_eq!(arrivals.of(1600 * STEP_MS), None);
        assert!(arrivals.of(1601 * STEP_MS).is_some());
    }
}
