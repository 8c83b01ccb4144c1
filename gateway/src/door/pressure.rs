//! How full the bus is, and what follows from it: first nobody new is let in, then audio waits.
//!
//! The bus never evicts (`noeviction`): once it is full it takes nothing more, neither audio nor the state of sessions. Long
//! before, what makes it grow is held back, while workers go on and empty it.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// From this share of the bus's memory on nobody new is let in...
const REFUSE: f64 = 0.70;
/// ...until it is back below this one: who is let in at the very edge would be the next to wait.
const ADMIT_AGAIN: f64 = 0.65;
/// From this share on no audio is stored...
const PAUSE: f64 = 0.85;
/// ...until it is back below this one.
const GO_ON: f64 = 0.80;

const CALM: u8 = 0;
const REFUSING: u8 = 1;
const PAUSING: u8 = 2;

/// What the last look at the bus's memory led to. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Pressure(Arc<AtomicU8>);

impl Pressure {
    /// So much of the bus's memory is in use; `None` where it has no limit.
    pub(crate) fn note(&self, share: Option<f64>) {
        let share = share.unwrap_or(0.0);
        let before = self.0.load(Ordering::Relaxed);
        let level = if share >= PAUSE || (before == PAUSING && share >= GO_ON) {
            PAUSING
        } else if share >= REFUSE || (before != CALM && share >= ADMIT_AGAIN) {
            REFUSING
        } else {
            CALM
        };
        if level != before {
            tracing::warn!(
                percent = (share * 100.0).round(),
                refusing = level >= REFUSING,
                pausing = level == PAUSING,
                "the bus fills up or empties"
            );
        }
        self.0.store(level, Ordering::Relaxed);
    }

    /// Whether somebody new has to come later.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= REFUSING
    }

    /// Whether audio has to wait.
    #[must_use]
    pub fn pauses(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PAUSING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_back_is_let_go_a_little_later_than_it_was_held() {
        let pressure = Pressure::default();
        let mut steps = Vec::new();
        for percent in [69_u8, 70, 84, 85, 81, 79, 66, 64, 69, 90, 10] {
            pressure.note(Some(f64::from(percent) / 100.0));
            steps.push((pressure.refuses(), pressure.pauses()));
        }
        let (calm, refusing, pausing) = ((false, false), (true, false), (true, true));
        let wanted = [calm, refusing, refusing, pausing, pausing, refusing, refusing, calm, calm, pausing, calm];
        assert_eq!(steps, wanted);
        pressure.note(Some(0.99));
        pressure.note(None);
        assert!(!pressure.refuses(), "a bus without a limit is never full");
    }
}
