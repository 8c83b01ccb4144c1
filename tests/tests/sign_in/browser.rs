//! A browser's person at the real provider.

use identity::oidc::GuestList;
use reqwest::{Response, Url};
use serde_json::{Value, json};
use tests::oidc_provider::{Browser, OidcProvider};

use super::desk::{Desk, parameter};

fn location(answer: &Response) -> String {
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// From `/auth/login` through the provider, up to the address that the browser opens next.
async fn up_to_callback(desk: &Desk, browser: &mut Browser, person: &str) -> Url {
    let answer = browser.open(&desk.url("/auth/login?return=/captions?source=en")).await;
    assert_eq!(answer.status(), 303);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(
        cookie.starts_with("subtide_login=") && cookie.ends_with("Path=/auth; Max-Age=300; HttpOnly; SameSite=Lax")
    );
    browser.sign_in(&location(&answer), person, &format!("{}/auth/callback", desk.origin)).await
}

async fn real(guests: GuestList) -> Option<(Desk, OidcProvider, Browser)> {
    let (desk, provider) = Desk::real(guests).await?;
    Some((desk, provider, Browser::new()))
}

#[tokio::test]
async fn somebody_signs_in_refreshes_and_signs_out() {
    let Some((desk, _provider, mut browser)) = real(GuestList::default()).await else { return };
    let callback = up_to_callback(&desk, &mut browser, "ann").await;
    let answer = browser.open(&callback).await;
    assert_eq!((answer.status().as_u16(), location(&answer).as_str()), (303, "/captions?source=en"));
    let cookies: Vec<_> =
        answer.headers().get_all("set-cookie").iter().map(|c| c.to_str().unwrap().to_owned()).collect();
    let refresh = cookies.iter().find(|cookie| cookie.starts_with("subtide_refresh=srt_")).unwrap();
    assert!(refresh.ends_with("Path=/auth; Max-Age=2592000; HttpOnly; SameSite=Strict"), "{refresh}");
    assert!(cookies.iter().any(|cookie| cookie.starts_with("subtide_login=; ")), "{cookies:?}");
    assert!(answer.text().await.unwrap().is_empty(), "no token in the answer");

    let url = desk.url("/auth/refresh");
    for foreign in [None, Some("https://evil.example"), Some("null")] {
        let answer = browser.post(&url, foreign, None).await;
        assert_eq!(answer.status(), 403, "{foreign:?}");
    }
    let before = browser.cookies_for(&url);
    let answer = browser.post(&url, Some(&desk.origin), None).await;
    assert_eq!(answer.status(), 200);
    assert_ne!(browser.cookies_for(&url), before, "the next refresh token is in the cookie");
    let tokens: Value = answer.json().await.unwrap();
    assert_eq!((tokens.get("refresh_token"), &tokens["person"]["name"]), (None, &json!("Ann Example")));
    let who = desk.people.verify(tokens["access_token"].as_str().unwrap()).await.unwrap();
    assert_eq!(Some(who.subject.as_str()), tokens["person"]["id"].as_str());

    let logout = desk.url("/auth/logout");
    assert_eq!(browser.post(&logout, Some("https://evil.example"), None).await.status(), 403);
    assert_eq!(browser.post(&logout, Some(&desk.origin), None).await.status(), 204);
    assert!(!browser.cookies_for(&url).contains("refresh"));
    let answer = browser.post(&url, Some(&desk.origin), None).await;
    assert_eq!(answer.status(), 401);
    assert!(desk.people.verify(tokens["access_token"].as_str().unwrap()).await.is_err());
}

#[tokio::test]
async fn a_cookie_that_is_no_good_any_more_is_taken_back() {
    let Some((desk, _provider, mut browser)) = real(GuestList::default()).await else { return };
    let callback = up_to_callback(&desk, &mut browser, "ann").await;
    browser.open(&callback).await;
    desk.clock.advance(std::time::Duration::from_secs(15 * 24 * 3600));
    let url = desk.url("/auth/refresh");
    let answer = browser.post(&url, Some(&desk.origin), None).await;
    assert_eq!(answer.status(), 401);
    assert!(!browser.cookies_for(&url).contains("refresh"), "signed in too long ago: the browser forgets it");
}

#[tokio::test]
async fn a_callback_belongs_to_the_browser_that_began() {
    let Some((desk, _provider, mut browser)) = real(GuestList::default()).await else { return };
    let callback = up_to_callback(&desk, &mut browser, "ann").await;
    // Somebody is given a link that would sign them in as somebody else.
    page(Browser::new().open(&callback).await, 401).await;
    let mut other = Browser::new();
    up_to_callback(&desk, &mut other, "bob").await;
    page(other.open(&callback).await, 401).await;
    // A wrong state ends it.
    let mut forged = callback.clone();
    forged.query_pairs_mut().clear().append_pair("code", &parameter(&callback, "code")).append_pair("state", "guess");
    page(browser.open(&forged).await, 401).await;
    page(browser.open(&callback).await, 401).await;
}

#[tokio::test]
async fn what_comes_back_wrong_is_answered_with_a_page_that_repeats_nothing() {
    let Some((desk, _provider, mut browser)) = real(GuestList::default()).await else { return };
    let callback = up_to_callback(&desk, &mut browser, "no").await;
    assert_eq!(parameter(&callback, "error"), "access_denied");
    page(browser.open(&callback).await, 401).await;
    for query in [
        "",
        "?code=<script>alert(1)</script>&state=<b>x</b>",
        "?error=<script>alert(1)</script>",
        "?code=a&code=b&state=c",
        "?iss=https://evil.example&code=a&state=b",
    ] {
        let mut browser = Browser::new();
        up_to_callback(&desk, &mut browser, "ann").await;
        page(browser.open(&desk.url(&format!("/auth/callback{query}"))).await, 401).await;
    }
    for elsewhere in ["//evil.example", "https://evil.example", "/%5Cevil.example", "/%09/evil.example", "/auth/login"]
    {
        page(browser.open(&desk.url(&format!("/auth/login?return={elsewhere}"))).await, 400).await;
    }
}

#[tokio::test]
async fn strangers_are_told_what_to_do() {
    let Some((desk, _provider, mut browser)) = real(GuestList::new(&["example.com"], &[])).await else { return };
    let callback = up_to_callback(&desk, &mut browser, "bob").await;
    let text = page(browser.open(&callback).await, 403).await;
    assert!(text.contains("use another account"), "{text}");
    assert!(!browser.cookies_for(&callback).contains("refresh"));
}

/// A page for people: no script, nothing of the request, and no cookie left of the attempt.
async fn page(answer: Response, status: u16) -> String {
    assert_eq!(answer.status(), status);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let text = answer.text().await.unwrap();
    assert!(text.contains("<h1>Sign-in did not work</h1>") && text.contains("href=\"/\""), "{text}");
    for never in ["<script", "alert", "evil.example", "example.com"] {
        assert!(!text.contains(never), "{text}");
    }
    text
}
