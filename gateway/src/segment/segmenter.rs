//! The state machine that cuts a session's audio into utterances.
//!
//! ```text
//! idle --enough likely frames--> open --silence--------------------------> idle
//!                                  |--finalize---------------------------> idle
//!                                  `--maximum length: cut, go on at once-> open
//! ```
//!
//! All positions are samples at 16 kHz since the session's first one.

use std::{collections::VecDeque, fmt, time::Duration};

use shared::{audio::duration_to_samples, ids::UtteranceId};

use super::{SpeechDetector, onset::Onset, quiet::quietest_point};

/// Audio after the last speech that still belongs to an utterance (300 ms): word ends fade below what a detector hears.
const TRAILING_SAMPLES: u64 = 4_800;
/// How far before the maximum length the quietest point is looked for (2 s).
const CUT_SEARCH_SAMPLES: u64 = 32_000;
/// Shortest maximum length (1 s); a lower one is raised to it.
const MIN_MAX_UTTERANCE_SAMPLES: u64 = 16_000;
/// An open utterance goes on while frames reach this probability; below what it takes to open one, so that a doubtful
/// syllable does not end it.
const STILL_SPEECH: f32 = 0.35;

/// When utterances begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmenterConfig {
    /// Audio before the first speech that belongs to the utterance. Never overlaps the utterance before.
    pub pre_roll: Duration,
    /// Silence that ends an utterance.
    pub silence_threshold: Duration,
    /// Longest utterance; a longer one is cut at its quietest point. At least 1 s.
    pub max_utterance: Duration,
    /// Likely speech it takes to open an utterance.
    pub min_speech: Duration,
}

impl Default for SegmenterConfig {
    fn default() -> Self {
        Self {
            pre_roll: Duration::from_millis(300),
            silence_threshold: Duration::from_millis(600),
            max_utterance: Duration::from_secs(20),
            min_speech: Duration::from_millis(96),
        }
    }
}

/// Why an utterance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Nobody spoke for the silence threshold.
    Silence,
    /// It reached the maximum length; if speech goes on, so does the next utterance from the same sample.
    MaxLength,
    /// The client asked for it, or sends no more.
    Finalized,
}

/// What became of the audio, in order. For each utterance: one `Started`, its audio without gaps, one `Ended`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// Speech has begun.
    Started {
        /// Counts from 1.
        utterance: UtteranceId,
        /// First sample, pre-roll included.
        start_sample: u64,
    },
    /// The next stretch of an open utterance, of any length.
    Audio {
        /// Which.
        utterance: UtteranceId,
        /// 16 kHz mono.
        samples: Vec<i16>,
    },
    /// The utterance is complete.
    Ended {
        /// Which.
        utterance: UtteranceId,
        /// One past its last sample.
        end_sample: u64,
        /// Why.
        reason: EndReason,
    },
}

/// Cuts one session's audio into utterances. The same audio gives the same utterances however it is chunked (`Audio`
/// cuts may be split elsewhere).
///
/// Audio is handed out as it comes, with two exceptions: silence in an open utterance beyond 300 ms waits until speech
/// resumes (then it is handed out) or the utterance ends (then it is not part of it); and the last 2 s before the
/// maximum length wait until the cut is made in them. Memory is bounded by those 2 s and the silence threshold.
pub struct Segmenter {
    pre_roll: u64,
    silence: u64,
    max_length: u64,
    detector: Box<dyn SpeechDetector>,
    frame_samples: usize,
    /// Samples that do not fill a frame yet; they are in `held` as well.
    frame: Vec<i16>,
    onset: Onset,
    /// Samples from `held_from` on: neither handed out nor dropped yet.
    held: VecDeque<i16>,
    held_from: u64,
    open: Option<Open>,
    next_utterance: UtteranceId,
}

/// The utterance that is being spoken.
#[derive(Debug, Clone, Copy)]
struct Open {
    utterance: UtteranceId,
    start: u64,
    /// End of the latest frame that held speech.
    last_speech: u64,
    /// Whether the frame before the current one may have held speech.
    flicker: bool,
}

impl Segmenter {
    /// For a session that begins: sample 0, utterance 1.
    #[must_use]
    pub fn new(config: SegmenterConfig, detector: Box<dyn SpeechDetector>) -> Self {
        Self::resumed(config, detector, 0, UtteranceId(1))
    }

    /// For a session that goes on elsewhere: its next sample is number `position`, its next utterance `next`.
    #[must_use]
    pub fn resumed(
        config: SegmenterConfig,
        detector: Box<dyn SpeechDetector>,
        position: u64,
        next: UtteranceId,
    ) -> Self {
        let frame_samples = detector.frame_samples().max(1);
        Self {
            pre_roll: duration_to_samples(config.pre_roll),
            silence: duration_to_samples(config.silence_threshold),
            max_length: duration_to_samples(config.max_utterance).max(MIN_MAX_UTTERANCE_SAMPLES),
            detector,
            frame_samples,
            frame: Vec::with_capacity(frame_samples),
            onset: Onset::new(frame_samples as u64, duration_to_samples(config.min_speech)),
            held: VecDeque::new(),
            held_from: position,
            open: None,
            next_utterance: next,
        }
    }

