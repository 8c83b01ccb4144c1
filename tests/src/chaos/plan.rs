//! Which process suffers what, and when: drawn from a seed, so that a run that failed can be had again.

use std::{fmt, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// Who suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// A speech worker, by its place.
    Speech(usize),
    /// A translation worker.
    Translation(usize),
    /// A gateway.
    Gateway(usize),
    /// Redis.
    Redis,
}

/// What befalls it. Whoever ends is started again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It dies without a word (SIGKILL).
    Kill,
    /// It stands still for so long (SIGSTOP, SIGCONT): longer than a lease, so that it wakes as a zombie.
    Freeze(Duration),
    /// It is asked to end (SIGTERM).
    Stop,
}

/// One misfortune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When, from the beginning.
    pub at: Duration,
    /// Who.
    pub whom: Whom,
    /// What.
    pub deed: Deed,
}

/// What there is to draw from.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Who may suffer; one that stands there twice, twice as often.
    pub whom: Vec<Whom>,
    /// What may befall it, likewise.
    pub deeds: Vec<Deed>,
    /// From when on...
    pub from: Duration,
    /// ...to when.
    pub to: Duration,
    /// How often.
    pub count: usize,
}

/// Misfortunes in the order they happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// All of it.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan of `seed`.
    ///
    /// # Panics
    /// When there is nobody, nothing or no time to draw from.
    #[must_use]
    pub fn draw(seed: u64, choice: &Choice) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut step = || Step {
            at: rng.random_range(choice.from..choice.to),
            whom: *choice.whom.choose(&mut rng).unwrap_or_else(|| panic!("nobody to draw from")),
            deed: *choice.deeds.choose(&mut rng).unwrap_or_else(|| panic!("nothing to draw from")),
        };
        let mut steps: Vec<Step> = (0..choice.count).map(|_| step()).collect();
        steps.sort_by_key(|step| step.at);
        Self { seed, steps }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}:", self.seed)?;
        for Step { at, whom, deed } in &self.steps {
            write!(f, " {:.1}s {deed:?} {whom:?};", at.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_plan() {
        let choice = Choice {
            whom: vec![Whom::Speech(0), Whom::Redis],
            deeds: vec![Deed::Kill, Deed::Stop],
            from: Duration::from_secs(2),
            to: Duration::from_secs(9),
            count: 20,
        };
        let plan = Plan::draw(1, &choice);
        assert_eq!(plan, Plan::draw(1, &choice));
        assert_ne!(plan.steps, Plan::draw(2, &choice).steps);
        assert!(plan.steps.is_sorted_by_key(|step| step.at) && plan.steps.len() == 20);
        assert!(plan.steps.iter().all(|step| step.at >= choice.from && step.at < choice.to));
        assert!(plan.to_string().starts_with("seed 1: "));
    }
}
