//! The way to one Redis: the shared connection for commands, and connections of their own for readers.
//!
//! One task connects for all who wait, and while nothing answers a [`Breaker`] says so at once. Where sentinels know the
//! primary, they are asked for every new connection, and now and then for those that stand: a primary that lost its office
//! still answers reads.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisResult, ScriptInvocation, Value,
    aio::MultiplexedConnection,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    breaker::{Breaker, OPEN_AFTER},
    error::{describe, ends_connection, is_replica, wants_primary},
    replicas::{InDoubt, Leads, Replicas},
    route::Route,
    settings::RedisSettings,
};
use crate::{backoff::Backoff, bus::BusError};

/// Loopback and data centre networks connect within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest command takes milliseconds; beyond this the server hangs, or the network lost us.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Times that one command is tried.
const ATTEMPTS: u32 = OPEN_AFTER;
/// Longest that all of them take. With sentinels that hang each would look for the primary for seconds, and a worker, whose
/// leases are not renewed meanwhile, would find it long after its peers.
const LONGEST_RUN: Duration = Duration::from_secs(6);
const FIRST_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_millis(500);
/// A server that refuses what only a primary does is not left more often than this.
const STAY: Duration = Duration::from_millis(500);
/// How often sentinels are asked whether the primary is still the same.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// One Redis. Clones share the connection for commands.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    route: Route,
    url: String,
    state: Mutex<State>,
    /// Held by who connects.
    connecting: tokio::sync::Mutex<()>,
    replicas: Replicas,
}

struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that what many see break is counted once.
    generation: u64,
    connected: Instant,
    /// Counts tries to connect.
    tries: u64,
    breaker: Breaker,
    /// Address of the primary, and how often it was another one.
    primary: Option<String>,
    moves: u64,
    looked: Instant,
}

/// What can be sent.
pub(super) enum Request<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
    /// A script whose effect no failover may undo once it was said to have taken place.
    Lasting(&'a ScriptInvocation<'a>),
}

impl Request<'_> {
    async fn send(&self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Script(script) | Self::Lasting(script) => script.invoke_async(connection).await,
        }
    }
}

/// A connection of one reader.
pub(super) struct OwnConnection {
    pub(super) connection: MultiplexedConnection,
    /// Where the primary was, as the link counts.
    moves: u64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.0.url).finish()
    }
}

impl Link {
    /// Does not connect yet.
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, BusError> {
        // For `rediss://`: without a provider of cryptography rustls panics. An error means that there is one already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let (route, url) = Route::new(settings)?;
        let now = Instant::now();
        let state = State {
            connection: None,
            generation: 0,
            connected: now,
            tries: 0,
            breaker: Breaker::default(),
            primary: None,
            moves: 0,
            looked: now,
        };
        let connecting = tokio::sync::Mutex::new(());
        Ok(Self(Arc::new(Inner { route, url, state: Mutex::new(state), connecting, replicas: Replicas::default() })))
    }

    /// The URL without its password.
    pub(super) fn url(&self) -> &str {
        &self.0.url
    }

