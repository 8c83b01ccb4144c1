//! The client that programs use, through a network that breaks, at the real gateway with the models that ship.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use client::{Credential, Happening, Session};
use shared::wire::{ClientMessage, ServerMessage};
use tests::{
    session::{PATIENCE, start},
    speech::{demo, pcm},
    stack::in_process,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::broadcast,
    time::{interval, timeout},
};

/// Of the demo's recording: several utterances.
const SPEECH_MS: usize = 14_000;
/// Milliseconds of speech after which the network breaks.
const CUTS_MS: [usize; 3] = [2_600, 6_300, 10_900];

/// A network to `to` that can be cut: its address, and what cuts it.
async fn network(to: String) -> (String, Arc<broadcast::Sender<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cut = Arc::new(broadcast::channel(1).0);
    let cutter = Arc::clone(&cut);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let (to, mut broken) = (to.clone(), cutter.subscribe());
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = broken.recv() => {}
                }
            });
        }
    });
    (address, cut)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_uses_the_client_does_not_notice_a_network_that_breaks() {
    let roles = in_process().await;
    let gateway = roles.url().trim_start_matches("ws://").trim_end_matches("/v1/stream").to_owned();
    let (address, cut) = network(gateway).await;
    let url = format!("ws://{address}/v1/stream");
    let (up, mut down) = Session { url, credential: Credential::None, start: start(&["es"]) }.open().await.unwrap();
    let speaking = async {
        let (path, _) = demo();
        let speech: Vec<u8> = pcm(&path).into_iter().take(SPEECH_MS * 32).collect();
        let mut pace = interval(Duration::from_millis(100));
        for (n, frame) in speech.chunks(3200).enumerate() {
            pace.tick().await;
            if CUTS_MS.contains(&(n * 100)) {
                cut.send(()).unwrap();
            }
            up.audio(frame.to_vec()).await.unwrap();
        }
        up.say(ClientMessage::Stop {}).await.unwrap();
    };
    let listening = async {
        let (mut opened, mut finals) = (Vec::new(), BTreeMap::<_, u32>::new());
        let (mut last, mut resumed, mut ended) = (0, 0, None);
        while let Some(happening) = timeout(PATIENCE, down.next()).await.unwrap().unwrap() {
            match happening {
                Happening::Event(event) => {
                    assert!(event.event > last, "{event:?} after {last}");
                    last = event.event;
                    match event.message {
                        ServerMessage::SpeechStarted { utterance, .. } => opened.push(utterance),
                        ServerMessage::Caption(c) if c.is_final => *finals.entry(("en", c.utterance)).or_default() += 1,
                        ServerMessage::Translation(t) if t.is_final => {
                            *finals.entry(("es", t.utterance)).or_default() += 1
                        }
                        ServerMessage::Ended { audio_ms, .. } => ended = Some(audio_ms),
                        ServerMessage::Error(error) => panic!("{error:?}"),
                        ServerMessage::Gap { .. } => panic!("a gap: {:?}", event.message),
                        _ => {}
                    }
                }
                Happening::Resumed { lost_ms, .. } => {
                    assert_eq!(lost_ms, 0);
                    resumed += 1;
                }
                Happening::Broken { .. } => {}
                Happening::Anew { .. } => panic!("the session was lost"),
            }
        }
        (opened, finals, resumed, ended)
    };
    let ((), (opened, finals, resumed, ended)) = tokio::join!(speaking, listening);
    assert_eq!(resumed, CUTS_MS.len());
    assert!(opened.len() >= 3, "{opened:?}");
    for utterance in opened {
        for language in ["en", "es"] {
            assert_eq!(finals.get(&(language, utterance)), Some(&1), "{language} {utterance}");
        }
    }
    let heard = ended.expect("it ended in order");
    assert!(heard.abs_diff(SPEECH_MS as u64) <= 20, "{heard} ms of {SPEECH_MS} arrived, each once");
    roles.stop().await.unwrap();
}
