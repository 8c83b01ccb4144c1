//! The way of a sign-in, against a server that answers by script, with a browser that follows the redirect.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

#[derive(Debug)]
struct Memory(std::sync::Mutex<String>);

impl RefreshStore for Memory {
    fn read(&self) -> anyhow::Result<String> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn write(&self, token: &str) -> anyhow::Result<()> {
        token.clone_into(&mut self.0.lock().unwrap());
        Ok(())
    }
}

/// Takes one POST and answers it. Returns its path and body.
async fn answer(listener: &TcpListener, answer: impl FnOnce(&Value) -> Value) -> (String, Value) {
    answer_with(listener, "200 OK", answer).await
}

async fn answer_with(listener: &TcpListener, status: &str, answer: impl FnOnce(&Value) -> Value) -> (String, Value) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut request, mut piece) = (String::new(), [0; 4096]);
    let (head, body) = loop {
        let read = stream.read(&mut piece).await.unwrap();
        request.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let head_lower = head.to_lowercase();
            let length = head_lower.split("content-length: ").nth(1).map_or("0", |rest| rest.lines().next().unwrap());
            if body.len() >= length.parse().unwrap() {
                break (head.to_owned(), serde_json::from_str::<Value>(body).unwrap_or_default());
            }
        }
    };
    let said = answer(&body).to_string();
    let head_out =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", said.len());
    stream.write_all((head_out + &said).as_bytes()).await.unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body)
}

fn tokens(n: u32) -> Value {
    json!({"access_token": format!("access-{n}"), "token_type": "Bearer", "expires_in": 600,
        "refresh_token": format!("refresh-{n}"), "scope": "stream", "person": {"id": "p1", "email": null, "name": null}})
}

#[tokio::test]
async fn a_sign_in_goes_through_the_browser_and_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let state = "state-of-the-server-0123456789";
    let script = async {
        let (path, body) = answer(&listener, |body| {
            let back = format!("http%3A%2F%2F127.0.0.1%3A{}%2Fcallback", body["port"]);
            let address = format!("https://accounts.example/auth?redirect_uri={back}&state={state}");
            json!({"login_id": "login-1", "authorize_url": address, "expires_in": 60})
        })
        .await;
        assert_eq!(path, "/auth/start");
        let (path, finish) = answer(&listener, |_| tokens(1)).await;
        assert_eq!(path, "/auth/finish");
        assert_eq!(
            (&finish["login_id"], &finish["code"], &finish["state"]),
            (&json!("login-1"), &json!("4/x"), &json!(state))
        );
        let verifier = finish["code_verifier"].as_str().unwrap();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        assert_eq!(body["code_challenge"], challenge, "PKCE, S256");
    };
    let browser = |address: &str| {
        let address = url::Url::parse(address).unwrap();
        let back = address.query_pairs().find(|(key, _)| key == "redirect_uri").unwrap().1.into_owned();
        let back = url::Url::parse(&back).unwrap();
        tokio::spawn(async move {
            let host = format!("127.0.0.1:{}", back.port().unwrap());
            for target in [
                "/favicon.ico".to_owned(),
                "/callback?code=evil&state=guessed".to_owned(),
                format!("/callback?code=4%2Fx&state={state}"),
            ] {
                let mut stream = TcpStream::connect(&host).await.unwrap();
                stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
                let mut page = String::new();
                stream.read_to_string(&mut page).await.unwrap();
                assert!(!page.contains("4/x") && !page.contains(state), "nothing is reflected");
            }
        });
    };
    let (signed_in, ()) = tokio::join!(sign_in(&server, browser), script);
    let tokens = signed_in.unwrap();
    assert_eq!((tokens.access_token.as_str(), tokens.refresh_token().unwrap().as_str()), ("access-1", "refresh-1"));
    assert!(!tokens.as_json(false).contains("refresh-1") && tokens.as_json(true).contains("refresh-1"));
    assert!(!format!("{tokens:?}").contains("access-1"));
}

#[tokio::test]
async fn a_long_running_program_refreshes_and_keeps_each_next_token() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = Arc::new(Memory(std::sync::Mutex::new("refresh-0".to_owned())));
    let stream = format!("ws://{}/v1/stream", listener.local_addr().unwrap());
    let source = SignedIn::new(Server::of_stream(&stream).unwrap(), Arc::clone(&store) as Arc<dyn RefreshStore>);
    let script = async {
        for (n, expected) in [(1, "refresh-0"), (2, "refresh-1")] {
            let (path, body) = answer(&listener, |_| tokens(n)).await;
            assert_eq!((path.as_str(), body), ("/auth/refresh", json!({"refresh_token": expected})));
        }
    };
    let ask = async {
        let mut got = Vec::new();
        for fresh in [false, false, true] {
            got.push(source.token(fresh).await.unwrap().expose_secret().to_owned());
        }
        got
    };
    let (got, ()) = tokio::join!(ask, script);
    assert_eq!(
        got,
        ["access-1", "access-1", "access-2"],
        "a token in hand is used again, unless a fresh one is wanted"
    );
    assert_eq!(store.read().unwrap(), "refresh-2");
}

async fn somewhere() -> (TcpListener, SignedIn) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = Arc::new(Memory(std::sync::Mutex::new("refresh-0".to_owned())));
    let server = Server::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    (listener, SignedIn::new(server, store))
}

#[tokio::test]
async fn a_refused_refresh_and_a_server_that_is_away_are_told_apart() {
    let (listener, source) = somewhere().await;
    let refusal = |_: &Value| json!({"code": "auth_error", "message": "sign in again", "trace_id": ""});
    let (refused, _) = tokio::join!(source.token(false), answer_with(&listener, "401 Unauthorized", refusal));
    assert!(
        matches!(&refused, Err(ClientError::Refused { status: 401, message, .. }) if message == "sign in again"),
        "{refused:?}"
    );
    drop(listener);
    let away = source.token(false).await;
    assert!(matches!(away, Err(ClientError::Connect { .. })), "{away:?}");
    assert_eq!(source.store.read().unwrap(), "refresh-0", "it is still good");
}

#[tokio::test]
async fn a_server_says_whether_people_can_sign_in_and_who_did() {
    let (listener, source) = somewhere().await;
    let config = |_: &Value| json!({"sign_in": true, "provider": "Google", "ways": ["browser", "native"]});
    let (offer, (path, _)) = tokio::join!(source.server.offer(), answer(&listener, config));
    assert_eq!(
        (offer.unwrap(), path.as_str()),
        (Offer { sign_in: true, provider: "Google".to_owned() }, "/auth/config")
    );
    let none = |_: &Value| json!({"sign_in": false, "provider": null, "ways": []});
    let (offer, _) = tokio::join!(source.server.offer(), answer(&listener, none));
    assert_eq!(offer.unwrap(), Offer::default());
    let (offer, _) = tokio::join!(source.server.offer(), answer_with(&listener, "404 Not Found", |_| json!({})));
    assert_eq!(offer.unwrap(), Offer::default());

    assert_eq!(source.person(), None);
    let (token, _) = tokio::join!(source.token(false), answer(&listener, |_| tokens(1)));
    assert!(token.is_ok());
    assert_eq!(source.person().unwrap().id, "p1");
    let (left, (path, body)) =
        tokio::join!(source.server.logout("refresh-1"), answer_with(&listener, "204 No Content", |_| json!({})));
    left.unwrap();
    assert_eq!((path.as_str(), body), ("/auth/logout", json!({"refresh_token": "refresh-1"})));
}
