//! Clients that give a server work as fast as it goes.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use client::{Credential, Downlink, Happening, Session, transcript::Transcript};
use shared::{
    language::Language,
    wire::{ServerMessage, Start},
};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::Instant,
};

use super::server::Server;
use crate::{caption::send, recording::Recording};

/// What a turn was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    /// From the first sample to the last final.
    pub(super) seconds: f64,
    /// Audio, of all sessions together.
    pub(super) audio_seconds: f64,
    /// Utterances with all their finals.
    pub(super) utterances: usize,
}

/// What one session was.
struct Heard {
    audio_ms: u64,
    utterances: usize,
}

/// What is to be done in a turn.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) recording: PathBuf,
    /// Clients at once.
    pub(super) sessions: u32,
    /// How often each plays the recording, each time in a session of its own.
    pub(super) passes: u32,
}

impl Work {
    /// The same, with the recording played once.
    pub(super) fn once(&self) -> Self {
        Self { passes: 1, ..self.clone() }
    }

    /// Gives it to a server, and waits for all that is owed.
    pub(super) async fn turn(&self, server: &Server) -> anyhow::Result<Turn> {
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..self.sessions {
            clients.spawn(client(server.url.clone(), self.clone()));
        }
        let (mut audio_ms, mut utterances) = (0, 0);
        while let Some(heard) = clients.join_next().await {
            let heard = heard??;
            audio_ms += heard.audio_ms;
            utterances += heard.utterances;
        }
        Ok(Turn { seconds: begun.elapsed().as_secs_f64(), audio_seconds: audio_ms as f64 / 1000.0, utterances })
    }
}

async fn client(url: String, work: Work) -> anyhow::Result<Heard> {
    let mut all = Heard { audio_ms: 0, utterances: 0 };
    for _ in 0..work.passes {
        let heard = session(url.clone(), work.recording.clone()).await?;
        all = Heard { audio_ms: all.audio_ms + heard.audio_ms, utterances: all.utterances + heard.utterances };
    }
    Ok(all)
}

/// Without partial captions, so that the work is the same whatever the speed.
async fn session(url: String, path: PathBuf) -> anyhow::Result<Heard> {
    let recording = spawn_blocking(move || Recording::open(&path)).await??;
    let targets: Vec<Language> = vec!["es".parse()?];
    let start = Start {
        audio: recording.format(),
        source: "en".parse()?,
        targets: targets.clone(),
        partials: false,
        words: false,
        glossary: Vec::new(),
        resume: None,
        trace_parent: None,
    };
    let (uplink, downlink) = Session { url, credential: Credential::None, start }.open().await?;
    let (owed_sender, owed) = watch::channel(0);
    let (sent, heard) = tokio::join!(send(recording, uplink, owed), hear(downlink, &targets, owed_sender));
    let heard = heard?;
    sent?;
    Ok(heard)
}

async fn hear(mut downlink: Downlink, targets: &[Language], owed: watch::Sender<usize>) -> anyhow::Result<Heard> {
    let mut transcript = Transcript::default();
    let mut audio_ms = None;
    while let Some(happening) = downlink.next().await? {
        let Happening::Event(event) = happening else { bail!("a session broke off, so the work is not the same") };
        transcript.apply(&event);
        owed.send_replace(transcript.utterances().filter(|(_, utterance)| !utterance.done(targets)).count());
        match &event.message {
            ServerMessage::Error(error) => bail!("{} (trace {})", error.message, error.trace_id),
            ServerMessage::Gap { .. } => bail!("something got no caption, so the work is not the same"),
            ServerMessage::Ended { audio_ms: heard, .. } => audio_ms = Some(*heard),
            _ => {}
        }
    }
    let audio_ms = audio_ms.context("the gateway closed before the end")?;
    let utterances = transcript.utterances().filter(|(_, utterance)| utterance.done(targets)).count();
    ensure!(utterances > 0, "nobody speaks in the recording");
    Ok(Heard { audio_ms, utterances })
}
