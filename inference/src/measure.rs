//! How fast the engine is on this machine: the cases of `subtide bench engine`.
//!
//! Every case does a fixed amount of work, whatever the weights say: texts have a fixed number of tokens, the end token
//! is passed over. So two engines with one checkpoint can be held against each other.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kernels::Threads;

use crate::compute::{Compute, EngineOptions};
use crate::decode::{Decoding, Rules, Strategy, Task};
use crate::decoder::{Decoder, Scores, Source};
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::layers::host;
use crate::marian::Marian;
use crate::mel::{HOP, LogMel, SAMPLE_RATE};
use crate::text_network::TextNetwork;
use crate::whisper::Whisper;

/// Start of transcript, English, transcribe, no timestamps: what a multilingual model's text begins with.
const PROMPT: [u32; 4] = [50_258, 50_259, 50_359, 50_363];
/// Seconds of audio in the short cases.
const SHORT: usize = 5;
/// Seconds in the long ones: the whole window.
const LONG: usize = 30;
/// Windows the encoder is measured at, in seconds.
const BUCKETS: [usize; 5] = [SHORT, 10, 15, 20, LONG];
/// Tokens decoded of a short utterance and of a long one.
const TOKENS: (usize, usize) = (24, 100);
/// A step is what a text of the second length takes more than one of the first, by the tokens between.
const STEPS: (usize, usize) = (8, 72);
/// Texts followed at once where beams are measured.
const BEAMS: usize = 4;
/// Tokens of each side of a text.
const TEXT_TOKENS: usize = 20;

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub case: String,
    /// `ms`, `ms/token`, `tokens/s` or `ms/s` (of audio).
    pub unit: &'static str,
    /// The best round.
    pub best: f64,
    /// The middle round.
    pub median: f64,
    /// Tokens decoded, where they tell whether two engines did the same work.
    pub tokens: Vec<u32>,
}

impl Figure {
    /// No figure, but the tokens that tell whether two engines do the same.
    fn of_tokens(case: &str, tokens: Vec<Vec<u32>>) -> Self {
        Self { case: case.to_owned(), unit: "tokens", best: 0.0, median: 0.0, tokens: tokens.concat() }
    }
}

/// What to measure, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where and how to compute.
    pub engine: EngineOptions,
    /// Rounds of each case.
    pub rounds: usize,
    /// Cases of these names, or below them (`speech` is all of speech); empty: all.
    pub cases: Vec<String>,
}

impl Plan {
    fn wants(&self, case: &str) -> bool {
        let below = |name: &str| case.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.cases.is_empty() || self.cases.iter().any(|name| below(name.trim_end_matches('/')))
    }

