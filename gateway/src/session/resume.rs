//! A session begins, or goes on where another socket, perhaps of another gateway, left it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use shared::{
    audio::samples_to_ms,
    bus::{Effects, Entry, EntryId, Guard, Publish, StateWrite},
    ids::{SessionId, UtteranceId},
    jobs::{self, SESSION_TTL, SessionEvent},
    wire::{
        AudioFormat, ClientMessage, ErrorCode, Event, Limits, MAX_MESSAGE_BYTES, MAX_TARGETS, Resume, ServerMessage,
        Start,
    },
};
use tokio::time::timeout;

use super::{
    Context, Session,
    arrivals::Arrivals,
    audio::{Audio, Beginning},
    end::{End, bad_order, check_glossary, check_targets, distinct, parse, replaced, too_large, unavailable},
    state::{Founding, Progress, ResumeToken, State, unquoted},
    trace::{self, Traces},
};
use crate::{
    dispatch::{Conditions, Dispatch, Settings, millis},
    door::Guest,
    socket::{self, Inbound},
};

/// A client that sends no `start` for so long is cut off.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The last entry there can be.
const LAST: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };
/// Entries read at once.
const PAGE: usize = 256;
/// Attempts to take a session over while others do as well.
const ATTEMPTS: usize = 5;
/// Utterances whose audio may be there although nobody wrote down that they were opened: as many as one frame can hold.
const ORPHANS: u32 = 16;

/// The first message of a client.
pub(super) async fn wait_for_start(frames: &mut socket::Inbox) -> Result<Start, End> {
    let first = async {
        loop {
            match frames.next().await {
                Inbound::Text(text) => return parse(&text),
                Inbound::Pong => {}
                Inbound::Gone | Inbound::Closed => return Err(End::Gone),
                Inbound::TooLarge(size) => return Err(too_large(size)),
                Inbound::Audio(_) => return Err(bad_order("audio came before `start`; send `start` as text first")),
            }
        }
    };
    match timeout(START_TIMEOUT, first).await {
        Ok(Ok(ClientMessage::Start(start))) => Ok(start),
        Ok(Ok(_)) => Err(bad_order("the first message must be `start`")),
        Ok(Err(end)) => Err(end),
        // Not its fault, perhaps: a client that was starved may well come back, and for a session.
        Err(_) => {
            let message = "no `start` came within 10 s; connect again, and send it right after connecting";
            Err(End::Error(ErrorCode::Timeout, message.to_owned()))
        }
    }
}

fn expired() -> End {
    let message = "this session cannot be resumed: it ended, or its connection broke too long ago; begin a new one";
    End::Error(ErrorCode::ResumeExpired, message.to_owned())
}

/// The parts of a session that opening and resuming decide.
struct Parts {
    id: SessionId,
    owner: Bytes,
    token: ResumeToken,
    founding: Founding,
    audio: Audio,
    dispatch: Dispatch,
    traces: trace::Memory,
    seen: EntryId,
    utterances: u32,
    event: u64,
    stopping: bool,
}

fn fresh_owner() -> Bytes {
    Bytes::from(format!("{:016x}", rand::random::<u64>()))
}

