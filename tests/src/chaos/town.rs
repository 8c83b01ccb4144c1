//! The processes of a whole Subtide, with stubs of the models, and what can be done to them.

use std::{fmt, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    plan::{Deed, Plan, Step, Whom},
    script::SILENCE_SECONDS,
};
use crate::{
    redis_server::{APPEND_ONLY, RedisServer},
    stack::{Process, free_addr},
};

/// How many of each.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Speech workers.
    pub speech: usize,
    /// Translation workers.
    pub translation: usize,
    /// Gateways.
    pub gateways: usize,
    /// Time that a model takes, milliseconds.
    pub delay_ms: u64,
    /// Answers that one worker works on at once.
    pub at_once: usize,
    /// More settings of every process.
    pub env: Vec<(String, String)>,
    /// More arguments of `redis-server`.
    pub redis: Vec<String>,
    /// Where processes reach Redis, when not directly.
    pub redis_url: Option<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            speech: 2,
            translation: 1,
            gateways: 1,
            delay_ms: 60,
            at_once: 16,
            env: Vec::new(),
            redis: APPEND_ONLY.iter().map(|argument| (*argument).to_owned()).collect(),
            redis_url: None,
        }
    }
}

/// One process that is started again under a new name whenever it has died.
#[derive(Debug)]
struct Post {
    program: String,
    name: String,
    lives: usize,
    env: Vec<(String, String)>,
    process: Process,
}

impl Post {
    fn fill(program: String, name: String, env: Vec<(String, String)>) -> Self {
        let process = spawn(&program, &name, 0, &env);
        Self { program, name, lives: 0, env, process }
    }

    fn fill_again(&mut self) {
        self.lives += 1;
        self.process = spawn(&self.program, &self.name, self.lives, &self.env);
    }
}

fn spawn(program: &str, name: &str, lives: usize, env: &[(String, String)]) -> Process {
    let env: Vec<(&str, &str)> = env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    Process::spawn(program, &format!("{name}-{lives}"), &env)
}

/// All of them.
pub struct Town {
    /// The bus.
    pub redis: RedisServer,
    speech: Vec<Post>,
    translation: Vec<Post>,
    gateways: Vec<Post>,
    addrs: Vec<SocketAddr>,
}

impl fmt::Debug for Town {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Town").field("gateways", &self.addrs).finish_non_exhaustive()
    }
}

impl Town {
    /// Starts everything and waits until it is ready.
    ///
    /// # Panics
    /// When a part does not come up.
    pub async fn spawn(shape: &Shape) -> Self {
        let redis = RedisServer::spawn_with(&shape.redis.iter().map(String::as_str).collect::<Vec<_>>()).await;
        Self::beside(redis, shape).await
    }

    /// The same, beside a Redis that is there already.
    ///
    /// # Panics
    /// As [`Town::spawn`].
    pub async fn beside(redis: RedisServer, shape: &Shape) -> Self {
        let url = shape.redis_url.clone().unwrap_or_else(|| redis.url());
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut env = vec![pair("REDIS_URL", &url), pair("LOG_LEVEL", "error")];
        env.extend(shape.env.iter().cloned());
        let stub = |role: &str| {
            let Shape { delay_ms, at_once, .. } = shape;
            format!("stub-worker {role} --only-marks --delay-ms {delay_ms} --at-once {at_once}")
        };
        let posts = |count: usize, program: String, name: &str| -> Vec<Post> {
            (0..count).map(|n| Post::fill(program.clone(), format!("{name}-{n}"), env.clone())).collect()
        };
        let addrs: Vec<SocketAddr> = (0..shape.gateways).map(|_| free_addr()).collect();
        let gateway = |(n, addr): (usize, &SocketAddr)| {
            let mut env = env.clone();
            // Limits that are there for strangers, and not for one address with all the clients.
            let open = [("CONNECTIONS_PER_MINUTE", "100000"), ("SESSIONS_PER_USER", "10000")];
            let own = [("ENABLE_AUTH", "false"), ("SILENCE_THRESHOLD_SECONDS", SILENCE_SECONDS)];
            env.splice(0..0, open.into_iter().chain(own).map(|(key, value)| pair(key, value)));
            env.push(pair("GATEWAY_PORT", &addr.port().to_string()));
            Post::fill("gateway".to_owned(), format!("gateway-{n}"), env)
        };
        let mut town = Self {
            speech: posts(shape.speech, stub("speech"), "stt"),
            translation: posts(shape.translation, stub("translation"), "mt"),
            gateways: addrs.iter().enumerate().map(gateway).collect(),
            redis,
            addrs,
        };
        town.ready().await;
        town
    }

