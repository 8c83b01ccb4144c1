//! The end of each turn: what the session learnt is written down, and only then is it said.
//!
//! A client never sees what a gateway that goes on for this one would not know: utterances, finals, committed text and
//! acknowledgements are on the bus before they are on the wire. All of a turn is one atomic step, which does nothing when
//! another gateway has taken the session over.

use std::{
    mem,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use shared::{
    bus::{Effects, EntryId, Guard, Produce, Publish, StateWrite},
    jobs::{self, JobKind, SESSION_TTL, SpeechJob},
    telemetry::Span,
    wire::{ErrorCode, Event, ServerMessage},
};

use super::{
    Session,
    end::{End, replaced},
    state::{Progress, StateView},
    store::Patience,
};
use crate::{
    dispatch::{Shown, Since, millis},
    socket::Outbox,
};

/// Whether a client that did not get this message must get it when it comes back.
fn must_not_be_missed(message: &ServerMessage) -> bool {
    match message {
        ServerMessage::SpeechStarted { .. } | ServerMessage::SpeechEnded { .. } | ServerMessage::Gap { .. } => true,
        ServerMessage::Caption(caption) => caption.is_final,
        ServerMessage::Translation(translation) => translation.is_final,
        _ => false,
    }
}

/// Whether a gateway that goes on for this one must know that it was said.
fn must_be_known(message: &ServerMessage) -> bool {
    must_not_be_missed(message) || matches!(message, ServerMessage::Ack { .. } | ServerMessage::Started { .. })
}

/// `wanted_for`: whatever becomes of this session, nobody waits for the answer any longer, and no worker decodes it.
fn produce(job: &SpeechJob, wanted_for: Duration) -> Result<Produce, serde_json::Error> {
    Ok(Produce {
        stream: jobs::AUDIO_JOBS.to_owned(),
        idempotency_key: format!("{}:{}:{}", job.session, job.utterance, job.revision),
        payload: jobs::encode(job)?,
        set: Some(StateWrite {
            key: jobs::revision_key(job.session, job.utterance),
            value: Bytes::from(job.revision.to_string()),
            ttl: wanted_for,
        }),
    })
}

fn unwritable(error: &serde_json::Error) -> End {
    End::Error(ErrorCode::Internal, format!("the session's state cannot be written: {error}"))
}

impl Session {
    /// To be said at the end of this turn.
    pub(super) fn say(&mut self, message: ServerMessage) {
        self.unsaid.push(message);
    }

    /// Asks for the decodes that are due, writes down what was learnt, then says what is to be said.
    pub(super) async fn turn(&mut self, outbox: &Outbox) -> Result<(), End> {
        let mut jobs = self.dispatch.due(Instant::now());
        if jobs.is_empty() && self.unsaid.is_empty() && !self.settings_changed && !self.dispatch.has_news() {
            return Ok(());
        }
        // What is taken out of memory here and does not reach the bus must not be written down later as if it had.
        self.torn = true;
        self.traces.asked(&mut jobs);
        let number = |message| {
            self.event += 1;
            Event { event: self.event, message }
        };
        let events: Vec<Event> = mem::take(&mut self.unsaid).into_iter().map(number).collect();
        let news = self.dispatch.take_grown()
            || mem::take(&mut self.settings_changed)
            || events.iter().any(|event| must_be_known(&event.message))
            || jobs.iter().any(|job| job.kind == JobKind::Final);
        let wanted_for = self.context.config.jobs_wanted_for();
        let produce = jobs
            .iter()
            .map(|job| produce(job, wanted_for))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| unwritable(&e))?;
        if news || !produce.is_empty() {
            let set = if news { self.state(SESSION_TTL)? } else { Vec::new() };
            let publish = self.log(&events)?;
            self.commit(Effects { guard: None, publish, produce, set }).await?;
        }
        self.torn = false;
        let (tally, closed) = (self.dispatch.take_tally(), self.dispatch.take_closed());
        // Asked for, whether or not the client is still there to see what comes of it.
        self.context.metrics.count_decodes(&tally);
        events.iter().for_each(|event| self.context.metrics.count_told(&event.message));
        let mut spans: Vec<Vec<Span>> = events.iter().map(|event| self.traces.said(&event.message)).collect();
        let ended = self.traces.closed(&closed);
        match spans.last_mut() {
            Some(with_the_last) => with_the_last.extend(ended),
            None => ended.into_iter().for_each(Span::end),
        }
        for (event, spans) in events.iter().zip(spans) {
            self.keep_text(&event.message);
            outbox.send_within(event, spans).await?;
        }
        self.observe(&tally.shown);
        if !closed.is_empty() {
            self.clean(&closed, Vec::new()).await;
        }
        Ok(())
    }

    /// How long it took until what is shown was said. What a client that went away did not get has no time.
    fn observe(&self, shown: &[Shown]) {
        let now = Instant::now();
        for Shown { stage, since } in shown {
            let since = match since {
                Since::Moment(then) => Some(*then),
                Since::Audio(to_ms) => self.arrivals.of(*to_ms),
            };
            if let Some(since) = since {
                self.context.metrics.stage(*stage).observe(now.duration_since(since).as_secs_f64());
            }
        }
    }

    /// Final texts go to the database, where the operator wants that.
    fn keep_text(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Caption(caption) if caption.is_final => {
                let language = caption.language.as_str();
                self.guest.keep_text(self.id, caption.utterance.0, language, None, &caption.committed);
                language.clone_into(&mut self.last_language);
            }
            // Its caption went out before it.
            ServerMessage::Translation(translation) if translation.is_final => {
                let (utterance, target) = (translation.utterance.0, translation.target.as_str());
                self.guest.keep_text(self.id, utterance, &self.last_language, Some(target), &translation.committed);
            }
            _ => {}
        }
    }

    fn log(&self, events: &[Event]) -> Result<Vec<Publish>, End> {
        let kept = events.iter().filter(|event| must_not_be_missed(&event.message));
        let publish = |event| {
            let payload = jobs::encode(event).map_err(|e| unwritable(&e))?;
            Ok(Publish { stream: jobs::log_stream(self.id), payload, ttl: SESSION_TTL })
        };
        kept.map(publish).collect()
    }

    /// All that is known of the session, to be written for `ttl`.
    pub(super) fn state(&mut self, ttl: Duration) -> Result<Vec<StateWrite>, End> {
        let written = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let progress = Progress {
            safe_ms: self.audio.safe_ms(),
            received_ms: self.audio.received_ms(),
            utterances: self.utterances,
            event: self.event,
            seen: self.seen,
            stopping: self.stopping,
            written: millis(written),
        };
        let view = StateView {
            founding: &self.founding,
            progress,
            dispatch: self.dispatch.memory(),
            traces: self.traces.memory(|utterance| self.dispatch.holds(utterance)),
        };
        let state = jobs::encode(&view).map_err(|e| unwritable(&e))?;
        let write = |key, value| StateWrite { key, value, ttl };
        let mut writes =
            vec![write(jobs::session_key(self.id), state), write(jobs::owner_key(self.id), self.owner.clone())];
        if self.settings_unwritten || ttl != SESSION_TTL || self.last_settings.elapsed() > SESSION_TTL / 3 {
            let settings = jobs::encode(self.dispatch.settings()).map_err(|e| unwritable(&e))?;
            writes.push(write(jobs::settings_key(self.id), settings));
            (self.settings_unwritten, self.last_settings) = (false, Instant::now());
        }
        Ok(writes)
    }

    /// What this session does has an effect only while this holds.
    pub(super) fn guard(&self) -> Guard {
        Guard { key: jobs::owner_key(self.id), expected: Some(self.owner.clone()) }
    }

    /// Carries out `effects` as the session's owner.
    pub(super) async fn commit(&mut self, effects: Effects) -> Result<(), End> {
        let effects = Effects { guard: Some(self.guard()), ..effects };
        let mut patience = Patience::new(self.id);
        loop {
            match self.context.bus.commit(effects.clone()).await {
                Ok(true) => return Ok(()),
                Ok(false) => self.own_again().await?,
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    /// Appends audio as the session's owner.
    pub(super) async fn append(&mut self, stream: &str, pcm: Bytes) -> Result<EntryId, End> {
        let (guard, token) = (self.guard(), rand::random());
        let mut patience = Patience::new(self.id);
        loop {
            match self.context.bus.append_if(stream, pcm.clone(), SESSION_TTL, Some(&guard), token).await {
                Ok(Some(entry)) => return Ok(entry),
                Ok(None) => self.own_again().await?,
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    /// The bus does not say that the session is ours: either another gateway has it, or the bus lost its memory.
    async fn own_again(&mut self) -> Result<(), End> {
        self.settings_unwritten = true;
        let guard = Some(Guard { key: jobs::owner_key(self.id), expected: None });
        let effects = Effects { guard, set: self.state(SESSION_TTL)?, ..Effects::default() };
        let mut patience = Patience::new(self.id);
        loop {
            match self.context.bus.commit(effects.clone()).await {
                Ok(true) => {
                    tracing::warn!(session = %self.id, "the bus had forgotten the session; it is written down again");
                    self.inbox.missed();
                    while let Err(error) = self.inbox.renew().await {
                        patience.wait(error).await?;
                    }
                    return Ok(());
                }
                // A reply that was lost may have been of a step that took place.
                Ok(false) => match self.context.bus.get(&jobs::owner_key(self.id)).await {
                    Ok(Some(owner)) if owner == self.owner => return Ok(()),
                    Ok(_) => return Err(replaced()),
                    Err(error) => patience.wait(error).await?,
                },
                Err(error) => patience.wait(error).await?,
            }
        }
    }
}