impl Session {
    /// A session that begins.
    pub(super) async fn open(start: Start, guest: Guest, context: Context) -> Result<Self, End> {
        check_targets(start.targets.len())?;
        check_glossary(&start.glossary)?;
        let (id, owner) = (SessionId::random(), fresh_owner());
        let token = ResumeToken::random(id);
        let audio = audio(&context, start.audio, Beginning::fresh())?;
        let founding = Founding {
            subject: guest.who().subject.clone(),
            secret_hash: token.secret_hash(),
            audio: start.audio,
            partials: start.partials,
            words: start.words,
            began: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        let settings = Settings { source: start.source, targets: distinct(start.targets), glossary: start.glossary };
        let dispatch = Dispatch::new(id, conditions(&context, &founding), settings);
        let parts = Parts {
            id,
            owner,
            token,
            founding,
            audio,
            dispatch,
            traces: trace::Memory::new(),
            seen: EntryId::START,
            utterances: 0,
            event: 0,
            stopping: false,
        };
        let mut session = Self::assemble(parts, guest, context).await?;
        let owner = StateWrite { key: jobs::owner_key(id), value: session.owner.clone(), ttl: SESSION_TTL };
        session.context.bus.set(owner).await.map_err(|e| unavailable(&e))?;
        let started = session.started(false);
        session.say(started);
        Ok(session)
    }

    /// A session that goes on, and the events that its client missed.
    pub(super) async fn resume(
        start: &Start,
        resume: &Resume,
        guest: Guest,
        context: Context,
    ) -> Result<(Self, Vec<Event>), End> {
        let token = ResumeToken::parse(&resume.token).ok_or_else(expired)?;
        let id = token.session;
        let known = read_state(&context, id).await?;
        if !token.opens(&known.founding) || known.founding.subject != guest.who().subject {
            return Err(expired());
        }
        if known.founding.audio != start.audio {
            let message =
                "`audio` is not what the session began with; send the same, or begin a new session".to_owned();
            return Err(End::Error(ErrorCode::InvalidAudio, message));
        }
        let owner = take_over(&context, id).await?;
        // Whoever held it may have written until this moment, and nothing any more.
        let State { founding, progress, dispatch: memory, traces } = read_state(&context, id).await?;
        let settings = read::<Settings>(&context, &jobs::settings_key(id)).await?.ok_or_else(expired)?;
        let open = match memory.open() {
            None => None,
            Some((utterance, start_ms)) => Some((utterance, start_ms, read_audio(&context, id, utterance).await?)),
        };
        let now = Instant::now();
        let mut dispatch = Dispatch::resumed(id, conditions(&context, &founding), settings, memory, now);
        let mut position_ms = if progress.stopping { progress.received_ms } else { progress.safe_ms };
        if let Some((utterance, start_ms, (samples, last))) = &open {
            position_ms = start_ms + samples_to_ms(samples.len() as u64);
            dispatch.found(*utterance, *last, position_ms);
        }
        // Somebody may have taken it over meanwhile, and be filling what we take for orphans.
        if context.bus.get(&jobs::owner_key(id)).await.map_err(|e| unavailable(&e))?.as_ref() != Some(&owner) {
            return Err(replaced());
        }
        forget_orphans(&context, id, progress.utterances).await?;
        let beginning = Beginning {
            position_ms,
            next: UtteranceId(progress.utterances + 1),
            open: open.map(|(utterance, start_ms, (samples, _))| (utterance, start_ms, samples)),
        };
        let audio = audio(&context, start.audio, beginning)?;
        let missed = read_log(&context, id, resume.last_event).await?;
        let parts = Parts {
            id,
            owner,
            token,
            founding,
            audio,
            dispatch,
            traces,
            seen: progress.seen,
            utterances: progress.utterances,
            // The client may have seen events that nobody had to remember.
            event: progress.event.max(resume.last_event.min(progress.event.saturating_add(1 << 20))),
            stopping: progress.stopping,
        };
        let mut session = Self::assemble(parts, guest, context).await?;
        session.inbox.missed();
        session.guest.grant(since(&progress));
        let started = session.started(true);
        session.say(started);
        for message in session.dispatch.show_again() {
            session.say(message);
        }
        Ok((session, missed))
    }

    async fn assemble(parts: Parts, mut guest: Guest, context: Context) -> Result<Self, End> {
        let Parts { id, owner, token, founding, audio, dispatch, traces, seen, utterances, event, stopping } = parts;
        guest.take_place(id).await.map_err(|expelled| End::Error(expelled.code, expelled.message))?;
        let inbox = context.mailbox.open(id).await.map_err(|e| unavailable(&e))?;
        let now = Instant::now();
        let traces = Traces::new(id, context.bus.as_ref(), traces);
        Ok(Self {
            arrivals: Arrivals::from(audio.received_ms()),
            // What came before was counted by whoever received it.
            counted_ms: audio.received_ms(),
            id,
            owner,
            token,
            founding,
            guest,
            context,
            audio,
            dispatch,
            traces,
            inbox,
            seen,
            event,
            unsaid: Vec::new(),
            last_language: String::new(),
            torn: false,
            resumed: event > 0,
            settings_changed: true,
            settings_unwritten: true,
            last_settings: now,
            last_sign: now,
            last_audio: now,
            last_behind: now,
            unread_since: None,
            replay_fails: false,
            last_ping: now,
            last_lag: None,
            last_renewal: now,
            last_settlement: now,
            warned_of_token: false,
            warned_of_length: false,
            stopping,
            paused: false,
            utterances,
        })
    }

    fn started(&self, resumed: bool) -> ServerMessage {
        let config = &self.context.config;
        let limits = Limits {
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_targets: MAX_TARGETS,
            max_utterance_ms: millis(config.max_utterance),
            idle_timeout_ms: millis(config.idle_timeout),
            resume_window_ms: millis(jobs::RESUME_WINDOW),
        };
        let (session, audio_ms) = (self.id, self.audio.received_ms());
        ServerMessage::Started { session, resume_token: self.token.text(), resumed, audio_ms, limits }
    }
}

fn audio(context: &Context, format: AudioFormat, beginning: Beginning) -> Result<Audio, End> {
    Audio::new(&context.config, format, beginning).map_err(|e| End::Error(ErrorCode::InvalidAudio, e))
}

fn conditions(context: &Context, founding: &Founding) -> Conditions {
    Conditions {
        partials: founding.partials,
        words: founding.words,
        max_utterance: context.config.max_utterance,
        final_timeout: context.config.final_timeout,
    }
}

/// Milliseconds since `progress` was written.
fn since(progress: &Progress) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(now).saturating_sub(progress.written).min(millis(jobs::RESUME_WINDOW))
}

