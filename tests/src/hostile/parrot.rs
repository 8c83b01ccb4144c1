//! A worker without a model: it answers every speech job at once, and says which milliseconds it heard.

use std::{sync::Arc, time::Duration};

use shared::{
    bus::{Bus, BusError, Delivery, Effects, Finished, Guard, Publish},
    jobs::{self, AUDIO_JOBS, JobKind, Published, SESSION_TTL, STT_GROUP, SessionEvent, SpeechJob},
    wire::Caption,
};
use tokio::{task::JoinHandle, time::sleep};

/// Jobs taken at once.
const BATCH: usize = 32;
const BLOCK: Duration = Duration::from_millis(200);

/// Answers until it is aborted. Behind what was heard stand `padding` characters more.
#[must_use]
pub fn answer(bus: Arc<dyn Bus>, padding: usize) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            // It only ends when the bus is away.
            drop(serve(bus.as_ref(), padding).await);
            sleep(BLOCK).await;
        }
    })
}

async fn serve(bus: &dyn Bus, padding: usize) -> Result<(), BusError> {
    let mut reader = bus.group_reader(AUDIO_JOBS, STT_GROUP, "parrot").await?;
    loop {
        // What was delivered while the bus went away stays pending, as with a worker that died.
        for job in bus.reclaim(AUDIO_JOBS, STT_GROUP, "parrot", jobs::LEASE, BATCH).await?.deliveries {
            finish(bus, &job, padding).await?;
        }
        for job in reader.next(BATCH, BLOCK).await? {
            finish(bus, &job, padding).await?;
        }
    }
}

async fn finish(bus: &dyn Bus, delivery: &Delivery, padding: usize) -> Result<(), BusError> {
    let Ok(job) = jobs::decode::<SpeechJob>(&delivery.payload) else { return Ok(()) };
    let guard = Guard {
        key: jobs::revision_key(job.session, job.utterance),
        expected: Some(job.revision.to_string().into_bytes().into()),
    };
    let payload = jobs::encode(&says(&job, padding)).unwrap_or_default();
    let publish = Publish { stream: jobs::event_stream(job.session), payload, ttl: SESSION_TTL };
    let effects = Effects { guard: Some(guard), publish: vec![publish], ..Effects::default() };
    if bus.finish(delivery, effects).await? == Finished::GuardFailed {
        bus.finish(delivery, Effects::default()).await?;
    }
    Ok(())
}

fn says(job: &SpeechJob, padding: usize) -> Published {
    let heard = format!("{}-{}{}", job.start_ms, job.end_ms, " la".repeat(padding / 3));
    let is_final = job.kind == JobKind::Final;
    let (committed, tail) = if is_final { (heard, String::new()) } else { (String::new(), heard) };
    let caption = Caption {
        utterance: job.utterance,
        revision: job.revision,
        start_ms: job.start_ms,
        end_ms: job.end_ms,
        language: "en".parse().unwrap_or_else(|error| panic!("{error}")),
        language_probability: None,
        committed,
        tail,
        words: Vec::new(),
        is_final,
    };
    let event = SessionEvent::Caption { caption, hidden: String::new(), committed_end_ms: None, reset: false };
    Published { event, trace_parent: String::new() }
}
