//! Clients that mean harm, over raw sockets: each kind does one thing that no honest client does, and tells how it was
//! ended. For gateways on loopback that a test started.
//!
//! - [`attack`]: one such client, once; [`Horde`]: many of them, coming back whenever they are cut off
//! - [`honest`]: clients that speak as they should, and how long they wait for their captions
//! - [`parrot`]: a worker without a model, that answers at once

pub mod honest;
pub mod parrot;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::speech::{demo, pcm};

/// `start` for 16 kHz mono, as a hostile client writes it.
const START: &str =
    r#"{"type":"start","audio":{"encoding":"pcm_s16le","sample_rate":16000,"channels":1},"source":"en","targets":[]}"#;
/// What is kept of what a gateway says.
const MAX_SAID: usize = 64 * 1024;
/// Connections of one source address in a horde: below the gateway's default limit.
const OF_ONE_ADDRESS: usize = 200;

/// What a hostile client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Connects, and says nothing.
    Idle,
    /// Sends half of a request's head, and no more.
    HalfHead,
    /// Sends a request's head, a byte a second.
    SlowHead,
    /// Begins a TLS handshake, and no more. (At a port without TLS: bytes that are no HTTP.)
    HalfTls,
    /// Opens a WebSocket and sends no `start`.
    NoStart,
    /// Opens a session, sends nothing more and answers no ping, as if it had vanished.
    Silent,
    /// Opens a session, sends speech as fast as it is taken, and reads nothing.
    NoRead,
    /// Opens a session and sends a frame of 65 KiB.
    Oversize,
    /// Opens a session, closes its own direction, and reads on.
    HalfClosed,
    /// Opens a WebSocket and sends bytes that are no frames.
    Garbage,
    /// Opens a session, sends speech as fast as it is taken, and reads.
    Flood,
    /// Opens a session and sends one message in ever more fragments.
    Fragments,
    /// Opens a session and sends pings as fast as they are taken, and reads nothing.
    Pings,
}

impl Attack {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 13] = [
        ("idle", Self::Idle),
        ("half-head", Self::HalfHead),
        ("slow-head", Self::SlowHead),
        ("half-tls", Self::HalfTls),
        ("no-start", Self::NoStart),
        ("silent", Self::Silent),
        ("no-read", Self::NoRead),
        ("oversize", Self::Oversize),
        ("half-closed", Self::HalfClosed),
        ("garbage", Self::Garbage),
        ("flood", Self::Flood),
        ("fragments", Self::Fragments),
        ("pings", Self::Pings),
    ];

    fn reads(self) -> bool {
        !matches!(self, Self::NoRead | Self::Pings)
    }
}

/// How a hostile client was ended.
#[derive(Debug)]
pub struct Ended {
    /// After so long; `None`: it was not, as long as it waited.
    pub after: Option<Duration>,
    /// The first of what the gateway said.
    pub said: Vec<u8>,
    /// When it said its last word.
    pub last_word: Duration,
    /// Bytes that it was able to send.
    pub sent: usize,
}

impl Ended {
    /// The code of the WebSocket's close frame, where one came: the last frame of all.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        let frame = self.said.windows(4).rev().find(|bytes| bytes[0] == 0x88 && bytes[1] >= 2)?;
        Some(u16::from_be_bytes([frame[2], frame[3]]))
    }
}

/// A client's WebSocket frame with all-zero mask.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | u8::try_from(short).unwrap_or_default()),
        middle @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(middle).unwrap_or_default().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// Half a minute of real speech, in frames of a second.
fn speech() -> Vec<u8> {
    let (path, _) = demo();
    pcm(&path).chunks(32_000).take(30).flat_map(|second| frame(0x82, second)).collect()
}

fn handshake(addr: SocketAddr) -> String {
    format!(
        "GET /v1/stream HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: subtide.v1\r\n\r\n"
    )
}

struct Client {
    stream: TcpStream,
    ended: Ended,
    begun: Instant,
    deadline: Instant,
}

