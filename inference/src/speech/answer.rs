//! From decoded tokens to the answer a caller gets.

use super::SpeechModel;
use super::jobs::Job;
use super::request::{SpeechHypothesis, TimedText};
use crate::alignment::{POSITION_MS, TokenText, most_attended, token_times, words};
use crate::decode::Decoded;
use crate::decode::quality::{Measures, Verdict, compression_ratio, verdict};
use crate::decode::timestamps::segments;
use crate::decoder::Watch;
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

    /// Adds the words' times where they are asked for: the text is run once more, all at once, and the attention of the
    /// heads that follow the audio is read off.
    pub(super) fn aligned(
        &self,
        job: &Job,
        decoded: &Decoded,
        mut hypothesis: SpeechHypothesis,
    ) -> Result<SpeechHypothesis, ModelError> {
        let timestamp = |id: &u32| self.rules.first_timestamp().is_some_and(|first| *id >= first);
        let spoken: Vec<usize> = (0..decoded.tokens.len()).filter(|i| !timestamp(&decoded.tokens[*i])).collect();
        if !job.request.words || spoken.is_empty() {
            return Ok(hypothesis);
        }
        let decoder = self.network.decoder();
        let tokens: Vec<u32> = spoken.iter().map(|i| decoded.tokens[*i]).collect();
        let mut whole = job.prompt.clone();
        whole.extend(&tokens);
        whole.truncate(decoder.max_positions());
        let mut watch = Watch::new(&self.alignment_heads);
        decoder.forward_watched(&[whole], &mut decoder.batch(std::slice::from_ref(&job.source))?, Some(&mut watch))?;
        // The attention that chose a token is that of the position before it. Behind the audio there is only padding.
        let positions = job.source.length();
        let spoken_positions = (job.request.pcm.len() / POSITION_SAMPLES).clamp(1, positions);
        let first = job.prompt.len() - 1;
        let crop = |shares: &Vec<f32>| -> Vec<f32> {
            let rows = shares.chunks_exact(positions).skip(first).take(tokens.len() + 1);
            rows.flat_map(|row| &row[..spoken_positions]).copied().collect()
        };
        let heads: Vec<Vec<f32>> = watch.shares.iter().map(crop).collect();
        let rows = heads.first().map_or(0, |head| head.len() / spoken_positions);
        let mut times = token_times(&heads, rows, spoken_positions);
        times.resize(tokens.len() + 1, spoken_positions as u32);
        let piece = |(token, i): (&u32, &usize)| TokenText {
            bytes: self.tokens.bytes(*token),
            probability: decoded.logprobs.get(*i).map_or(0.0, |logprob| logprob.exp()),
        };
        let pieces: Vec<TokenText> = tokens.iter().zip(&spoken).map(piece).collect();
        hypothesis.words = words(&pieces, &times, &job.language);
        let looked = most_attended(&heads, rows, spoken_positions).into_iter().take(tokens.len());
        hypothesis.attended = looked.map(|row| row.position).collect();
        Ok(hypothesis)
    }
}
