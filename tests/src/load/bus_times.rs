//! A gateway's delays, as the bus saw them: every entry bears the millisecond in which it was appended, by a clock that all
//! processes of a machine share.
//!
//! - From a frame to a job: the client noted when it sent the frame with the last audio that a partial job is about; the
//!   job's id says when workers could read it.
//! - From an answer to the wire: the id of a caption event says when it was published; the client noted when it came.
//!
//! An id has whole milliseconds, so each time is taken to the end of its millisecond: what is told is never too low.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::Deserialize;
use shared::{
    bus::{Bus, BusError, EntryId},
    ids::{Revision, SessionId, UtteranceId},
    jobs::{self, AUDIO_JOBS, JobKind, Published, SessionEvent, event_stream},
    shutdown::CancellationToken,
};
use tokio::time::sleep;

use super::{
    client::{Session, now_us},
    spread::Spread,
};

/// How often new jobs are read: before they are removed from the stream, and not so many that it would hold up Redis.
const POLL: Duration = Duration::from_millis(50);
/// Most that is read at once.
const PAGE: usize = 500;
const LAST: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

/// The part of a job that is of interest.
#[derive(Deserialize)]
struct Asked {
    session: SessionId,
    kind: JobKind,
    end_ms: u64,
}

fn known(sessions: &[Session]) -> HashMap<SessionId, Session> {
    let watched = sessions.iter().filter(|session| session.log().seen.is_some());
    watched.filter_map(|session| Some((session.log().session?, session.clone()))).collect()
}

/// From the sending of a frame to the job that it led to, of the watched `sessions`, until `stop`.
///
/// # Errors
/// When the bus does not answer.
pub async fn frames_to_jobs(
    bus: Arc<dyn Bus>,
    sessions: Vec<Session>,
    stop: CancellationToken,
) -> Result<Spread, BusError> {
    let watched = known(&sessions);
    let mut after = EntryId { ms: now_us() / 1000, seq: 0 };
    let mut times = Vec::new();
    while !stop.is_cancelled() {
        let entries = bus.range(AUDIO_JOBS, after, LAST, PAGE).await?;
        after = entries.last().map_or(after, |entry| entry.id);
        let full = entries.len() == PAGE;
        for entry in entries {
            let Ok(job) = jobs::decode::<Asked>(&entry.payload) else { continue };
            let Some(session) = watched.get(&job.session).filter(|_| job.kind == JobKind::Partial) else { continue };
            if let Some(sent) = session.log().sent_at(heard_at(job.end_ms)) {
                times.push(micros((entry.id.ms + 1) * 1000, sent));
            }
        }
        if !full {
            sleep(POLL).await;
        }
    }
    Ok(Spread::of(times))
}

/// The detector takes frames of 16 ms: it has heard what ends at `end_ms` when the one with it is whole.
fn heard_at(end_ms: u64) -> u64 {
    end_ms.next_multiple_of(16)
}

fn micros(later: u64, earlier: u64) -> u32 {
    u32::try_from(later.saturating_sub(earlier)).unwrap_or(u32::MAX)
}

/// From the publishing of a caption event to its arrival at the client, of the watched `sessions`, from the moment
/// `from_us` (microseconds since the Unix epoch) on.
///
/// # Errors
/// When the bus does not answer.
pub async fn events_to_wire(bus: &dyn Bus, sessions: &[Session], from_us: u64) -> Result<Spread, BusError> {
    let mut times = Vec::new();
    for (id, session) in known(sessions) {
        let mut published: HashMap<(UtteranceId, Revision), u64> = HashMap::new();
        let mut after = EntryId { ms: from_us / 1000, seq: 0 };
        loop {
            let entries = bus.range(&event_stream(id), after, LAST, PAGE).await?;
            let Some(newest) = entries.last() else { break };
            after = newest.id;
            for entry in entries {
                let event = jobs::decode::<Published>(&entry.payload).map(|published| published.event);
                if let Ok(SessionEvent::Caption { caption, .. }) = event {
                    published.insert((caption.utterance, caption.revision), entry.id.ms * 1000);
                }
            }
        }
        for seen in session.log().seen.iter().flatten() {
            if let Some(at) = published.get(&(seen.utterance, seen.revision)) {
                times.push(micros(seen.at_us, *at));
            }
        }
    }
    Ok(Spread::of(times))
}
