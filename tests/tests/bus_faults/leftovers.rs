//! What stays in Redis: nothing that would stay for ever, but for the streams of jobs, which the janitor trims.

use redis::{Client, cmd};
use shared::{
    bus::{Bus as _, RedisBus},
    jobs::{AUDIO_JOBS, MT_GROUP, STT_GROUP, TRANSLATION_JOBS},
};
use tests::{
    session::{check, start, stream},
    speech::{demo, pcm},
    stack::Stack,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_a_session_expires_but_the_streams_of_jobs() {
    let stack = Stack::spawn(1, 1).await;
    let (wav, _) = demo();
    let events = stream(&stack.url(), start(&["es"]), &pcm(&wav), 4.0).await;
    drop(check(&events, &["es"]));
    let mut redis = Client::open(stack.redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    assert!(keys.iter().any(|key| key.starts_with("seen:")) && keys.len() > 5, "{keys:?}");
    for key in keys {
        let left: i64 = cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
        let is_jobs = [AUDIO_JOBS, TRANSLATION_JOBS].contains(&key.as_str());
        // -2: it has expired since it was listed.
        assert!(left >= 0 || left == -2 || is_jobs, "{key} stays for ever");
    }
    let bus = RedisBus::connect(&stack.redis.url()).await.unwrap();
    for (stream, group) in [(AUDIO_JOBS, STT_GROUP), (TRANSLATION_JOBS, MT_GROUP)] {
        assert_eq!(bus.depth(stream, group).await.unwrap().pending, 0, "{stream}: nothing is left in hand");
    }
}
