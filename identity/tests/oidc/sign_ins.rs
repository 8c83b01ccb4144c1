//! Whole sign-ins at the hostile issuer, without HTTP of our own.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::http::StatusCode;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use identity::{
    Clock, Provider,
    oidc::{
        Failed, GuestList, OidcClient, OidcConfig, logins,
        provider::{Answer, Native, SignedIn, Started},
    },
};
use serde_json::json;
use shared::bus::MemoryBus;
use url::Url;

use crate::hostile_issuer::HostileIssuer;

const SECRET: &str = "client-secret-canary";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

struct Bench {
    issuer: HostileIssuer,
    provider: Provider,
    clock: Clock,
}

impl Bench {
    async fn with_guests(guests: GuestList) -> Self {
        let (issuer, clock) = (HostileIssuer::start().await, Clock::default());
        let client = |id: &str| OidcClient { id: id.to_owned(), secret: Some(SECRET.to_owned().into()) };
        let config = OidcConfig {
            issuer: issuer.issuer(),
            client: client("web"),
            native: client("native"),
            public_url: Url::parse("https://captions.example.com").expect("a URL"),
            guests,
        };
        let bus = Arc::new(MemoryBus::default());
        let provider = Provider::new(config, bus, clock.clone()).expect("a loopback issuer");
        Self { issuer, provider, clock }
    }

    async fn new() -> Self {
        Self::with_guests(GuestList::default()).await
    }

    /// Begins a native sign-in, has the issuer answer its code honestly, and says what a program would bring back.
    async fn native(&self) -> (Started, Answer) {
        let started = self.provider.start_native(native()).await.expect("a sign-in that begins");
        let answer = self.answer(&started, "native", VERIFIER);
        (started, answer)
    }

    fn answer(&self, started: &Started, client: &str, verifier: &str) -> Answer {
        let query = query(started);
        let claims = self.issuer.claims(client, &query["nonce"], self.clock.now());
        self.issuer.answers_with_id_token(&self.issuer.honest(&claims));
        Answer {
            login_id: started.login_id.clone(),
            state: query["state"].clone(),
            code: "code-1".to_owned(),
            code_verifier: verifier.to_owned(),
        }
    }
}

fn native() -> Native {
    Native { challenge: challenge(), port: 4321, ipv6: false, device: "Ann's laptop".to_owned() }
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(logins::hash(VERIFIER))
}

fn query(started: &Started) -> HashMap<String, String> {
    Url::parse(&started.authorize_url).expect("a URL").query_pairs().into_owned().collect()
}

#[tokio::test]
async fn a_native_program_s_person_signs_in() {
    let bench = Bench::new().await;
    let (started, answer) = bench.native().await;
    let asked = query(&started);
    assert!(started.authorize_url.starts_with(&format!("{}/authorize?", bench.issuer.issuer())));
    assert_eq!(asked["client_id"], "native");
    assert_eq!(asked["redirect_uri"], "http://127.0.0.1:4321/callback");
    assert_eq!(
        (asked["code_challenge"].as_str(), asked["code_challenge_method"].as_str()),
        (challenge().as_str(), "S256")
    );
    assert_eq!(asked["scope"], "openid email profile");
    assert_eq!((asked["state"].len(), asked["nonce"].len()), (43, 43), "256 bits each");
    assert!(!started.authorize_url.contains(SECRET) && !started.authorize_url.contains(&started.login_id));

    let SignedIn { who, device, .. } = bench.provider.finish_native(answer).await.expect("a sign-in that ends well");
    assert_eq!((who.subject.as_str(), device.as_str()), ("person-1", "Ann's laptop"));
    let [request] = &bench.issuer.token_requests()[..] else { panic!("one exchange") };
    let form: HashMap<_, _> = url::form_urlencoded::parse(request.form.as_bytes()).into_owned().collect();
    assert_eq!((form["code"].as_str(), form["code_verifier"].as_str()), ("code-1", VERIFIER));
    assert_eq!(form["redirect_uri"], "http://127.0.0.1:4321/callback");
    let basic = format!("Basic {}", STANDARD.encode(format!("native:{SECRET}")));
    assert_eq!(request.authorization.as_deref(), Some(basic.as_str()));
}

