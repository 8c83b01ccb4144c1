//! What a session takes in: frames of its client, answers of the workers.

use std::time::Instant;

use shared::{
    bus::Entry,
    jobs::{self, Published, SessionEvent},
    wire::{ClientMessage, ErrorCode},
};

use super::{
    Session,
    end::{End, bad_order, check_glossary, check_targets, distinct, parse, too_large},
    state::unquoted,
};
use crate::{dispatch::CommittedEnd, socket::Inbound};

impl Session {
    /// Takes in a frame that came `at` that moment.
    pub(super) async fn take_frame(&mut self, frame: Inbound, at: Instant) -> Result<(), End> {
        // It may have been held, and others came since.
        self.last_sign = self.last_sign.max(at);
        self.traces.frame();
        match frame {
            // The last part of a millisecond, which no `audio_ms` can tell.
            Inbound::Audio(_) if self.stopping && self.resumed => Ok(()),
            Inbound::Audio(_) if self.stopping => Err(bad_order("audio came after `stop`")),
            Inbound::Audio(bytes) => self.take_audio(&bytes, at).await,
            Inbound::Text(text) => match parse(&text)? {
                ClientMessage::Start(_) => Err(bad_order("a second `start` came; open a new connection for it")),
                ClientMessage::Update { source, targets, glossary } => {
                    check_targets(targets.as_ref().map_or(0, Vec::len))?;
                    check_glossary(glossary.as_deref().unwrap_or_default())?;
                    self.dispatch.change(|settings| {
                        settings.source = source.unwrap_or_else(|| settings.source.clone());
                        settings.targets = targets.map_or_else(|| settings.targets.clone(), distinct);
                        settings.glossary = glossary.unwrap_or_else(|| settings.glossary.clone());
                    });
                    (self.settings_changed, self.settings_unwritten) = (true, true);
                    Ok(())
                }
                ClientMessage::Finalize {} => self.finalize().await,
                ClientMessage::Stop {} => {
                    (self.stopping, self.settings_changed) = (true, true);
                    self.finalize().await
                }
                ClientMessage::Auth { token } => self.renew_token(&token).await,
            },
            Inbound::TooLarge(size) => Err(too_large(size)),
            Inbound::Pong => Ok(()),
            Inbound::Gone | Inbound::Closed => Err(End::Gone),
        }
    }

    async fn take_audio(&mut self, bytes: &[u8], at: Instant) -> Result<(), End> {
        self.last_audio = self.last_audio.max(at);
        let before = self.audio.received_ms();
        let steps = self.audio.push(bytes).map_err(|e| End::Error(ErrorCode::InvalidAudio, e))?;
        let heard_ms = self.audio.received_ms() - before;
        self.arrivals.came(self.audio.received_ms(), at);
        self.context.metrics.audio_ms.inc_by(heard_ms);
        self.guest.heard(heard_ms);
        self.walk(steps).await
    }

    pub(super) async fn finalize(&mut self) -> Result<(), End> {
        let steps = self.audio.finalize(self.stopping);
        self.walk(steps).await
    }

    /// Takes an answer from the mailbox, unless one before it may be missing: then all are read from the event stream,
    /// and this one with them.
    pub(super) async fn take_mail(&mut self, entry: Entry) -> Result<(), End> {
        if self.inbox.take_missed() {
            return self.replay().await;
        }
        self.take_answer(entry).await
    }

    pub(super) async fn take_answer(&mut self, entry: Entry) -> Result<(), End> {
        if entry.id <= self.seen {
            return Ok(());
        }
        self.seen = entry.id;
        let Published { event, trace_parent } = match jobs::decode::<Published>(&entry.payload) {
            Ok(published) => published,
            Err(error) => {
                let fault = unquoted(&error);
                tracing::error!(session = %self.id, entry = %entry.id, fault, "an event on the bus cannot be read");
                return Ok(());
            }
        };
        if let SessionEvent::Moved { owner } = &event {
            return self.look_who_owns(owner).await;
        }
        self.traces.answered(&event, &trace_parent);
        let mut messages = Vec::new();
        self.dispatch.receive(event, Instant::now(), &mut messages);
        messages.into_iter().for_each(|message| self.say(message));
        let Some(CommittedEnd { utterance, at_ms, split }) = self.dispatch.take_committed_end() else { return Ok(()) };
        self.audio.committed(utterance, at_ms);
        self.traces.frame();
        let steps = if split { self.audio.split(utterance, at_ms) } else { Vec::new() };
        self.walk(steps).await
    }
}