impl Client {
    async fn connect(addr: SocketAddr, from: Ipv4Addr, attack: Attack, patience: Duration) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if !attack.reads() {
            socket.set_recv_buffer_size(4096)?;
        }
        socket.bind((from, 0).into())?;
        let stream = socket.connect(addr).await?;
        stream.set_nodelay(true)?;
        let begun = Instant::now();
        let ended = Ended { after: None, said: Vec::new(), last_word: Duration::ZERO, sent: 0 };
        Ok(Self { stream, ended, begun, deadline: begun + patience })
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let sent = timeout_at(self.deadline, self.stream.write_all(bytes)).await;
        sent.unwrap_or(Ok(()))?;
        self.ended.sent += bytes.len();
        Ok(())
    }

    /// Sends `bytes` again and again, reading what comes if `reads`.
    async fn pour(&mut self, bytes: &[u8], reads: bool) -> std::io::Result<()> {
        let (mut reader, mut writer) = self.stream.split();
        let (ended, mut chunk) = (&mut self.ended, vec![0; 16 * 1024]);
        let (mut at, mut deadline) = (0, std::pin::pin!(tokio::time::sleep_until(self.deadline)));
        loop {
            tokio::select! {
                sent = writer.write(&bytes[at..]) => {
                    let sent = sent?;
                    ended.sent += sent;
                    at = (at + sent) % bytes.len();
                }
                read = reader.read(&mut chunk), if reads => match read? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    count => ended.said.extend(&chunk[..count.min(MAX_SAID.saturating_sub(ended.said.len()))]),
                },
                () = &mut deadline => return Ok(()),
            }
        }
    }

    /// Reads until the gateway has closed.
    async fn listen(&mut self) -> std::io::Result<()> {
        let mut chunk = vec![0; 4096];
        loop {
            let Ok(read) = timeout_at(self.deadline, self.stream.read(&mut chunk)).await else { return Ok(()) };
            match read? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => {
                    let room = MAX_SAID.saturating_sub(self.ended.said.len());
                    self.ended.said.extend(&chunk[..count.min(room)]);
                    self.ended.last_word = self.begun.elapsed();
                }
            }
        }
    }

    /// Does what the attack does until its time is over (`Ok`) or the gateway has ended it (`Err`).
    async fn run(&mut self, addr: SocketAddr, attack: Attack) -> std::io::Result<()> {
        let opening = handshake(addr);
        let opened = [opening.as_bytes(), &frame(0x81, START.as_bytes())].concat();
        match attack {
            Attack::Idle => {}
            Attack::HalfHead => self.send(&opening.as_bytes()[..40]).await?,
            Attack::SlowHead => {
                let (mut reader, mut writer) = self.stream.split();
                let drip = async {
                    for byte in opening.as_bytes() {
                        writer.write_all(&[*byte]).await?;
                        sleep(Duration::from_secs(1)).await;
                    }
                    Ok(())
                };
                let mut byte = [0];
                let cut = async { reader.read(&mut byte).await.map(drop) };
                return tokio::select! {
                    done = drip => done,
                    _ = cut => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    () = tokio::time::sleep_until(self.deadline) => Ok(()),
                };
            }
            // A handshake record that promises 512 bytes.
            Attack::HalfTls => self.send(&[0x16, 3, 1, 2, 0, 1, 0]).await?,
            Attack::NoStart => self.send(opening.as_bytes()).await?,
            Attack::Silent => self.send(&opened).await?,
            Attack::NoRead | Attack::Flood => {
                self.send(&opened).await?;
                return self.pour(&speech(), attack.reads()).await;
            }
            Attack::Oversize => self.send(&[&opened[..], &frame(0x82, &vec![0; 65 * 1024])].concat()).await?,
            Attack::HalfClosed => {
                self.send(&opened).await?;
                self.stream.shutdown().await?;
            }
            Attack::Garbage => {
                self.send(&opened).await?;
                self.send(&[0xff; 4096]).await?;
            }
            Attack::Fragments => {
                self.send(&opened).await?;
                self.send(&frame(0x02, &[0, 0])).await?;
                return self.pour(&frame(0x00, &[0, 0]).repeat(1000), true).await;
            }
            Attack::Pings => {
                self.send(&opened).await?;
                return self.pour(&frame(0x89, &[0; 125]).repeat(100), false).await;
            }
        }
        self.listen().await
    }
}

/// One hostile client, from the address `from` (any of 127.0.0.0/8), for at most `patience`.
///
/// # Panics
/// When it cannot even connect.
pub async fn attack(addr: SocketAddr, from: Ipv4Addr, attack: Attack, patience: Duration) -> Ended {
    let client = Client::connect(addr, from, attack, patience).await;
    let mut client = client.unwrap_or_else(|error| panic!("{attack:?} cannot connect: {error}"));
    let ended = client.run(addr, attack).await.is_err();
    Ended { after: ended.then(|| client.begun.elapsed()), ..client.ended }
}

/// Many hostile clients at once, until this is dropped.
#[derive(Debug)]
pub struct Horde {
    clients: JoinSet<()>,
}

impl Horde {
    /// So many of each kind, spread over addresses 127.1.x.1, each coming back a moment after it was cut off.
    #[must_use]
    pub fn raise(addr: SocketAddr, kinds: &[(Attack, usize)]) -> Self {
        let mut clients = JoinSet::new();
        let all = kinds.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
        for (index, kind) in all.enumerate() {
            let network = u8::try_from(index / OF_ONE_ADDRESS).unwrap_or(u8::MAX);
            clients.spawn(async move {
                // Not all in the same millisecond: a listener's queue has 128 places on many machines.
                sleep(Duration::from_millis(u64::try_from(index).unwrap_or(0))).await;
                loop {
                    let from = Ipv4Addr::new(127, 1, network, 1);
                    if let Ok(mut client) = Client::connect(addr, from, kind, Duration::from_secs(3600)).await {
                        drop(client.run(addr, kind).await);
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            });
        }
        Self { clients }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Ends them all.
    pub async fn disperse(mut self) {
        drop(timeout(Duration::from_secs(10), self.clients.shutdown()).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_framed_as_the_standard_says() {
        assert_eq!(frame(0x81, b"ab"), [0x81, 0x82, 0, 0, 0, 0, b'a', b'b']);
        assert_eq!(frame(0x82, &[7; 300])[..8], [0x82, 0xfe, 1, 44, 0, 0, 0, 0]);
        assert_eq!(frame(0x82, &[7; 65_536])[..10], [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_close_code_is_found_behind_what_else_was_said() {
        let said = [b"HTTP/1.1 101\r\n\r\n".to_vec(), vec![0x81, 2, b'{', b'}', 0x88, 2, 0x03, 0xf1]].concat();
        let ended = Ended { after: None, said, last_word: Duration::ZERO, sent: 0 };
        assert_eq!(ended.close_code(), Some(1009));
    }
}