async fn read<T: serde::de::DeserializeOwned>(context: &Context, key: &str) -> Result<Option<T>, End> {
    let Some(bytes) = context.bus.get(key).await.map_err(|e| unavailable(&e))? else { return Ok(None) };
    let read = jobs::decode(&bytes);
    read.map(Some).map_err(|error| {
        tracing::error!(fault = unquoted(&error), "what was written of a session cannot be read");
        expired()
    })
}

async fn read_state(context: &Context, id: SessionId) -> Result<State, End> {
    read(context, &jobs::session_key(id)).await?.ok_or_else(expired)
}

/// Makes the session ours: from here on nothing that another gateway does for it has an effect. The one that holds it is
/// told.
async fn take_over(context: &Context, id: SessionId) -> Result<Bytes, End> {
    let (key, owner) = (jobs::owner_key(id), fresh_owner());
    let moved = SessionEvent::Moved { owner: String::from_utf8_lossy(&owner).into_owned() };
    let payload = jobs::encode(&moved).map_err(|e| End::Error(ErrorCode::Internal, e.to_string()))?;
    for _ in 0..ATTEMPTS {
        let before = context.bus.get(&key).await.map_err(|e| unavailable(&e))?;
        if before.as_ref() == Some(&owner) {
            return Ok(owner); // The reply to an attempt was lost.
        }
        let effects = Effects {
            guard: Some(Guard { key: key.clone(), expected: before }),
            publish: vec![Publish { stream: jobs::event_stream(id), payload: payload.clone(), ttl: SESSION_TTL }],
            set: vec![StateWrite { key: key.clone(), value: owner.clone(), ttl: SESSION_TTL }],
            ..Effects::default()
        };
        if context.bus.commit(effects).await.map_err(|e| unavailable(&e))? {
            return Ok(owner);
        }
    }
    let message = "the session is being resumed elsewhere at this moment; try again".to_owned();
    Err(End::Error(ErrorCode::Unavailable, message))
}

/// All entries of `stream`.
async fn read_stream(context: &Context, stream: &str) -> Result<Vec<Entry>, End> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(EntryId::START, |entry| entry.id);
        let page = context.bus.range(stream, after, LAST, PAGE).await.map_err(|e| unavailable(&e))?;
        let more = page.len() == PAGE;
        entries.extend(page);
        if !more {
            return Ok(entries);
        }
    }
}

/// The samples that are stored of an utterance, and the last entry they are in.
async fn read_audio(
    context: &Context,
    id: SessionId,
    utterance: UtteranceId,
) -> Result<(Vec<i16>, Option<EntryId>), End> {
    let entries = read_stream(context, &jobs::audio_stream(id, utterance)).await?;
    let bytes = entries.iter().flat_map(|entry| entry.payload.chunks_exact(2));
    let samples: Vec<i16> = bytes.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    Ok((samples, entries.last().map(|entry| entry.id)))
}

/// Removes the audio of utterances that nobody knows of: their gateway died before it could say that it had opened them.
async fn forget_orphans(context: &Context, id: SessionId, utterances: u32) -> Result<(), End> {
    let orphans = (1..=ORPHANS).map(|n| jobs::audio_stream(id, UtteranceId(utterances + n)));
    context.bus.remove(&orphans.collect::<Vec<_>>()).await.map_err(|e| unavailable(&e))
}

/// The events after `last_event` that must not be missed, each once.
async fn read_log(context: &Context, id: SessionId, last_event: u64) -> Result<Vec<Event>, End> {
    let mut events: Vec<Event> = Vec::new();
    for entry in read_stream(context, &jobs::log_stream(id)).await? {
        match jobs::decode::<Event>(&entry.payload) {
            // An event may be there twice when a reply was lost.
            Ok(event) if event.event > events.last().map_or(last_event, |newest| newest.event) => events.push(event),
            Ok(_) => {}
            Err(error) => {
                tracing::error!(session = %id, fault = unquoted(&error), "an event that was kept cannot be read");
            }
        }
    }
    Ok(events)
}
