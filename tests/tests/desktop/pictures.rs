//! The pictures of docs/pictures: the client's scenes in five languages, light and dark. Made when asked for; a person has to
//! look at them.

use std::{env, fs, path::PathBuf};

use serde_json::{Value, json};
use tests::{
    desk::{Desk, driver::Driven},
    speech::demo,
};
use tokio::time::{Duration, sleep};

use super::client::{choose, main_window, overlay, phase, start, what_is_played};

const LANGUAGES: [&str; 5] = ["en", "ar", "hi", "zh", "es"];
const THEMES: [&str; 2] = ["light", "dark"];
/// For transitions to end.
const SETTLED: Duration = Duration::from_millis(2500);

/// What somebody says in each language, and what it means in another: sample captions for the overlay, which the demo's
/// models, from English to Spanish, could not give.
fn sample(language: &str) -> (&'static str, &'static str, &'static str) {
    match language {
        "ar" => {
            ("لنبدأ الاجتماع. النقطة الأولى هي الميزانية", "en", "Let us start the meeting. The first item is the budget")
        }
        "hi" => ("चलिए बैठक शुरू करते हैं। पहला विषय बजट है", "en", "Let us start the meeting. The first item is the budget"),
        "zh" => ("我们开始会议吧。第一项是预算", "en", "Let us start the meeting. The first item is the budget"),
        "es" => (
            "Empecemos la reunión. El primer punto es el presupuesto",
            "en",
            "Let us start the meeting. The first item is the budget",
        ),
        _ => (
            "Let us start the meeting. The first item is the budget",
            "es",
            "Empecemos la reunión. El primer punto es el presupuesto",
        ),
    }
}

/// What the page would tell the overlay of it.
fn shown(language: &str) -> Value {
    let (said, target, meant) = sample(language);
    let (steady, tail) = said.split_at(said.char_indices().nth(said.chars().count() * 2 / 3).unwrap().0);
    json!({
        "lines": [{
            "kind": "speech", "key": "0:1", "run": 0, "utterance": 1, "startMs": 0, "endMs": 4000, "language": language,
            "committed": steady, "tail": tail, "final": false, "live": true, "channel": "them", "atMs": 0,
            "translations": [{"target": target, "committed": meant, "tail": "", "final": false, "waiting": false}],
        }],
        "targets": [target], "labels": false, "state": "open", "behindMs": 0,
    })
}

struct Album {
    folder: PathBuf,
}

impl Album {
    /// A window as it is on the screen, in few colours: pictures of captions need no more.
    async fn take(&self, desk: &Desk, place: (i32, i32, u32, u32), name: &str) {
        let screen = desk.home.path().join("screen.png");
        desk.picture(&screen).await;
        let crop = format!("{}x{}+{}+{}", place.2, place.3, place.0.max(0), place.1.max(0));
        let file = self.folder.join(format!("{name}.png")).display().to_string();
        let screen = screen.display().to_string();
        desk.run("convert", &[&screen, "-crop", &crop, "+repage", "-colors", "128", "-strip", &format!("PNG8:{file}")])
            .await;
    }
}

#[tokio::test]
#[ignore = "makes the pictures of docs/pictures; SUBTIDE_PICTURES names the folder"]
async fn pictures_for_the_documents() {
    let Some(folder) = env::var_os("SUBTIDE_PICTURES").map(PathBuf::from) else {
        eprintln!("SKIPPED: SUBTIDE_PICTURES names no folder");
        return;
    };
    fs::create_dir_all(&folder).unwrap();
    let Some(mut desk) = Desk::spawn().await else { return };
    desk.sound().await;
    desk.stripes().await;
    let album = Album { folder };
    let driven = start(&desk, &["--local"]).await;
    choose(&driven, what_is_played()).await;
    look(&driven, "en", "light").await;
    driven.click("#toggle").await;
    phase(&driven, &["open"]).await;
    let mut player = desk.play(&demo().0);
    assert!(player.wait().await.unwrap().success());
    driven.click("#toggle").await;
    phase(&driven, &["idle"]).await;
    for language in LANGUAGES {
        for theme in THEMES {
            show_overlay(&driven, false).await;
            look(&driven, language, theme).await;
            for scene in ["settings", "history"] {
                driven.script(&format!("document.querySelector('#open-{scene}').click()"), &[]).await;
                // The conversation that was kept, below the one that has not begun.
                if scene == "history" {
                    driven.click("#history li:nth-child(2) > .conversation").await;
                }
                sleep(SETTLED).await;
                let window = main_window(&desk).await;
                album.take(&desk, window.place, &format!("desktop-{scene}-{language}-{theme}")).await;
                driven.script(&format!("document.querySelector('#{scene}').close()"), &[]).await;
            }
            show_overlay(&driven, true).await;
            let script = "window.__TAURI__.event.emit('subtide-captions', arguments[0])";
            driven.script(script, &[shown(language)]).await;
            sleep(SETTLED).await;
            album.take(&desk, overlay(&desk).await.place, &format!("desktop-overlay-{language}-{theme}")).await;
        }
    }
    driven.end().await;
    sign_in(&desk, &album).await;
}

/// The page of a server where people sign in.
async fn sign_in(desk: &Desk, album: &Album) {
    let Some((mut server, _provider, origin)) = super::sign_in::server(desk).await else { return };
    let driven = start(desk, &["--server", &origin]).await;
    phase(&driven, &["signed_out"]).await;
    show_overlay(&driven, false).await;
    for language in LANGUAGES {
        for theme in THEMES {
            look(&driven, language, theme).await;
            sleep(SETTLED).await;
            album.take(desk, main_window(desk).await.place, &format!("desktop-sign-in-{language}-{theme}")).await;
        }
    }
    driven.end().await;
    server.kill();
}

/// Chooses a language and a theme, for a page that starts with them.
async fn look(driven: &Driven, language: &str, theme: &str) {
    choose(driven, json!({"language": language, "theme": theme, "keepHistory": true})).await;
}

/// Shows the overlay, or hides it.
async fn show_overlay(driven: &Driven, shown: bool) {
    let script = "const [overlay] = arguments;
        const { invoke } = window.__TAURI__.core;
        return invoke('settings').then((settings) => invoke('set_settings', { settings: { ...settings, overlay } }));";
    driven.script(script, &[json!(shown)]).await;
}
