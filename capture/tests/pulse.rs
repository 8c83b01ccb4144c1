//! A real PulseAudio with sinks that nobody hears: what is captured is what is played, and devices come and go.
//!
//! Each test has a server of its own. The sound client reads where the server is from the environment, so it runs in a child
//! process: this very program, asked for the one test that is ignored otherwise.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "its main is not this program's")]
#[path = "../examples/listen.rs"]
mod listen;
#[path = "pulse/server.rs"]
mod server;
#[path = "pulse/signal.rs"]
mod signal;

use std::time::Duration;

use server::Server;

/// What the child is to do: the arguments of the example.
const TOLD: &str = "SUBTIDE_TEST_LISTEN";

#[test]
#[ignore = "the child process of the other tests, which say by the environment what it is to do"]
fn child() {
    let Ok(told) = std::env::var(TOLD) else { return };
    listen::run(&told.split(' ').collect::<Vec<_>>()).unwrap();
}

#[test]
fn what_is_heard_is_what_was_played() {
    let Some(server) = Server::start(&["one"]) else { return };
    let mut ear = server.listen("system", None);
    ear.seconds(2);
    let played = signal::write(&server.path("played.wav"), 5.0);
    server.play("one", "played.wav").ends();
    ear.seconds(2);
    let lines = ear.finish();
    let heard = signal::read(&server.path("heard.wav"));
    let report = signal::compare(&played, &heard);
    println!("{report:?}");
    assert!(!lines.iter().any(|line| line.contains("lost_ms")), "nothing is lost: {lines:?}");
    assert!(report.worst_correlation > 0.95, "{report:?} {lines:?}");
    assert!((report.seconds - 5.0).abs() < 0.05, "as long as it was played: {report:?}");
    assert!((report.gain - 1.0).abs() < 0.05, "as loud as it was played: {report:?}");
}

