//! Who is signed in, against a server that answers by script.

use std::collections::VecDeque;

use client::sign_in::RefreshStore as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::keychain::Vault;

/// A keychain with one entry.
#[derive(Clone, Default)]
struct Chest(Arc<Mutex<Option<String>>>);

impl Vault for Chest {
    fn read(&self) -> anyhow::Result<Option<String>> {
        Ok(lock(&self.0).clone())
    }

    fn write(&self, secret: Option<&str>) -> anyhow::Result<()> {
        *lock(&self.0) = secret.map(str::to_owned);
        Ok(())
    }
}

/// Answers one request after the other with these; says which were asked. Then it is gone.
async fn script(answers: &[(&str, serde_json::Value)]) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut answers: VecDeque<_> =
        answers.iter().map(|(status, body)| ((*status).to_owned(), body.to_string())).collect();
    let serving = tokio::spawn(async move {
        let mut asked = Vec::new();
        while let Some((status, body)) = answers.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            let whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request).to_lowercase();
                text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                    let length = head.split("content-length: ").nth(1).map_or("0", |rest| rest.lines().next().unwrap());
                    body.len() >= length.parse::<usize>().unwrap()
                })
            };
            while !whole(&request) {
                let read = stream.read(&mut piece).await.unwrap();
                request.extend_from_slice(&piece[..read]);
            }
            asked.push(String::from_utf8_lossy(&request).split(' ').nth(1).unwrap().to_owned());
            let head = "content-type: application/json\r\nconnection: close";
            let answer = format!("HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (address, serving)
}

fn desk(address: &str, chest: &Chest) -> (Arc<Desk>, Arc<Mutex<Vec<SignInState>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    let changed = Arc::new(move |state: &SignInState| lock(&teller).push(state.clone()));
    (Arc::new(Desk::new(Server::new(address).unwrap(), Keychain::with(chest.clone()), changed)), told)
}

fn config() -> (&'static str, serde_json::Value) {
    ("200 OK", json!({"sign_in": true, "provider": "Google", "ways": ["browser", "native"]}))
}

fn tokens(n: u32) -> (&'static str, serde_json::Value) {
    let person = json!({"id": "p1", "email": "ann@example.com", "name": "Ann"});
    (
        "200 OK",
        json!({"access_token": format!("a{n}"), "expires_in": 600, "refresh_token": format!("r{n}"), "person": person}),
    )
}

#[tokio::test]
async fn who_signed_in_before_is_signed_in_without_a_browser() {
    let (address, serving) = script(&[config(), tokens(1)]).await;
    let chest = Chest::default();
    chest.write(Some("r0")).unwrap();
    let (desk, told) = desk(&address, &chest);
    let state = desk.state().await;
    assert_eq!(state.person.as_ref().unwrap().name.as_deref(), Some("Ann"));
    assert!(state.offered && !state.unclear && !state.session_only && state.provider == "Google");
    assert!(matches!(desk.credential().await, Ok(Credential::Source(_))), "both streams share it");
    assert_eq!(serving.await.unwrap(), ["/auth/config", "/auth/refresh"], "nothing is asked twice");
    assert_eq!(lock(&told).last(), Some(&state));
    desk.settle(Duration::from_secs(10)).await;
    assert_eq!(*lock(&chest.0), Some("r1".to_owned()), "the next token lies in the keychain");
    assert!(!format!("{desk:?}").contains("r1"));
}

#[tokio::test]
async fn a_sign_in_that_was_ended_elsewhere_is_forgotten() {
    let refused = json!({"code": "auth_error", "message": "sign in again"});
    let (address, serving) = script(&[config(), ("401 Unauthorized", refused)]).await;
    let chest = Chest::default();
    chest.write(Some("r0")).unwrap();
    let (desk, _) = desk(&address, &chest);
    let state = desk.state().await;
    assert!(state.offered && state.person.is_none() && !state.unclear);
    assert!(matches!(desk.credential().await, Err(ClientError::NoToken(_))));
    serving.await.unwrap();
    desk.settle(Duration::from_secs(10)).await;
    assert_eq!(*lock(&chest.0), None);
}

