//! Translation: text in one language to text in another.

mod network;
mod phrases;
mod placing;
#[doc(hidden)]
pub mod probe;
mod tokens;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use kernels::Threads;

use crate::compute::{Compute, EngineOptions};
use crate::decode::{Decoded, Decoding, Rules, Strategy, Task};
use crate::decoder::Source;
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::language::Language;
use crate::model_thread::{Answers, BatchLimits, Model, Ticket, run_all};
use crate::text_network::TextNetwork;
use placing::{Placed, Placing};
use tokens::TranslationTokens;

/// Most tokens decoded: so many for each of the source's...
const TOKENS_PER_TOKEN: usize = 2;
/// ...and so many more.
const TOKENS_EXTRA: usize = 20;

/// Text to be translated.
#[derive(Debug, Clone, Default)]
pub struct TranslationRequest {
    /// One sentence, or a few. For a Marian model with several target languages it may start with a mark such as
    /// `>>es<<`; where it does not, `to` decides.
    pub text: String,
    /// Target text the translation starts with: it is forced, and decoding goes on behind it. May be empty.
    pub prefix: String,
    /// What words of the source must be called, where they occur as whole words (of overlapping ones the longest): the
    /// translation then holds each target as often, in the place of what the model says instead, and otherwise stays as
    /// the model says it, as far as that agrees with the target. What [`prefix`](Self::prefix) translates already stays.
    pub terms: Vec<Term>,
    /// BCP 47 tag of the text's language. Models of many languages must know; others ignore it.
    pub from: Option<String>,
    /// BCP 47 tag of the translation's language. Models of many languages must know; others ignore it.
    pub to: Option<String>,
}

/// A word or name of the source and what it must be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// As it stands in the source; case does not matter.
    pub source: String,
    /// As it must stand in the translation, to the letter: at the start of a sentence too.
    pub target: String,
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

/// How a translation model decodes.
#[derive(Debug, Clone, PartialEq)]
pub struct TranslationOptions {
    /// Texts followed at once; 1 takes the best token each time.
    pub beams: usize,
    /// Exponent of the length beams' scores are divided by.
    pub length_penalty: f32,
}

impl Default for TranslationOptions {
    fn default() -> Self {
        Self { beams: 1, length_penalty: 1.0 }
    }
}

/// A translation model in memory.
#[derive(Debug)]
pub struct TranslationModel {
    network: Box<dyn TextNetwork>,
    tokens: TranslationTokens,
    rules: Rules,
    start: u32,
    options: TranslationOptions,
    threads: Arc<Threads>,
    on_host: bool,
    decoding: Decoding<Ticket>,
    jobs: HashMap<Ticket, Job>,
    ready: Answers<TranslationHypothesis>,
}

/// A request under way.
#[derive(Debug)]
struct Job {
    /// Forced tokens: specials, then the prefix.
    prompt: Vec<u32>,
    /// So many of them are specials.
    specials: usize,
    prefix: Vec<u32>,
    /// Most tokens decoded.
    limit: usize,
    cut: bool,
    /// Terms its text calls for.
    placing: Option<Placing>,
    /// Kept where there are such.
    source: Option<Source>,
}

impl TranslationModel {
    /// Loads a model directory in the Hugging Face layout.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong, or the device is not there; the message names it.
    pub fn load(dir: &Path, engine: &EngineOptions, options: TranslationOptions) -> Result<Self, ModelError> {
        let directory = ModelDirectory::open(dir)?;
        let generation = directory.generation()?;
        let tokens = TranslationTokens::load(&directory)?;
        let compute = Compute::open(engine)?;
        let network::Loaded { network, start, end, pad } = network::load(&directory, &compute)?;
        let words = generation.bad_words_ids.iter().flatten().filter(|word| word.len() == 1).flatten();
        let listed = words.chain(generation.suppress_tokens.iter().flatten()).filter_map(|id| u32::try_from(*id).ok());
        let never: Vec<u32> = listed.chain([pad]).chain(tokens.unknown()).filter(|id| *id != end).collect();
        let rules = Rules::new(network.decoder(), end, &never, &[])?;
        Ok(Self {
            network,
            tokens,
            rules,
            start,
            threads: Arc::new(Threads::new(engine.thread_count())),
            on_host: compute.host_precision().is_some(),
            decoding: Decoding::new(options.beams),
            options,
            jobs: HashMap::new(),
            ready: Vec::new(),
        })
    }

