//! What is no speech gets no text: silence, noise, hum and clicks through the whole pipeline.

use std::f64::consts::TAU;

use shared::wire::ServerMessage;
use tests::{
    session::{check, start, stream},
    stack::in_process,
};

const RATE: f64 = 16_000.0;
const SECONDS: usize = 12;

fn clip(sample: impl Fn(f64, &mut u64) -> f64) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    (0..SECONDS * 16_000)
        .flat_map(|i| ((sample(i as f64 / RATE, &mut random) * 32767.0) as i16).to_le_bytes())
        .collect()
}

/// Uniform in -1..1 (xorshift64, Marsaglia 2003).
fn noise(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_noise_hum_and_clicks_get_no_words() {
    let roles = in_process().await;
    let clips = [
        ("silence", clip(|_, _| 0.0)),
        ("white noise at -30 dBFS", clip(|_, r| 0.05 * noise(r))),
        ("white noise at -20 dBFS", clip(|_, r| 0.17 * noise(r))),
        ("mains hum", clip(|t, _| 0.2 * (TAU * 50.0 * t).sin() + 0.1 * (TAU * 100.0 * t).sin())),
        ("a tone", clip(|t, _| 0.3 * (TAU * 440.0 * t).sin())),
        ("clicks", clip(|t, r| if (t * 4.0).fract() < 0.002 { 0.7 * noise(r) } else { 0.0 })),
    ];
    for (name, pcm) in clips {
        let events = stream(&roles.url(), start(&["es"]), &pcm, 6.0).await;
        let texts = check(&events, &["es"]);
        let heard: Vec<_> = texts.values().flatten().filter(|text| !text.is_empty()).collect();
        assert!(heard.is_empty(), "{name} was heard as {heard:?}");
        assert!(matches!(events[0].message, ServerMessage::Started { .. }));
    }
    roles.stop().await.unwrap();
}
