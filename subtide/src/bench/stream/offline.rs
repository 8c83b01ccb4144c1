//! The same audio, decoded at once instead of as it was spoken: what streaming costs in words.

use std::collections::BTreeMap;

use gateway::segment::Resampler;
use inference::speech::{SpeechModel, SpeechOptions, SpeechRequest};
use serde_json::{Value, json};
use shared::{
    audio::SAMPLES_PER_MS,
    ids::UtteranceId,
    language::{Language, Source},
};
use stt_worker::SttConfig;

use super::{
    corpus::{Loaded, Reference},
    play::Played,
    recognition::Recognition,
    view::{self, Shown, View, Views},
    word_errors::WordErrors,
};

/// Audio around a sentence of the reference.
const AROUND_MS: u64 = 200;
/// Stretches decoded together.
const BATCH: usize = 8;

/// A session, as far as its audio is decoded again.
#[derive(Debug)]
pub(super) struct Session {
    recording: usize,
    reference: Reference,
    captions: Views,
}

/// Word errors of the same recordings, decoded in three ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ways {
    /// The final captions, streamed.
    pub(super) streamed: WordErrors,
    /// The gateway's utterances, each decoded at once.
    pub(super) utterances: WordErrors,
    /// The sentences of the reference, each decoded at once.
    pub(super) sentences: WordErrors,
}

/// By group, and all together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offline {
    /// By group.
    pub(super) groups: BTreeMap<String, Ways>,
    /// All together.
    pub(super) total: Ways,
}

impl Session {
    /// What is needed of `played`.
    pub(super) fn of(played: &Played) -> Self {
        let captions = view::captions(&played.arrivals);
        Self { recording: played.recording, reference: played.reference.clone(), captions }
    }
}

impl Ways {
    fn add(&mut self, other: &Self) {
        self.streamed.add(other.streamed);
        self.utterances.add(other.utterances);
        self.sentences.add(other.sentences);
    }

    /// By how much streaming is worse, as a share of the words.
    pub(super) fn worse(&self) -> Option<f64> {
        Some(self.streamed.rate()? - self.utterances.rate()?)
    }

    fn json(&self) -> Value {
        json!({
            "wer_streamed": self.streamed.rate(),
            "wer_offline": self.utterances.rate(),
            "wer_offline_sentences": self.sentences.rate(),
            "wer_streamed_minus_offline": self.worse(),
        })
    }
}

impl Offline {
    /// For machines.
    pub(super) fn json(&self) -> Value {
        let groups: BTreeMap<&String, Value> = self.groups.iter().map(|(group, ways)| (group, ways.json())).collect();
        json!({ "groups": groups, "total": self.total.json() })
    }
}

/// Decodes the audio of `sessions` greedily, without context and without a prefix. Blocks.
///
/// # Errors
/// When the model cannot be loaded or cannot compute.
pub(super) fn decode(config: &SttConfig, recordings: &[Loaded], sessions: &[Session]) -> anyhow::Result<Offline> {
    let mut model = SpeechModel::load(&config.model_dir, &config.engine, SpeechOptions::default())?;
    let mut found = Offline::default();
    for session in sessions.iter().filter(|session| session.reference.speech) {
        let Session { recording, reference, captions } = session;
        let pcm = samples(&recordings[*recording])?;
        let stretches: Vec<_> = captions.values().map(|view| (view.start_ms, view.end_ms)).collect();
        let language = language(&reference.source());
        let utterances = hear(&mut model, &pcm, &stretches, |_| language.clone())?;
        let around = |n: usize| {
            let sentence = &reference.utterances[n];
            (sentence.start_ms.saturating_sub(AROUND_MS), sentence.end_ms + AROUND_MS)
        };
        let stretches: Vec<_> = (0..reference.utterances.len()).map(around).collect();
        let sentences =
            hear(&mut model, &pcm, &stretches, |n| Some(reference.utterances[n].language.primary().to_owned()))?;
        let errors = |views: &Views| Recognition::of(reference, views).errors();
        let ways = Ways { streamed: errors(captions), utterances: errors(&utterances), sentences: errors(&sentences) };
        found.total.add(&ways);
        found.groups.entry(reference.group.clone()).or_default().add(&ways);
    }
    Ok(found)
}

fn language(source: &Source) -> Option<String> {
    match source {
        Source::Auto => None,
        Source::Language(language) => Some(Language::primary(language).to_owned()),
    }
}

/// The sound as the worker gets it: 16 kHz mono, -1 to 1.
fn samples(loaded: &Loaded) -> anyhow::Result<Vec<f32>> {
    let mut resampler = Resampler::new(loaded.format.sample_rate, loaded.format.channels)?;
    let mut samples = Vec::new();
    resampler.push(&loaded.pcm, &mut samples);
    resampler.flush(&mut samples);
    Ok(samples.into_iter().map(|sample| f32::from(sample) / 32_768.0).collect())
}

/// Decodes `stretches` (milliseconds) of `pcm`; what is longer than the model's window, in even pieces.
fn hear(
    model: &mut SpeechModel,
    pcm: &[f32],
    stretches: &[(u64, u64)],
    language: impl Fn(usize) -> Option<String>,
) -> anyhow::Result<Views> {
    let mut requests = Vec::new();
    for (n, (start, end)) in stretches.iter().enumerate() {
        let at = |ms: u64| usize::try_from(ms * SAMPLES_PER_MS).unwrap_or(usize::MAX).min(pcm.len());
        let sound = &pcm[at(*start)..at((*end).max(*start))];
        let pieces = sound.len().div_ceil(model.window_samples()).max(1);
        for piece in sound.chunks(sound.len().div_ceil(pieces).max(1)) {
            let pcm = piece.to_vec();
            // What the model does not know it hears as what it does know, as it does live with `auto`.
            let language = language(n).filter(|language| model.languages().contains(language));
            requests.push((n, SpeechRequest { pcm, language, ..SpeechRequest::default() }));
        }
    }
    let mut texts = vec![String::new(); stretches.len()];
    for batch in requests.chunks(BATCH) {
        let asked: Vec<SpeechRequest> = batch.iter().map(|(_, request)| request.clone()).collect();
        for ((n, _), heard) in batch.iter().zip(model.transcribe(&asked)?) {
            texts[*n].push(' ');
            texts[*n].push_str(&heard.text);
        }
    }
    let view = |(n, text): (usize, String)| {
        let (start_ms, end_ms) = stretches[n];
        let shown = Shown { at_ms: end_ms, audio_ms: end_ms, committed: text, tail: String::new(), is_final: true };
        (UtteranceId(n as u32), View { start_ms, end_ms, shown: vec![shown] })
    };
    Ok(texts.into_iter().enumerate().map(view).collect())
}