    /// Times `work`, after a round that does not count; figures are `of(seconds)`.
    fn time(
        &self,
        case: &str,
        unit: &'static str,
        of: impl Fn(f64) -> f64,
        mut work: impl FnMut() -> Result<Vec<u32>, ModelError>,
    ) -> Result<Option<Figure>, ModelError> {
        if !self.wants(case) {
            return Ok(None);
        }
        let tokens = work()?;
        let mut seconds = Vec::with_capacity(self.rounds);
        for _ in 0..self.rounds.max(1) {
            let started = Instant::now();
            work()?;
            seconds.push(started.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        let (best, median) = (of(seconds[0]), of(seconds[seconds.len() / 2]));
        Ok(Some(Figure { case: case.to_owned(), unit, best, median, tokens }))
    }
}

fn ms(seconds: f64) -> f64 {
    seconds * 1e3
}

/// The features of speech: milliseconds for a second of sound.
///
/// # Errors
/// None; it is a result for symmetry with the others.
pub fn features(plan: &Plan, sound: &[f32]) -> Result<Vec<Figure>, ModelError> {
    let mut mel = LogMel::new(80);
    let pcm = &sound[..sound.len().min(LONG * SAMPLE_RATE)];
    let work = || {
        mel.compute(pcm, LONG * SAMPLE_RATE / HOP);
        Ok(Vec::new())
    };
    Ok(plan.time("mel", "ms/s", |s| ms(s) / LONG as f64, work)?.into_iter().collect())
}

/// Speech: encoder, a decoding step, and whole utterances. `sound` is 30 s at 16 kHz.
///
/// # Errors
/// When the model cannot be loaded, or the computation fails.
pub fn speech(plan: &Plan, dir: &Path, sound: &[f32]) -> Result<Vec<Figure>, ModelError> {
    let compute = Compute::open(&plan.engine)?;
    let network = Whisper::load(&ModelDirectory::open(dir)?, &compute)?;
    on_threads(plan, &compute, || speech_cases(plan, &network, sound))
}

fn speech_cases(plan: &Plan, network: &Whisper, sound: &[f32]) -> Result<Vec<Figure>, ModelError> {
    let mut mel = LogMel::new(network.config().num_mel_bins);
    let decoder = network.decoder();
    let mut figures = Vec::new();
    for seconds in BUCKETS {
        let frames = seconds * SAMPLE_RATE / HOP;
        let rows = [mel.compute(&sound[..sound.len().min(seconds * SAMPLE_RATE)], frames)];
        figures.extend(plan.time(&format!("speech/encode/{seconds}s"), "ms", ms, || {
            network.encode(&rows, frames)?;
            Ok(Vec::new())
        })?);
    }
    for (seconds, tokens) in [(SHORT, TOKENS.0), (LONG, TOKENS.1)] {
        let frames = seconds * SAMPLE_RATE / HOP;
        let pcm = &sound[..sound.len().min(seconds * SAMPLE_RATE)];
        let features = mel.compute(pcm, frames);
        let rows = [features];
        for batch in [1, 8, 16, 32] {
            let name = if batch == 1 { "decode".to_owned() } else { format!("decode{batch}") };
            let case = format!("speech/{name}/{seconds}s");
            if !plan.wants(&case) {
                continue;
            }
            let sources = vec![network.sources(&rows, frames)?.remove(0); batch];
            figures.extend(step(plan, &case, decoder, &sources)?);
        }
        figures.extend(plan.time(&format!("speech/whole/{seconds}s"), "ms", ms, || {
            let rows = [mel.compute(pcm, frames)];
            let sources = network.sources(&rows, frames)?;
            let mut text = Text::start(decoder, &sources, &[PROMPT.to_vec()])?;
            (1..tokens).try_for_each(|_| text.step(decoder))?;
            Ok(text.tokens.remove(0))
        })?);
        if seconds == LONG && plan.wants("speech/tokens") {
            let mut text = Text::start(decoder, &network.sources(&rows, frames)?, &[PROMPT.to_vec()])?;
            (1..tokens).try_for_each(|_| text.step(decoder))?;
            figures.push(Figure::of_tokens("speech/tokens", text.tokens));
        }
    }
    Ok(figures)
}

/// One step of a batch: a text of some tokens, less a shorter one.
fn step(plan: &Plan, case: &str, decoder: &Decoder, sources: &[Source]) -> Result<Option<Figure>, ModelError> {
    let prompts = vec![PROMPT.to_vec(); sources.len()];
    let per_token = |seconds: f64| ms(seconds) / (STEPS.1 - STEPS.0) as f64;
    let time = |tokens: usize| {
        plan.time(case, "ms/token", per_token, || {
            let mut text = Text::start(decoder, sources, &prompts)?;
            (1..tokens).try_for_each(|_| text.step(decoder))?;
            Ok(Vec::new())
        })
    };
    let (short, long) = (time(STEPS.0)?, time(STEPS.1)?);
    let less = |long: Figure, short: Figure| Figure {
        best: (long.best - short.best).max(0.0),
        median: (long.median - short.median).max(0.0),
        ..long
    };
    Ok(long.zip(short).map(|(long, short)| less(long, short)))
}

/// Translation: tokens a second, alone and in a batch. The directory's `rows.json` holds the source rows, lists of token
/// numbers without the end token.
///
/// # Errors
/// When the model cannot be loaded, or the computation fails.
pub fn translation(plan: &Plan, dir: &Path) -> Result<Vec<Figure>, ModelError> {
    let compute = Compute::open(&plan.engine)?;
    let directory = ModelDirectory::open(dir)?;
    let network = Marian::load(&directory, &compute)?;
    let end = network.config().eos_token_id;
    let start = network.config().start();
    let mut rows: Vec<Vec<u32>> = directory.json("rows.json")?;
    rows.iter_mut().for_each(|row| row.push(end));
    on_threads(plan, &compute, || {
        let decoder = network.decoder();
        let mut figures = Vec::new();
        for batch in [1, 16] {
            let rows = &rows[..batch.min(rows.len())];
            let per_second = |s: f64| (batch * TEXT_TOKENS) as f64 / s;
            let texts = || -> Result<Vec<Vec<u32>>, ModelError> {
                let sources = network.sources(rows)?;
                let mut text = Text::start(decoder, &sources, &vec![vec![start]; rows.len()])?;
                (1..TEXT_TOKENS).try_for_each(|_| text.step(decoder))?;
                Ok(text.tokens)
            };
            let case = format!("translation/b{batch}");
            figures.extend(plan.time(&case, "tokens/s", per_second, || Ok(texts()?.remove(0)))?);
            let rules = Rules::new(decoder, end, &[end, network.config().pad_token_id], &[])?;
            let beams = || beams(&network, &rules, rows, start);
            figures.extend(plan.time(&format!("{case}/beam{BEAMS}"), "tokens/s", per_second, beams)?);
            if batch > 1 && plan.wants("translation/tokens") {
                figures.push(Figure::of_tokens("translation/tokens", texts()?));
            }
        }
        Ok(figures)
    })
}

/// Texts of a fixed length by beam search: the end is out of reach.
fn beams(network: &Marian, rules: &Rules, rows: &[Vec<u32>], start: u32) -> Result<Vec<u32>, ModelError> {
    let task = Task {
        prompt: vec![start],
        fresh: true,
        limit: TEXT_TOKENS,
        strategy: Strategy::Beam { length_penalty: 1.0 },
        timestamps: false,
        probe: None,
        bias: None,
        text_from: 0,
    };
    let requests = network.sources(rows)?.into_iter().enumerate().map(|(i, source)| (i, source, task.clone()));
    let mut decoding = Decoding::new(BEAMS);
    let mut done = decoding.admit(network.decoder(), rules, requests.collect())?;
    while !decoding.is_empty() {
        done.extend(decoding.step(network.decoder(), rules)?);
    }
    Ok(done.into_iter().flat_map(|(_, text)| text.tokens).collect())
}

fn on_threads<T: Send>(plan: &Plan, compute: &Compute, work: impl FnOnce() -> T + Send) -> T {
    if compute.host_precision().is_none() {
        return work(); // A GPU's queue of work belongs to this thread.
    }
    Arc::new(Threads::new(plan.engine.thread_count())).run(work)
}

/// Texts decoded greedily that never end.
struct Text {
    batch: crate::decoder::Batch,
    tokens: Vec<Vec<u32>>,
}

impl Text {
    /// The first token of each.
    fn start(decoder: &Decoder, sources: &[Source], prompts: &[Vec<u32>]) -> Result<Self, ModelError> {
        let mut batch = decoder.batch(sources)?;
        let hidden = decoder.forward(prompts, &mut batch)?;
        let hidden = crate::decoder::pick_last(&hidden, prompts)?;
        let tokens = best(decoder, decoder.scores(&hidden)?)?;
        Ok(Self { batch, tokens: tokens.into_iter().map(|token| vec![token]).collect() })
    }

    fn step(&mut self, decoder: &Decoder) -> Result<(), ModelError> {
        let last: Vec<Vec<u32>> =
            self.tokens.iter().map(|text| text.last().map(|token| vec![*token]).unwrap_or_default()).collect();
        let hidden = decoder.forward(&last, &mut self.batch)?;
        let next = best(decoder, decoder.scores(&hidden)?)?;
        self.tokens.iter_mut().zip(next).for_each(|(text, token)| text.push(token));
        Ok(())
    }
}

fn best(decoder: &Decoder, scores: Scores) -> Result<Vec<u32>, ModelError> {
    match scores {
        Scores::Host(mut scores) => {
            Ok(kernels::best_of(&mut scores, decoder.vocabulary(), &[]).iter().map(|best| best.id).collect())
        }
        Scores::Device(scores) => {
            Ok(host::values(&scores.argmax(candle_core::D::Minus1)?)?.iter().map(|id| *id as u32).collect())
        }
    }
}
