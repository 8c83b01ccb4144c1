//! Speech recognition with the Whisper architecture.

mod answer;
mod jobs;
mod languages;
mod prompt;
mod request;
mod terms;
mod tokens;

use std::collections::HashMap;
use std::path::Path;

use std::sync::Arc;

use kernels::Threads;

use crate::alignment::{AlignmentHead, default_alignment_heads};
use crate::compute::{Compute, EngineOptions};
use crate::decode::bias::Bias;
use crate::decode::timestamps::TimestampRules;
use crate::decode::{Decoding, Rules};
use crate::directory::{GenerationConfig, ModelDirectory};
use crate::error::ModelError;
use crate::mel::{HOP, LogMel, SAMPLE_RATE, WINDOW};
use crate::model_thread::{Ticket, run_all};
use crate::whisper::Whisper;
use jobs::Job;
pub use request::{AudioContext, SWITCH_PROBABILITY, SpeechHypothesis, SpeechOptions, SpeechRequest, TimedText};
use terms::{BiasKey, TERM_BEAMS};
use tokens::SpeechTokens;

/// Frames in a second.
const FRAMES: usize = SAMPLE_RATE / HOP;
/// Encoder positions of a model that was trained on full windows of 30 s only.
const FULL_WINDOW_POSITIONS: usize = 1500;

/// A speech model in memory.
#[derive(Debug)]
pub struct SpeechModel {
    network: Whisper,
    tokens: SpeechTokens,
    rules: Rules,
    mel: LogMel,
    options: SpeechOptions,
    languages: Vec<String>,
    /// (layer, head) of those that follow the audio.
    alignment_heads: Vec<(usize, usize)>,
    threads: Arc<Threads>,
    single: Decoding<Ticket>,
    beams: Decoding<Ticket>,
    /// Which tokens go on a word.
    inner_tokens: Arc<[bool]>,
    /// Lists of terms asked for lately.
    biases: Vec<(BiasKey, Option<Arc<Bias>>)>,
    jobs: HashMap<Ticket, Job>,
    ready: Vec<(Ticket, Result<SpeechHypothesis, ModelError>)>,
}

impl SpeechModel {
    /// Loads a model directory in the Hugging Face layout.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong, or the device is not there; the message names it.
    pub fn load(dir: &Path, engine: &EngineOptions, options: SpeechOptions) -> Result<Self, ModelError> {
        let directory = ModelDirectory::open(dir)?;
        let generation = directory.generation()?;
        check_preprocessor(&directory)?;
        let tokens = SpeechTokens::load(&directory, &generation)?;
        let network = Whisper::load(&directory, &Compute::open(engine)?)?;
        let rules = rules(&network, &tokens, &generation)?;
        let languages = match tokens.languages() {
            [] => vec!["en".to_owned()],
            some => some.iter().map(|(name, _)| name.clone()).collect(),
        };
        let (layers, heads) = network.decoder().heads();
        let alignment_heads = generation.alignment_heads.unwrap_or_else(|| default_alignment_heads(layers, heads));
        if let Some(AlignmentHead { layer, head }) =
            alignment_heads.iter().find(|at| at.layer >= layers || at.head >= heads)
        {
            let reason = format!("alignment_heads names layer {layer}, head {head}; there are {layers} of {heads}");
            return Err(ModelError::Malformed { path: directory.path().join("generation_config.json"), reason });
        }
        Ok(Self {
            mel: LogMel::new(network.config().num_mel_bins),
            single: Decoding::new(1),
            beams: Decoding::new(if options.beams > 1 { options.beams } else { TERM_BEAMS }),
            threads: Arc::new(Threads::new(engine.thread_count())),
            inner_tokens: tokens.inner(network.decoder().vocabulary()),
            biases: Vec::new(),
            jobs: HashMap::new(),
            ready: Vec::new(),
            network,
            tokens,
            rules,
            options,
            languages,
            alignment_heads: alignment_heads.iter().map(|at| (at.layer, at.head)).collect(),
        })
    }

    /// The network itself, for measurements.
    pub fn network(&self) -> &Whisper {
        &self.network
    }

    /// Most samples a request may have.
    pub fn window_samples(&self) -> usize {
        self.window_frames() * HOP
    }

    fn window_frames(&self) -> usize {
        2 * self.network.config().max_source_positions
    }

    /// Whether it was trained on full windows only.
    fn full_window(&self) -> bool {
        self.network.config().max_source_positions >= FULL_WINDOW_POSITIONS
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
        run_all(self, batch.to_vec())
    }

    /// Frames the encoder sees for so many samples: with some silence behind them, so that the last word is not cut,
    /// and in steps, so that requests of nearly the same length share a batch.
    fn frames(&self, samples: usize, context: AudioContext) -> usize {
        let window = self.window_frames();
        if context == AudioContext::Full {
            return window;
        }
        // Models trained on full windows lose their way in short ones: coarser steps and more silence for them.
        let (step, silence) = if self.full_window() { (5 * FRAMES, FRAMES) } else { (FRAMES / 2, FRAMES / 2) };
        (samples.div_ceil(HOP) + silence).next_multiple_of(step).min(window)
    }
}

fn rules(network: &Whisper, tokens: &SpeechTokens, generation: &GenerationConfig) -> Result<Rules, ModelError> {
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
    let Some(no_timestamps) = tokens.no_timestamps else { return Ok(rules) };
    let max_initial = generation.max_initial_timestamp_index;
    let first = no_timestamps + 1;
    Ok(rules.with_timestamps(TimestampRules { no_timestamps, first, end: tokens.end, max_initial }))
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