    /// Takes in 16 kHz mono audio and appends what comes of it to `out`.
    pub fn push(&mut self, mut samples: &[i16], out: &mut Vec<Cut>) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(self.frame_samples - self.frame.len()));
            samples = later;
            self.frame.extend_from_slice(now);
            self.held.extend(now);
            if self.frame.len() == self.frame_samples {
                let probability = self.detector.speech_probability(&self.frame);
                self.frame.clear();
                self.judge(probability, out);
            }
        }
    }

    /// Ends the open utterance now, if there is one. More audio may follow.
    pub fn finalize(&mut self, out: &mut Vec<Cut>) {
        self.cut_to_length(out);
        self.end(EndReason::Finalized, out);
        self.onset.clear();
    }

    /// Whether an utterance is open.
    #[must_use]
    pub fn speech_open(&self) -> bool {
        self.open.is_some()
    }

    /// Samples taken in since the session began.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.held_from + self.held.len() as u64
    }

    /// All audio before this sample is settled: handed out, or never going to be part of an utterance.
    #[must_use]
    pub fn safe_position(&self) -> u64 {
        self.held_from
    }

    /// One more frame has been heard; it ends at [`Self::position`].
    fn judge(&mut self, probability: f32, out: &mut Vec<Cut>) {
        let now = self.position();
        let Some(open) = &mut self.open else {
            match self.onset.hear(now, probability) {
                Some(first) => self.begin(first, now, out),
                None => self.drop_until(now.saturating_sub(self.pre_roll + self.onset.reach())),
            }
            return;
        };
        let likely = probability >= STILL_SPEECH;
        // One lone frame is a flicker of the detector, not speech that resumes.
        if likely && open.flicker {
            open.last_speech = now;
        }
        open.flicker = likely;
        let silent_for = now - open.last_speech;
        self.cut_to_length(out);
        if silent_for >= self.silence {
            self.end(EndReason::Silence, out);
        } else {
            self.stream(out);
        }
    }

    /// Opens an utterance whose first likely frame begins at `first`.
    fn begin(&mut self, first: u64, now: u64, out: &mut Vec<Cut>) {
        self.onset.clear();
        self.drop_until(first.saturating_sub(self.pre_roll));
        self.start(self.held_from, now, out);
        self.cut_to_length(out);
        self.stream(out);
    }

    fn start(&mut self, start: u64, last_speech: u64, out: &mut Vec<Cut>) {
        let utterance = self.next_utterance;
        self.next_utterance = UtteranceId(utterance.0.saturating_add(1));
        self.open = Some(Open { utterance, start, last_speech, flicker: true });
        out.push(Cut::Started { utterance, start_sample: start });
    }

    /// End of what belongs to the open utterance as far as is known.
    fn content_end(&self, open: Open) -> u64 {
        self.position().min(open.last_speech + TRAILING_SAMPLES)
    }

    /// Where the last stretch before the maximum length begins: no audio from there on is handed out before the cut.
    fn cut_search_start(&self, open: Open) -> u64 {
        open.start + self.max_length - CUT_SEARCH_SAMPLES.min(self.max_length / 2)
    }

    /// Hands out what can be.
    fn stream(&mut self, out: &mut Vec<Cut>) {
        if let Some(open) = self.open {
            self.emit_until(self.content_end(open).min(self.cut_search_start(open)), open.utterance, out);
        }
    }

    /// Splits the open utterance until it is no longer than the maximum.
    fn cut_to_length(&mut self, out: &mut Vec<Cut>) {
        while let Some(open) = self.open {
            let limit = open.start + self.max_length;
            if self.content_end(open) < limit {
                return;
            }
            let from = self.cut_search_start(open);
            self.emit_until(from, open.utterance, out);
            let candidates: Vec<i16> = self.held.iter().copied().take(self.max_length as usize / 2).collect();
            let span = usize::try_from(limit - from).unwrap_or(usize::MAX).min(candidates.len());
            let cut = from + quietest_point(&candidates[..span]) as u64;
            self.emit_until(cut, open.utterance, out);
            self.open = None;
            out.push(Cut::Ended { utterance: open.utterance, end_sample: cut, reason: EndReason::MaxLength });
            if open.last_speech > cut {
                self.start(cut, open.last_speech, out);
            }
        }
    }

    /// Closes the open utterance with what belongs to it.
    fn end(&mut self, reason: EndReason, out: &mut Vec<Cut>) {
        if let Some(open) = self.open.take() {
            let end = self.content_end(open);
            self.emit_until(end, open.utterance, out);
            out.push(Cut::Ended { utterance: open.utterance, end_sample: end, reason });
        }
    }

    /// Hands out all held audio before `end`, joined to an `Audio` that has just been appended.
    fn emit_until(&mut self, end: u64, utterance: UtteranceId, out: &mut Vec<Cut>) {
        let count = self.held_before(end);
        if count == 0 {
            return;
        }
        self.held_from += count as u64;
        let drained = self.held.drain(..count);
        match out.last_mut() {
            Some(Cut::Audio { utterance: last, samples }) if *last == utterance => samples.extend(drained),
            _ => out.push(Cut::Audio { utterance, samples: drained.collect() }),
        }
    }

    /// Drops all held audio before `end`.
    fn drop_until(&mut self, end: u64) {
        let count = self.held_before(end);
        self.held_from += count as u64;
        self.held.drain(..count);
    }

    fn held_before(&self, end: u64) -> usize {
        usize::try_from(end.saturating_sub(self.held_from)).unwrap_or(usize::MAX).min(self.held.len())
    }
}

impl fmt::Debug for Segmenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segmenter")
            .field("position", &self.position())
            .field("safe_position", &self.safe_position())
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