#[tokio::test]
async fn somebody_who_may_not_come_in_any_more_is_forgotten() {
    let refused = json!({"code": "forbidden", "message": "this account was disabled; ask the operator"});
    let (address, serving) = script(&[config(), ("403 Forbidden", refused)]).await;
    let chest = Chest::default();
    chest.write(Some("r0")).unwrap();
    let (desk, _) = desk(&address, &chest);
    let state = desk.state().await;
    assert!(state.person.is_none() && !state.unclear);
    serving.await.unwrap();
    desk.settle(Duration::from_secs(10)).await;
    assert_eq!(*lock(&chest.0), None);
}

#[tokio::test]
async fn a_refusal_of_somebody_between_costs_nobody_their_sign_in() {
    for (status, body) in [
        ("403 Forbidden", json!("blocked by the proxy")),
        ("403 Forbidden", json!({"code": "policy", "message": "blocked by the proxy"})),
        ("401 Unauthorized", json!({})),
    ] {
        let (address, serving) = script(&[config(), (status, body.clone())]).await;
        let chest = Chest::default();
        chest.write(Some("r0")).unwrap();
        let (desk, _) = desk(&address, &chest);
        assert!(desk.state().await.unclear, "{status} {body}");
        serving.await.unwrap();
        desk.settle(Duration::from_secs(10)).await;
        assert_eq!(*lock(&chest.0), Some("r0".to_owned()), "{status} {body}");
    }
}

#[tokio::test]
async fn a_server_in_trouble_says_nothing_about_who_somebody_is() {
    let busy = json!({"code": "unavailable", "message": "later"});
    let (address, serving) = script(&[config(), ("503 Service Unavailable", busy)]).await;
    let chest = Chest::default();
    chest.write(Some("r0")).unwrap();
    let (desk, _) = desk(&address, &chest);
    assert!(desk.state().await.unclear);
    serving.await.unwrap();
    desk.settle(Duration::from_secs(10)).await;
    assert_eq!(*lock(&chest.0), Some("r0".to_owned()), "the token is still good");
}

#[tokio::test]
async fn without_a_keychain_a_server_in_trouble_costs_nobody_their_sign_in() {
    let busy = json!({"code": "unavailable", "message": "later"});
    let (address, serving) = script(&[config(), ("503 Service Unavailable", busy), config(), tokens(1)]).await;
    let (desk, _) = desk(&address, &Chest::default());
    desk.keychain.write("r0").unwrap(); // as a sign-in a moment ago left it
    assert!(desk.state().await.unclear);
    let state = desk.state().await;
    assert_eq!(state.person.unwrap().id, "p1");
    assert_eq!(serving.await.unwrap().len(), 4);
    assert_eq!(desk.keychain.read().unwrap(), "r1");
}

#[tokio::test]
async fn signing_out_tells_the_server_and_the_keychain() {
    let (address, serving) = script(&[config(), tokens(1), ("200 OK", json!({}))]).await;
    let chest = Chest::default();
    chest.write(Some("r0")).unwrap();
    let (desk, _) = desk(&address, &chest);
    desk.state().await;
    desk.leave().await;
    assert_eq!(serving.await.unwrap().last().map(String::as_str), Some("/auth/logout"));
    assert_eq!(*lock(&chest.0), None);
    assert!(desk.keychain.read().is_err() && desk.state().await.person.is_none());
}

#[tokio::test]
async fn a_server_without_sign_in_asks_for_nothing() {
    let (address, serving) = script(&[("404 Not Found", json!({}))]).await;
    let (desk, _) = desk(&address, &Chest::default());
    assert_eq!(desk.state().await, SignInState::default());
    assert!(matches!(desk.credential().await, Ok(Credential::None)));
    serving.await.unwrap();
}