    /// Most tokens of a source text, its end token included; what is beyond is not translated.
    pub fn max_source_tokens(&self) -> usize {
        self.network.max_source_tokens()
    }

    /// Translates a batch. Each request's answer is the one it gets alone; nothing to translate gives nothing.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn translate(&mut self, batch: &[TranslationRequest]) -> Result<Vec<TranslationHypothesis>, ModelError> {
        run_all(self, batch.to_vec())
    }

    fn forget(&mut self, tickets: &[Ticket]) -> Result<(), ModelError> {
        self.jobs.retain(|ticket, _| !tickets.contains(ticket));
        self.ready.retain(|(ticket, _)| !tickets.contains(ticket));
        self.decoding.withdraw(|key| tickets.contains(key))
    }

    /// Runs with the model's threads at the kernels' disposal.
    fn on_threads<T: Send>(&mut self, work: impl FnOnce(&mut Self) -> T + Send) -> T {
        if !self.on_host {
            return work(self); // A GPU's queue of work belongs to this thread.
        }
        let threads = self.threads.clone();
        threads.run(|| work(self))
    }

    fn take_in(&mut self, requests: Vec<(Ticket, Arc<TranslationRequest>)>) -> Result<(), ModelError> {
        let (mut sources, mut work) = (Vec::new(), Vec::new());
        for (ticket, request) in requests {
            if request.text.trim().is_empty() {
                self.ready.push((ticket, Ok(TranslationHypothesis::default())));
                continue;
            }
            let (source, job) = match self.prepare(&request) {
                Ok(prepared) => prepared,
                Err(error) => {
                    self.ready.push((ticket, Err(error)));
                    continue;
                }
            };
            if job.prompt.len() >= self.network.decoder().max_positions() {
                // A prefix that leaves no position free: nothing can follow it.
                self.ready.push((ticket, Ok(TranslationHypothesis { truncated: true, ..Default::default() })));
                continue;
            }
            work.push((ticket, request, job));
            sources.push(source);
        }
        if work.is_empty() {
            return Ok(());
        }
        let encoded = self.network.sources(&sources)?;
        let mut tasks = Vec::with_capacity(work.len());
        for (((ticket, request, mut job), tokens), source) in work.into_iter().zip(&sources).zip(encoded) {
            job.placing = self.placing(&request, tokens, &job)?;
            job.source = job.placing.is_some().then(|| source.clone());
            tasks.push((ticket, source, self.task(&job)));
            self.jobs.insert(ticket, job);
        }
        let done = self.decoding.admit(self.network.decoder(), &self.rules, tasks)?;
        self.finish(done)
    }

    fn prepare(&self, request: &TranslationRequest) -> Result<(Vec<u32>, Job), ModelError> {
        let mut source = self.source_tokens(request, request.text.trim())?;
        let to = request.to.as_deref().and_then(Language::parse);
        let first = to.map(|to| self.tokens.target_start(to)).transpose()?.flatten();
        let limit = self.max_source_tokens() - 1;
        let cut = source.len() > limit;
        source.truncate(limit);
        source.push(self.rules.end);
        let prefix = match request.prefix.trim() {
            "" => Vec::new(),
            prefix => self.tokens.target(prefix)?,
        };
        let specials: Vec<u32> = [self.start].into_iter().chain(first).collect();
        let limit = source.len() * TOKENS_PER_TOKEN + TOKENS_EXTRA;
        let (prompt, specials) = ([specials.as_slice(), &prefix].concat(), specials.len());
        Ok((source, Job { prompt, specials, prefix, limit, cut, placing: None, source: None }))
    }

    /// Tokens of a source text, without the end token.
    fn source_tokens(&self, request: &TranslationRequest, text: &str) -> Result<Vec<u32>, ModelError> {
        let language = |tag: &Option<String>| tag.as_deref().and_then(Language::parse);
        match (language(&request.from), language(&request.to)) {
            (Some(from), Some(to)) => self.tokens.source_between(text, from, to),
            _ if self.tokens.wants_languages() => {
                let tag = request.to.as_ref().or(request.from.as_ref()).cloned().unwrap_or_else(|| "und".to_owned());
                Err(ModelError::Language { language: tag, known: "BCP 47 tags of source and target".to_owned() })
            }
            _ => self.tokens.source(text),
        }
    }

    fn task(&self, job: &Job) -> Task {
        let strategy = if self.options.beams > 1 {
            Strategy::Beam { length_penalty: self.options.length_penalty }
        } else {
            Strategy::Greedy
        };
        Task {
            prompt: job.prompt.clone(),
            fresh: job.prompt.len() == job.specials,
            limit: job.limit,
            strategy,
            timestamps: false,
            probe: None,
            bias: None,
            text_from: job.specials,
        }
    }

    /// Answers what is done; where terms are missing, decodes on behind the next of them.
    fn finish(&mut self, done: Vec<(Ticket, Decoded)>) -> Result<(), ModelError> {
        let mut again = Vec::new();
        for (ticket, decoded) in done {
            let Some(mut job) = self.jobs.remove(&ticket) else { continue };
            let text = match job.placing.take() {
                None => self.tokens.text_after(&job.prefix, &decoded.tokens)?,
                Some(mut placing) => match self.place(&job, &mut placing, &decoded)? {
                    Placed::Done(text) => self.tokens.after(&job.prefix, text)?,
                    Placed::Again(tokens) => {
                        job.prompt.truncate(job.specials);
                        job.prompt.extend(tokens);
                        let task = self.task(&job);
                        again.extend(job.source.clone().map(|source| (ticket, source, task)));
                        job.placing = Some(placing);
                        self.jobs.insert(ticket, job);
                        continue;
                    }
                },
            };
            let truncated = decoded.truncated || job.cut;
            self.ready.push((ticket, Ok(TranslationHypothesis { text, avg_logprob: decoded.avg_logprob, truncated })));
        }
        if again.is_empty() {
            return Ok(());
        }
        let done = self.decoding.admit(self.network.decoder(), &self.rules, again)?;
        self.finish(done)
    }
}

