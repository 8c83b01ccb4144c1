//! The life of a translation-worker: made, run until told to stop, drained.

use std::sync::{Arc, Mutex};

use prometheus::Registry;
use shared::{
    bus::Bus,
    consumer::{Consumer, ConsumerMetrics},
    health::Health,
    jobs::{MT_GROUP, TRANSLATION_JOBS},
    role_process::{Fault, until_broken},
    shutdown::CancellationToken,
};

use crate::{config::TranslationConfig, handler::TranslationHandler, routes::Routes};

/// A worker of the group [`MT_GROUP`].
#[derive(Debug)]
pub struct TranslationWorker {
    consumer: Consumer,
    handler: Arc<TranslationHandler>,
}

impl TranslationWorker {
    /// A worker that has not taken any job yet. It keeps the component `bus` of `health`; its metrics bear the label
    /// `stream="translation_jobs"`.
    ///
    /// # Errors
    /// When `registry` already holds the metrics of a translation-worker.
    pub fn new(
        config: &TranslationConfig,
        bus: Arc<dyn Bus>,
        routes: Routes,
        health: Health,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let handler = TranslationHandler { bus: Arc::clone(&bus), routes, missing: Mutex::default() };
        let consumer = Consumer {
            bus,
            stream: TRANSLATION_JOBS,
            group: MT_GROUP,
            name: config.name.clone(),
            // One batch on the model and one that waits for it: reading more would only keep jobs from other workers.
            max_in_flight: config.max_batch * 2,
            drain: config.drain,
            health,
            metrics: ConsumerMetrics::register(registry, TRANSLATION_JOBS, MT_GROUP)?,
        };
        Ok(Self { consumer, handler: Arc::new(handler) })
    }

    /// Works until `shutdown`, then finishes what is in hand within the drain deadline. Dropping the future instead
    /// is as good as a crash: nothing is lost, another worker takes over after a lease.
    ///
    /// # Errors
    /// [`Fault::Device`] when a model broke: it is no longer ready, and its jobs are left to others.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Fault> {
        tracing::info!(consumer = self.consumer.name, pairs = ?self.handler.routes.pairs(), "translation-worker takes jobs");
        let (handler, health) = (Arc::clone(&self.handler), self.consumer.health.clone());
        let work = |stop| self.consumer.run(self.handler, stop);
        let outcome = until_broken(&health, &shutdown, work, handler.routes.broken()).await;
        tracing::info!("translation-worker stopped");
        outcome
    }
}