    /// Waits until every process is ready.
    ///
    /// # Panics
    /// When one is not.
    pub async fn ready(&mut self) {
        join_all(self.posts().map(|post| post.process.ready())).await;
    }

    fn posts(&mut self) -> impl Iterator<Item = &mut Post> {
        self.speech.iter_mut().chain(&mut self.translation).chain(&mut self.gateways)
    }

    /// Where clients connect.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.addrs.iter().map(|addr| format!("ws://{addr}/v1/stream")).collect()
    }

    /// Addresses of the gateways.
    #[must_use]
    pub fn gateways(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The process at a post; none for Redis.
    #[must_use]
    pub fn process(&self, whom: Whom) -> Option<&Process> {
        let post = match whom {
            Whom::Speech(n) => self.speech.get(n),
            Whom::Translation(n) => self.translation.get(n),
            Whom::Gateway(n) => self.gateways.get(n),
            Whom::Redis => None,
        };
        post.map(|post| &post.process)
    }

    /// Every process with its name, Redis aside.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.speech.iter().chain(&self.translation).chain(&self.gateways).map(|post| &post.process)
    }

    fn post(&mut self, whom: Whom) -> Option<&mut Post> {
        match whom {
            Whom::Speech(n) => self.speech.get_mut(n),
            Whom::Translation(n) => self.translation.get_mut(n),
            Whom::Gateway(n) => self.gateways.get_mut(n),
            Whom::Redis => None,
        }
    }

    /// Kills a worker or gateway and starts the next in its place. Returns the name of the dead.
    ///
    /// # Panics
    /// When there is no such post.
    pub fn kill(&mut self, whom: Whom) -> String {
        let post = self.post(whom).unwrap_or_else(|| panic!("{whom:?} is not here"));
        post.process.kill();
        let dead = post.process.name.clone();
        post.fill_again();
        dead
    }

    /// Kills whoever holds the post, starts nobody.
    pub fn vacate(&mut self, whom: Whom) {
        if let Some(post) = self.post(whom) {
            post.process.kill();
        }
    }

    /// Starts somebody at a post that was vacated.
    pub fn refill(&mut self, whom: Whom) {
        if let Some(post) = self.post(whom) {
            post.fill_again();
        }
    }

    /// Does what the plan says to one process. A frozen one is woken before this returns.
    ///
    /// # Panics
    /// When a process cannot be started again.
    pub async fn suffer(&mut self, whom: Whom, deed: Deed) {
        match (whom, deed) {
            (Whom::Redis, Deed::Freeze(length)) => {
                self.redis.signal("STOP");
                sleep(length).await;
                self.redis.signal("CONT");
            }
            (Whom::Redis, _) => self.redis.restart().await,
            (_, Deed::Kill) => drop(self.kill(whom)),
            (_, Deed::Freeze(length)) => {
                if let Some(post) = self.post(whom) {
                    post.process.signal("STOP");
                    sleep(length).await;
                    post.process.signal("CONT");
                }
            }
            (_, Deed::Stop) => {
                if let Some(post) = self.post(whom) {
                    post.process.signal("TERM");
                    post.process.ended().await;
                    post.fill_again();
                }
            }
        }
    }

    /// Carries a plan out. `after` is told of each step, and when it was begun.
    pub async fn carry_out(&mut self, plan: &Plan, mut after: impl FnMut(Step, Instant)) {
        let begun = Instant::now();
        for step in &plan.steps {
            sleep_until(begun + step.at).await;
            let at = Instant::now();
            self.suffer(step.whom, step.deed).await;
            after(*step, at);
        }
    }
}

/// How long a zombie sleeps: longer than a lease, and a look for silent workers.
pub const ZOMBIE: Duration = Duration::from_millis(5_500);
