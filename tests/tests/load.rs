//! Many sessions at once, in real time, with workers that answer at once: nobody loses anything. How many a gateway holds is
//! measured by the long form, with a release build.

use std::{io::Write as _, time::Duration};

use shared::shutdown::CancellationToken;
use tests::{
    figure::figure,
    load::{
        bench,
        crowd::{Scene, Summary, generate},
        engine,
    },
    redis_server::RedisServer,
    stack::{Process, free_addr},
};

/// Lets sessions speak through a gateway, and checks what was owed.
async fn speak(sessions: usize, length: Duration) -> Summary {
    let redis = RedisServer::spawn().await;
    let (url, address) = (redis.url(), free_addr());
    let (port, many) = (address.port().to_string(), "100000");
    let env = [
        ("REDIS_URL", url.as_str()),
        ("ENABLE_AUTH", "false"),
        ("GATEWAY_PORT", &port),
        ("CONNECTIONS_PER_MINUTE", many),
        ("MAX_QUEUE_DEPTH", many),
    ];
    let mut gateway = Process::spawn("gateway", "gateway", &env);
    let stop = CancellationToken::new();
    let worker = {
        let (url, stop) = (url.clone(), stop.clone());
        tokio::spawn(async move { engine::serve(&url, stop).await })
    };
    gateway.ready().await;
    let scene = Scene { address, path: "/v1/stream".to_owned(), targets: Vec::new() };
    let summary = generate(scene, sessions, length).await;
    stop.cancel();
    worker.await.unwrap_or_else(|e| panic!("{e}")).unwrap_or_else(|e| panic!("{e:#}"));
    summary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_sessions_at_once_lose_nothing() {
    let summary = speak(20, Duration::from_secs(6)).await;
    assert_eq!((summary.broken, summary.why.as_deref()), (0, None));
    assert!(summary.faults.none(), "{:?}", summary.faults);
    assert!(summary.utterances >= 20, "{} utterances: nobody spoke", summary.utterances);
    assert!(summary.partials.count() >= 20, "captions came while somebody spoke");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes 5 minutes, in a release build; cargo xtask prove faults runs `load gateway-bench`, which measures the same"]
async fn a_gateway_with_more_and_more_sessions() {
    let length = Duration::from_secs(10);
    let idle = bench::idle(8_000, length).await.unwrap_or_else(|e| panic!("{e:#}"));
    idle.print();
    let tell = |step: &bench::Step| writeln!(std::io::stderr(), "{}", step.line()).unwrap_or_default();
    let ramp = bench::ramp(&[200, 400, 600, 800, 1000, 1250, 1500], length, bench::DEFAULT_VAD, tell).await;
    let (steps, end) = ramp.unwrap_or_else(|e| panic!("{e:#}"));
    end.print("gateway_bench");
    figure("gateway_steps", steps.len() as f64);
    assert!(bench::print(&steps), "no step was sustained");
    assert!(end.faults.none(), "{:?}", end.faults);
}