#[tokio::test]
async fn a_browser_s_person_signs_in_with_a_verifier_of_our_own() {
    let bench = Bench::new().await;
    bench.issuer.discovery_says("token_endpoint_auth_methods_supported", json!(["client_secret_post"]));
    let started = bench.provider.start_browser("/captions".to_owned()).await.expect("a sign-in that begins");
    let asked = query(&started);
    assert_eq!(asked["client_id"], "web");
    assert_eq!(asked["redirect_uri"], "https://captions.example.com/auth/callback");
    let done =
        bench.provider.finish_browser(bench.answer(&started, "web", "")).await.expect("a sign-in that ends well");
    assert_eq!(done.return_to, "/captions");
    let [request] = &bench.issuer.token_requests()[..] else { panic!("one exchange") };
    let form: HashMap<_, _> = url::form_urlencoded::parse(request.form.as_bytes()).into_owned().collect();
    assert_eq!(URL_SAFE_NO_PAD.encode(logins::hash(&form["code_verifier"])), asked["code_challenge"]);
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("web", SECRET));
    assert_eq!(request.authorization, None);
}

#[tokio::test]
async fn a_sign_in_ends_once_with_its_own_state_and_its_own_verifier() {
    let bench = Bench::new().await;
    let (_, answer) = bench.native().await;
    let finish = async |answer: &Answer| bench.provider.finish_native(answer.clone()).await.map(|_| ());
    assert_eq!(finish(&answer).await, Ok(()));
    assert_eq!(finish(&answer).await, Err(Failed::Unknown), "its code and its id are used up");

    let (_, answer) = bench.native().await;
    let other = Answer { state: logins::random(), ..answer.clone() };
    assert_eq!(finish(&other).await, Err(Failed::State));
    assert_eq!(finish(&answer).await, Err(Failed::Unknown), "no second guess");

    let (_, answer) = bench.native().await;
    let (_, another) = bench.native().await;
    let mixed = Answer { login_id: another.login_id, ..answer };
    assert_eq!(finish(&mixed).await, Err(Failed::State), "the state of one sign-in is not that of another");

    for verifier in ["", "short", &"x".repeat(200), &VERIFIER.replace('d', "e")] {
        let (_, answer) = bench.native().await;
        let wrong = Answer { code_verifier: verifier.to_owned(), ..answer };
        assert_eq!(finish(&wrong).await, Err(Failed::Verifier), "{verifier}");
    }
    for login_id in ["", "x", &logins::random(), &"x".repeat(10_000)] {
        let (_, answer) = bench.native().await;
        assert_eq!(finish(&Answer { login_id: login_id.to_owned(), ..answer }).await, Err(Failed::Unknown));
    }
    assert_eq!(bench.issuer.token_requests().len(), 1, "none of these got as far as the provider");
}

#[tokio::test]
async fn a_browser_s_sign_in_is_not_a_program_s_and_not_for_ever() {
    let bench = Bench::new().await;
    let started = bench.provider.start_browser("/".to_owned()).await.expect("a sign-in that begins");
    let answer = bench.answer(&started, "web", VERIFIER);
    assert_eq!(bench.provider.finish_native(answer).await.map(|_| ()), Err(Failed::Unknown));
    let (_, answer) = bench.native().await;
    assert_eq!(bench.provider.finish_browser(answer).await.map(|_| ()), Err(Failed::Unknown));
    let (_, answer) = bench.native().await;
    bench.clock.advance(Duration::from_secs(300));
    assert_eq!(bench.provider.finish_native(answer).await.map(|_| ()), Err(Failed::Unknown));
    assert!(bench.issuer.token_requests().is_empty());
}

