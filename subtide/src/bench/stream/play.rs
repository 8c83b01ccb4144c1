//! Clients that play recordings in real time, as microphones would, and note when each event comes.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use shared::{
    config::SecretString,
    language::Language,
    wire::{AudioFormat, ClientMessage, ServerMessage, Start},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    corpus::{Loaded, Reference},
    view::Arrival,
};
use client::{Credential, Downlink, Happening, Session, Uplink};

/// How much a microphone gathers before it is sent.
const FRAME: Duration = Duration::from_millis(50);
/// The clients' beginnings are spread over so much: about a sentence and the pause behind it.
const STAGGER: Duration = Duration::from_millis(3700);
/// A client that has less than this left to play has played all of it.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest wait for what is owed after `stop`; the gateway itself gives up after a minute.
const END_TIMEOUT: Duration = Duration::from_secs(90);

/// Where clients connect, and how.
#[derive(Debug)]
pub(super) struct Door {
    /// `ws://host:port/v1/stream`.
    pub(super) url: String,
    /// Bearer token.
    pub(super) token: Option<SecretString>,
    /// Silence sent after each recording, so that its last utterance ends as it would in a conversation.
    pub(super) silence_after: Duration,
}

/// Who plays what.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Clients at once.
    pub(super) sessions: usize,
    /// Audio each of them plays at most; without it, each plays every recording once.
    pub(super) limit: Option<Duration>,
    /// Languages to translate into instead of those of the recordings.
    pub(super) targets: Vec<Language>,
}

/// One recording, played.
#[derive(Debug)]
pub(super) struct Played {
    /// Which client.
    pub(super) client: usize,
    /// What was played, as far as it was.
    pub(super) reference: Reference,
    /// Number of the recording.
    pub(super) recording: usize,
    /// Languages translated into.
    pub(super) targets: Vec<Language>,
    /// What came.
    pub(super) arrivals: Vec<Arrival>,
    /// Why the session broke.
    pub(super) error: Option<String>,
    /// The most that a frame was sent behind its time: whether this really was real time.
    pub(super) worst_late: Duration,
}

