//! The caption page in a real browser: a person signs in, speaks, reads and takes the captions home.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    browser::{Site, chromium, measure, pictures, play, recording},
    figure::figure,
    speech::word_error_rate,
    stack::repository,
};
use tokio::time::sleep;

/// How long the network is away.
const CUT: Duration = Duration::from_secs(10);
/// How far apart the times of the same utterance may lie in two runs, milliseconds. On a busy machine the browser's fake
/// microphone itself slips by a tenth or two; sound lost in a cut of ten seconds would be missing by seconds.
const SAME_TIME_MS: i64 = 1000;
/// Mistakes of the demo's models in the demo's own words.
const MOST_MISTAKES: f64 = 0.1;

/// A final caption, as the server sent it.
struct Final {
    text: String,
    translation: String,
    start_ms: i64,
    end_ms: i64,
}

fn finals(told: &Value) -> Vec<Final> {
    let one = |event: &Value| Final {
        text: event["committed"].as_str().unwrap().to_owned(),
        translation: event["translations"]["es"].as_str().unwrap_or_default().to_owned(),
        start_ms: event["start_ms"].as_i64().unwrap(),
        end_ms: event["end_ms"].as_i64().unwrap(),
    };
    told.as_array().unwrap().iter().map(one).collect()
}

fn texts(finals: &[Final]) -> Vec<&str> {
    finals.iter().map(|one| one.text.as_str()).collect()
}

/// How far apart the times of the same utterances lie at most, milliseconds. A microphone is opened a little sooner or later:
/// by how much is the median.
fn apart_ms(one: &[Final], other: &[Final]) -> i64 {
    let times = |finals: &[Final]| -> Vec<i64> { finals.iter().flat_map(|one| [one.start_ms, one.end_ms]).collect() };
    let mut apart: Vec<i64> = times(one).iter().zip(times(other)).map(|(one, other)| one - other).collect();
    apart.sort_unstable();
    let median = apart[apart.len() / 2];
    apart.iter().map(|apart| (apart - median).abs()).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_speaks_and_takes_the_captions_home() {
    let Some(site) = Site::open().await else { return };
    let speech = recording(6);
    let told = site.play("captions.mjs", &speech, async |_| {}).await;
    let finals = finals(&told["finals"]);
    let spoken: Vec<_> = speech.spoken.iter().map(|one| one.text.as_str()).collect();
    let translated: Vec<_> = speech.spoken.iter().map(|one| one.spanish.as_str()).collect();
    let heard = texts(&finals).join(" ");
    let read = finals.iter().map(|one| one.translation.as_str()).collect::<Vec<_>>().join(" ");
    let mistakes = word_error_rate(&spoken.join(" "), &heard);
    figure("browser_word_error_rate", mistakes);
    assert!(mistakes <= MOST_MISTAKES, "{heard}");
    let mistakes = word_error_rate(&translated.join(" "), &read);
    assert!(mistakes < 0.5, "{read}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_cut_of_ten_seconds_loses_no_word() {
    let Some(site) = Site::open().await else { return };
    let speech = recording(10);
    let told = site
        .play("cut.mjs", &speech, async |ask| {
            if ask == "cut" {
                site.wire.cut();
            } else {
                sleep(CUT).await;
                site.wire.mend();
            }
        })
        .await;
    let (whole, cut) = (finals(&told["whole"]), finals(&told["cut"]));
    let mut heard: Vec<&str> = cut.iter().flat_map(|one| one.text.split_whitespace()).collect();
    let is_missing = |word: &&str| {
        let found = heard.iter().position(|held| held == word);
        found.map(|at| heard.swap_remove(at)).is_none()
    };
    let words: Vec<&str> = whole.iter().flat_map(|one| one.text.split_whitespace()).collect();
    figure("cut_words", words.len() as f64);
    let missing = words.into_iter().filter(is_missing).count();
    figure("cut_words_missing", missing as f64);
    assert_eq!(texts(&cut), texts(&whole));
    let apart = apart_ms(&whole, &cut);
    figure("cut_times_apart_ms", apart as f64);
    assert!(apart <= SAME_TIME_MS, "the times of an utterance are {apart} ms apart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overlay_shows_what_the_page_shows() {
    let Some(site) = Site::open().await else { return };
    site.play("overlay.mjs", &recording(4), async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_and_theme_is_accessible() {
    let Some(site) = Site::open().await else { return };
    let wire = &site.wire;
    let answer = async |ask: &str| if ask == "cut" { wire.cut() } else { wire.mend() };
    site.play("accessible.mjs", &recording(3), answer).await;
}

#[tokio::test]
#[ignore = "measures for minutes, and wants the machine for itself"]
async fn an_hour_of_captions() {
    if chromium().is_none() {
        return;
    }
    let web_ui = repository().join("web-ui");
    assert!(web_ui.join("node_modules/playwright-core").is_dir(), "run `npm ci` in web-ui first");
    measure(&web_ui.join("dev/long-run.mjs")).await;
}

#[tokio::test]
#[ignore = "makes the pictures of the documentation: SUBTIDE_PICTURES says where"]
async fn pictures_of_the_page() {
    let Some(chromium) = chromium() else { return };
    let folder = pictures().unwrap_or_else(|| panic!("set SUBTIDE_PICTURES to a folder, such as docs/pictures"));
    let speech = recording(6);
    let given = json!({ "chromium": chromium, "wav": speech.path, "pictures": folder });
    play("pictures.mjs", &given, async |_| {}).await;
}
