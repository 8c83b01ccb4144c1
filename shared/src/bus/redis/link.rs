//! The way to one Redis server: the shared connection for commands, and connections of their own for readers.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, ProtocolVersion, RedisError, RedisResult,
    ScriptInvocation, Value,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};
use tokio::time::sleep;

use super::error::{describe, needs_new_connection, redacted, shown_address};
use crate::{backoff::Backoff, bus::BusError};

/// Loopback and data centre networks connect within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest command takes milliseconds; beyond this the server hangs, or the network lost us.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Times that one command is tried.
const ATTEMPTS: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_millis(500);

/// One Redis server. Clones share the connection for commands.
#[derive(Clone)]
pub(super) struct Link {
    client: Client,
    url: Arc<str>,
    manager: Arc<Mutex<Managed>>,
}

/// The connection manager in use, and how many there were before it.
struct Managed {
    generation: u64,
    manager: ConnectionManager,
}

/// What can be sent.
pub(super) enum Request<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

impl Request<'_> {
    async fn send(&self, manager: &mut ConnectionManager) -> RedisResult<Value> {
        match self {
            Self::Command(command) => command.query_async(manager).await,
            Self::Script(script) => script.invoke_async(manager).await,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.url).finish()
    }
}

fn new_manager(client: &Client) -> RedisResult<ConnectionManager> {
    // Retries are ours, so that one place says how long a command may take.
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

impl Link {
    /// Does not connect yet.
    pub(super) fn new(url: &str) -> Result<Self, BusError> {
        let bad_url = |error: RedisError| BusError::Url { url: redacted(url), reason: error.category().to_owned() };
        let info = url.into_connection_info().map_err(bad_url)?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let client = Client::open(info.set_redis_settings(settings)).map_err(bad_url)?;
        // For `rediss://`: without a provider of cryptography rustls panics. An error means that there is one already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let manager = Managed { generation: 0, manager: new_manager(&client).map_err(bad_url)? };
        Ok(Self { url: shown_address(&client).into(), client, manager: Arc::new(Mutex::new(manager)) })
    }

    /// The URL without its password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a command or script, a few times if need be, and reads the reply as a `T`.
    pub(super) async fn run<T: FromRedisValue>(&self, request: Request<'_>) -> Result<T, BusError> {
        let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
        let mut attempt = 1;
        loop {
            let (generation, mut manager) = self.manager();
            let error = match request.send(&mut manager).await {
                Ok(reply) => return read(reply),
                Err(error) => error,
            };
            if needs_new_connection(&error) {
                self.replace_manager(generation);
            }
            let error = self.describe(&error);
            if attempt == ATTEMPTS || !matches!(error, BusError::Unreachable { .. }) {
                return Err(error);
            }
            attempt += 1;
            sleep(backoff.next_delay()).await;
        }
    }

    /// [`Link::run`] of a command.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BusError> {
        self.run(Request::Command(command)).await
    }

    /// [`Link::run`] of a script.
    pub(super) async fn invoke<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, BusError> {
        self.run(Request::Script(script)).await
    }

    /// A connection for blocking reads of one reader, who sees to the response timeout.
    pub(super) async fn own_connection(&self) -> RedisResult<MultiplexedConnection> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    pub(super) fn describe(&self, error: &RedisError) -> BusError {
        describe(&self.url, error)
    }

    /// The error of a reader that was left without an answer.
    pub(super) fn no_answer(&self) -> BusError {
        BusError::Unreachable { url: self.url.to_string(), reason: "it does not answer".into() }
    }

    fn manager(&self) -> (u64, ConnectionManager) {
        let managed = self.manager.lock().unwrap_or_else(PoisonError::into_inner);
        (managed.generation, managed.manager.clone())
    }

    /// Replaces the manager of that generation, unless somebody else did.
    fn replace_manager(&self, generation: u64) {
        let mut managed = self.manager.lock().unwrap_or_else(PoisonError::into_inner);
        if managed.generation == generation
            && let Ok(manager) = new_manager(&self.client)
        {
            *managed = Managed { generation: generation + 1, manager };
        }
    }
}

/// Reads a reply as a `T`. The error does not quote the reply, which may hold what people said.
pub(super) fn read<T: FromRedisValue>(reply: Value) -> Result<T, BusError> {
    let wanted = std::any::type_name::<T>();
    T::from_redis_value(reply).map_err(|_| BusError::Protocol(format!("the reply is not a {wanted}")))
}