impl Model for TranslationModel {
    type Request = TranslationRequest;
    type Answer = TranslationHypothesis;

    /// In bytes of text.
    fn cost(request: &TranslationRequest) -> usize {
        request.text.len() + request.prefix.len()
    }

    fn admit(&mut self, requests: Vec<(Ticket, Arc<TranslationRequest>)>) -> Result<(), ModelError> {
        let tickets: Vec<Ticket> = requests.iter().map(|(ticket, _)| *ticket).collect();
        let outcome = self.on_threads(|model| model.take_in(requests));
        if outcome.is_err() {
            self.forget(&tickets)?;
        }
        outcome
    }

    fn step(&mut self) -> Result<Answers<TranslationHypothesis>, ModelError> {
        self.on_threads(|model| {
            let done = model.decoding.step(model.network.decoder(), &model.rules)?;
            model.finish(done)?;
            Ok(std::mem::take(&mut model.ready))
        })
    }

    fn withdraw(&mut self, ticket: Ticket) -> Result<(), ModelError> {
        self.forget(&[ticket])
    }

    fn reset(&mut self) {
        self.jobs.clear();
        self.ready.clear();
        self.decoding.clear();
    }

    /// A sentence: on a device as many times as the limits allow, on a CPU once.
    fn warm_up(&mut self, limits: &BatchLimits) -> Result<(), ModelError> {
        let text = "One, two, three, and whatever comes after it until the sentence is as long as most are.".to_owned();
        let most = if self.on_host { 1 } else { limits.max_rows };
        let rows = most.min(limits.max_cost / text.len()).max(1);
        let (from, to) = (Some("en".to_owned()), Some("fr".to_owned()));
        self.translate(&vec![TranslationRequest { text, from, to, ..TranslationRequest::default() }; rows]).map(drop)
    }
}
