//! The gateway's metrics. Labels are closed sets: no session, person or text; every series is there from the start.

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use shared::{
    health::add,
    wire::{ErrorCode, GapReason, ServerMessage},
};

use crate::dispatch::{Stage, Tally};

/// Seconds; 1 and 2 are the objectives, so both are bounds.
const SECONDS: [f64; 13] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];

/// What a final or a gap is of: values of the label `kind`.
const KINDS: [&str; 2] = ["caption", "translation"];

/// A session that counts as open until this is dropped, also by a panic.
#[derive(Debug)]
pub(crate) struct OpenSession(IntGauge);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Handles of all metrics. One for each gateway.
#[derive(Debug)]
pub struct Metrics {
    sessions: IntGauge,
    /// Sessions opened since the start.
    pub sessions_opened: IntCounter,
    /// Sessions that went on at a new socket.
    pub sessions_resumed: IntCounter,
    /// Audio received, milliseconds (a counter of whole milliseconds keeps its precision for ever).
    pub audio_ms: IntCounter,
    /// Audio within utterances, milliseconds; each stretch counts once, though a split hands it out again.
    pub speech_ms: IntCounter,
    /// Utterances opened.
    pub utterances: IntCounter,
    /// Bytes of clients that are held because their sessions wait for the bus.
    pub held_bytes: IntGauge,
    /// Messages that a client did not get because it read too slowly.
    pub messages_dropped: IntCounter,
    /// Events of a session that had no room for them, which it then reads again from its stream.
    pub mailbox_full: IntCounter,
    /// Sessions that read their stream again because the mailbox could not be read for a while.
    pub mailbox_away: IntCounter,
    errors: Vec<(ErrorCode, IntCounter)>,
    /// In the order of [`KINDS`].
    finals: [IntCounter; 2],
    /// In the order of [`KINDS`].
    gaps: [GapCounters; 2],
    stages: StageTimes,
    decodes: Decodes,
}

#[derive(Debug)]
struct GapCounters {
    failed: IntCounter,
    timed_out: IntCounter,
    overloaded: IntCounter,
    no_model: IntCounter,
}

#[derive(Debug)]
struct StageTimes {
    first: Histogram,
    committed: Histogram,
    last: Histogram,
    translation_final: Histogram,
}

#[derive(Debug)]
struct Decodes {
    partials: IntCounter,
    finals: IntCounter,
    given_up: IntCounter,
    overtaken: IntCounter,
    coalesced: IntCounter,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| add(registry, IntCounter::new(name, help)?);
        let family = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).and_then(|family| add(registry, family))
        };
        let errors = family("gateway_errors_total", "Sessions ended by an error", &["code"])?;
        let finals = family("gateway_finals_total", "Finals let out to clients", &["kind"])?;
        let gaps = family("gateway_gaps_total", "Gaps told to clients", &["kind", "reason"])?;
        let missed = "Events that sessions had to read again from their own streams";
        let missed = family("gateway_mailbox_missed_total", missed, &["reason"])?;
        Ok(Self {
            sessions: add(registry, IntGauge::new("gateway_sessions", "Open sessions")?)?,
            sessions_opened: counter("gateway_sessions_opened_total", "Sessions opened")?,
            sessions_resumed: counter("gateway_sessions_resumed_total", "Sessions that went on at a new socket")?,
            audio_ms: counter("gateway_audio_milliseconds_total", "Audio received")?,
            speech_ms: counter("gateway_speech_milliseconds_total", "Audio within utterances")?,
            utterances: counter("gateway_utterances_total", "Utterances opened")?,
            held_bytes: add(
                registry,
                IntGauge::new("gateway_held_bytes", "Held of clients whose sessions wait for the bus")?,
            )?,
            messages_dropped: counter("gateway_messages_dropped_total", "Messages that slow clients did not get")?,
            mailbox_full: missed.with_label_values(&["full"]),
            mailbox_away: missed.with_label_values(&["away"]),
            errors: ErrorCode::ALL.map(|code| (code, errors.with_label_values(&[code.as_str()]))).into(),
            finals: KINDS.map(|kind| finals.with_label_values(&[kind])),
            gaps: KINDS.map(|kind| GapCounters::of(&gaps, kind)),
            stages: StageTimes::register(registry)?,
            decodes: Decodes::register(registry)?,
        })
    }

    /// Counts a session as open.
    pub(crate) fn open_session(&self) -> OpenSession {
        self.sessions.inc();
        OpenSession(self.sessions.clone())
    }

    /// Counts a session that an error ended.
    pub fn count_error(&self, code: ErrorCode) {
        if let Some((_, counter)) = self.errors.iter().find(|(known, _)| *known == code) {
            counter.inc();
        }
    }

    /// Counts a message to a client, if it is a final or a gap.
    pub(crate) fn count_told(&self, message: &ServerMessage) {
        let [captions, translations] = &self.finals;
        match message {
            ServerMessage::Caption(caption) if caption.is_final => captions.inc(),
            ServerMessage::Translation(translation) if translation.is_final => translations.inc(),
            ServerMessage::Gap { target, reason, .. } => {
                let [captions, translations] = &self.gaps;
                if target.is_some() { translations } else { captions }.count(*reason);
            }
            _ => {}
        }
    }

    /// Counts what a dispatcher asked for and dropped.
    pub(crate) fn count_decodes(&self, tally: &Tally) {
        let Decodes { partials, finals, given_up, overtaken, coalesced } = &self.decodes;
        let counts = [
            (partials, tally.partials),
            (finals, tally.finals),
            (given_up, tally.given_up),
            (overtaken, tally.overtaken),
            (coalesced, tally.coalesced),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).for_each(|(counter, count)| counter.inc_by(count));
    }

    /// The times of one stage.
    pub(crate) fn stage(&self, stage: Stage) -> &Histogram {
        match stage {
            Stage::First => &self.stages.first,
            Stage::Committed => &self.stages.committed,
            Stage::Final => &self.stages.last,
            Stage::TranslationFinal => &self.stages.translation_final,
        }
    }
}

