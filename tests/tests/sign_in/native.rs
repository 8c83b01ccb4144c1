//! A native program's person at the real provider.

use identity::{Refused, oidc::GuestList};
use reqwest::Url;
use serde_json::{Value, json};
use tests::oidc_provider::Browser;

use super::desk::{Desk, PORT, Started, parameter};

/// The whole way through the provider: what comes back to the program's port.
async fn at_provider(started: &Started, person: &str) -> Url {
    let back = format!("http://127.0.0.1:{PORT}/callback");
    Browser::new().sign_in(&started.authorize_url, person, &back).await
}

#[tokio::test]
async fn somebody_signs_in_refreshes_and_signs_out() {
    let Some((desk, _provider)) = Desk::real(GuestList::default()).await else { return };
    let started = desk.start().await;
    let back = at_provider(&started, "ann").await;
    assert_eq!(parameter(&back, "state"), started.state);
    let finish = started.finish(&parameter(&back, "code"));
    let answer = desk.post("/auth/finish", &finish).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()), (200, "no-store"));
    let tokens: Value = answer.json().await.unwrap();
    assert_eq!((&tokens["token_type"], &tokens["person"]["email"]), (&json!("Bearer"), &json!("ann@example.com")));
    let who = desk.people.verify(tokens["access_token"].as_str().unwrap()).await.unwrap();
    assert_eq!(Some(who.subject.as_str()), tokens["person"]["id"].as_str());

    let replayed = desk.post("/auth/finish", &finish).await;
    assert_eq!(replayed.status(), 401, "a sign-in ends once");
    let again = desk.start().await;
    let replayed = desk.post("/auth/finish", &again.finish(&parameter(&back, "code"))).await;
    assert_eq!(replayed.status(), 401, "a code is good once, and for one sign-in");

    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let answer = desk.post("/auth/refresh", &refresh).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("set-cookie")), (200, None));
    let next: Value = answer.json().await.unwrap();
    assert_ne!(next["refresh_token"], tokens["refresh_token"]);
    let last = json!({"refresh_token": next["refresh_token"]});
    let access = next["access_token"].as_str().unwrap().to_owned();
    assert_eq!(desk.people.verify(&access).await.unwrap().family, who.family);
    assert_eq!(desk.post("/auth/logout", &last).await.status(), 204);
    assert_eq!(desk.post("/auth/refresh", &last).await.status(), 401);
    assert_eq!(desk.people.verify(&access).await, Err(Refused::Revoked), "no token of it is good any more");
    assert_eq!(desk.post("/auth/logout", &last).await.status(), 204, "nobody to sign out is no error");
}

#[tokio::test]
async fn an_old_refresh_token_ends_the_sign_in() {
    let Some((desk, _provider)) = Desk::real(GuestList::default()).await else { return };
    let started = desk.start().await;
    let back = at_provider(&started, "bob").await;
    let tokens: Value =
        desk.post("/auth/finish", &started.finish(&parameter(&back, "code"))).await.json().await.unwrap();
    let first = json!({"refresh_token": tokens["refresh_token"]});
    let next: Value = desk.post("/auth/refresh", &first).await.json().await.unwrap();
    desk.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(desk.post("/auth/refresh", &first).await.status(), 401, "somebody has a copy");
    let next = json!({"refresh_token": next["refresh_token"]});
    assert_eq!(desk.post("/auth/refresh", &next).await.status(), 401, "so nobody has any more");
}

#[tokio::test]
async fn a_sign_in_wants_its_own_state_and_verifier() {
    let Some((desk, _provider)) = Desk::real(GuestList::default()).await else { return };
    for (field, value) in [
        ("state", "another state"),
        ("code_verifier", "another-verifier-of-forty-three-characters-x"),
        ("login_id", "another login"),
        ("code", "another-code"),
    ] {
        let started = desk.start().await;
        let back = at_provider(&started, "ann").await;
        let honest = started.finish(&parameter(&back, "code"));
        let mut forged = honest.clone();
        forged[field] = json!(value);
        let answer = desk.post("/auth/finish", &forged).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
            (401, &"Bearer".parse().unwrap())
        );
        let body = answer.text().await.unwrap();
        assert!(body.contains("auth_error") && !body.contains(value), "{field}: {body}");
        // The other login is untouched; the others were one guess, and that is all there is.
        let expected = if field == "login_id" { 200 } else { 401 };
        assert_eq!(desk.post("/auth/finish", &honest).await.status(), expected, "{field}");
    }
}

#[tokio::test]
async fn strangers_stay_out() {
    let Some((desk, _provider)) = Desk::real(GuestList::new(&["example.com"], &[])).await else { return };
    for (person, status, word) in
        [("ann", 200, ""), ("bob", 403, "may not"), ("eve", 403, "not verified"), ("nobody", 403, "not verified")]
    {
        let started = desk.start().await;
        let back = at_provider(&started, person).await;
        let answer = desk.post("/auth/finish", &started.finish(&parameter(&back, "code"))).await;
        assert_eq!(answer.status(), status, "{person}");
        let body = answer.text().await.unwrap();
        assert!(body.contains(word), "{person}: {body}");
        assert!(status == 200 || !body.contains("example."), "nothing of the person is sent back: {body}");
    }
}

#[tokio::test]
async fn somebody_who_says_no_is_not_signed_in() {
    let Some((desk, _provider)) = Desk::real(GuestList::default()).await else { return };
    let back = at_provider(&desk.start().await, "no").await;
    assert_eq!((parameter(&back, "error").as_str(), parameter(&back, "code").as_str()), ("access_denied", ""));
}

#[tokio::test]
async fn a_provider_that_is_gone_breaks_no_sign_in_that_is_there() {
    let Some((desk, mut provider)) = Desk::real(GuestList::default()).await else { return };
    let started = desk.start().await;
    let back = at_provider(&started, "ann").await;
    let tokens: Value =
        desk.post("/auth/finish", &started.finish(&parameter(&back, "code"))).await.json().await.unwrap();
    let waiting = desk.start().await;
    let waiting_back = at_provider(&waiting, "ann").await;
    provider.kill().await;
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let answer = desk.post("/auth/refresh", &refresh).await;
    assert_eq!(answer.status(), 200);
    let next: Value = answer.json().await.unwrap();
    assert!(desk.people.verify(next["access_token"].as_str().unwrap()).await.is_ok());
    let answer = desk.post("/auth/finish", &waiting.finish(&parameter(&waiting_back, "code"))).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
}
