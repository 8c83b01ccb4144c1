//! From decoded tokens to the answer a caller gets.

use std::ops::Range;

use super::SpeechModel;
use super::jobs::Job;
use super::request::{SpeechHypothesis, TimedText};
use crate::alignment::{POSITION_MS, TokenText, most_attended, token_times, words};
use crate::decode::Decoded;
use crate::decode::quality::{Measures, Verdict, compression_ratio, verdict};
use crate::decode::timestamps::segments;
use crate::decoder::{Watch, pick};
use crate::error::ModelError;
use crate::mel::SAMPLE_RATE;

/// Samples of an encoder position.
const POSITION_SAMPLES: usize = SAMPLE_RATE * POSITION_MS as usize / 1000;

impl SpeechModel {
    pub(super) fn hypothesis(&self, job: &Job, decoded: &Decoded) -> Result<SpeechHypothesis, ModelError> {
        let text = self.tokens.text(&decoded.tokens)?;
        let mut hypothesis = SpeechHypothesis {
            compression_ratio: compression_ratio(&text),
            text,
            language: job.language.clone(),
            language_probability: job.language_probability,
            avg_logprob: decoded.avg_logprob,
            no_speech_prob: decoded.probed,
            temperature: job.temperature,
            truncated: decoded.truncated,
            ..SpeechHypothesis::default()
        };
        if let Some(first) = self.rules.first_timestamp().filter(|_| job.request.timestamps) {
            let window = job.source.length() as u32 * POSITION_MS;
            for segment in segments(&decoded.tokens, first, window) {
                let text = self.tokens.text(&decoded.tokens[segment.tokens])?;
                hypothesis.segments.push(TimedText { start_ms: segment.start_ms, end_ms: segment.end_ms, text });
            }
        }
        Ok(hypothesis)
    }

    /// The temperature to try next where the text is not to be kept.
    pub(super) fn next_temperature(&self, job: &Job, hypothesis: &SpeechHypothesis) -> Option<f32> {
        let next = self.options.fallback.get(job.attempts).copied()?;
        let measures = Measures {
            compression_ratio: hypothesis.compression_ratio,
            average_logprob: hypothesis.avg_logprob,
            no_speech: hypothesis.no_speech_prob,
        };
        matches!(verdict(&measures, &self.options.thresholds), Verdict::Retry(_)).then_some(next)
    }

    /// Adds the words' times where they are asked for: the whole text, prefix included, is run once more, all at once,
    /// and the attention of the heads that follow the audio is read off. The same pass tells how probable the prefix
    /// is.
    pub(super) fn aligned(
        &self,
        job: &Job,
        decoded: &Decoded,
        mut hypothesis: SpeechHypothesis,
    ) -> Result<SpeechHypothesis, ModelError> {
        let timestamp = |id: &u32| self.rules.first_timestamp().is_some_and(|first| *id >= first);
        let prefix = &job.prompt[job.text_from..];
        let spoken = decoded.tokens.iter().zip(&decoded.logprobs).filter(|(id, _)| !timestamp(id));
        let (spoken, spoken_logprobs): (Vec<u32>, Vec<f32>) = spoken.unzip();
        let tokens = [prefix, &spoken].concat();
        if !job.request.words || tokens.is_empty() {
            return Ok(hypothesis);
        }
        let decoder = self.network.decoder();
        let mut whole = [&job.prompt, spoken.as_slice()].concat();
        whole.truncate(decoder.max_positions());
        let mut watch = Watch::new(&self.alignment_heads);
        let mut batch = decoder.batch(std::slice::from_ref(&job.source))?;
        let hidden = decoder.forward_watched(&[whole], &mut batch, Some(&mut watch))?;
        // What chose a token is the position before it.
        let first = job.text_from - 1;
        let mut logprobs = Vec::new();
        if !prefix.is_empty() {
            let places: Vec<usize> = (first..first + prefix.len()).collect();
            logprobs = self.rules.logprobs(decoder, &pick(&hidden, &places)?, prefix)?;
        }
        logprobs.extend(spoken_logprobs);
        let (times, looked) = self.times(job, &watch, first..first + tokens.len() + 1);
        let piece = |((token, logprob), attended): ((&u32, &f32), &u32)| TokenText {
            bytes: self.tokens.bytes(*token),
            probability: logprob.exp(),
            attended: *attended,
        };
        let pieces: Vec<TokenText> = tokens.iter().zip(&logprobs).zip(&looked).map(piece).collect();
        hypothesis.words = words(&pieces, &times, &job.language);
        let of_prefix = hypothesis.words.iter().take_while(|word| word.end_token <= prefix.len());
        hypothesis.prefix_words = of_prefix.count();
        Ok(hypothesis)
    }

    /// Of these rows of attention: the position each begins at, and the one it looks at most. The last is the end's.
    fn times(&self, job: &Job, watch: &Watch, rows: Range<usize>) -> (Vec<u32>, Vec<u32>) {
        // Behind the audio there is only padding.
        let positions = job.source.length();
        let spoken = (job.request.pcm.len() / POSITION_SAMPLES).clamp(1, positions);
        let crop = |shares: &Vec<f32>| -> Vec<f32> {
            let rows = shares.chunks_exact(positions).skip(rows.start).take(rows.len());
            rows.flat_map(|row| &row[..spoken]).copied().collect()
        };
        let heads: Vec<Vec<f32>> = watch.shares.iter().map(crop).collect();
        // The last token may lie beyond the model's last position.
        let known = heads.first().map_or(0, |head| head.len() / spoken);
        let mut times = token_times(&heads, known, spoken);
        times.resize(rows.len(), spoken as u32);
        let mut looked: Vec<u32> = most_attended(&heads, known, spoken).iter().map(|row| row.position).collect();
        looked.resize(rows.len(), spoken as u32 - 1);
        (times, looked)
    }
}