#[test]
fn microphones_and_monitors_are_told_apart_and_named_the_same_again() {
    let Some(server) = Server::start(&["one", "two"]) else { return };
    server.pactl(&["set-default-sink", "two"]);
    server.load("module-remap-source", &["master=one.monitor", "source_name=mic"]);
    server.pactl(&["set-default-source", "mic"]);
    let lines = server.devices();
    let ids = |kind: &str| {
        let of_kind = lines.iter().filter(|line| line.contains(&format!(r#""kind":"{kind}""#)));
        of_kind.map(|line| line.split('"').nth(5).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("microphone"), ["pulseaudio:mic"], "{lines:?}");
    assert_eq!(ids("system"), ["pulseaudio:two.monitor", "pulseaudio:one.monitor"], "the default first: {lines:?}");
    let defaults = lines.iter().filter(|line| line.contains(r#""is_default":true"#)).count();
    assert_eq!(defaults, 2, "one of each kind: {lines:?}");
    assert_eq!(server.devices(), lines);
    // A microphone is heard as well.
    let mut ear = server.listen("microphone", Some("pulseaudio:mic"));
    let played = signal::write(&server.path("played.wav"), 2.0);
    server.play("one", "played.wav").ends();
    ear.seconds(2);
    let lines = ear.finish();
    let report = signal::compare(&played, &signal::read(&server.path("heard.wav")));
    assert!(report.worst_correlation > 0.95, "{report:?} {lines:?}");
}

#[test]
fn a_device_that_goes_is_left_for_another_and_none_is_waited_out() {
    let Some(server) = Server::start(&["one"]) else { return };
    let first = server.load("module-null-sink", &["sink_name=two", "rate=44100", "channels=2", "norewinds=1"]);
    server.pactl(&["set-default-sink", "two"]);
    signal::write(&server.path("played.wav"), 2.0);
    let mut ear = server.listen("system", None);
    ear.seconds(2);
    server.pactl(&["unload-module", &first]);
    ear.until(r#""moved":{"id":"pulseaudio:one.monitor""#);
    server.play("one", "played.wav").ends();
    ear.until_loud();
    server.unload_sink("one");
    ear.until(r#""waiting":true"#);
    server.load("module-null-sink", &["sink_name=three", "rate=48000", "channels=6", "norewinds=1"]);
    ear.until(r#""moved":{"id":"pulseaudio:three.monitor""#);
    server.play("three", "played.wav").ends();
    ear.until_loud();
    ear.seconds(1);
    let lines = ear.finish();
    assert!(lines.iter().any(|line| line.contains("lost_ms")), "what was missed is told: {lines:?}");
    server::assert_paced(&lines);
}

#[test]
fn the_default_is_followed_and_a_chosen_device_is_not_left() {
    let Some(server) = Server::start(&["one", "two"]) else { return };
    server.pactl(&["set-default-sink", "one"]);
    let mut follows = server.listen("system", None);
    let mut stays = server.listen_as("stays.wav", "system", Some("pulseaudio:one.monitor"));
    follows.seconds(1);
    stays.seconds(1);
    server.pactl(&["set-default-sink", "two"]);
    follows.until(r#""moved":{"id":"pulseaudio:two.monitor""#);
    signal::write(&server.path("played.wav"), 2.0);
    server.play("two", "played.wav").ends();
    follows.until_loud();
    stays.seconds(2);
    follows.finish();
    let still = stays.finish();
    assert!(!still.iter().any(|line| line.contains("moved")), "{still:?}");
    assert!(still.iter().filter_map(|line| server::peak(line)).fold(0.0, f64::max) < 0.01, "{still:?}");
}

#[test]
fn a_suspended_device_is_silence_at_the_pace_of_the_clock() {
    let Some(server) = Server::start(&["one"]) else { return };
    server.pactl(&["suspend-sink", "one", "1"]);
    let mut ear = server.listen("system", None);
    ear.seconds(3);
    // It wakes up when something plays.
    server.pactl(&["suspend-sink", "one", "0"]);
    signal::write(&server.path("played.wav"), 1.0);
    server.play("one", "played.wav").ends();
    ear.until_loud();
    ear.seconds(1);
    let lines = ear.finish();
    assert!(!lines.iter().any(|line| line.contains("lost_ms")), "that nothing plays is no loss: {lines:?}");
    server::assert_paced(&lines);
}

#[test]
fn a_server_that_goes_is_waited_for() {
    let Some(mut server) = Server::start(&["one"]) else { return };
    let mut ear = server.listen("system", None);
    ear.seconds(1);
    server.stop();
    ear.until(r#""waiting":true"#);
    server.again(&["one"]);
    ear.until(r#""moved":{"id":"pulseaudio:one.monitor""#);
    signal::write(&server.path("played.wav"), 2.0);
    server.play("one", "played.wav").ends();
    ear.until_loud();
    server::assert_paced(&ear.finish());
}

#[test]
fn a_sleep_is_told_and_left_out() {
    let Some(server) = Server::start(&["one"]) else { return };
    let mut ear = server.listen("system", None);
    ear.seconds(2);
    ear.sleeps(Duration::from_secs(12));
    ear.until("lost_ms");
    signal::write(&server.path("played.wav"), 2.0);
    server.play("one", "played.wav").ends();
    ear.until_loud();
    ear.seconds(1);
    let lines = ear.finish();
    let lost: f64 = lines.iter().filter_map(|line| server::number(line, "lost_ms")).sum();
    let place = |line: &String| Some((server::number(line, "samples")? / 16.0, server::number(line, "at_ms")?));
    let (sound, at) = lines.iter().rev().find_map(place).unwrap();
    println!("{lost} ms are left out of {at} ms, of which {sound} ms were heard");
    // Some of the 12 s was kept by the server.
    assert!((5_000.0..13_000.0).contains(&lost), "{lost} ms: {lines:#?}");
    assert!((sound + lost - at).abs() < 1_500.0, "{sound} ms heard, {lost} ms lost, after {at} ms: {lines:#?}");
}

#[test]
fn a_wish_that_cannot_be_met_is_told_at_once() {
    let Some(server) = Server::start(&["one"]) else { return };
    let said = server.refused("system", Some("pulseaudio:gone.monitor"));
    assert!(said.contains("pulseaudio:gone.monitor is not plugged in"), "{said}");
    let said = server.refused("microphone", None);
    assert!(said.contains("no microphone is plugged in or switched on"), "{said}");
}
