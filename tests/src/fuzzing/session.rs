//! The order of a session: a real gateway on a loopback port, a client that says anything in any order.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use gateway::{Gateway, GatewayConfig, session::probe};
use prometheus::Registry;
use shared::{
    bus::MemoryBus,
    health::Health,
    shutdown::CancellationToken,
    wire::{ClientMessage, ErrorCode, Event, MAX_MESSAGE_BYTES, ServerMessage},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

/// Most frames of one session.
const FRAMES: usize = 24;
/// Most audio of one session, bytes: a gateway reads no faster than some multiple of real time.
const MOST_AUDIO: usize = 100_000;
/// No session takes so long to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway, and what drives it and its clients.
struct House {
    runtime: Runtime,
    address: SocketAddr,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    // One thread for both sides: handing a frame from thread to thread takes longer than reading it.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    let config = GatewayConfig::loopback();
    let bus = Arc::new(MemoryBus::new());
    let registry = Registry::new();
    let health = Health::new("gateway", &["bus"], registry.clone());
    let bound = runtime.block_on(Gateway::bind(config, bus, health, &registry));
    let gateway = bound.unwrap_or_else(|error| panic!("{error}"));
    let address = gateway.local_addr().unwrap_or_else(|error| panic!("{error}"));
    runtime.spawn(gateway.run(CancellationToken::new()));
    House { runtime, address }
});

/// What a frame leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The session goes on.
    Open,
    /// It ends with this.
    Refused(ErrorCode),
    /// It has ended, or will.
    Stopping,
    /// Not to be foreseen here.
    Unknown,
}

/// A frame a line: `b` and a number is so much silence, `p` a ping, everything else text. The gateway goes on, or ends the session
/// with the error that the protocol has for it; events are numbered without a hole, and nothing follows the last one.
pub fn session(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut audio = 0;
    let frames: Vec<Message> = text.lines().take(FRAMES).filter_map(|line| frame(line, &mut audio)).collect();
    let expected = expected(&frames);
    let events = HOUSE.runtime.block_on(converse(frames));
    for (n, event) in events.iter().enumerate() {
        // What refuses a resume is no event of the session.
        let number = if matches!(expected, Outcome::Unknown) && events.len() == 1 { event.event } else { n as u64 + 1 };
        assert_eq!(event.event, number, "{events:?}");
        let last = matches!(event.message, ServerMessage::Error(_) | ServerMessage::Ended { .. });
        assert!(!last || n + 1 == events.len(), "something follows the last event: {events:?}");
    }
    let error = events.iter().find_map(|event| match &event.message {
        ServerMessage::Error(error) => Some(error.code),
        _ => None,
    });
    match expected {
        Outcome::Open => assert_eq!(error, None, "{text}"),
        Outcome::Refused(code) => assert_eq!(error, Some(code), "{text}"),
        Outcome::Stopping | Outcome::Unknown => {}
    }
}

fn frame(line: &str, audio: &mut usize) -> Option<Message> {
    if line == "p" {
        return Some(Message::Ping(Vec::new().into()));
    }
    let Some(bytes) = line.strip_prefix('b').and_then(|number| number.parse::<usize>().ok()) else {
        return Some(Message::text(line));
    };
    *audio += bytes;
    (*audio <= MOST_AUDIO).then(|| Message::binary(vec![0; bytes]))
}

/// What the protocol says.
fn expected(frames: &[Message]) -> Outcome {
    let mut frame_bytes = None;
    for frame in frames {
        let outcome = match frame {
            Message::Text(text) if text.len() > MAX_MESSAGE_BYTES => Outcome::Refused(ErrorCode::TooLarge),
            Message::Binary(bytes) if bytes.len() > MAX_MESSAGE_BYTES => Outcome::Refused(ErrorCode::TooLarge),
            Message::Text(text) => said(text, &mut frame_bytes),
            Message::Binary(bytes) => match frame_bytes {
                None => Outcome::Refused(ErrorCode::BadOrder),
                Some(frame) if !bytes.len().is_multiple_of(frame) => Outcome::Refused(ErrorCode::InvalidAudio),
                Some(_) => Outcome::Open,
            },
            _ => Outcome::Open,
        };
        if outcome != Outcome::Open {
            return outcome;
        }
    }
    Outcome::Open
}

fn said(text: &str, frame_bytes: &mut Option<usize>) -> Outcome {
    let begun = frame_bytes.is_some();
    match probe::message(text) {
        Err(_) => Outcome::Refused(ErrorCode::BadMessage),
        Ok(ClientMessage::Start(_)) if begun => Outcome::Refused(ErrorCode::BadOrder),
        Ok(ClientMessage::Start(start)) if start.resume.is_some() => Outcome::Unknown,
        Ok(ClientMessage::Start(start)) => {
            let format = start.audio;
            *frame_bytes = Some(usize::from(format.channels) * 2);
            let usable = (8_000..=48_000).contains(&format.sample_rate) && (1..=2).contains(&format.channels);
            if usable { Outcome::Open } else { Outcome::Refused(ErrorCode::InvalidAudio) }
        }
        Ok(_) if !begun => Outcome::Refused(ErrorCode::BadOrder),
        Ok(ClientMessage::Stop {}) => Outcome::Stopping,
        Ok(ClientMessage::Auth { .. }) => Outcome::Unknown,
        Ok(_) => Outcome::Open,
    }
}

/// All that the gateway says.
async fn converse(frames: Vec<Message>) -> Vec<Event> {
    let url = format!("ws://{}/v1/stream", HOUSE.address);
    let connected = tokio_tungstenite::connect_async(url).await;
    let (mut socket, _) = connected.unwrap_or_else(|error| panic!("nobody is let in: {error}"));
    for frame in frames {
        // The gateway may have closed by now.
        if socket.feed(frame).await.is_err() {
            break;
        }
    }
    socket.send(Message::Close(None)).await.ok();
    let mut events = Vec::new();
    let heard = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(text) = message {
                let event = serde_json::from_str(&text);
                events.push(event.unwrap_or_else(|error| panic!("{text}: {error}")));
            }
        }
    };
    assert!(timeout(PATIENCE, heard).await.is_ok(), "the session does not end");
    events
}