/// Plays `recordings` as `plan` says; each recording is a session of its own. What was played goes to `done`.
pub(super) async fn play(
    door: Arc<Door>,
    recordings: Arc<Vec<Loaded>>,
    plan: &Plan,
    done: mpsc::Sender<Played>,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..plan.sessions {
        let wait = STAGGER.mul_f64(client as f64 / plan.sessions as f64);
        let (door, recordings, plan, done) = (Arc::clone(&door), Arc::clone(&recordings), plan.clone(), done.clone());
        clients.spawn(async move {
            sleep_until(begin + wait).await;
            one_client(client, &door, &recordings, &plan, &done).await;
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    Ok(())
}

/// One client: begins with the recording of its number and goes on through the list.
async fn one_client(client: usize, door: &Door, recordings: &[Loaded], plan: &Plan, done: &mpsc::Sender<Played>) {
    let mut left = plan.limit;
    let mut unplayable = 0;
    for turn in 0.. {
        let over = if plan.limit.is_some() { unplayable >= recordings.len() } else { turn >= recordings.len() };
        if over {
            return;
        }
        let recording = (client + turn) % recordings.len();
        let loaded = &recordings[recording];
        let limit_ms = left.map_or(u64::MAX, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let Some(reference) = loaded.reference.within(limit_ms) else {
            unplayable += 1;
            continue;
        };
        unplayable = 0;
        let length = Duration::from_millis(reference.duration_ms);
        let targets = if plan.targets.is_empty() { reference.targets.clone() } else { plan.targets.clone() };
        let played = Played {
            client,
            recording,
            targets,
            reference,
            arrivals: Vec::new(),
            error: None,
            worst_late: Duration::ZERO,
        };
        if done.send(one_recording(door, loaded, played).await).await.is_err() {
            return;
        }
        left = left.map(|left| left.saturating_sub(length));
        if left.is_some_and(|left| left < SHORTEST) {
            return;
        }
    }
}

/// Plays one recording and takes in what comes until the session is over.
async fn one_recording(door: &Door, loaded: &Loaded, mut played: Played) -> Played {
    let start = Start {
        audio: loaded.format,
        source: played.reference.source(),
        targets: played.targets.clone(),
        partials: true,
        words: false,
        glossary: Vec::new(),
        resume: None,
        trace_parent: None,
    };
    let session = Session { url: door.url.clone(), credential: Credential::from(door.token.clone()), start };
    let (sender, receiver) = match session.open().await {
        Ok(both) => both,
        Err(error) => {
            played.error = Some(error.to_string());
            return played;
        }
    };
    let frames = Frames::of(loaded, played.reference.duration_ms, door.silence_after);
    let first_sample = Instant::now();
    let length = first_sample + FRAME * frames.count;
    let (sent, heard) = tokio::join!(send(sender, &frames, first_sample), async {
        let watching = watch(receiver, first_sample, &mut played.arrivals);
        let limit = length.saturating_duration_since(Instant::now()) + END_TIMEOUT;
        timeout(limit, watching).await.unwrap_or_else(|_| anyhow::bail!("the gateway did not end the session"))
    });
    match sent {
        Ok(worst_late) => played.worst_late = worst_late,
        Err(error) => played.error = Some(error.to_string()),
    }
    // What the gateway said tells more than that its socket is closed.
    if let Err(error) = heard {
        played.error = Some(error.to_string());
    }
    played
}

/// The sound of a recording, with silence behind it, in frames.
struct Frames<'a> {
    pcm: &'a [u8],
    bytes: usize,
    count: u32,
}

impl<'a> Frames<'a> {
    fn of(loaded: &'a Loaded, duration_ms: u64, silence_after: Duration) -> Self {
        let bytes = bytes(&loaded.format, FRAME);
        let played = bytes_of_ms(&loaded.format, duration_ms).min(loaded.pcm.len());
        let count = u32::try_from(played.div_ceil(bytes)).unwrap_or(u32::MAX);
        let silent = silence_after.as_millis().div_ceil(FRAME.as_millis());
        Self { pcm: &loaded.pcm[..played], bytes, count: count.saturating_add(u32::try_from(silent).unwrap_or(0)) }
    }

    fn frame(&self, n: u32) -> Vec<u8> {
        let from = (n as usize * self.bytes).min(self.pcm.len());
        let mut frame = self.pcm[from..(from + self.bytes).min(self.pcm.len())].to_vec();
        frame.resize(self.bytes, 0);
        frame
    }
}

fn bytes(format: &AudioFormat, length: Duration) -> usize {
    bytes_of_ms(format, u64::try_from(length.as_millis()).unwrap_or(0))
}

fn bytes_of_ms(format: &AudioFormat, ms: u64) -> usize {
    let samples = ms.saturating_mul(u64::from(format.sample_rate)) / 1000;
    usize::try_from(samples).unwrap_or(usize::MAX).saturating_mul(usize::from(format.channels) * 2)
}

/// Sends each frame when its last sample has been spoken, by a schedule that never drifts. Returns the worst delay.
async fn send(sender: Uplink, frames: &Frames<'_>, first_sample: Instant) -> anyhow::Result<Duration> {
    let mut worst = Duration::ZERO;
    for n in 0..frames.count {
        let due = first_sample + FRAME * (n + 1);
        sleep_until(due).await;
        sender.audio(frames.frame(n)).await?;
        worst = worst.max(due.elapsed());
    }
    sender.say(ClientMessage::Stop {}).await?;
    Ok(worst)
}

async fn watch(mut happenings: Downlink, first_sample: Instant, arrivals: &mut Vec<Arrival>) -> anyhow::Result<()> {
    let mut ended = false;
    while let Some(happening) = happenings.next().await? {
        let event = match happening {
            Happening::Event(event) => event,
            Happening::Broken { .. } | Happening::Resumed { .. } => continue,
            Happening::Anew { .. } => anyhow::bail!("the gateway lost the session"),
        };
        let at_ms = u64::try_from(first_sample.elapsed().as_millis())?;
        let error = match &event.message {
            ServerMessage::Error(error) => Some(format!("{} (trace {})", error.message, error.trace_id)),
            ServerMessage::Ended { .. } => {
                ended = true;
                None
            }
            _ => None,
        };
        arrivals.push(Arrival { at_ms, event });
        if let Some(error) = error {
            anyhow::bail!(error);
        }
    }
    anyhow::ensure!(ended, "the gateway closed before the end of the recording");
    Ok(())
}

impl Played {
    /// Every event as a line of JSON that says whose it is.
    pub(super) fn lines(&self) -> anyhow::Result<String> {
        let mut lines = String::new();
        for arrival in &self.arrivals {
            let mut line = serde_json::to_value(arrival)?;
            line["client"] = json!(self.client);
            line["recording"] = json!(self.reference.name);
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use shared::wire::Encoding;

    use super::*;
    use crate::bench::stream::corpus::tests::reference;

    #[test]
    fn frames_are_the_sound_then_silence() {
        let format = AudioFormat { encoding: Encoding::PcmS16le, sample_rate: 8000, channels: 2 };
        // 50 ms are 400 samples of two channels of two bytes.
        let loaded = Loaded { reference: reference(Vec::new(), 75), format, pcm: vec![1; 4000] };
        let frames = Frames::of(&loaded, 75, Duration::from_millis(120));
        assert_eq!((frames.bytes, frames.count), (1600, 2 + 3));
        assert_eq!(frames.frame(0), vec![1; 1600]);
        assert_eq!(frames.frame(1), [vec![1; 800], vec![0; 800]].concat());
        assert_eq!(frames.frame(4), vec![0; 1600]);
    }
}
