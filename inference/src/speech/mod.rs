//! Speech recognition with the Whisper architecture.

mod request;
mod tokens;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{D, Tensor};

use crate::decoder::DecoderState;
use crate::device::DeviceChoice;
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::greedy::{Decoded, Probe, Row, Rules, greedy};
use crate::layers::padding_mask;
use crate::mel::{HOP, LogMel, SAMPLE_RATE, WINDOW};
use crate::whisper::Whisper;
pub use request::{AudioContext, SpeechHypothesis, SpeechRequest};
use tokens::SpeechTokens;

/// Frames in a second.
const FRAMES: usize = SAMPLE_RATE / HOP;
/// Most tokens decoded: so many a second of audio...
const TOKENS_PER_SECOND: usize = 12;
/// ...and so many more.
const TOKENS_EXTRA: usize = 20;
/// Earlier text is given to models with at least so many target positions; smaller ones were not trained on it.
const CONTEXT_POSITIONS: usize = 224;
/// Encoder positions of a model that was trained on full windows of 30 s only.
const FULL_WINDOW_POSITIONS: usize = 1500;

/// A speech model in memory.
#[derive(Debug)]
pub struct SpeechModel {
    network: Whisper,
    tokens: SpeechTokens,
    rules: Rules,
    mel: LogMel,
    context: AudioContext,
    languages: Vec<String>,
}

impl SpeechModel {
    /// Loads a model directory in the Hugging Face layout onto a device.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong, or the device is not there; the message names it.
    pub fn load(dir: &Path, device: &DeviceChoice) -> Result<Self, ModelError> {
        let directory = ModelDirectory::open(dir)?;
        let generation = directory.generation()?;
        check_preprocessor(&directory)?;
        let tokens = SpeechTokens::load(&directory, &generation)?;
        let network = Whisper::load(&directory, &device.open()?)?;
        // -1 stands for "all that is not speech" in some files; specials are banned below anyway.
        let ids = |list: &Option<Vec<i64>>| -> Vec<u32> {
            list.iter().flatten().filter_map(|id| u32::try_from(*id).ok()).collect()
        };
        let mut never = ids(&generation.suppress_tokens);
        never.extend(tokens.specials());
        // Older tokenizer files leave out the timestamps, which follow the specials.
        never.extend(tokens.end..network.config().vocab_size as u32);
        never.retain(|id| *id != tokens.end);
        let rules = Rules::new(network.decoder(), tokens.end, &never, &ids(&generation.begin_suppress_tokens))?;
        let languages = match tokens.languages() {
            [] => vec!["en".to_owned()],
            some => some.iter().map(|(name, _)| name.clone()).collect(),
        };
        let mel = LogMel::new(network.config().num_mel_bins);
        Ok(Self { network, tokens, rules, mel, context: AudioContext::default(), languages })
    }

    /// The same model with another audio context.
    #[must_use]
    pub fn with_context(self, context: AudioContext) -> Self {
        Self { context, ..self }
    }

    /// Most samples a request may have.
    pub fn window_samples(&self) -> usize {
        self.window_frames() * HOP
    }

    fn window_frames(&self) -> usize {
        2 * self.network.config().max_source_positions
    }

    /// Primary subtags of the languages it recognises.
    pub fn languages(&self) -> &[String] {
        &self.languages
    }

    /// Recognises a batch. Each request's answer is the one it gets alone.
    ///
    /// # Errors
    /// When a request is longer than the window or in a language the model lacks, or the computation fails.
    pub fn transcribe(&mut self, batch: &[SpeechRequest]) -> Result<Vec<SpeechHypothesis>, ModelError> {
        let requests: Vec<&SpeechRequest> = batch.iter().collect();
        let mut heard = self.decode(&requests, self.context)?;
        let full_only = self.network.config().max_source_positions >= FULL_WINDOW_POSITIONS;
        if self.context == AudioContext::Trimmed && full_only {
            let again: Vec<usize> = (0..heard.len()).filter(|i| heard[*i].looped).collect();
            let requests: Vec<&SpeechRequest> = again.iter().map(|i| &batch[*i]).collect();
            for (i, retried) in again.iter().zip(self.decode(&requests, AudioContext::Full)?) {
                heard[*i] = retried;
            }
        }
        Ok(heard.into_iter().map(|heard| heard.hypothesis).collect())
    }

