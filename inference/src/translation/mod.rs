//! Translation with the Marian architecture.

mod tokens;

use std::path::Path;

use crate::device::DeviceChoice;
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::greedy::{Row, Rules, greedy};
use crate::marian::Marian;
use tokens::TranslationTokens;

/// Most tokens decoded: so many for each of the source's...
const TOKENS_PER_TOKEN: usize = 2;
/// ...and so many more.
const TOKENS_EXTRA: usize = 20;

/// Text to be translated.
#[derive(Debug, Clone, Default)]
pub struct TranslationRequest {
    /// One sentence, or a few. For a model with several target languages it starts with a mark such as `>>es<<`.
    pub text: String,
    /// Target text the translation starts with: it is forced, and decoding goes on behind it. May be empty.
    pub prefix: String,
}

/// A translation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TranslationHypothesis {
    /// The text after the prefix, with a leading space where a new word begins.
    pub text: String,
    /// Mean natural logarithm of the tokens' probabilities.
    pub avg_logprob: f32,
    /// The source was longer than the model takes, or the translation did not end: a token limit was reached, or it
    /// went round in circles.
    pub truncated: bool,
}

/// A translation model in memory.
#[derive(Debug)]
pub struct TranslationModel {
    network: Marian,
    tokens: TranslationTokens,
    rules: Rules,
}

/// A request that needs the model.
struct Work {
    /// Its place in the batch.
    index: usize,
    source: Vec<u32>,
    prefix: Vec<u32>,
    cut: bool,
}

impl TranslationModel {
    /// Loads a model directory in the Hugging Face layout onto a device.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong, or the device is not there; the message names it.
    pub fn load(dir: &Path, device: &DeviceChoice) -> Result<Self, ModelError> {
        let directory = ModelDirectory::open(dir)?;
        let generation = directory.generation()?;
        let tokens = TranslationTokens::load(&directory)?;
        let network = Marian::load(&directory, &device.open()?)?;
        let words = generation.bad_words_ids.iter().flatten().filter(|word| word.len() == 1).flatten();
        let listed = words.chain(generation.suppress_tokens.iter().flatten()).filter_map(|id| u32::try_from(*id).ok());
        let end = network.config().eos_token_id;
        let never: Vec<u32> = listed.chain([network.config().pad_token_id]).filter(|id| *id != end).collect();
        let rules = Rules::new(network.decoder(), end, &never, &[])?;
        Ok(Self { network, tokens, rules })
    }

    /// Most tokens of a source text, its end token included; what is beyond is not translated.
    pub fn max_source_tokens(&self) -> usize {
        self.network.config().max_position_embeddings
    }

    /// Translates a batch. Each request's answer is the one it gets alone; nothing to translate gives nothing.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn translate(&mut self, batch: &[TranslationRequest]) -> Result<Vec<TranslationHypothesis>, ModelError> {
        let mut answers = vec![TranslationHypothesis::default(); batch.len()];
        let mut work = Vec::new();
        for (index, request) in batch.iter().enumerate().filter(|(_, request)| !request.text.trim().is_empty()) {
            let item = self.prepare(index, request)?;
            // A prefix that leaves no position free: nothing can follow it.
            answers[index].truncated = item.prefix.len() + 1 >= self.network.decoder().max_positions();
            if !answers[index].truncated {
                work.push(item);
            }
        }
        if work.is_empty() {
            return Ok(answers);
        }
        let sources: Vec<Vec<u32>> = work.iter().map(|item| item.source.clone()).collect();
        let rows: Vec<Row> = work.iter().map(|item| self.row(item)).collect();
        let mut state = self.network.begin(&sources)?;
        for (item, decoded) in work.iter().zip(greedy(self.network.decoder(), &mut state, &rows, &self.rules, None)?) {
            answers[item.index] = TranslationHypothesis {
                text: self.tokens.text_after(&item.prefix, &decoded.tokens)?,
                avg_logprob: decoded.avg_logprob,
                truncated: decoded.truncated || item.cut,
            };
        }
        Ok(answers)
    }

    /// Runs once over a short text.
    ///
    /// # Errors
    /// When the model does not work on this machine.
    pub fn warm_up(&mut self) -> Result<(), ModelError> {
        self.translate(&[TranslationRequest { text: "One, two, three.".to_owned(), prefix: String::new() }]).map(drop)
    }

    fn prepare(&self, index: usize, request: &TranslationRequest) -> Result<Work, ModelError> {
        let mut source = self.tokens.source(request.text.trim())?;
        let limit = self.max_source_tokens() - 1;
        let cut = source.len() > limit;
        source.truncate(limit);
        source.push(self.network.config().eos_token_id);
        let prefix = match request.prefix.trim() {
            "" => Vec::new(),
            prefix => self.tokens.target(prefix)?,
        };
        Ok(Work { index, source, prefix, cut })
    }

    fn row(&self, item: &Work) -> Row {
        let limit = item.source.len() * TOKENS_PER_TOKEN + TOKENS_EXTRA;
        let prompt = [&[self.network.config().start()], item.prefix.as_slice()].concat();
        Row { prompt, fresh: item.prefix.is_empty(), limit }
    }
}
