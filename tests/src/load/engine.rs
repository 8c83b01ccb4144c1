//! Speech workers that answer at once, so that a gateway's own cost can be seen: the code of the real worker (leases,
//! policy, finish) around a model that only measures how long the audio is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use prometheus::Registry;
use shared::{audio::SAMPLE_RATE, bus::RedisBus, consumer::BUS, health::Health, shutdown::CancellationToken};
use stt_worker::{
    SttConfig, SttWorker, Transcriber,
    transcriber::{SpeechHypothesis, SpeechRequest, TranscribeError},
};

/// A word is so long: about three a second are spoken.
const WORD: Duration = Duration::from_millis(350);
/// The words, again and again.
const WORDS: [&str; 12] =
    ["the", "river", "carries", "small", "boats", "past", "seven", "quiet", "towns", "before", "evening", "comes."];
/// Jobs in hand at once: many more than a model takes, for nobody computes here.
const BATCH: usize = 128;

/// Hears one word every [`WORD`], whatever is said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metronome;

#[async_trait]
impl Transcriber for Metronome {
    async fn transcribe(&self, request: SpeechRequest) -> Result<SpeechHypothesis, TranscribeError> {
        let heard = request.pcm.len() as f64 / f64::from(SAMPLE_RATE) / WORD.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few dozen")]
        let heard = heard as usize;
        let known = request.prefix.split_whitespace().count();
        let text: String = (known..heard).map(|n| format!(" {}", WORDS[n % WORDS.len()])).collect();
        Ok(SpeechHypothesis {
            text,
            language: request.language.unwrap_or_else(|| "en".to_owned()),
            language_probability: 1.0,
            compression_ratio: 1.0,
            ..SpeechHypothesis::default()
        })
    }

    fn window_samples(&self) -> usize {
        SAMPLE_RATE as usize * 30
    }
}

/// A worker on the Redis at `url`, until `shutdown`.
///
/// # Errors
/// When there is no Redis.
pub async fn serve(url: &str, shutdown: CancellationToken) -> anyhow::Result<()> {
    let registry = Registry::new();
    let bus = Arc::new(RedisBus::connect(url).await?);
    let health = Health::new("stt-worker", &[BUS], registry.clone());
    let config = SttConfig { max_batch: BATCH, ..SttConfig::of_model("no model".into()) };
    SttWorker::new(&config, bus, Arc::new(Metronome), health, &registry)?.run(shutdown).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_on_behind_what_is_known() {
        let heard = |seconds: usize, prefix: &str| {
            let request = SpeechRequest {
                pcm: vec![0.0; seconds * SAMPLE_RATE as usize],
                prefix: prefix.to_owned(),
                ..SpeechRequest::default()
            };
            async move { Metronome.transcribe(request).await.unwrap().text }
        };
        assert_eq!(heard(1, "").await, " the river");
        assert_eq!(heard(2, "the river").await, " carries small boats");
        assert_eq!(heard(1, "the river carries small").await, "");
    }
}
