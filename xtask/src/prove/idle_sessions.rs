//! Sessions that say `start` and then nothing: a WebSocket client in so few lines that xtask needs no library for it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, ensure};

/// Generous; an idle gateway answers within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(30);
const START: &[u8] = br#"{"type":"start","audio":{"encoding":"pcm_s16le","sample_rate":16000,"channels":1},"source":"en","targets":["es"]}"#;
/// Any 16 bytes in base64; the answer to it is not checked, the gateway has tests of its own.
const KEY: &str = "c3VidGlkZSB4dGFzayBrZQ==";

/// An open session; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct IdleSession {
    _socket: TcpStream,
}

impl IdleSession {
    /// Returns once the gateway has said `started`.
    ///
    /// # Errors
    /// When it says anything else.
    pub(crate) fn open(port: u16) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).context("the gateway does not answer")?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        write!(
            socket,
            "GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: subtide.v1\r\n\r\n"
        )?;
        let head = head(&mut socket)?;
        ensure!(head.starts_with("HTTP/1.1 101"), "no WebSocket: {}", head.lines().next().unwrap_or_default());
        socket.write_all(&text_frame(START)?)?;
        let answer = text(&mut socket)?;
        ensure!(answer.contains(r#""type":"started""#), "not started: {answer}");
        Ok(Self { _socket: socket })
    }
}

/// Everything up to the empty line, byte by byte so that no frame behind it is swallowed.
fn head(socket: &mut TcpStream) -> anyhow::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).context("no answer to the handshake")?;
        head.extend(byte);
        ensure!(head.len() < 16 * 1024, "an endless answer to the handshake");
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// A final text frame. A client must mask; the mask of zeros is one.
fn text_frame(payload: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = u16::try_from(payload.len()).context("too long for this client")?;
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    Ok(frame)
}

/// The next frame's payload, whatever its kind.
fn text(socket: &mut TcpStream) -> anyhow::Result<String> {
    let mut short = [0; 2];
    socket.read_exact(&mut short).context("no answer to `start`")?;
    let length = match short[1] & 0x7f {
        126 => {
            let mut long = [0; 2];
            socket.read_exact(&mut long)?;
            usize::from(u16::from_be_bytes(long))
        }
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload)?;
    Ok(String::from_utf8_lossy(&payload).into_owned())
}
