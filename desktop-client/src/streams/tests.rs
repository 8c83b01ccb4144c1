//! A stream against the whole of Subtide in this process, with its demo models; only the device is a recording.

use std::{path::Path, time::Duration};

use capture::{CaptureError, Frame, Heard};
use client::Credential;
use shared::wire::{AudioFormat, Encoding, Start};
use tokio::time::timeout;

use super::{told::Cause, *};
use crate::local::{Local, shipped_models};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
/// For a model without optimisation, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const FRAME: usize = 800;
/// Name of the device that comes after the recording.
const ALL_HEARD: &str = "the end";

/// The demo's recording, 16 kHz mono.
fn recording() -> Vec<i16> {
    let manifest = std::fs::read(Path::new(MODELS).join("demo-speech/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let file = Path::new(MODELS).join("demo-speech").join(manifest["file"].as_str().unwrap());
    let mut recording = subtide::recording::Recording::open(&file).unwrap();
    let mut pcm = Vec::new();
    while let Some(piece) = recording.next_piece().unwrap() {
        pcm.extend(piece);
    }
    pcm.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// A device that gives the first `seconds` of the recording each time it is opened, and stays open.
fn device(seconds: usize) -> Opener {
    let pcm: Arc<[i16]> = recording().into_iter().take(seconds * 16_000).collect();
    Arc::new(move || {
        let (gives, heard) = mpsc::channel(capture::HEARD);
        let pcm = Arc::clone(&pcm);
        let playing = tokio::runtime::Handle::current().spawn(async move {
            for frame in pcm.chunks(FRAME) {
                let peak = frame.iter().map(|s| f32::from(s.unsigned_abs()) / 32768.0).fold(0.0, f32::max);
                gives.send(Heard::Frame(Frame { pcm: frame.to_vec(), peak })).await.ok();
                // Faster than a person speaks, and not as fast as memory is.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            // So that a test knows that all was heard.
            let (id, name) = (String::new(), ALL_HEARD.to_owned());
            let end = capture::Device { id, name, kind: capture::Kind::Microphone, is_default: true };
            gives.send(Heard::Moved(end)).await.ok();
            std::future::pending::<()>().await;
        });
        Ok(Ears { heard, device: Box::new(Closing(playing.abort_handle())) })
    })
}

struct Closing(tokio::task::AbortHandle);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn opening(local: Arc<Local>) -> Opening {
    Box::pin(async move {
        let (url, credential) = local.way_in("").await.unwrap();
        let audio = AudioFormat { encoding: Encoding::PcmS16le, sample_rate: 16_000, channels: 1 };
        let (source, targets) = ("en".parse().unwrap(), vec!["es".parse().unwrap()]);
        let start = Start {
            audio,
            source,
            targets,
            partials: true,
            words: false,
            glossary: vec![],
            resume: None,
            trace_parent: None,
        };
        Ok(Session { url, credential, start })
    })
}

/// What a page was told; it takes its time for nothing.
fn page() -> (Page, std::sync::mpsc::Receiver<Told>) {
    let (told, tells) = std::sync::mpsc::sync_channel(100_000);
    (Box::new(move |what| told.send(what).is_ok()), tells)
}

async fn until(tells: &std::sync::mpsc::Receiver<Told>, all: &mut Vec<Told>, is: impl Fn(&Told) -> bool) {
    let looking = async {
        loop {
            match tells.try_recv() {
                Ok(told) => {
                    all.push(told);
                    if is(all.last().unwrap()) {
                        return;
                    }
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => panic!("the stream is gone: {all:?}"),
            }
        }
    };
    timeout(PATIENCE, looking).await.unwrap();
}

fn all_heard(told: &Told) -> bool {
    matches!(told, Told::Moved { label } if label == ALL_HEARD)
}

fn finals(all: &[Told]) -> Vec<String> {
    let text = |told: &Told| match told {
        Told::Event { event } => match &event.message {
            shared::wire::ServerMessage::Caption(caption) if caption.is_final => Some(caption.committed.clone()),
            _ => None,
        },
        _ => None,
    };
    all.iter().filter_map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_heard_while_the_models_are_loaded_becomes_captions_too() {
    let local = Arc::new(Local::new(shipped_models(Some(MODELS.into()), None)));
    let (streams, (tell, tells), mut all) = (Streams::default(), page(), Vec::new());
    // All of it is heard long before the models are there.
    let id = streams.open(device(12), opening(Arc::clone(&local)), tell).await.unwrap();
    assert_eq!(streams.listening().borrow().open, 1);
    until(&tells, &mut all, all_heard).await;
    streams.stop(id).await;
    until(&tells, &mut all, |told| matches!(told, Told::Closed(_))).await;

    assert_eq!(all.last(), Some(&Told::Closed(Closed::of(Cause::Stopped))));
    assert_eq!(streams.listening().borrow().open, 0);
    let finals = finals(&all);
    assert!(finals.len() >= 2 && finals.iter().any(|text| text.split(' ').count() > 2), "{finals:?}");
    let states: Vec<_> =
        all.iter().filter_map(|told| if let Told::State { state } = told { Some(*state) } else { None }).collect();
    assert_eq!((states.first(), states.last()), (Some(&LinkState::Connecting), Some(&LinkState::Closed)), "{states:?}");
    let levels: Vec<_> = all
        .iter()
        .filter_map(|told| if let Told::Level { heard_ms, .. } = told { Some(*heard_ms) } else { None })
        .collect();
    assert!(levels.is_sorted() && levels.last() == Some(&12_000), "{levels:?}");
    assert!(
        (24..=121).contains(&levels.len()),
        "{} levels in 12 s: ten a second while there is sound, two in silence",
        levels.len()
    );
    assert!(all.iter().any(|told| matches!(told, Told::Level { peak, .. } if *peak > 0.05)), "it was not silent");
    local.stop(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_closes_the_device_and_the_session_goes_on_after_it() {
    let local = Arc::new(Local::new(shipped_models(Some(MODELS.into()), None)));
    let (streams, (tell, tells), mut all) = (Streams::default(), page(), Vec::new());
    let id = streams.open(device(5), opening(Arc::clone(&local)), tell).await.unwrap();
    until(&tells, &mut all, all_heard).await;
    streams.pause(id, true).await.unwrap();
    assert!(streams.listening().borrow().paused);
    // `finalize` is said with it: what was begun becomes final though no silence follows.
    until(&tells, &mut all, |told| !finals(std::slice::from_ref(told)).is_empty()).await;
    streams.pause(id, false).await.unwrap();
    until(&tells, &mut all, all_heard).await;
    streams.stop_all(PATIENCE).await;
    until(&tells, &mut all, |told| matches!(told, Told::Closed(_))).await;
    assert_eq!(all.last(), Some(&Told::Closed(Closed::of(Cause::Stopped))));
    let started = all.iter().filter(|told| {
        matches!(told, Told::Event { event } if matches!(event.message, shared::wire::ServerMessage::Started { .. }))
    });
    assert_eq!(started.count(), 1, "one session");
    assert!(tells.try_recv().is_err(), "nothing follows");
    local.stop(Duration::from_secs(10)).await;
}

/// A device that hears nothing, and tells when it is let go.
fn silent() -> (Opener, std::sync::mpsc::Receiver<()>) {
    struct Tells(std::sync::mpsc::SyncSender<()>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.try_send(()).ok();
        }
    }
    let (lets_go, let_go) = std::sync::mpsc::sync_channel(1);
    let opener: Opener = Arc::new(move || {
        let (gives, heard) = mpsc::channel(1);
        Ok(Ears { heard, device: Box::new((gives, Tells(lets_go.clone()))) })
    });
    (opener, let_go)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_opens_while_its_page_goes_away_is_none() {
    let streams = Streams::default();
    let (device, let_go) = silent();
    let (reached, reaches) = oneshot::channel();
    let (go_on, goes_on) = std::sync::mpsc::sync_channel(1);
    let held = Mutex::new(Some((reached, goes_on)));
    let slow: Opener = Arc::new(move || {
        let (reached, goes_on) = held.lock().unwrap().take().unwrap();
        reached.send(()).unwrap();
        goes_on.recv().unwrap();
        device()
    });
    let (asked, never) = (streams.clone(), Box::pin(std::future::pending()));
    let opening = tokio::spawn(async move { asked.open(slow, never, page().0).await });
    reaches.await.unwrap();
    assert!(streams.abandon().is_empty());
    go_on.send(()).unwrap();
    assert!(opening.await.unwrap().is_err());
    assert_eq!(streams.listening().borrow().open, 0);
    let_go.recv_timeout(PATIENCE).unwrap();

    // The next page has its own.
    let (device, _) = silent();
    streams.open(device, Box::pin(std::future::pending()), page().0).await.unwrap();
    assert_eq!(streams.listening().borrow().open, 1);
    assert_eq!(streams.abandon().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_heard_for_a_page_that_cannot_be_told() {
    let (streams, (device, let_go)) = (Streams::default(), silent());
    streams.open(device, Box::pin(std::future::pending()), Box::new(|_| false)).await.unwrap();
    tokio::task::spawn_blocking(move || let_go.recv_timeout(PATIENCE)).await.unwrap().unwrap();
}

#[tokio::test]
async fn no_device_and_no_gateway_are_told_apart() {
    let streams = Streams::default();
    let nothing: Opener = Arc::new(|| Err(CaptureError::Missing("a microphone".to_owned())));
    let never: Opening = Box::pin(std::future::pending());
    let refusal = streams.open(nothing, never, page().0).await.unwrap_err();
    assert_eq!(refusal.fault, "missing");

    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let nowhere: Opening = Box::pin(async move {
        let audio = AudioFormat { encoding: Encoding::PcmS16le, sample_rate: 16_000, channels: 1 };
        let source = "en".parse().unwrap();
        let start = Start {
            audio,
            source,
            targets: vec![],
            partials: true,
            words: false,
            glossary: vec![],
            resume: None,
            trace_parent: None,
        };
        Ok(Session { url: format!("ws://127.0.0.1:{port}/v1/stream"), credential: Credential::None, start })
    });
    let ((tell, tells), mut all) = (page(), Vec::new());
    streams.open(device(1), nowhere, tell).await.unwrap();
    until(&tells, &mut all, |told| matches!(told, Told::Closed(_))).await;
    assert!(matches!(all.last(), Some(Told::Closed(closed)) if closed.cause == Cause::Unreachable), "{all:?}");
}