    /// Sends a command or script, a few times if need be, and reads the reply as a `T`.
    pub(super) async fn run<T: FromRedisValue>(&self, request: Request<'_>) -> Result<T, BusError> {
        let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
        let deadline = Instant::now() + LONGEST_RUN;
        let mut attempt = 1;
        loop {
            let error = match timeout_at(deadline, self.attempt(&request)).await {
                Ok(Ok(reply)) => return read(reply),
                Ok(Err(error)) => error,
                Err(_) => {
                    let error = self.no_answer();
                    self.state().breaker.failed(error.clone());
                    return Err(error);
                }
            };
            let hopeless = !matches!(error, BusError::Unreachable { .. }) || self.state().breaker.is_open();
            if attempt == ATTEMPTS || hopeless {
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

    /// [`Link::run`] of a script whose effect is to outlast a failover.
    pub(super) async fn invoke_lasting<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, BusError> {
        self.run(Request::Lasting(script)).await
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<Value, BusError> {
        let (leads, mut connection) = self.shared_connection().await?;
        let generation = leads.generation;
        let lasts = matches!(request, Request::Lasting(_)) && self.0.route.may_move();
        let sent = async {
            let reply = request.send(&mut connection).await?;
            if lasts {
                self.0.replicas.have(leads, &mut connection).await?;
            }
            Ok(reply)
        };
        let error = match sent.await {
            Ok(reply) => {
                self.state().breaker.answered();
                return Ok(reply);
            }
            Err(InDoubt::Error(error)) => error,
            Err(InDoubt::Unconfirmed(reason)) => {
                self.state().breaker.answered();
                // It may have lost its office to a replica that does not follow it any more.
                let looked = self.state().looked;
                if looked.elapsed() >= STAY {
                    self.look_again().await;
                }
                return Err(BusError::Unreachable { url: self.0.url.clone(), reason: reason.to_owned() });
            }
        };
        let described = self.describe(&error);
        if ends_connection(&error) {
            self.lost(generation, described.clone());
        } else {
            self.state().breaker.answered();
            if wants_primary(&error) {
                self.leave(generation, &error).await;
            }
        }
        Err(described)
    }

    /// A connection for blocking reads of one reader, who sees to the response timeout.
    pub(super) async fn own_connection(&self) -> Result<OwnConnection, BusError> {
        if let Some(refusal) = self.state().breaker.enter() {
            return Err(refusal);
        }
        let connected = self.connect(None).await;
        match &connected {
            Ok(_) => self.state().breaker.answered(),
            Err(error) => self.state().breaker.failed(error.clone()),
        }
        connected
    }

    /// Whether that connection still leads to the primary, as far as is known. When the sentinels were not asked for a while
    /// they are, and nobody waits for it.
    pub(super) fn is_current(&self, own: &OwnConnection) -> bool {
        let mut state = self.state();
        if self.0.route.may_move() && state.looked.elapsed() >= LOOK_AGAIN {
            state.looked = Instant::now();
            let link = self.clone();
            tokio::spawn(async move { link.look_again().await });
        }
        own.moves == state.moves
    }

    pub(super) fn describe(&self, error: &RedisError) -> BusError {
        describe(&self.0.url, error)
    }

    /// The error of who was left without an answer.
    pub(super) fn no_answer(&self) -> BusError {
        BusError::Unreachable { url: self.0.url.clone(), reason: "it does not answer".into() }
    }

    /// The error of who connected to what is not the primary any more.
    fn moved(&self) -> BusError {
        BusError::Unreachable { url: self.0.url.clone(), reason: "another one became the primary".into() }
    }

    /// The connection that all commands share, and where it leads.
    async fn shared_connection(&self) -> Result<(Leads, MultiplexedConnection), BusError> {
        let seen = {
            let mut state = self.state();
            if let Some(ready) = state.ready() {
                return Ok(ready);
            }
            if let Some(refusal) = state.breaker.enter() {
                return Err(refusal);
            }
            (state.tries, state.breaker.is_open().then(|| state.breaker.last()).flatten())
        };
        let (tries, away) = seen;
        let turn = match (self.0.connecting.try_lock(), away) {
            (Ok(turn), _) => turn,
            // Somebody tries already; until then it is away.
            (Err(_), Some(error)) => return Err(error),
            (Err(_), None) => self.0.connecting.lock().await,
        };
        {
            let state = self.state();
            if let Some(ready) = state.ready() {
                return Ok(ready);
            }
            // What became of somebody else's try holds for all who waited for it.
            if state.tries != tries
                && let Some(error) = state.breaker.last()
            {
                return Err(error);
            }
        }
        let connected = self.connect(Some(RESPONSE_TIMEOUT)).await;
        let mut state = self.state();
        state.tries += 1;
        let outcome = match connected {
            // It was found elsewhere meanwhile; what is written to where it was is thrown away.
            Ok(own) if own.moves != state.moves => Err(self.moved()),
            Ok(own) => {
                state.generation += 1;
                state.connected = Instant::now();
                state.connection = Some(own.connection.clone());
                Ok((state.leads(), own.connection))
            }
            Err(error) => {
                state.breaker.failed(error.clone());
                Err(error)
            }
        };
        drop(state);
        drop(turn);
        outcome
    }

    /// Connects to the primary.
    async fn connect(&self, response_timeout: Option<Duration>) -> Result<OwnConnection, BusError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(response_timeout);
        let connect = async {
            let client = self.0.route.primary().await?;
            let moves = self.found(&client);
            let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            Ok(OwnConnection { connection, moves })
        };
        connect.await.map_err(|error: RedisError| self.describe(&error))
    }

    /// Takes note of where the primary is. A connection to where it was is of no use any more.
    fn found(&self, client: &Client) -> u64 {
        let address = client.get_connection_info().addr().to_string();
        let mut state = self.state();
        state.looked = Instant::now();
        if state.primary.as_ref() != Some(&address) {
            if let Some(before) = state.primary.replace(address) {
                tracing::info!(%before, now = state.primary, "the primary of Redis is another one");
            }
            state.moves += 1;
            state.connection = None;
        }
        state.moves
    }

    /// Asks the sentinels again, unless somebody does already or just did.
    async fn look_again(&self) {
        self.state().looked = Instant::now();
        match self.0.route.primary().await {
            Ok(client) => drop(self.found(&client)),
            Err(error) => tracing::debug!(error = %self.describe(&error), "no sentinel names a primary"),
        }
    }

    /// The connection of that generation broke.
    fn lost(&self, generation: u64, error: BusError) {
        let mut state = self.state();
        if state.generation == generation && state.connection.take().is_some() {
            state.breaker.failed(error);
        }
    }

    /// What the connection of that generation leads to says that it is not the primary, or no whole one.
    async fn leave(&self, generation: u64, error: &RedisError) {
        let stayed = {
            let mut state = self.state();
            let stayed = state.generation == generation && state.connected.elapsed() >= STAY;
            if stayed && is_replica(error) {
                // The name in the URL may stand for another address by now.
                state.connection = None;
            }
            stayed && state.looked.elapsed() >= STAY
        };
        if stayed && self.0.route.may_move() {
            self.look_again().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ready(&self) -> Option<(Leads, MultiplexedConnection)> {
        self.connection.clone().map(|connection| (self.leads(), connection))
    }

    /// Where the shared connection leads: `found` drops it when the primary moves.
    fn leads(&self) -> Leads {
        Leads { generation: self.generation, moves: self.moves }
    }
}

/// Reads a reply as a `T`. The error does not quote the reply, which may hold what people said.
pub(super) fn read<T: FromRedisValue>(reply: Value) -> Result<T, BusError> {
    let wanted = std::any::type_name::<T>();
    T::from_redis_value(reply).map_err(|_| BusError::Protocol(format!("the reply is not a {wanted}")))
}
