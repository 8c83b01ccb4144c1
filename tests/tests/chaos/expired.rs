//! Jobs that were taken out of the queue because no worker came: each is a gap that its client sees, whichever gateway it is
//! with by then.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use gateway::{Gateway, GatewayConfig};
use prometheus::Registry;
use shared::{
    bus::{Bus, RedisBus},
    health::Health,
    jobs::{AUDIO_JOBS, STT_GROUP},
    shutdown::CancellationToken,
};
use tests::{
    chaos::script::{Clips, SILENCE_SECONDS, Script},
    redis_server::RedisServer,
};
use tokio::{runtime::Runtime, sync::oneshot, time::sleep};

use super::crowd::{Crowd, Manner};

/// A session waits so long for a final: short here, so that the test is.
const FINAL_TIMEOUT: Duration = Duration::from_secs(4);

/// A gateway with a runtime of its own: whoever drops that has killed it, and all it was about to do.
struct Own {
    runtime: Option<Runtime>,
    addr: SocketAddr,
}

impl Own {
    async fn start(redis: String) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (told, addr) = oneshot::channel();
        runtime.spawn(async move {
            let bus: Arc<dyn Bus> = Arc::new(RedisBus::connect(&redis).await.unwrap());
            let mut config = GatewayConfig::loopback();
            config.final_timeout = FINAL_TIMEOUT;
            config.silence_threshold = Duration::from_secs_f64(SILENCE_SECONDS.parse().unwrap());
            let registry = Registry::new();
            let health = Health::new("gateway", &["bus"], registry.clone());
            let gateway = Gateway::bind(config, bus, health, &registry).await.unwrap();
            told.send(gateway.local_addr().unwrap()).unwrap();
            gateway.run(CancellationToken::new()).await.unwrap();
        });
        Self { addr: addr.await.unwrap(), runtime: Some(runtime) }
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Somebody speaks, and every job is taken out of the queue; with `kill`, the gateway that asked for the first ones dies.
async fn all_expire(kill: bool) {
    let redis = RedisServer::spawn().await;
    let bus = RedisBus::connect(&redis.url()).await.unwrap();
    drop(bus.group_reader(AUDIO_JOBS, STT_GROUP, "nobody").await.unwrap());
    let mut gateways = [Own::start(redis.url()).await, Own::start(redis.url()).await];
    let urls = gateways.each_ref().map(|gateway| format!("ws://{}/v1/stream", gateway.addr));
    let script = Script::draw(&Clips::of_demo(), 5, 4);
    let half = Duration::from_millis(script.length_ms() * 2 / 3);
    let crowd = Crowd::say(&urls, vec![script.clone()], &Manner::default());
    let (begun, mut expired) = (tokio::time::Instant::now(), 0);
    while crowd.is_busy() {
        expired += bus.expire(AUDIO_JOBS, STT_GROUP, Duration::ZERO).await.unwrap();
        if kill && begun.elapsed() > half {
            gateways[0].kill();
        }
        sleep(Duration::from_millis(20)).await;
    }
    let outcome = crowd.hear().await;
    assert!(expired >= script.utterances() as u64, "{expired} jobs were in the queue");
    assert_eq!(outcome.broken(), usize::from(kill));
    assert_eq!((outcome.lost(), outcome.twice()), (0, 0));
    // What is said while nobody listens is one utterance or two for the gateway that listens next.
    assert!(outcome.faults.gaps >= script.utterances() - usize::from(kill), "{:?}", outcome.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_in_the_queue_is_a_gap() {
    all_expire(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_in_the_queue_is_a_gap_also_for_the_gateway_that_resumes() {
    all_expire(true).await;
}
