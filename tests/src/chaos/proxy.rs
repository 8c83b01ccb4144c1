//! A network that is slow, deaf or gone: a TCP proxy on a free loopback port.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// What the network does to all connections, old and new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Nothing: bytes pass.
    Fair,
    /// Each chunk comes later, by so much.
    Slow(Duration),
    /// So many bytes pass at once, with a pause of 10 ms after each: a trickle.
    Trickle(usize),
    /// Nothing passes, and nobody is told; later it does.
    Deaf,
    /// Nothing passes from the server to the client; the other way is open.
    HalfDeaf,
    /// The server's words end (a half-closed connection); the client may go on.
    HalfClosed,
    /// Connections break, and new ones break at once.
    Gone,
}

/// A running proxy; connections through it break when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    weather: watch::Sender<Weather>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of `server`.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn spawn(server: SocketAddr) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap_or_else(|e| panic!("no free port: {e}"));
        let addr = listener.local_addr().unwrap_or_else(|e| panic!("no address: {e}"));
        let (weather, watched) = watch::channel(Weather::Fair);
        let task = tokio::spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                pairs.spawn(join(client, server, watched.clone()));
                while pairs.try_join_next().is_some() {}
            }
        });
        Self { addr, weather, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the weather, now.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Lets the weather be `weather` for a while.
    pub async fn spell(&self, weather: Weather, length: Duration) {
        self.set(weather);
        sleep(length).await;
        self.set(Weather::Fair);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn join(client: TcpStream, server: SocketAddr, weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Gone {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    for socket in [&client, &server] {
        socket.set_nodelay(true).ok();
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (up, down) = (weather.clone(), weather.clone());
    let mut weather = weather;
    let gone = async { weather.wait_for(|now| *now == Weather::Gone).await.map(drop) };
    tokio::select! {
        _ = gone => {}
        () = async { tokio::join!(pump(from_client, to_server, up, false), pump(from_server, to_client, down, true)); } => {}
    }
}

/// Carries bytes until one side ends. `back`: from the server to the client.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>, back: bool) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !pass(&buffer[..count], &mut to, &mut weather, back).await {
            break;
        }
    }
    to.shutdown().await.ok();
}

/// Carries one chunk through the weather; false when that was the end.
async fn pass(chunk: &[u8], to: &mut OwnedWriteHalf, weather: &mut watch::Receiver<Weather>, back: bool) -> bool {
    let held = |now: &Weather| *now == Weather::Deaf || back && *now == Weather::HalfDeaf;
    if weather.wait_for(|now| !held(now)).await.is_err() {
        return false;
    }
    let now = *weather.borrow();
    match now {
        Weather::HalfClosed if back => false,
        Weather::Slow(by) => {
            sleep(by).await;
            to.write_all(chunk).await.is_ok()
        }
        Weather::Trickle(bytes) => {
            for part in chunk.chunks(bytes.max(1)) {
                if to.write_all(part).await.is_err() {
                    return false;
                }
                if matches!(*weather.borrow(), Weather::Trickle(_)) {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            true
        }
        _ => to.write_all(chunk).await.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    /// Sends everything back.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        addr
    }

    async fn ask(socket: &mut TcpStream) -> Option<u8> {
        socket.write_all(b"?").await.ok()?;
        let mut answer = [0];
        socket.read_exact(&mut answer).await.ok().map(|_| answer[0])
    }

    #[tokio::test]
    async fn the_weather_comes_and_goes() {
        let proxy = Proxy::spawn(echo().await).await;
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut socket).await, Some(b'?'));
        for weather in [Weather::Deaf, Weather::HalfDeaf, Weather::Slow(SHORT * 3)] {
            proxy.set(weather);
            assert!(timeout(SHORT, ask(&mut socket)).await.is_err(), "{weather:?}");
            proxy.set(Weather::Fair);
            let mut late = [0];
            socket.read_exact(&mut late).await.unwrap();
        }
        proxy.set(Weather::Trickle(1));
        assert_eq!(ask(&mut socket).await, Some(b'?'));
        proxy.set(Weather::HalfClosed);
        assert_eq!(ask(&mut socket).await, None);
        proxy.set(Weather::Fair);
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut socket).await, Some(b'?'));
        proxy.set(Weather::Gone);
        assert_eq!(ask(&mut socket).await, None);
    }
}
