//! How often what was judged how: what the guard believed and what not, and what never reached the model.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use shared::health::add;

use crate::guard::Verdict;

/// Handles; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct JudgedMetrics {
    believed: IntCounter,
    nothing: IntCounter,
    lost: IntCounter,
    silent: IntCounter,
    no_speech: IntCounter,
    too_early: IntCounter,
}

/// Why audio was not given to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spared {
    /// Nothing is louder than the floor.
    Silent,
    /// The detector is sure that nobody speaks.
    NoSpeech,
    /// There is hardly any speech in it, so it is heard only once it is whole.
    TooEarly,
}

impl JudgedMetrics {
    /// Registers everything.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Decodes by what was made of them, and audio that no decode was made of.";
        let judged = IntCounterVec::new(Opts::new("subtide_speech_judged_total", help), &["verdict"])?;
        let judged = add(registry, judged)?;
        let of = |verdict: &str| judged.with_label_values(&[verdict]);
        Ok(Self {
            believed: of("believed"),
            nothing: of("nothing"),
            lost: of("lost"),
            silent: of("silent"),
            no_speech: of("no_speech"),
            too_early: of("too_early"),
        })
    }

    /// A hypothesis was judged.
    pub(crate) fn judged(&self, verdict: Verdict) {
        match verdict {
            Verdict::Believed => self.believed.inc(),
            Verdict::Nothing => self.nothing.inc(),
            Verdict::Lost => self.lost.inc(),
        }
    }

    /// Audio was not given to the model.
    pub(crate) fn spared(&self, why: Spared) {
        match why {
            Spared::Silent => self.silent.inc(),
            Spared::NoSpeech => self.no_speech.inc(),
            Spared::TooEarly => self.too_early.inc(),
        }
    }
}
