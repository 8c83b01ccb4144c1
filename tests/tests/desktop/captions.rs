//! What the machine plays becomes captions in a window over every other, with no server at all.

use std::collections::BTreeSet;

use serde_json::json;
use tests::{
    desk::{Desk, window::Window},
    figure::figure,
    speech::{demo, word_error_rate},
};

use tokio::time::{Duration, Instant, sleep};

use super::client::{choose, overlay, phase, start, what_is_played};

/// For a window to be opened.
const PATIENCE: Duration = Duration::from_secs(60);
/// The demo model on its own recording, through a sound card that is none.
const WORST_WORD_ERROR_RATE: f64 = 0.15;

#[tokio::test]
async fn system_audio_becomes_captions_in_a_window_over_every_other() {
    let Some(mut desk) = Desk::spawn().await else { return };
    desk.sound().await;
    desk.stripes().await;
    let driven = start(&desk, &["--local"]).await;
    choose(&driven, what_is_played()).await;
    driven.click("#toggle").await;
    phase(&driven, &["open"]).await;

    let (recording, spoken) = demo();
    let mut player = desk.play(&recording);
    driven
        .until("words in the overlay's feed", "return document.querySelector('#lines .source .words')?.textContent")
        .await;
    let window = overlay(&desk).await;
    assert!(player.wait().await.unwrap().success(), "the recording was played");
    driven.click("#toggle").await;
    phase(&driven, &["idle"]).await;

    let heard = driven.texts("#lines > li.line .source .words").await.join(" ");
    let said = spoken.iter().map(|utterance| utterance.text.as_str()).collect::<Vec<_>>().join(" ");
    let errors = word_error_rate(&said, &heard);
    assert!(errors <= WORST_WORD_ERROR_RATE, "word error rate {errors:.3}: heard {heard:?}");
    let translated = driven.texts("#lines > li.line .translation .words").await;
    assert!(translated.iter().filter(|text| !text.is_empty()).count() >= spoken.len() / 2, "{translated:?}");
    assert_eq!(driven.texts("#lines > li.gap").await, Vec::<String>::new(), "nothing is missing");

    assert!(window.is_above(), "{window:?}");
    let colours = corners(&desk, &window).await;
    let transparent = window.depth == 32 && colours.len() > 1;
    assert!(transparent, "the stripes behind are seen through the overlay: {window:?} {colours:?}");
    let lines = driven.script("return document.querySelectorAll('#lines > li.line').length", &[]).await;
    figure("desktop_word_error_rate", errors);
    figure("desktop_captions", lines.as_f64().unwrap());
    figure("overlay_above", f64::from(u8::from(window.is_above())));
    figure("overlay_transparent", f64::from(u8::from(transparent)));
    driven.end().await;
}

#[tokio::test]
async fn the_page_on_privacy_opens_in_a_window_of_its_own() {
    let Some(desk) = Desk::spawn().await else { return };
    let driven = start(&desk, &["--local"]).await;
    let before = desk.windows("Subtide").await.len();
    driven.click("#open-settings").await;
    driven.click("#settings a[href^=privacy]").await;
    let deadline = Instant::now() + PATIENCE;
    while desk.windows("Subtide").await.len() == before {
        assert!(Instant::now() < deadline, "no window was opened");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(driven.texts("#settings a[href^=privacy]").await.len(), 1, "the page is where it was");
    driven.end().await;
}

#[tokio::test]
async fn a_second_start_shows_the_window_of_the_first() {
    let Some(desk) = Desk::spawn().await else { return };
    let driven = start(&desk, &["--local", "--hidden"]).await;
    assert!(desk.windows("Subtide").await.iter().all(tests::desk::window::Window::is_above), "hidden at first");
    let config = super::client::config(&desk).display().to_string();
    let second = desk.command(tests::stack::program("subtide-desktop")).args(["--config-dir", &config]).output().await;
    assert!(second.unwrap().status.success(), "the second one ends by itself");
    driven.until("the page", "return !document.hidden").await;
    let shown = desk.windows("Subtide").await.iter().filter(|window| !window.is_above()).count();
    assert_eq!(shown, 1, "one main window, the first's");
    assert_eq!(driven.script("return 1 + arguments[0]", &[json!(1)]).await, json!(2), "the first still answers");
    driven.end().await;
}

/// Colours in the corners of where the overlay lies, as they are on the screen.
async fn corners(desk: &Desk, window: &Window) -> BTreeSet<String> {
    let picture = desk.home.path().join("screen.png");
    desk.picture(&picture).await;
    let (left, top, width, _) = window.place;
    let strip = format!("{}x6+{}+{}", width.min(400), left.max(0), top.max(0));
    let arguments = [&picture.display().to_string(), "-crop", &strip, "+repage", "-format", "%c", "histogram:info:-"];
    let histogram = desk.run("convert", &arguments).await;
    histogram.lines().filter_map(|line| line.split('#').nth(1)?.get(..6).map(str::to_owned)).collect()
}