    /// Runs once over a window of silence.
    ///
    /// # Errors
    /// When the model does not work on this machine.
    pub fn warm_up(&mut self) -> Result<(), ModelError> {
        let silence = SpeechRequest { pcm: vec![0.0; self.window_samples()], ..SpeechRequest::default() };
        self.transcribe(&[silence]).map(drop)
    }

    fn decode(&mut self, requests: &[&SpeechRequest], context: AudioContext) -> Result<Vec<Heard>, ModelError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        self.check(requests)?;
        // Rows of the same length are encoded together, so rows go through the decoder in the order of their length.
        let frames: Vec<usize> = requests.iter().map(|request| self.frames(request.pcm.len(), context)).collect();
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|i| frames[*i]);
        let sorted: Vec<&SpeechRequest> = order.iter().map(|i| requests[*i]).collect();
        let lengths: Vec<usize> = order.iter().map(|i| frames[*i]).collect();

        let mut state = self.encode(&sorted, &lengths)?;
        let languages = self.languages_of(&sorted, &mut state)?;
        let heard = self.decode_rows(&sorted, &languages, &mut state)?;

        let mut answers = vec![Heard::default(); requests.len()];
        for (i, heard) in order.into_iter().zip(heard) {
            answers[i] = heard;
        }
        Ok(answers)
    }

    fn check(&self, requests: &[&SpeechRequest]) -> Result<(), ModelError> {
        let limit = self.window_samples();
        for request in requests {
            if request.pcm.len() > limit {
                return Err(ModelError::TooLong { what: "audio (samples)", got: request.pcm.len(), limit });
            }
            if let Some(language) = &request.language {
                self.tokens.language(language)?;
            }
        }
        Ok(())
    }

    /// Frames the encoder sees for so many samples: with some silence behind them, so that the last word is not cut,
    /// and in steps, so that requests of nearly the same length share a batch.
    fn frames(&self, samples: usize, context: AudioContext) -> usize {
        let window = self.window_frames();
        if context == AudioContext::Full {
            return window;
        }
        // Models trained on full windows lose their way in short ones: coarser steps and more silence for them.
        let full_only = self.network.config().max_source_positions >= FULL_WINDOW_POSITIONS;
        let (step, silence) = if full_only { (5 * FRAMES, FRAMES) } else { (FRAMES / 2, FRAMES / 2) };
        (samples.div_ceil(HOP) + silence).next_multiple_of(step).min(window)
    }

    /// Encodes each run of equally long rows, and joins them for the decoder.
    fn encode(&mut self, requests: &[&SpeechRequest], frames: &[usize]) -> Result<DecoderState, ModelError> {
        let longest = frames.last().copied().unwrap_or(0) / 2;
        let mut parts = Vec::new();
        let mut row = 0;
        for run in frames.chunk_by(|a, b| a == b) {
            let rows = &requests[row..row + run.len()];
            let features: Vec<Vec<f32>> = rows.iter().map(|r| self.mel.compute(&r.pcm, run[0])).collect();
            let encoded = self.network.encode(&features, run[0])?;
            parts.push(encoded.pad_with_zeros(1, 0, longest - run[0] / 2)?);
            row += run.len();
        }
        let positions: Vec<usize> = frames.iter().map(|frames| frames / 2).collect();
        let decoder = self.network.decoder();
        decoder.begin(&Tensor::cat(&parts, 0)?, padding_mask(&positions, decoder.device())?)
    }

    /// The language of each row: as asked for, or as the model hears it.
    fn languages_of(&self, requests: &[&SpeechRequest], state: &mut DecoderState) -> Result<Vec<String>, ModelError> {
        let known = self.tokens.languages();
        let heard = if known.len() > 1 && requests.iter().any(|request| request.language.is_none()) {
            let rows = requests.len();
            state.restart(&vec![0; rows], 1)?;
            let decoder = self.network.decoder();
            let logits = decoder.logits(&decoder.forward(&vec![self.tokens.start; rows], state)?)?;
            let ids: Vec<u32> = known.iter().map(|(_, id)| *id).collect();
            let scores = logits.index_select(&Tensor::new(ids, decoder.device())?, 1)?;
            scores.argmax(D::Minus1)?.to_vec1::<u32>()?
        } else {
            vec![0; requests.len()]
        };
        let name = |(request, heard): (&&SpeechRequest, u32)| match &request.language {
            Some(language) => language.clone(),
            None => self.languages[heard as usize].clone(),
        };
        Ok(requests.iter().zip(heard).map(name).collect())
    }

    fn decode_rows(
        &self,
        requests: &[&SpeechRequest],
        languages: &[String],
        state: &mut DecoderState,
    ) -> Result<Vec<Heard>, ModelError> {
        let mut rows = Vec::new();
        let mut starts = Vec::new();
        let mut fitting = Vec::new();
        for (i, (request, language)) in requests.iter().zip(languages).enumerate() {
            let (row, start) = self.row(request, language)?;
            if row.prompt.len() < self.network.decoder().max_positions() {
                rows.push(row);
                starts.push(start);
                fitting.push(i);
            }
        }
        let mut decoded = vec![None; requests.len()];
        if !rows.is_empty() {
            if rows.len() < requests.len() {
                state.keep(&fitting)?;
            }
            let probe = self.tokens.no_speech.map(|token| Probe { positions: &starts, token });
            let answers = greedy(self.network.decoder(), state, &rows, &self.rules, probe)?;
            for (i, answer) in fitting.into_iter().zip(answers) {
                decoded[i] = Some(answer);
            }
        }
        let languages = languages.iter().cloned();
        decoded.into_iter().zip(languages).map(|(answer, language)| self.hypothesis(answer, language)).collect()
    }

    /// The forced tokens of a request, and where among them the transcript starts.
    fn row(&self, request: &SpeechRequest, language: &str) -> Result<(Row, usize), ModelError> {
        let positions = self.network.decoder().max_positions();
        let opening = self.tokens.opening(&request.prefix, language)?;
        let header = self.tokens.header(language)?;
        let limit = request.pcm.len() * TOKENS_PER_SECOND / SAMPLE_RATE + TOKENS_EXTRA;
        let mut prompt = Vec::new();
        if positions >= CONTEXT_POSITIONS {
            // Earlier text gets half of the positions at most, and never the room the new text needs.
            let free = positions.saturating_sub(header.len() + opening.len() + limit);
            prompt = self.tokens.context(&request.prompt, free.min(positions / 2 - 1))?;
        }
        let start = prompt.len();
        let fresh = opening.is_empty();
        prompt.extend(header.into_iter().chain(opening));
        Ok((Row { prompt, fresh, limit }, start))
    }

    /// `None` stands for a row whose prefix left no position free: nothing can follow it.
    fn hypothesis(&self, answer: Option<Decoded>, language: String) -> Result<Heard, ModelError> {
        let Some(answer) = answer else {
            let hypothesis = SpeechHypothesis { language, truncated: true, ..SpeechHypothesis::default() };
            return Ok(Heard { hypothesis, looped: false });
        };
        let hypothesis = SpeechHypothesis {
            text: self.tokens.text(&answer.tokens)?,
            language,
            avg_logprob: answer.avg_logprob,
            no_speech_prob: answer.probed,
            truncated: answer.truncated,
        };
        Ok(Heard { hypothesis, looped: answer.looped })
    }
}

/// A hypothesis, and whether it went round in circles.
#[derive(Debug, Clone, Default)]
struct Heard {
    hypothesis: SpeechHypothesis,
    looped: bool,
}

/// `preprocessor_config.json` need not be there; where it is, it must ask for the features we compute.
fn check_preprocessor(directory: &ModelDirectory) -> Result<(), ModelError> {
    const FILE: &str = "preprocessor_config.json";
    if directory.file(FILE).is_none() {
        return Ok(());
    }
    let settings: HashMap<String, serde_json::Value> = directory.json(FILE)?;
    for (key, ours) in [("sampling_rate", SAMPLE_RATE), ("hop_length", HOP), ("n_fft", WINDOW)] {
        if let Some(theirs) = settings.get(key).filter(|theirs| **theirs != ours) {
            let reason = format!("{key} is {theirs}, only {ours} is supported");
            return Err(ModelError::Malformed { path: directory.path().join(FILE), reason });
        }
    }
    Ok(())
}
