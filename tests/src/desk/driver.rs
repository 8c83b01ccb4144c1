//! A hand and an eye on a desktop client's page: W3C WebDriver, spoken to WebKit's own driver.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

use super::{Desk, processes};
use crate::stack::{free_addr, program};

/// For what has to come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often to look again.
const POLL: Duration = Duration::from_millis(100);
/// Key of an element's reference: W3C WebDriver §11.1, "web element identifier".
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A running desktop client, and the session that drives its main page.
#[derive(Debug)]
pub struct Driven {
    http: Client,
    base: String,
    session: String,
    home: PathBuf,
    driver: Child,
}

impl Driven {
    /// Starts the desktop client on `desk`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(desk: &Desk, arguments: &[&str]) -> Self {
        let port = free_addr().port();
        let mut command = desk.command("WebKitWebDriver");
        command.args([&format!("--port={port}"), "--host=127.0.0.1"]);
        command.env("TAURI_WEBVIEW_AUTOMATION", "true").stdout(Stdio::null()).stderr(Stdio::inherit());
        let driver = command.spawn().unwrap_or_else(|error| panic!("WebKitWebDriver: {error}"));
        let http = Client::builder().no_proxy().timeout(PATIENCE).build();
        let http = http.unwrap_or_else(|error| panic!("no HTTP client: {error}"));
        let mut driven = Self {
            http,
            base: format!("http://127.0.0.1:{port}"),
            session: String::new(),
            home: desk.home.path().to_owned(),
            driver,
        };
        let deadline = Instant::now() + PATIENCE;
        while driven.http.get(format!("{}/status", driven.base)).send().await.is_err() {
            assert!(Instant::now() < deadline, "WebKitWebDriver does not answer");
            sleep(POLL).await;
        }
        let binary = program("subtide-desktop");
        let options = json!({"binary": binary, "args": arguments});
        let wanted = json!({"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}});
        let answer = driven.ask(Method::POST, "/session", Some(wanted)).await;
        let session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"));
        driven.session = format!("/session/{session}");
        driven
    }

    /// Runs a script in the page; `arguments[i]` are `arguments`, and what it returns comes back.
    ///
    /// # Panics
    /// When it throws.
    pub async fn script(&self, script: &str, arguments: &[Value]) -> Value {
        let body = json!({"script": script, "args": arguments});
        self.ask(Method::POST, &format!("{}/execute/sync", self.session), Some(body)).await
    }

    /// Presses what `selector` finds.
    ///
    /// # Panics
    /// When nothing is there to press.
    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        let path = format!("{}/element/{element}/click", self.session);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.send(Method::POST, &path, Some(json!({}))).await;
            let Some(error) = answer["error"].as_str() else { return };
            // Not painted yet, or under something that is about to go.
            let early = matches!(error, "element not interactable" | "element click intercepted");
            assert!(early && Instant::now() < deadline, "{selector}: {answer}");
            sleep(POLL).await;
        }
    }

    /// Types into what `selector` finds.
    ///
    /// # Panics
    /// When nothing is there to type into.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        let body = Some(json!({"text": text}));
        self.ask(Method::POST, &format!("{}/element/{element}/value", self.session), body).await;
    }

    /// Text of everything that `selector` finds, in order.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map((found) => found.textContent)";
        let found = self.script(script, &[json!(selector)]).await;
        serde_json::from_value(found).unwrap_or_default()
    }

    /// Waits until a script returns something that is true.
    ///
    /// # Panics
    /// When it does not within a minute and a half; tells what the page said last.
    pub async fn until(&self, what: &str, script: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.script(script, &[]).await;
            if !matches!(found, Value::Null | Value::Bool(false)) && found != json!("") && found != json!(0) {
                return found;
            }
            if Instant::now() >= deadline {
                let page = self.script("return document.body.innerText", &[]).await;
                panic!("{what}: not within {PATIENCE:?}; the page says {page}");
            }
            sleep(POLL).await;
        }
    }

    /// The page as a PNG.
    ///
    /// # Panics
    /// When it cannot be written.
    pub async fn picture(&self, file: &Path) {
        let answer = self.ask(Method::GET, &format!("{}/screenshot", self.session), None).await;
        let png = STANDARD.decode(answer.as_str().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}"));
        std::fs::write(file, png).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Ends the client, as closing the session does, and waits until it is gone: the next one would else be the second.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn end(mut self) {
        self.ask(Method::DELETE, &self.session.clone(), None).await;
        let deadline = Instant::now() + PATIENCE;
        while !processes(&self.home).is_empty() {
            assert!(Instant::now() < deadline, "the client does not end");
            sleep(POLL).await;
        }
        self.driver.kill().await.ok();
    }

    async fn find(&self, selector: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let body = json!({"using": "css selector", "value": selector});
            let answer = self.send(Method::POST, &format!("{}/element", self.session), Some(body)).await;
            if let Some(found) = answer[ELEMENT].as_str() {
                return found.to_owned();
            }
            assert!(Instant::now() < deadline, "the page has no {selector}: {answer}");
            sleep(POLL).await;
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let answer = self.send(method, path, body).await;
        assert!(answer.get("error").is_none(), "{path}: {answer}");
        answer
    }

    /// The `value` of the answer, also where it is an error.
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut answer: Value = answer.json().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        answer["value"].take()
    }
}
