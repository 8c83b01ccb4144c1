//! Secrets that are known, sent through everything at the most talkative log level, and looked for where they must not be:
//! logs, metrics, error bodies, addresses, and the names of keys in Redis.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "canary/house.rs"]
mod house;
#[path = "canary/search.rs"]
mod search;

use std::{collections::BTreeSet, time::Duration};

use client::{Credential, Happening, Session};
use house::House;
use search::{Artefacts, Secrets};
use serde_json::{Value, json};
use shared::{
    config::SecretString,
    wire::{ClientMessage, ServerMessage},
};
use tests::{
    figure::figure,
    session::{PATIENCE, start},
    speech::{demo, pcm},
};
use tokio::time::{interval, timeout};

/// Of the demo's recording: several utterances.
const SPEECH_MS: usize = 14_000;
/// Fewer words than this in a row may stand somewhere by chance.
const PHRASE: usize = 4;

/// Speaks the demo's first sentences over one connection and a second one, renews the token in between, and returns the words
/// that came back.
async fn speak(house: &House, token: &str, renewed: &str) -> Vec<String> {
    let credential = Credential::Token(SecretString::from(token));
    let (up, mut down) = Session { url: house.stream(), credential, start: start(&["es"]) }.open().await.unwrap();
    let speaking = async {
        let (path, _) = demo();
        let speech: Vec<u8> = pcm(&path).into_iter().take(SPEECH_MS * 32).collect();
        let mut pace = interval(Duration::from_millis(100));
        for (n, frame) in speech.chunks(3200).enumerate() {
            pace.tick().await;
            up.audio(frame.to_vec()).await.unwrap();
            if n == 40 {
                up.say(ClientMessage::Auth { token: renewed.to_owned() }).await.unwrap();
            }
        }
        up.say(ClientMessage::Stop {}).await.unwrap();
    };
    let listening = async {
        let mut texts = Vec::new();
        while let Some(happening) = timeout(PATIENCE, down.next()).await.unwrap().unwrap() {
            let Happening::Event(event) = happening else { continue };
            match event.message {
                ServerMessage::Caption(caption) if caption.is_final => texts.push(caption.committed),
                ServerMessage::Translation(translation) if translation.is_final => texts.push(translation.committed),
                ServerMessage::Error(error) => panic!("{error:?}"),
                _ => {}
            }
        }
        texts
    };
    tokio::join!(speaking, listening).1
}

/// Characters likewise.
const PHRASE_LENGTH: usize = 16;

/// Every run of [`PHRASE`] words that is long enough.
fn phrases(texts: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in texts {
        let words: Vec<&str> = text.split_whitespace().collect();
        found.extend(words.windows(PHRASE).map(|run| run.join(" ")).filter(|run| run.len() >= PHRASE_LENGTH));
    }
    found
}