#[tokio::test]
async fn a_redirect_leads_to_a_loopback_port_and_nowhere_else() {
    let bench = Bench::new().await;
    let six = bench.provider.start_native(Native { ipv6: true, ..native() }).await.expect("a sign-in that begins");
    assert_eq!(query(&six)["redirect_uri"], "http://[::1]:4321/callback");
    for wrong in [
        Native { port: 0, ..native() },
        Native { challenge: String::new(), ..native() },
        Native { challenge: challenge() + "=", ..native() },
        Native { challenge: format!("{}&x", &challenge()[..41]), ..native() },
        Native { device: "x".repeat(65), ..native() },
        Native { device: "a\nb".to_owned(), ..native() },
    ] {
        let outcome = bench.provider.start_native(wrong.clone()).await;
        assert!(matches!(outcome, Err(Failed::Request(_))), "{wrong:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_the_provider_says_no_to_is_told_apart() {
    let bench = Bench::new().await;
    let answers = [
        (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"}), Failed::Code),
        (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}), Failed::Setup),
        (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "server_error"}), Failed::Away),
        (StatusCode::OK, json!({"hello": 1}), Failed::Away),
        (StatusCode::OK, json!({"access_token": "x", "token_type": "Bearer"}), Failed::Token("id_token_missing")),
        (
            StatusCode::OK,
            json!({"access_token": "x", "token_type": "Bearer", "id_token": "y"}),
            Failed::Token("id_token_header"),
        ),
        (StatusCode::FOUND, json!({}), Failed::Away),
    ];
    for (status, body, expected) in answers {
        let (_, answer) = bench.native().await;
        bench.issuer.answers_with(status, body.clone());
        assert_eq!(bench.provider.finish_native(answer).await.map(|_| ()), Err(expected), "{status} {body}");
    }
    let (_, answer) = bench.native().await;
    bench.issuer.set_down(true);
    assert_eq!(bench.provider.finish_native(answer).await.map(|_| ()), Err(Failed::Away));
}

#[tokio::test]
async fn a_token_of_another_sign_in_or_another_client_is_not_taken() {
    let bench = Bench::new().await;
    let (_, first) = bench.native().await;
    let (_, second) = bench.native().await;
    // The issuer now answers with the second's token.
    assert_eq!(
        bench.provider.finish_native(first).await.map(|_| ()),
        Err(Failed::Token("id_token_nonce")),
        "the nonce is that of another sign-in"
    );
    assert!(bench.provider.finish_native(second).await.is_ok());
    let started = bench.provider.start_native(native()).await.expect("a sign-in that begins");
    let answer = bench.answer(&started, "web", VERIFIER);
    assert_eq!(bench.provider.finish_native(answer).await.map(|_| ()), Err(Failed::Token("id_token_audience")));
}

#[tokio::test]
async fn strangers_stay_out() {
    let bench = Bench::with_guests(GuestList::new(&["example.com"], &["bob@example.org"])).await;
    let who = [
        ("ann@example.com", json!(true), Ok(())),
        ("bob@example.org", json!("true"), Ok(())),
        ("eve@example.org", json!(true), Err(Failed::NotInvited)),
        ("ann@example.com", json!(false), Err(Failed::Unverified)),
        ("ann@example.com", json!(null), Err(Failed::Unverified)),
    ];
    for (email, verified, expected) in who {
        let started = bench.provider.start_native(native()).await.expect("a sign-in that begins");
        let answer = bench.answer(&started, "native", VERIFIER);
        let mut claims = bench.issuer.claims("native", &query(&started)["nonce"], bench.clock.now());
        (claims["email"], claims["email_verified"]) = (json!(email), verified.clone());
        bench.issuer.answers_with_id_token(&bench.issuer.honest(&claims));
        assert_eq!(bench.provider.finish_native(answer).await.map(|_| ()), expected, "{email} {verified}");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_says_so_and_is_found_again() {
    let bench = Bench::new().await;
    bench.issuer.set_down(true);
    assert_eq!(bench.provider.start_native(native()).await.map(|_| ()).err(), Some(Failed::Away));
    bench.issuer.set_down(false);
    bench.clock.advance(Duration::from_secs(5));
    assert!(bench.provider.start_native(native()).await.is_ok());
}
