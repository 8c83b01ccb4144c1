//! More and more clients at once: how many there may be until words come too late, and what happens beyond.

use serde_json::{Value, json};

use super::{
    figures::{Figures, delays_json, tenth, wall},
    round::Round,
};

/// Words come too late when 95 of 100 are first shown later than this after their end, milliseconds.
pub(super) const TOO_LATE_MS: f64 = 2000.0;

/// One row: a run with so many clients.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Clients at once.
    pub(super) sessions: usize,
    /// From the end of a word until it is first shown; `None` where none was.
    pub(super) first_shown: Option<Figures>,
    /// Until it is committed.
    pub(super) committed: Option<Figures>,
    /// From the last word of a sentence to its final caption.
    pub(super) finals: Option<Figures>,
    /// Finals or gaps that did not come.
    pub(super) finals_missing: usize,
    /// Gaps.
    pub(super) gaps: usize,
    /// Sessions that broke.
    pub(super) broken: usize,
    /// `lag` events.
    pub(super) lags: usize,
    /// Processor seconds by second of audio.
    pub(super) cpu_share: Option<f64>,
    /// For machines.
    json: Value,
}

/// All rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ramp {
    /// In the order they were run; without the one beyond.
    pub(super) rows: Vec<Row>,
    /// The row with twice the last good number.
    pub(super) overload: Option<Row>,
}

impl Row {
    fn of(round: &Round) -> Self {
        let total = round.total();
        let finals = Figures::of(total.finals.iter().copied());
        let cpu_share = round.cost.as_ref().and_then(|cost| cost.cpu_share(total.audio_ms));
        Self {
            sessions: round.sessions,
            first_shown: wall(&total.first_shown),
            committed: wall(&total.committed),
            finals,
            finals_missing: total.faults.finals_missing,
            gaps: total.faults.gaps,
            broken: total.faults.broken_sessions,
            lags: total.faults.lags,
            cpu_share,
            json: json!({
                "sessions": round.sessions,
                "word_to_first_shown": delays_json(&total.first_shown),
                "word_to_committed": delays_json(&total.committed),
                "end_to_final_ms": finals.map(Figures::json),
                "wer": total.errors.rate(),
                "faults": total.faults,
                "cpu_seconds_an_audio_second": cpu_share,
                "player_late_ms": tenth(round.worst_late().as_secs_f64() * 1000.0),
            }),
        }
    }

    /// Whether words came too late, or not at all.
    pub(super) fn late(&self) -> bool {
        self.first_shown.is_none_or(|shown| shown.p95 > TOO_LATE_MS) || self.broken > 0
    }

    /// Whether all that was owed came as finals.
    pub(super) fn all_finals(&self) -> bool {
        self.finals_missing == 0 && self.gaps == 0 && self.broken == 0
    }
}

impl Ramp {
    /// Takes in a run; says whether it was too much.
    pub(super) fn take(&mut self, round: &Round) -> bool {
        let row = Row::of(round);
        let late = row.late();
        self.rows.push(row);
        late
    }

    /// Takes in the run beyond.
    pub(super) fn overload(&mut self, round: &Round) {
        self.overload = Some(Row::of(round));
    }

    /// The most clients that were not too many.
    pub(super) fn good(&self) -> Option<usize> {
        self.rows.iter().filter(|row| !row.late()).map(|row| row.sessions).max()
    }

    /// How many clients to try beyond: twice as many as were good, once some were too many.
    pub(super) fn beyond(&self) -> Option<usize> {
        self.rows.last().filter(|row| row.late()).and_then(|_| self.good()).map(|good| good * 2)
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let beyond = self.overload.as_ref();
        json!({
            "too_late_ms": TOO_LATE_MS,
            "rows": self.rows.iter().map(|row| row.json.clone()).collect::<Vec<_>>(),
            "sessions_in_time": self.good(),
            "overload": beyond.map(|row| row.json.clone()),
            "overload_all_finals": beyond.map(Row::all_finals),
            "overload_lag_told": beyond.map(|row| row.lags > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sessions: usize, p95: f64) -> Row {
        let first_shown = Figures::of([p95]);
        let (committed, finals, cpu_share, json) = (first_shown, first_shown, None, Value::Null);
        let (finals_missing, gaps, broken, lags) = (0, 0, 0, 0);
        Row { sessions, first_shown, committed, finals, finals_missing, gaps, broken, lags, cpu_share, json }
    }

    #[test]
    fn the_last_good_number_is_doubled_once_one_was_too_much() {
        let mut ramp = Ramp { rows: vec![row(1, 800.0), row(2, 1900.0)], overload: None };
        assert_eq!((ramp.good(), ramp.beyond()), (Some(2), None));
        ramp.rows.push(row(4, 2100.0));
        assert_eq!((ramp.good(), ramp.beyond()), (Some(2), Some(4)));
        assert!(Row { broken: 1, ..row(1, 100.0) }.late());
        assert!(!Row { gaps: 1, ..row(1, 100.0) }.all_finals());
    }
}