impl GapCounters {
    fn of(family: &IntCounterVec, kind: &str) -> Self {
        let of = |reason: &str| family.with_label_values(&[kind, reason]);
        Self {
            failed: of("failed"),
            timed_out: of("timed_out"),
            overloaded: of("overloaded"),
            no_model: of("no_model"),
        }
    }

    fn count(&self, reason: GapReason) {
        match reason {
            GapReason::Failed => self.failed.inc(),
            GapReason::TimedOut => self.timed_out.inc(),
            GapReason::Overloaded => self.overloaded.inc(),
            GapReason::NoModel => self.no_model.inc(),
        }
    }
}

impl StageTimes {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts =
            HistogramOpts::new("gateway_caption_seconds", "From the audio concerned to the message to the client");
        let times = add(registry, HistogramVec::new(opts.buckets(SECONDS.to_vec()), &["stage"])?)?;
        let of = |stage: &str| times.with_label_values(&[stage]);
        Ok(Self {
            first: of("first"),
            committed: of("committed"),
            last: of("final"),
            translation_final: of("translation_final"),
        })
    }
}

impl Decodes {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let asked = Opts::new("gateway_decodes_total", "Decodes asked for");
        let asked = add(registry, IntCounterVec::new(asked, &["kind"])?)?;
        let dropped = Opts::new("gateway_decodes_dropped_total", "Decodes that did not come to a caption of their own");
        let dropped = add(registry, IntCounterVec::new(dropped, &["reason"])?)?;
        Ok(Self {
            partials: asked.with_label_values(&["partial"]),
            finals: asked.with_label_values(&["final"]),
            given_up: dropped.with_label_values(&["given_up"]),
            overtaken: dropped.with_label_values(&["overtaken"]),
            coalesced: dropped.with_label_values(&["coalesced"]),
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;
    use shared::ids::UtteranceId;

    use super::*;

    #[test]
    fn every_series_is_there_from_the_start_and_messages_count_by_what_they_are_of() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let told = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for code in ErrorCode::ALL {
            assert!(told().contains(&format!("gateway_errors_total{{code=\"{}\"}} 0\n", code.as_str())));
        }
        for stage in ["first", "committed", "final", "translation_final"] {
            assert!(told().contains(&format!("gateway_caption_seconds_count{{stage=\"{stage}\"}} 0\n")));
        }
        let reasons = [GapReason::Failed, GapReason::TimedOut, GapReason::Overloaded, GapReason::NoModel];
        for (reason, target) in reasons.into_iter().zip([None, Some("es"), None, Some("es")]) {
            let kind = if target.is_some() { "translation" } else { "caption" };
            let name = serde_json::to_value(reason).unwrap();
            let series = format!("gateway_gaps_total{{kind=\"{kind}\",reason={name}}}");
            assert!(told().contains(&format!("{series} 0\n")), "{series}");
            let target = target.map(|tag| tag.parse().unwrap());
            let utterance = Some(UtteranceId(1));
            metrics.count_told(&ServerMessage::Gap { utterance, target, from_ms: 0, to_ms: 1, reason });
            assert!(told().contains(&format!("{series} 1\n")), "{series}\n{}", told());
        }
        let _open = metrics.open_session();
        let broken = metrics.open_session();
        std::panic::catch_unwind(move || std::panic::panic_any(broken)).unwrap_err();
        assert!(told().contains("gateway_sessions 1\n"), "one that panics is open no more");
        metrics.count_error(ErrorCode::Internal);
        assert!(told().contains("gateway_errors_total{code=\"internal\"} 1\n"));
        metrics.count_decodes(&Tally { partials: 2, coalesced: 3, ..Tally::default() });
        assert!(told().contains("gateway_decodes_total{kind=\"partial\"} 2\n"));
        assert!(told().contains("gateway_decodes_dropped_total{reason=\"coalesced\"} 3\n"));
    }
}
