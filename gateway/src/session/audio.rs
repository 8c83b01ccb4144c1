//! A session's audio: from the client's bytes to what must be done about it. Pure.

use bytes::Bytes;
use shared::{
    audio::{BYTES_PER_SAMPLE, SAMPLES_PER_MS, samples_to_ms},
    ids::UtteranceId,
    wire::AudioFormat,
};

use crate::{
    config::GatewayConfig,
    segment::{Cut, EndReason, Resampler, Segmenter, SegmenterConfig},
};

/// PCM gathered before it is appended to the bus: 100 ms. A caption waits for half of it in the mean.
const CHUNK_BYTES: usize = 100 * SAMPLES_PER_MS as usize * BYTES_PER_SAMPLE;
/// Samples of a frame that room is kept for: 100 ms, as clients send them.
const KEPT_SAMPLES: usize = 100 * SAMPLES_PER_MS as usize;
/// Progress that is worth an `ack`.
const ACK_STEP_MS: u64 = 1000;

/// What the audio leads to, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// An utterance began, and its speech at `speech_ms`.
    Started { utterance: UtteranceId, start_ms: u64, speech_ms: u64 },
    /// PCM (16 kHz mono s16le) of it, reaching to `end_ms`, is to be stored. `speech_share`: of its frames so far, those that
    /// surely hold speech.
    Append { utterance: UtteranceId, pcm: Bytes, end_ms: u64, speech_share: f32 },
    /// It ended; all its PCM came before. `complete`: it was split where its committed text ends.
    Ended { utterance: UtteranceId, end_ms: u64, complete: bool },
    /// All audio up to here needs nothing more from the client.
    Ack { audio_ms: u64 },
}

/// Where the audio of a session begins, or goes on.
#[derive(Debug, Clone)]
pub(super) struct Beginning {
    /// The client sends from here on, milliseconds since the session's first sample.
    pub(super) position_ms: u64,
    /// Number of the next utterance.
    pub(super) next: UtteranceId,
    /// An utterance that is open: its number, its start in milliseconds, and all its samples (16 kHz) up to `position_ms`.
    pub(super) open: Option<(UtteranceId, u64, Vec<i16>)>,
}

impl Beginning {
    /// Of a new session.
    pub(super) fn fresh() -> Self {
        Self { position_ms: 0, next: UtteranceId(1), open: None }
    }
}

/// Appends samples as s16le, many at once where the machine can.
fn gather(chunk: &mut Vec<u8>, samples: &[i16]) {
    let before = chunk.len();
    if before == 0 {
        chunk.reserve(CHUNK_BYTES.max(samples.len() * BYTES_PER_SAMPLE));
    }
    chunk.resize(before + samples.len() * BYTES_PER_SAMPLE, 0);
    for (bytes, sample) in chunk[before..].chunks_exact_mut(BYTES_PER_SAMPLE).zip(samples) {
        bytes.copy_from_slice(&sample.to_le_bytes());
    }
}

/// Resampler, segmenter and the chunk being gathered.
pub(super) struct Audio {
    resampler: Resampler,
    segmenter: Segmenter,
    format: AudioFormat,
    /// Where this gateway began to receive, milliseconds.
    begun_ms: u64,
    received_bytes: u64,
    /// Room for the samples of one frame, kept from one to the next.
    samples: Vec<i16>,
    chunk: Vec<u8>,
    /// One past the last sample of `chunk`.
    chunk_end: u64,
    acked_ms: u64,
}

impl Audio {
    pub(super) fn new(config: &GatewayConfig, format: AudioFormat, beginning: Beginning) -> Result<Self, String> {
        let resampler = Resampler::new(format.sample_rate, format.channels).map_err(|e| e.to_string())?;
        let settings = SegmenterConfig {
            silence_threshold: config.silence_threshold,
            max_utterance: config.max_utterance,
            ..SegmenterConfig::default()
        };
        let Beginning { position_ms, next, open } = beginning;
        let mut position = position_ms * SAMPLES_PER_MS;
        let mut segmenter = Segmenter::resumed(settings, config.vad.build(), position, next);
        if let Some((utterance, start_ms, samples)) = open {
            let start = start_ms * SAMPLES_PER_MS;
            position = start + samples.len() as u64;
            segmenter = segmenter.within(utterance, start, &samples);
        }
        let (chunk, chunk_end) = (Vec::new(), position);
        let (begun_ms, acked_ms) = (position_ms, position_ms);
        let samples = Vec::new();
        Ok(Self { resampler, segmenter, format, begun_ms, received_bytes: 0, samples, chunk, chunk_end, acked_ms })
    }

    /// Audio received so far, milliseconds since the session's first sample.
    pub(super) fn received_ms(&self) -> u64 {
        let frame = u64::from(self.format.channels) * BYTES_PER_SAMPLE as u64;
        self.begun_ms + self.received_bytes / frame * 1000 / u64::from(self.format.sample_rate)
    }

