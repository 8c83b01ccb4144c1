//! The life of an stt-worker: made, run until told to stop, drained.

use std::sync::Arc;

use prometheus::Registry;
use shared::{
    bus::Bus,
    consumer::{Consumer, ConsumerMetrics},
    health::Health,
    jobs::{AUDIO_JOBS, STT_GROUP},
    role_process::{Fault, until_broken},
    shutdown::CancellationToken,
};

use crate::{
    config::SttConfig,
    handler::SpeechHandler,
    hear::Ears,
    metrics::JudgedMetrics,
    pcm::{AudioReader, CACHE_BYTES},
    transcriber::Transcriber,
};

/// A worker of the group [`STT_GROUP`].
#[derive(Debug)]
pub struct SttWorker {
    consumer: Consumer,
    handler: Arc<SpeechHandler>,
}

impl SttWorker {
    /// A worker that has not taken any job yet. It keeps the component `bus` of `health`; its metrics bear the label
    /// `stream="audio_jobs"`.
    ///
    /// # Errors
    /// When `registry` already holds the metrics of an stt-worker.
    pub fn new(
        config: &SttConfig,
        bus: Arc<dyn Bus>,
        transcriber: Arc<dyn Transcriber>,
        health: Health,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let (policy, judged) = (config.policy.build(), JudgedMetrics::register(registry)?);
        let handler = SpeechHandler {
            bus: Arc::clone(&bus),
            ears: Ears { transcriber, context: config.context, words: policy.needs_words(), judged },
            policy,
            audio: AudioReader::new(Arc::clone(&bus), CACHE_BYTES),
        };
        let consumer = Consumer {
            bus,
            stream: AUDIO_JOBS,
            group: STT_GROUP,
            name: config.name.clone(),
            // One batch on the model and one that waits for it: reading more would only keep jobs from other workers.
            max_in_flight: config.max_batch * 2,
            drain: config.drain,
            health,
            metrics: ConsumerMetrics::register(registry, AUDIO_JOBS, STT_GROUP)?,
        };
        Ok(Self { consumer, handler: Arc::new(handler) })
    }

    /// Works until `shutdown`, then finishes what is in hand within the drain deadline. Dropping the future instead
    /// is as good as a crash: nothing is lost, another worker takes over after a lease.
    ///
    /// # Errors
    /// [`Fault::Device`] when the model broke: it is no longer ready, and its jobs are left to others.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Fault> {
        tracing::info!(consumer = self.consumer.name, "stt-worker takes jobs");
        let (transcriber, health) = (Arc::clone(&self.handler.ears.transcriber), self.consumer.health.clone());
        let work = |stop| self.consumer.run(self.handler, stop);
        let outcome = until_broken(&health, &shutdown, work, transcriber.broken()).await;
        tracing::info!("stt-worker stopped");
        outcome
    }
}
