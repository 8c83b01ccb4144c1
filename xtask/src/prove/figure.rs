//! One measured value beside its goal.

use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Met,
    FallsShort,
    NotProven,
}

impl Verdict {
    /// Of the whole: the worst of its parts; nothing measured is nothing proven.
    pub(crate) fn of(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut parts = parts.into_iter().peekable();
        if parts.peek().is_none() {
            return Self::NotProven;
        }
        parts.fold(Self::Met, |whole, part| match (whole, part) {
            (Self::FallsShort, _) | (_, Self::FallsShort) => Self::FallsShort,
            (Self::NotProven, _) | (_, Self::NotProven) => Self::NotProven,
            (Self::Met, Self::Met) => Self::Met,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "MET",
            Self::FallsShort => "FALLS SHORT",
            Self::NotProven => "NOT PROVEN",
        })
    }
}

/// A value, its goal and the verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    what: String,
    measured: String,
    goal: String,
    verdict: Verdict,
    /// The measured number; absent where there is none, or it never came.
    value: Option<f64>,
    /// What it must not exceed.
    limit: Option<f64>,
}

impl Figure {
    /// Met at `limit` or below; `unit` is for people.
    pub(crate) fn at_most(what: impl Into<String>, measured: f64, limit: f64, unit: &str) -> Self {
        let text = if measured.is_finite() { format!("{measured:.2} {unit}") } else { "never".to_owned() };
        let figure = Self::new(what, text, format!("<= {limit} {unit}"), measured <= limit);
        Self { value: measured.is_finite().then_some(measured), limit: Some(limit), ..figure }
    }

    /// Met when both are the same count.
    pub(crate) fn all(what: impl Into<String>, measured: usize, goal: usize) -> Self {
        Self::new(what, measured.to_string(), format!("all of {goal}"), measured == goal && goal > 0)
    }

    /// Met.
    pub(crate) fn met(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self::new(what, measured, "", true)
    }

    pub(crate) fn failed(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self::new(what, measured, "", false)
    }

    /// Nobody looked, or could not look here.
    pub(crate) fn not_proven(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotProven, ..Self::new(what, reason, "", false) }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn new(what: impl Into<String>, measured: impl Into<String>, goal: impl Into<String>, met: bool) -> Self {
        let verdict = if met { Verdict::Met } else { Verdict::FallsShort };
        Self { what: what.into(), measured: measured.into(), goal: goal.into(), verdict, value: None, limit: None }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {}: {}", self.verdict, self.what, self.measured)?;
        if self.goal.is_empty() { Ok(()) } else { write!(f, " (goal {})", self.goal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_decides_and_nothing_proves_nothing() {
        use Verdict::{FallsShort, Met, NotProven};
        assert_eq!(Verdict::of([Met, NotProven, FallsShort]), FallsShort);
        assert_eq!(Verdict::of([Met, NotProven, Met]), NotProven);
        assert_eq!(Verdict::of([Met, Met]), Met);
        assert_eq!(Verdict::of([]), NotProven);
    }

    #[test]
    fn what_never_came_falls_short() {
        let never = Figure::at_most("a caption", f64::INFINITY, 2.0, "s");
        assert_eq!(never.verdict(), Verdict::FallsShort);
        assert_eq!(never.to_string(), "FALLS SHORT  a caption: never (goal <= 2 s)");
        assert_eq!(Figure::at_most("a caption", f64::NAN, 2.0, "s").verdict(), Verdict::FallsShort);
        assert_eq!(Figure::all("tests", 0, 0).verdict(), Verdict::FallsShort);
    }
}