    /// All audio before this needs nothing more from the client, milliseconds.
    pub(super) fn safe_ms(&self) -> u64 {
        let waiting = (self.chunk.len() / BYTES_PER_SAMPLE) as u64;
        let safe = if waiting == 0 { self.segmenter.safe_position() } else { self.chunk_end - waiting };
        // Where an utterance was split, the audio behind the split is stored again; what was safe before still is.
        samples_to_ms(safe).max(self.acked_ms)
    }

    /// Takes in one binary frame.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Step>, String> {
        let frame = usize::from(self.format.channels) * BYTES_PER_SAMPLE;
        if !bytes.len().is_multiple_of(frame) {
            return Err(format!(
                "a frame of {} bytes is no whole number of samples; pcm_s16le with {} channel(s) has {frame} bytes a \
                 sample",
                bytes.len(),
                self.format.channels
            ));
        }
        self.received_bytes += bytes.len() as u64;
        self.samples.clear();
        self.resampler.push(bytes, &mut self.samples);
        let mut cuts = Vec::new();
        self.segmenter.push(&self.samples, &mut cuts);
        // One frame may hold seconds; the next ones will not.
        self.samples.shrink_to(KEPT_SAMPLES);
        Ok(self.steps(cuts, false))
    }

    /// Ends the open utterance now; `last` when no more audio will come.
    pub(super) fn finalize(&mut self, last: bool) -> Vec<Step> {
        let mut cuts = Vec::new();
        if last {
            let mut samples = Vec::new();
            self.resampler.flush(&mut samples);
            self.segmenter.push(&samples, &mut cuts);
        }
        self.segmenter.finalize(&mut cuts);
        self.steps(cuts, last)
    }

    /// The committed text of `utterance` ends at `at_ms`.
    pub(super) fn committed(&mut self, utterance: UtteranceId, at_ms: u64) {
        self.segmenter.committed(utterance, at_ms * SAMPLES_PER_MS);
    }

    /// Ends an utterance near `at_ms` and goes on with the next from there, where that can be.
    pub(super) fn split(&mut self, utterance: UtteranceId, at_ms: u64) -> Vec<Step> {
        let mut cuts = Vec::new();
        self.segmenter.split(utterance, at_ms * SAMPLES_PER_MS, &mut cuts);
        self.steps(cuts, false)
    }

    fn steps(&mut self, cuts: Vec<Cut>, last: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut split = false;
        for cut in cuts {
            match cut {
                Cut::Started { utterance, start_sample, speech_sample } => {
                    self.chunk_end = start_sample;
                    let (start_ms, speech_ms) = (samples_to_ms(start_sample), samples_to_ms(speech_sample));
                    steps.push(Step::Started { utterance, start_ms, speech_ms });
                }
                Cut::Audio { utterance, samples } => {
                    gather(&mut self.chunk, &samples);
                    self.chunk_end += samples.len() as u64;
                    if self.chunk.len() >= CHUNK_BYTES {
                        self.flush(utterance, &mut steps);
                    }
                }
                Cut::Ended { utterance, end_sample, reason } => {
                    self.drop_behind(end_sample);
                    self.flush(utterance, &mut steps);
                    let complete = reason == EndReason::Split;
                    split |= complete || reason == EndReason::MaxLength;
                    steps.push(Step::Ended { utterance, end_ms: samples_to_ms(end_sample), complete });
                }
            }
        }
        // What was safe as part of the utterance before must be so as part of the next.
        if split && let Some(utterance) = self.segmenter.open_utterance() {
            self.flush(utterance, &mut steps);
        }
        self.acknowledge(last, &mut steps);
        steps
    }

    /// Drops what was gathered behind `end_sample`: it belongs to the next utterance.
    fn drop_behind(&mut self, end_sample: u64) {
        let behind = usize::try_from(self.chunk_end.saturating_sub(end_sample)).unwrap_or(usize::MAX);
        let kept = self.chunk.len().saturating_sub(behind.saturating_mul(BYTES_PER_SAMPLE));
        self.chunk.truncate(kept);
        self.chunk_end = self.chunk_end.min(end_sample);
    }

    fn flush(&mut self, utterance: UtteranceId, steps: &mut Vec<Step>) {
        if !self.chunk.is_empty() {
            let pcm = Bytes::from(std::mem::take(&mut self.chunk));
            let (end_ms, speech_share) = (samples_to_ms(self.chunk_end), self.segmenter.speech_share(utterance));
            steps.push(Step::Append { utterance, pcm, end_ms, speech_share });
        }
    }

    fn acknowledge(&mut self, last: bool, steps: &mut Vec<Step>) {
        let safe_ms = if last { self.received_ms() } else { self.safe_ms() };
        if safe_ms >= self.acked_ms + ACK_STEP_MS || (last && safe_ms > self.acked_ms) {
            self.acked_ms = safe_ms;
            steps.push(Step::Ack { audio_ms: safe_ms });
        }
    }
}
