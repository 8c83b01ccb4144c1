//! The state machine that cuts a session's audio into utterances.
//!
//! ```text
//! idle --enough likely frames--> open --silence--------------------------> idle
//!                                  |--finalize---------------------------> idle
//!                                  `--split, maximum length: cut, go on-> open
//! ```
//!
//! All positions are samples at 16 kHz since the session's first one.

mod cut;
mod going_on;

use std::{collections::VecDeque, fmt, time::Duration};

use shared::{audio::duration_to_samples, ids::UtteranceId};

pub use self::cut::{Cut, EndReason};
use super::{PRE_ROLL, SpeechDetector, certainty::Frames, onset::Onset, quiet::quietest_point};

/// Audio after the last speech that still belongs to an utterance (300 ms): word ends fade below what a detector hears.
const TRAILING_SAMPLES: u64 = 4_800;
/// How far before the maximum length the quietest point is looked for (2 s).
const CUT_SEARCH_SAMPLES: u64 = 32_000;
/// How much of an open utterance is kept after it was handed out (4 s), so that a cut may lie behind: what follows the
/// cut is handed out again, as the next utterance's. Half of it covers the words that are not committed yet.
const KEEP_SAMPLES: u64 = 64_000;
/// Clients send about so much at once (100 ms), which is then handed out at once.
const USUAL_SAMPLES: usize = 1_600;
/// What is held grows by so much (1 s).
const ROOM_SAMPLES: usize = 16_000;
/// A cut that is asked for is made at the quietest point from so much before it (80 ms)...
const SPLIT_BEFORE_SAMPLES: u64 = 1_280;
/// ...to so much behind it (240 ms): attention tells where a word ends to some 50 ms, and rather too early than too late.
const SPLIT_BEHIND_SAMPLES: u64 = 3_840;
/// Neither part of a split is shorter than this (0.5 s).
const MIN_PART_SAMPLES: u64 = 8_000;
/// Shortest maximum length (1 s); a lower one is raised to it.
const MIN_MAX_UTTERANCE_SAMPLES: u64 = 16_000;
/// An open utterance goes on while frames reach this probability; below what it takes to open one, so that a doubtful
/// syllable does not end it.
const STILL_SPEECH: f32 = 0.5;

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
            pre_roll: PRE_ROLL,
            silence_threshold: Duration::from_millis(600),
            max_utterance: Duration::from_secs(20),
            min_speech: Duration::from_millis(96),
        }
    }
}

/// Cuts one session's audio into utterances. The same audio gives the same utterances however it is chunked (`Audio`
/// cuts may be split elsewhere).
///
/// Audio is handed out as it comes, with one exception: silence in an open utterance beyond 300 ms waits until speech
/// resumes (then it is handed out) or the utterance ends (then it is not part of it). An utterance that becomes too long
/// is cut at its quietest point in the last 2 s, unless [`Segmenter::split`] has found a better place before. Memory is
/// bounded by 4 s and the silence threshold.
pub struct Segmenter {
    pre_roll: u64,
    silence: u64,
    max_length: u64,
    detector: Box<dyn SpeechDetector>,
    frame_samples: usize,
    /// Samples that do not fill a frame yet; they are in `held` as well.
    frame: Vec<i16>,
    onset: Onset,
    /// Samples from `held_from` on: handed out lately, or neither handed out nor dropped yet.
    held: VecDeque<i16>,
    held_from: u64,
    /// All audio before this sample was handed out or dropped.
    given: u64,
    open: Option<Open>,
    /// Utterances that ended since the newest audio came.
    ended: Vec<(UtteranceId, Frames)>,
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
    heard: Frames,
    /// Its committed text reaches to here, so no cut may lie before.
    committed: u64,
}

