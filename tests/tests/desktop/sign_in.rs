//! A person signs in through the system's browser; the refresh token lies in the keychain and nowhere else.

use std::{fs, path::Path};

use reqwest::Url;
use serde_json::json;
use tests::{
    desk::{Desk, driver::Driven},
    figure::figure,
    oidc_provider::{Browser, OidcProvider},
    speech::demo,
    stack::{Process, free_addr},
};
use tokio::time::{Duration, Instant, sleep};

use super::client::{choose, config, phase, start, what_is_played};

const PATIENCE: Duration = Duration::from_secs(60);
/// Kept in the database's columns under this key.
const AUTH_SECRET: &str = "c2VjcmV0IG9mIGEgdGVzdCB3aXRoIDMyIGJ5dGVzISE";

/// The all-in-one server, where people sign in at `provider`.
pub(crate) async fn server(desk: &Desk) -> Option<(Process, OidcProvider, String)> {
    let port = free_addr().port().to_string();
    let origin = format!("http://127.0.0.1:{port}");
    let provider = OidcProvider::spawn(&origin).await?;
    let database = format!("sqlite://{}", desk.home.path().join("people.db").display());
    let settings = [
        ("GATEWAY_PORT", port.as_str()),
        ("PUBLIC_URL", &origin),
        ("DATABASE_URL", &database),
        ("AUTH_SECRET", AUTH_SECRET),
        ("OIDC_ISSUER", &provider.issuer),
        ("OIDC_CLIENT_ID", &provider.client_id),
        ("OIDC_CLIENT_SECRET", &provider.client_secret),
    ];
    let mut server = Process::spawn("subtide serve", "server", &settings);
    server.ready().await;
    Some((server, provider, origin))
}

/// The address that the client opened in the system's browser.
async fn opened(desk: &Desk) -> String {
    let file = desk.home.path().join("opened");
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(address) = fs::read_to_string(&file).ok().and_then(|text| text.lines().next().map(str::to_owned)) {
            fs::remove_file(&file).unwrap();
            return address;
        }
        assert!(Instant::now() < deadline, "no browser was opened");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Presses Sign in, and walks through the provider as `person` in another program's browser.
async fn sign_in(desk: &Desk, driven: &Driven, person: &str) {
    phase(driven, &["signed_out"]).await;
    driven.click("#toggle").await;
    let address = opened(desk).await;
    let mut browser = Browser::new();
    let back = Url::parse(&address).unwrap();
    let back = back.query_pairs().find(|(key, _)| key == "redirect_uri").unwrap().1.into_owned();
    let back = browser.sign_in(&address, person, &back).await;
    let page = browser.open(&back).await;
    assert_eq!(page.status(), 200);
    phase(driven, &["idle"]).await;
}

/// Also as WebKit writes what a page keeps: in UTF-16.
fn has(bytes: &[u8], needle: &str) -> bool {
    let wide: Vec<u8> = needle.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [needle.as_bytes(), &wide].iter().any(|needle| bytes.windows(needle.len()).any(|part| part == *needle))
}

/// Files below `directory` that have `needle` in them.
fn files_with(directory: &Path, needle: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_with(&path, needle, found);
        } else if fs::read(&path).is_ok_and(|bytes| has(&bytes, needle)) {
            found.push(path.display().to_string());
        }
    }
}

#[tokio::test]
async fn a_person_signs_in_through_the_system_browser_and_stays_signed_in() {
    let Some(mut desk) = Desk::spawn().await else { return };
    desk.stand_in("xdg-open", "printf '%s\\n' \"$1\" >> \"$HOME/opened\"");
    desk.keychain().await;
    desk.sound().await;
    let Some((mut server, _provider, origin)) = server(&desk).await else { return };

    let driven = start(&desk, &["--server", &origin]).await;
    choose(&driven, what_is_played()).await;
    sign_in(&desk, &driven, "ann").await;
    let person = driven.texts("#person-name").await.join("");
    assert!(person.contains("ann") || person.contains("Ann"), "{person}");
    driven.click("#toggle").await;
    phase(&driven, &["open"]).await;
    let mut player = desk.play(&demo().0);
    driven.until("a caption", "return document.querySelector('#lines .source .words')?.textContent").await;
    player.kill().await.unwrap();
    driven.click("#toggle").await;
    phase(&driven, &["idle"]).await;
    driven.end().await;

    // The token of the keychain: the next start needs no browser.
    let driven = start(&desk, &["--server", &origin]).await;
    phase(&driven, &["idle"]).await;
    assert!(!desk.home.path().join("opened").exists(), "nobody was asked again");

    // What a page keeps is looked through as well, and would be found.
    let planted = "planted-to-be-found";
    driven.script("localStorage.setItem('planted', arguments[0])", &[json!(planted)]).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut found = Vec::new();
        files_with(desk.home.path(), planted, &mut found);
        if !found.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "what a page keeps is in no file that is looked through");
        sleep(Duration::from_millis(500)).await;
    }
    let mut found = Vec::new();
    for part in [
        config(&desk),
        desk.home.path().join("config"),
        desk.home.path().join("cache"),
        desk.home.path().join("data/dev.subtide.desktop"),
    ] {
        // A JWT's header, and what a refresh token begins with.
        for needle in ["eyJ", "srt_"] {
            files_with(&part, needle, &mut found);
        }
    }
    figure("tokens_in_files", found.len() as f64);
    assert_eq!(found, Vec::<String>::new(), "no token lies in a file of the client");

    driven.click("#sign-out").await;
    phase(&driven, &["signed_out"]).await;
    driven.end().await;
    let driven = start(&desk, &["--server", &origin]).await;
    phase(&driven, &["signed_out"]).await;
    driven.end().await;
    server.kill();
}

#[tokio::test]
async fn without_a_keychain_a_sign_in_lasts_as_long_as_the_program() {
    let Some(desk) = Desk::spawn().await else { return };
    desk.stand_in("xdg-open", "printf '%s\\n' \"$1\" >> \"$HOME/opened\"");
    let Some((mut server, _provider, origin)) = server(&desk).await else { return };
    let driven = start(&desk, &["--server", &origin]).await;
    choose(&driven, json!({"language": "en"})).await;
    sign_in(&desk, &driven, "bob").await;
    driven.end().await;
    let driven = start(&desk, &["--server", &origin]).await;
    phase(&driven, &["signed_out"]).await;
    driven.end().await;
    server.kill();
}