/// Credentials that are wrong in every way, each with a secret in it; what is answered may not have it.
async fn provoke(house: &House, secrets: &Value, artefacts: &mut Artefacts) {
    let of = |name: &str| secrets[name].as_str().unwrap().to_owned();
    let (access, refresh) = (of("access token"), of("refresh token"));
    let bodies = [
        ("/auth/refresh", json!({"refresh_token": format!("{refresh}x")})),
        ("/auth/refresh", json!({"refresh_token": &refresh, "secret": &refresh})),
        (
            "/auth/finish",
            json!({"login_id": of("login"), "code": of("code"), "code_verifier": of("verifier"), "state": "wrong"}),
        ),
        ("/auth/finish", json!({"code": of("code"), "state": 7, "code_verifier": of("verifier")})),
        ("/auth/start", json!({"code_challenge": of("verifier"), "port": 4321, "email": of("e-mail address")})),
        ("/auth/logout", json!({"refresh_token": format!("{refresh}x")})),
    ];
    for (path, body) in bodies {
        let answer = house.http.post(house.address(path)).json(&body).send().await.unwrap();
        artefacts.add(&format!("answer of {path}"), &search::whole(answer).await);
    }
    for bearer in
        [format!("{access}x"), format!("{}.{}", of("JWT_SECRET"), access), of("API key").replace("stk_", "stk_x")]
    {
        for path in ["/v1/me", "/v1/stream"] {
            let answer = house.http.get(house.address(path)).bearer_auth(&bearer).send().await.unwrap();
            artefacts.add(&format!("answer of {path}"), &search::whole(answer).await);
        }
    }
    for path in [
        format!("/v1/stream?token={access}"),
        format!("/v1/me?access_token={access}"),
        format!("/auth/callback?code={}&state=x", of("code")),
        format!("/auth/login?return=//{}", of("e-mail address")),
    ] {
        let answer = house.http.get(house.address(&path)).send().await.unwrap();
        artefacts.add("answer to a secret in an address", &search::whole(answer).await);
    }
    let offered = format!("subtide.v1, ticket.{}x", of("ticket"));
    let answer =
        house.http.get(house.address("/v1/stream")).header("sec-websocket-protocol", offered).send().await.unwrap();
    artefacts.add("answer to a wrong ticket", &search::whole(answer).await);
    for message in [
        json!({"type": "auth", "token": format!("{access}x")}),
        json!({"type": &access}),
        json!({"type": "update", "source": &access}),
    ] {
        artefacts.add("error event", &house.error_of(&access, &message).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_where_it_must_not_be() {
    let house = House::open().await;
    let mut artefacts = Artefacts::default();
    let mut known = house.sign_in(&mut artefacts).await;
    let next = house.http.post(house.address("/auth/refresh")).json(&json!({"refresh_token": known["refresh token"]}));
    let next: Value = next.send().await.unwrap().json().await.unwrap();
    known["refreshed access token"] = next["access_token"].clone();
    known["next refresh token"] = next["refresh_token"].clone();
    let ticket = house
        .http
        .post(house.address("/v1/ticket"))
        .header("origin", house.address(""))
        .bearer_auth(known["access token"].as_str().unwrap());
    known["ticket"] = ticket.send().await.unwrap().json::<Value>().await.unwrap()["ticket"].clone();
    let (access, renewed) =
        (known["access token"].as_str().unwrap(), known["refreshed access token"].as_str().unwrap());

    let names = house.watch_key_names();
    let texts = speak(&house, access, renewed).await;
    let spoken = phrases(&texts);
    assert!(spoken.len() >= 10, "hardly anything was heard: {texts:?}");
    for credential in ["API key", "HS256 token"] {
        house.who_am_i(known[credential].as_str().unwrap()).await;
    }
    provoke(&house, &known, &mut artefacts).await;
    // Used again, the first refresh token ends the sign-in: also that is told to nobody by its name.
    let reused =
        house.http.post(house.address("/auth/refresh")).json(&json!({"refresh_token": known["refresh token"]}));
    artefacts.add("answer to a used refresh token", &search::whole(reused.send().await.unwrap()).await);
    artefacts.add("names of keys in Redis", &names.stop().await);
    house.close(&mut artefacts).await;

    let mut secrets = Secrets::default();
    for (name, value) in known.as_object().unwrap() {
        secrets.add(name, value.as_str().unwrap_or_else(|| panic!("no {name}: {value}")));
    }
    for phrase in &spoken {
        secrets.add("spoken words", phrase);
    }
    let hits = artefacts.search(&secrets);
    figure("canary_secrets", secrets.kinds() as f64);
    figure("canary_bytes", artefacts.bytes() as f64);
    figure("canary_hits", hits.len() as f64);
    artefacts.assert_substantial();
    assert!(hits.is_empty(), "\n  {}", hits.join("\n  "));
}

#[test]
fn the_search_finds_what_is_there() {
    let mut secrets = Secrets::default();
    secrets.add("e-mail address", "canary.bird@example.com");
    secrets.add("token", "abc.def-ghi/jkl+mno=");
    secrets.add("spoken words", "The train from Dublin");
    for (text, found) in [
        ("nothing to see", 0),
        ("user=canary.bird@example.com", 1),
        ("?email=canary.bird%40example.com", 1),
        (r#"{"t":"abc.def-ghi\/jkl+mno="}"#, 1),
        ("token=abc.def-ghi%2Fjkl%2Bmno%3D", 1),
        ("Y2FuYXJ5LmJpcmRAZXhhbXBsZS5jb20", 1),
        ("heard `the TRAIN from Dublin`", 1),
        ("canary.bird@example.com said: the train from Dublin", 2),
    ] {
        let mut artefacts = Artefacts::default();
        artefacts.add("text", text);
        assert_eq!(artefacts.search(&secrets).len(), found, "{text}");
    }
}