impl Open {
    /// Takes in the frame that ends at `now`; for how many samples nobody has spoken since.
    fn hear(&mut self, now: u64, probability: f32) -> u64 {
        let likely = probability >= STILL_SPEECH;
        // One lone frame is a flicker of the detector, not speech that resumes.
        if likely && self.flicker {
            self.last_speech = now;
        }
        self.flicker = likely;
        let silent_for = now - self.last_speech;
        if silent_for < TRAILING_SAMPLES {
            self.heard.hear(probability);
        }
        silent_for
    }
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
            given: position,
            open: None,
            ended: Vec::new(),
            next_utterance: next,
        }
    }

    /// Takes in 16 kHz mono audio and appends what comes of it to `out`.
    pub fn push(&mut self, mut samples: &[i16], out: &mut Vec<Cut>) {
        self.ended.clear();
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(self.frame_samples - self.frame.len()));
            samples = later;
            self.frame.extend_from_slice(now);
            self.make_room(now.len());
            self.held.extend(now);
            if self.frame.len() == self.frame_samples {
                let probability = self.detector.speech_probability(&self.frame);
                self.frame.clear();
                self.judge(probability, out);
            }
        }
    }

    /// Lets what is held grow by a second at a time: doubled, it would soon take twice what it needs, in every session.
    fn make_room(&mut self, more: usize) {
        if self.held.len() + more > self.held.capacity() {
            self.held.reserve_exact(ROOM_SAMPLES.max(more));
        }
    }

    /// Ends the open utterance now, if there is one. More audio may follow.
    pub fn finalize(&mut self, out: &mut Vec<Cut>) {
        self.cut_to_length(out);
        self.end(EndReason::Finalized, out);
        self.onset.clear();
    }

    /// The committed text of `utterance` reaches to sample `at`: if it is cut for its length, then behind that, or the next
    /// utterance would hear the same words again.
    pub fn committed(&mut self, utterance: UtteranceId, at: u64) {
        if let Some(open) = self.open.as_mut().filter(|open| open.utterance == utterance) {
            open.committed = open.committed.max(at);
        }
    }

    /// Ends the open utterance near sample `at`, and goes on with the next from there. Does nothing when `utterance` is
    /// not the open one, or when `at` is too near to one of its ends or longer ago than what is kept.
    pub fn split(&mut self, utterance: UtteranceId, at: u64, out: &mut Vec<Cut>) {
        let Some(open) = self.open.filter(|open| open.utterance == utterance) else { return };
        let (first, last) = (self.held_from.max(open.start + MIN_PART_SAMPLES), self.given);
        // Speech must be left behind the cut: the next utterance has it.
        if at < first || at + MIN_PART_SAMPLES > last || at >= open.last_speech {
            return;
        }
        let from = at.saturating_sub(SPLIT_BEFORE_SAMPLES).max(first);
        let cut = self.quietest(from, (at + SPLIT_BEHIND_SAMPLES).min(open.last_speech - 1));
        self.cut(open, cut, EndReason::Split, out);
        self.stream(out);
    }

    /// The utterance that is open.
    #[must_use]
    pub fn open_utterance(&self) -> Option<UtteranceId> {
        self.open.map(|open| open.utterance)
    }

    /// The share of an utterance's frames that the detector is sure hold speech, the silence behind it aside; for the open
    /// one and those that ended since audio was last pushed. 1 where nothing speaks against it.
    #[must_use]
    pub fn speech_share(&self, utterance: UtteranceId) -> f32 {
        let open = self.open.filter(|open| open.utterance == utterance).map(|open| open.heard);
        let ended = || self.ended.iter().find(|(id, _)| *id == utterance).map(|(_, heard)| *heard);
        open.or_else(ended).unwrap_or_default().share()
    }

    /// Samples taken in since the session began.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.held_from + self.held.len() as u64
    }

    /// All audio before this sample is settled: handed out, or never going to be part of an utterance.
    #[must_use]
    pub fn safe_position(&self) -> u64 {
        self.given
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
        let silent_for = open.hear(now, probability);
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
        self.start((self.held_from, first.max(self.held_from)), now, Frames::default(), out);
        self.cut_to_length(out);
        self.stream(out);
    }

    /// Opens an utterance that begins at `start`, and its speech at `speech`.
    fn start(&mut self, (start, speech): (u64, u64), last_speech: u64, heard: Frames, out: &mut Vec<Cut>) {
        let utterance = self.next_utterance;
        self.next_utterance = UtteranceId(utterance.0.saturating_add(1));
        self.open = Some(Open { utterance, start, last_speech, flicker: true, heard, committed: start });
        out.push(Cut::Started { utterance, start_sample: start, speech_sample: speech });
    }

    /// End of what belongs to the open utterance as far as is known.
    fn content_end(&self, open: Open) -> u64 {
        self.position().min(open.last_speech + TRAILING_SAMPLES)
    }

    /// Hands out what can be.
    fn stream(&mut self, out: &mut Vec<Cut>) {
        if let Some(open) = self.open {
            self.emit_until(self.content_end(open), open.utterance, out);
        }
    }

    /// Splits the open utterance until it is no longer than the maximum.
    fn cut_to_length(&mut self, out: &mut Vec<Cut>) {
        while let Some(open) = self.open {
            let limit = open.start + self.max_length;
            if self.content_end(open) < limit {
                return;
            }
            let search = limit - CUT_SEARCH_SAMPLES.min(self.max_length / 2);
            let cut = self.quietest(search.max(open.committed).min(limit), limit);
            self.cut(open, cut, EndReason::MaxLength, out);
        }
    }

    /// The quietest point between two samples that are held.
    fn quietest(&self, from: u64, to: u64) -> u64 {
        let (skip, end) = (self.held_before(from), self.held_before(to));
        let candidates: Vec<i16> = self.held.range(skip..end).copied().collect();
        self.held_from + (skip + quietest_point(&candidates)) as u64
    }

    /// Ends `open` at `cut`; where there was speech behind it, the next utterance begins there.
    fn cut(&mut self, open: Open, cut: u64, reason: EndReason, out: &mut Vec<Cut>) {
        self.emit_until(cut, open.utterance, out);
        out.push(Cut::Ended { utterance: open.utterance, end_sample: cut, reason });
        self.drop_until(cut);
        self.given = cut;
        self.open = None;
        self.ended.push((open.utterance, open.heard));
        if open.last_speech > cut {
            self.start((cut, cut), open.last_speech, open.heard, out);
        }
    }

    /// Closes the open utterance with what belongs to it.
    fn end(&mut self, reason: EndReason, out: &mut Vec<Cut>) {
        if let Some(open) = self.open.take() {
            let end = self.content_end(open);
            self.emit_until(end, open.utterance, out);
            self.drop_until(end);
            self.ended.push((open.utterance, open.heard));
            out.push(Cut::Ended { utterance: open.utterance, end_sample: end, reason });
        }
    }

    /// Hands out all audio before `end` that was not yet, joined to an `Audio` that has just been appended.
    fn emit_until(&mut self, end: u64, utterance: UtteranceId, out: &mut Vec<Cut>) {
        let (from, to) = (self.held_before(self.given), self.held_before(end));
        if from >= to {
            return;
        }
        if !matches!(out.last(), Some(Cut::Audio { utterance: last, .. }) if *last == utterance) {
            out.push(Cut::Audio { utterance, samples: Vec::with_capacity((to - from).max(USUAL_SAMPLES)) });
        }
        if let Some(Cut::Audio { samples, .. }) = out.last_mut() {
            // Two whole slices, which are copied at once, where the ring's own iterator goes sample by sample.
            let (front, back) = self.held.as_slices();
            let split = front.len();
            samples.extend_from_slice(&front[from.min(split)..to.min(split)]);
            samples.extend_from_slice(&back[from.saturating_sub(split)..to.saturating_sub(split)]);
        }
        self.given = self.held_from + to as u64;
        let kept_from = self.given.saturating_sub(KEEP_SAMPLES);
        let count = self.held_before(kept_from);
        self.held.drain(..count);
        self.held_from += count as u64;
    }

    /// Drops all held audio before `end`.
    fn drop_until(&mut self, end: u64) {
        let count = self.held_before(end);
        self.held_from += count as u64;
        self.held.drain(..count);
        self.given = self.given.max(self.held_from);
        // What a long utterance took is given back: most of the time, most people are silent.
        if self.open.is_none() && self.held.capacity() > 2 * ROOM_SAMPLES {
            self.held.shrink_to(ROOM_SAMPLES);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of 160 samples (10 ms); a frame is speech when its first sample says so. Lets a test write down what
    /// is heard; the real detectors are tried in tests/noise.rs.
    struct Marked;

    impl SpeechDetector for Marked {
        fn frame_samples(&self) -> usize {
            160
        }

        fn speech_probability(&mut self, frame: &[i16]) -> f32 {
            if frame[0].abs() >= 1000 { 0.9 } else { 0.1 }
        }

        fn reset(&mut self) {}
    }

    fn segmenter(max_utterance: Duration) -> Segmenter {
        Segmenter::new(SegmenterConfig { max_utterance, ..SegmenterConfig::default() }, Box::new(Marked))
    }

    /// Audio of `(speech, milliseconds)` stretches; every sample tells its place, speech is loud.
    fn audio(stretches: &[(bool, usize)]) -> Vec<i16> {
        let loud = stretches.iter().flat_map(|&(speech, ms)| std::iter::repeat_n(speech, ms * 16));
        loud.enumerate().map(|(n, speech)| (n % 97) as i16 + if speech { 4000 } else { 0 }).collect()
    }

    fn cut(segmenter: &mut Segmenter, samples: &[i16], chunk: usize) -> Vec<Cut> {
        let mut cuts = Vec::new();
        samples.chunks(chunk).for_each(|chunk| segmenter.push(chunk, &mut cuts));
        segmenter.finalize(&mut cuts);
        cuts
    }

    /// Checks what holds for all cuts and gives `(start, end, reason)` of each utterance.
    fn checked(cuts: &[Cut], input: &[i16]) -> Vec<(u64, u64, EndReason)> {
        let (mut utterances, mut open) = (Vec::new(), None);
        let mut last_end = 0;
        for cut in cuts {
            match cut {
                Cut::Started { utterance, start_sample, speech_sample } => {
                    assert!(speech_sample >= start_sample, "{utterance} speaks before it begins");
                    assert!(open.is_none(), "{utterance} starts inside another");
                    assert_eq!(utterance.0 as usize, utterances.len() + 1);
                    assert!(*start_sample >= last_end, "{utterance} overlaps the one before");
                    open = Some((*utterance, *start_sample, *start_sample));
                }
                Cut::Audio { utterance, samples } => {
                    let (id, _, at) = open.as_mut().expect("audio belongs to an open utterance");
                    assert_eq!(id, utterance);
                    assert_eq!(samples, &input[*at as usize..*at as usize + samples.len()], "{id} is not the input");
                    *at += samples.len() as u64;
                }
                Cut::Ended { utterance, end_sample, reason } => {
                    let (id, start, at) = open.take().expect("an open utterance ends");
                    assert_eq!(id, *utterance);
                    let cut = matches!(reason, EndReason::MaxLength | EndReason::Split);
                    let again = cut && at > *end_sample;
                    assert!(at == *end_sample || again, "{id} ends at {end_sample}, its audio at {at}");
                    last_end = *end_sample;
                    utterances.push((start, *end_sample, *reason));
                }
            }
        }
        assert!(open.is_none(), "an utterance is left open");
        utterances
    }

    fn ms(samples: u64) -> u64 {
        samples / 16
    }

    #[test]
    fn an_utterance_has_its_pre_roll_and_300_ms_of_trailing_silence() {
        let input = audio(&[(false, 1000), (true, 800), (false, 1500)]);
        let got = checked(&cut(&mut segmenter(Duration::from_secs(20)), &input, 333), &input);
        assert_eq!(got, [(700 * 16, 2100 * 16, EndReason::Silence)]);
    }

    #[test]
    fn a_pause_below_the_threshold_stays_inside_and_a_click_opens_nothing() {
        let input = audio(&[(true, 500), (false, 550), (true, 500), (false, 900), (true, 30), (false, 900)]);
        let got = checked(&cut(&mut segmenter(Duration::from_secs(20)), &input, 1600), &input);
        assert_eq!(got, [(0, 1850 * 16, EndReason::Silence)]);
    }

    #[test]
    fn pre_roll_stops_at_the_utterance_before() {
        let input = audio(&[(false, 400), (true, 500), (false, 700), (true, 500), (false, 900)]);
        let got = checked(&cut(&mut segmenter(Duration::from_secs(20)), &input, 160), &input);
        assert_eq!(got.len(), 2);
        assert_eq!((ms(got[0].1), ms(got[1].0)), (1200, 1300));
        // Silence shorter than trailing and pre-roll together: they share it.
        let short = SegmenterConfig { silence_threshold: Duration::from_millis(400), ..SegmenterConfig::default() };
        let input = audio(&[(false, 400), (true, 500), (false, 450), (true, 500), (false, 900)]);
        let cuts = cut(&mut Segmenter::new(short, Box::new(Marked)), &input, 160);
        let got = checked(&cuts, &input);
        assert_eq!((ms(got[0].1), ms(got[1].0)), (1200, 1200));
        let speech = cuts.iter().filter_map(|cut| match cut {
            Cut::Started { speech_sample, .. } => Some(ms(*speech_sample)),
            _ => None,
        });
        assert_eq!(speech.collect::<Vec<_>>(), [400, 1350], "the second had room for 150 ms of pre-roll");
    }

    #[test]
    fn too_long_an_utterance_is_cut_at_its_quietest_point_and_goes_on_at_once() {
        let mut input = audio(&[(false, 500), (true, 8000), (false, 1000)]);
        input[16 * 4500..16 * 4540].fill(1000); // within the last 2 s of the first 5 s, which begin at 200 ms
        let got = checked(&cut(&mut segmenter(Duration::from_secs(5)), &input, 500), &input);
        assert_eq!(got[0].2, EndReason::MaxLength);
        assert!((4500..4540).contains(&ms(got[0].1)), "cut at {} ms", ms(got[0].1));
        assert_eq!(got[1].0, got[0].1, "a sample is lost or doubled at the cut");
        assert_eq!(got.last().map(|u| (ms(u.1), u.2)), Some((8800, EndReason::Silence)));
    }

    #[test]
    fn a_split_ends_the_utterance_at_the_quietest_point_near_it_and_hands_the_rest_out_again() {
        let mut input = audio(&[(false, 500), (true, 6000), (false, 1000)]);
        input[16 * 3960..16 * 4000].fill(1000);
        let mut segmenter = segmenter(Duration::from_secs(20));
        let mut cuts = Vec::new();
        segmenter.push(&input[..16 * 5000], &mut cuts);
        assert_eq!(segmenter.safe_position(), 16 * 5000, "nothing is held back");
        segmenter.split(UtteranceId(2), 16 * 4000, &mut cuts);
        segmenter.split(UtteranceId(1), 16 * 900, &mut cuts);
        segmenter.split(UtteranceId(1), 16 * 4900, &mut cuts);
        segmenter.split(UtteranceId(1), 16 * 4020, &mut cuts);
        segmenter.push(&input[16 * 5000..], &mut cuts);
        let got = checked(&cuts, &input);
        assert_eq!((got.len(), got[0].2), (2, EndReason::Split), "{got:?}");
        assert!((3960..4000).contains(&ms(got[0].1)), "cut at {} ms", ms(got[0].1));
        assert_eq!((got[1].0, ms(got[1].1)), (got[0].1, 6800));
    }

    #[test]
    fn the_share_of_sure_frames_goes_on_over_a_cut() {
        let mut segmenter = segmenter(Duration::from_secs(5));
        let mut cuts = Vec::new();
        assert_eq!(segmenter.speech_share(UtteranceId(1)), 1.0);
        segmenter.push(&audio(&[(true, 1000), (false, 500)]), &mut cuts);
        let share = segmenter.speech_share(UtteranceId(1));
        assert!((0.7..0.8).contains(&share), "{share}: 300 ms of the pause count");
        segmenter.push(&audio(&[(true, 4000), (false, 1000), (true, 50)]), &mut cuts);
        let shares = [1, 2, 3].map(|id| segmenter.speech_share(UtteranceId(id)));
        assert!((0.85..0.95).contains(&shares[0]) && (0.85..0.95).contains(&shares[1]), "{shares:?}");
        assert_eq!(shares[2], 1.0, "it never was");
    }

    #[test]
    fn a_split_of_an_utterance_that_has_ended_does_nothing() {
        let input = audio(&[(true, 2000), (false, 2000)]);
        let mut segmenter = segmenter(Duration::from_secs(20));
        let mut cuts = Vec::new();
        segmenter.push(&input, &mut cuts);
        segmenter.split(UtteranceId(1), 16 * 1000, &mut cuts);
        assert_eq!(checked(&cuts, &input).len(), 1);
    }

    #[test]
    fn no_cut_lies_before_the_end_of_the_committed_text() {
        let mut input = audio(&[(false, 500), (true, 8000), (false, 1000)]);
        input[16 * 3500..16 * 3540].fill(1000); // the quietest of the last 2 s before 5.2 s...
        input[16 * 4700..16 * 4740].fill(2000); // ...and of what is not committed
        let mut segmenter = segmenter(Duration::from_secs(5));
        let mut cuts = Vec::new();
        segmenter.push(&input[..16 * 5000], &mut cuts);
        segmenter.committed(UtteranceId(1), 16 * 4400);
        segmenter.committed(UtteranceId(2), 16 * 4900);
        segmenter.push(&input[16 * 5000..], &mut cuts);
        let end = checked(&cuts, &input)[0].1;
        assert!((4700..4740).contains(&ms(end)), "cut at {} ms", ms(end));
    }

    #[test]
    fn finalize_ends_the_open_utterance_and_the_next_may_follow() {
        let (first, second) = (audio(&[(false, 400), (true, 655)]), audio(&[(true, 400), (false, 900)]));
        let input = [first.clone(), second.clone()].concat();
        let mut segmenter = segmenter(Duration::from_secs(20));
        let mut cuts = Vec::new();
        segmenter.push(&first, &mut cuts);
        assert!(segmenter.open_utterance().is_some());
        segmenter.finalize(&mut cuts);
        segmenter.finalize(&mut cuts);
        assert!(segmenter.open_utterance().is_none());
        // The second part is not contiguous in value, so it is compared with what was really pushed.
        segmenter.push(&second, &mut cuts);
        let got = checked(&cuts, &input);
        assert_eq!(got[0], (100 * 16, 1055 * 16, EndReason::Finalized));
        assert_eq!((got[1].0, got[1].2), (1055 * 16, EndReason::Silence));
    }

    #[test]
    fn positions_tell_what_is_settled() {
        let mut segmenter = segmenter(Duration::from_secs(20));
        let mut cuts = Vec::new();
        segmenter.push(&audio(&[(false, 5000)]), &mut cuts);
        assert_eq!(ms(segmenter.position()), 5000);
        let open_to_doubt = 5000 - ms(segmenter.safe_position());
        assert!((300..600).contains(&open_to_doubt), "{open_to_doubt} ms unsettled in silence");
        segmenter.push(&audio(&[(true, 1000)]), &mut cuts);
        assert_eq!(segmenter.safe_position(), segmenter.position(), "speech is handed out as it comes");
    }

    #[test]
    fn an_utterance_goes_on_where_another_segmenter_left_it() {
        let config = SegmenterConfig::default();
        let speech = vec![4_000; 8_000];
        let mut segmenter = Segmenter::resumed(config, Box::new(Marked), 24_000, UtteranceId(4)).within(
            UtteranceId(3),
            16_000,
            &speech,
        );
        assert_eq!((segmenter.position(), segmenter.safe_position()), (24_000, 24_000));
        let mut cuts = Vec::new();
        segmenter.push(&vec![4_000; 1_600], &mut cuts);
        segmenter.push(&vec![0; 16_000], &mut cuts);
        let handed_out: usize =
            cuts.iter().map(|cut| if let Cut::Audio { samples, .. } = cut { samples.len() } else { 0 }).sum();
        let (more, end_sample) = (1_600 + TRAILING_SAMPLES, 24_000 + 1_600 + TRAILING_SAMPLES);
        assert_eq!(handed_out as u64, more);
        assert_eq!(
            cuts.last(),
            Some(&Cut::Ended { utterance: UtteranceId(3), end_sample, reason: EndReason::Silence })
        );
        cuts.clear();
        segmenter.push(&vec![4_000; 8_000], &mut cuts);
        assert!(matches!(cuts[0], Cut::Started { utterance: UtteranceId(4), .. }));
    }

    #[test]
    fn a_resumed_session_counts_on() {
        let config = SegmenterConfig::default();
        let mut segmenter = Segmenter::resumed(config, Box::new(Marked), 32_000, UtteranceId(7));
        let mut cuts = Vec::new();
        segmenter.push(&audio(&[(false, 1000), (true, 500)]), &mut cuts);
        let (start_sample, speech_sample) = (32_000 + 700 * 16, 32_000 + 1000 * 16);
        let expected = Cut::Started { utterance: UtteranceId(7), start_sample, speech_sample };
        assert_eq!(cuts.first(), Some(&expected));
    }

    /// A small generator, so that a failure is the same every time.
    fn roll(state: &mut u64, below: u64) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*state >> 33) % below) as usize
    }

    #[test]
    fn any_audio_in_any_chunks_gives_whole_ordered_utterances() {
        for seed in 0..200 {
            let mut state = seed;
            let stretches: Vec<_> = (0..12).map(|n| (n % 2 == 1, 10 + roll(&mut state, 2500))).collect();
            let input = audio(&stretches);
            let max = Duration::from_millis(1000 + roll(&mut state, 6000) as u64);
            let silence_threshold = Duration::from_millis(100 + roll(&mut state, 1500) as u64);
            let config = SegmenterConfig { max_utterance: max, silence_threshold, ..SegmenterConfig::default() };
            let runs: Vec<_> = [input.len(), 1 + roll(&mut state, 50), 1 + roll(&mut state, 5000)]
                .map(|chunk| checked(&cut(&mut Segmenter::new(config, Box::new(Marked)), &input, chunk), &input))
                .into();
            assert_eq!(runs[0], runs[1], "seed {seed}: chunks change the cuts");
            assert_eq!(runs[0], runs[2], "seed {seed}: chunks change the cuts");
            let longest = runs[0].iter().map(|(start, end, _)| end - start).max();
            assert!(longest <= Some(duration_to_samples(max)), "seed {seed}: {longest:?} samples exceed {max:?}");
            // No stretch of speech of half a second or more goes unheard.
            let mut at = 0;
            for (speech, length) in stretches {
                let middle = (at + length as u64 / 2) * 16;
                let kept = runs[0].iter().any(|(start, end, _)| (*start..*end).contains(&middle));
                assert!(kept || !speech || length < 500, "seed {seed}: speech at {at} ms is lost");
                at += length as u64;
            }
        }
    }
}
