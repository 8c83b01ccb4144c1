//! One trace from the client's frame to the caption on the wire; log lines that can be joined; errors that are told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "traces/house.rs"]
mod house;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{SinkExt as _, StreamExt as _};
use house::{House, Role};
use serde_json::{Value, json};
use shared::wire::{Event, ServerMessage, Start};
use tests::{
    collector::{Collector, Seen, Tracker},
    resuming,
    session::{PATIENCE, check, start, stream},
    speech::{demo, pcm},
    stack::free_addr,
};
use tokio::{
    runtime::Handle,
    task::block_in_place,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

const TRACE: &str = "0123456789abcdef0123456789abcdef";
const SPAN: &str = "0123456789abcdef";
/// The clock that says when a job was appended counts whole milliseconds.
const CLOCK_NS: u64 = 2_000_000;
/// Of the demo's recording: two utterances.
const SPEECH_MS: usize = 8000;

fn traceparent() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

fn speech() -> Vec<u8> {
    pcm(&demo().0).into_iter().take(SPEECH_MS * 32).collect()
}

fn session_of(events: &[Event]) -> String {
    let named = events.iter().find_map(|event| match &event.message {
        ServerMessage::Started { session, .. } => Some(session.to_string()),
        _ => None,
    });
    named.unwrap()
}

/// Two words in a row of what was heard or translated: more than chance would put somewhere.
fn phrases(texts: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in texts.values().flatten() {
        let words: Vec<&str> = text.split_whitespace().collect();
        found.extend(words.windows(2).map(|pair| pair.join(" ")).filter(|pair| pair.len() >= 8));
    }
    assert!(found.len() > 4, "{texts:?}");
    found
}

#[track_caller]
fn holds_nothing_said(what: &str, text: &str, phrases: &BTreeSet<String>) {
    let said = phrases.iter().find(|phrase| text.contains(phrase.as_str()));
    assert!(said.is_none(), "{what} holds what was said: {said:?}");
}

/// The only span of that name below `parent`.
#[track_caller]
fn below<'a>(spans: &'a [Seen], parent: &Seen, service: &str, name: &str) -> &'a Seen {
    let found: Vec<&Seen> = spans.iter().filter(|span| span.parent == parent.id && span.name == name).collect();
    let [only] = found[..] else { panic!("{name} below {}: {found:#?}", parent.name) };
    assert_eq!((only.service.as_str(), &only.trace), (service, &parent.trace), "{name}");
    assert!(!only.failed, "{only:?}");
    only
}

/// Steps of one process lie within their parent.
#[track_caller]
fn lies_within(inner: &Seen, outer: &Seen) {
    let inside = inner.start + CLOCK_NS >= outer.start && inner.start <= inner.end && inner.end <= outer.end;
    assert!(inside, "{inner:?} is not within {outer:?}");
}

/// All stages of the final of the first utterance, each once, each below the one that caused it.
fn check_final(spans: &[Seen], root: &Seen) {
    let is_final = |span: &&Seen| span.attribute("subtide.kind") == "final" && span.parent == root.id;
    let finals: Vec<&Seen> = spans.iter().filter(is_final).collect();
    let [job] = finals[..] else { panic!("one final is asked for: {finals:#?}") };
    assert_eq!((job.name.as_str(), job.service.as_str()), ("speech_job", "gateway"));
    assert_eq!((job.attribute("messaging.system"), job.attribute("subtide.answered")), ("redis", "true"));
    lies_within(job, root);
    let heard = below(spans, job, "stt-worker", "speech");
    assert_eq!(heard.attribute("messaging.destination.name"), "audio_jobs");
    assert_eq!((heard.attribute("subtide.outcome"), heard.attribute("subtide.utterance")), ("done", "1"));
    assert!(heard.start + CLOCK_NS >= job.start, "it was asked for before it was done");
    for step in ["queue", "read_audio", "inference", "publish"] {
        lies_within(below(spans, heard, "stt-worker", step), heard);
    }
    below(spans, heard, "gateway", "deliver");
    let translated = below(spans, heard, "translation-worker", "translate");
    assert_eq!((translated.attribute("subtide.target"), translated.attribute("subtide.kind")), ("es", "final"));
    for step in ["queue", "inference", "publish"] {
        lies_within(below(spans, translated, "translation-worker", step), translated);
    }
    let delivered = below(spans, translated, "gateway", "deliver");
    assert!(delivered.start >= translated.start && delivered.end <= root.end, "the last word ends the trace");
}

/// Every line is one object, and one at least is about the trace and the session.
fn check_log(role: &Role, session: &str, phrases: &BTreeSet<String>) {
    let text = role.log();
    holds_nothing_said(&role.name, &text, phrases);
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    for line in &lines {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
    }
    let about = |line: &&Value| line["trace_id"] == TRACE && line["session"] == session && line["utterance"] == 1;
    let line = lines.iter().find(about).unwrap_or_else(|| panic!("{} says nothing of the trace:\n{text}", role.name));
    assert_eq!(line["span_id"].as_str().unwrap().len(), 16, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_a_caption_shows_all_its_stages_and_the_logs_of_all_roles_bear_its_id() {
    let (collector, tracker) = (Collector::spawn().await, Tracker::spawn().await);
    let (endpoint, dsn) = (collector.endpoint(), tracker.dsn());
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=hush"),
        ("SENTRY_DSN", dsn.as_str()),
        ("LOG_LEVEL", "info,gateway=debug,shared=debug"),
    ];
    let mut house = House::spawn(&env).await;
    let start = Start { trace_parent: Some(traceparent()), ..start(&["es"]) };
    let events = stream(&house.url(), start, &speech(), 1.5).await;
    let texts = check(&events, &["es"]);
    let (session, phrases) = (session_of(&events), phrases(&texts));
    // What has not been delivered by now must be before they end.
    house.end().await;

    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE), "the client's trace is the only one");
    let roots: Vec<&Seen> = spans.iter().filter(|span| span.name == "utterance").collect();
    assert_eq!(roots.len(), texts["caption"].len(), "one an utterance");
    for root in &roots {
        assert_eq!((root.parent.as_str(), root.service.as_str()), (SPAN, "gateway"));
        assert_eq!(root.attribute("session.id"), session);
    }
    let first = roots.iter().find(|root| root.attribute("subtide.utterance") == "1").unwrap();
    lies_within(below(&spans, first, "gateway", "receive"), first);
    check_final(&spans, first);
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "ids are not used twice");
    for span in &spans {
        assert!(span.parent == SPAN || ids.contains(span.parent.as_str()), "nothing is above {span:?}");
        let told = format!("{} {:?}", span.name, span.attributes);
        holds_nothing_said("a span", &told, &phrases);
        assert!(!told.contains("127.0.0.1"), "{told}");
    }
    let keys = collector.headers();
    assert!(keys.iter().all(|headers| headers["x-collector-key"] == "hush"), "the secret goes to the collector");
    for role in house.roles() {
        check_log(role, &session, &phrases);
        assert!(!role.log().contains("hush"), "...and to nobody else");
    }
    assert_eq!(tracker.events(), Vec::<Value>::new(), "nothing went wrong");
}

/// The roots of the first utterance that were delivered.
fn first_roots(collector: &Collector) -> Vec<Seen> {
    let is_root = |span: &Seen| span.name == "utterance" && span.attribute("subtide.utterance") == "1";
    collector.spans().into_iter().filter(is_root).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_goes_on_with_a_session_ends_the_trace_that_another_began() {
    let collector = Collector::spawn().await;
    let endpoint = collector.endpoint();
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let mut house = House::spawn(&env).await;
    let urls = [house.url(), house.second_gateway(&env).await];
    let (spoken, mut killed) = (speech(), None);
    let journal = resuming::stream(&urls, None, start(&["es"]), &spoken, |position_ms| {
        // In the middle of the first utterance.
        if position_ms >= 1600 && killed.is_none() {
            killed = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            house.kill_first_gateway();
        }
        false
    });
    let journal = journal.await;
    assert_eq!((journal.outages.len(), journal.error), (1, None));
    house.end().await;

    let spans = collector.spans();
    let roots = first_roots(&collector);
    let [root] = &roots[..] else { panic!("one root: {roots:#?}") };
    let killed = u64::try_from(killed.unwrap().as_nanos()).unwrap();
    assert!(root.start < killed && root.end > killed, "it was begun by the one and ended by the other");
    assert_eq!(root.parent, "", "no client said what it is a part of");
    check_final(&spans, root);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_ended_is_not_gone_on_with() {
    let collector = Collector::spawn().await;
    let endpoint = collector.endpoint();
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let mut house = House::spawn(&env).await;
    let urls = [house.url(), house.second_gateway(&env).await];
    let (mut spoken, mut killed) = (speech(), false);
    // One second more between the first utterance, which ends at 2.1 s, and the second.
    spoken.splice(2500 * 32..2500 * 32, vec![0; 1000 * 32]);
    let delivered = async || {
        while first_roots(&collector).is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let journal = resuming::stream(&urls, None, start(&["es"]), &spoken, |position_ms| {
        if position_ms >= 3200 && !killed {
            // Nothing is sent meanwhile, so that nothing is written down after what came with the last final.
            block_in_place(|| Handle::current().block_on(timeout(PATIENCE, delivered()))).unwrap();
            house.kill_first_gateway();
            killed = true;
        }
        false
    });
    let journal = journal.await;
    assert_eq!((journal.outages.len(), journal.error), (1, None));
    house.end().await;

    let roots = first_roots(&collector);
    let [root] = &roots[..] else { panic!("one root: {roots:#?}") };
    let spans = collector.spans();
    check_final(&spans, root);
    let failed: Vec<&Seen> = spans.iter().filter(|span| span.failed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(spans.iter().any(|span| span.attribute("subtide.utterance") == "2"), "the session went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_captions_come_all_the_same_and_an_error_is_told_once() {
    let tracker = Tracker::spawn().await;
    let (dsn, nobody) = (tracker.dsn(), format!("http://{}", free_addr()));
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", nobody.as_str()), ("SENTRY_DSN", &dsn), ("LOG_LEVEL", "info")];
    let mut house = House::spawn(&env).await;
    let (spoken, targets) = (speech(), ["es"]);
    let events = stream(&house.url(), start(&targets), &spoken, 1.5).await;
    let texts = check(&events, &targets);
    let phrases = phrases(&texts);
    assert_eq!(tracker.events(), Vec::<Value>::new(), "a collector that is away is no error");
    // No model that ships translates into French: the worker says so once, as an error.
    let missing = stream(&house.url(), start(&["fr"]), &spoken, 1.5).await;
    assert!(missing.iter().any(|event| matches!(event.message, ServerMessage::Gap { .. })), "{missing:#?}");
    house.end().await;

    for role in house.roles() {
        let away = role.log().matches("the collector does not take traces").count();
        assert_eq!(away, 1, "{} says it once:\n{}", role.name, role.log());
    }
    let events = tracker.events();
    let [event] = &events[..] else { panic!("one error: {events:#?}") };
    assert!(event["message"].as_str().unwrap().contains("no translation model"), "{event}");
    assert_eq!(event["logger"], "translation_worker::handler");
    assert!(event["level"].is_null() || event["level"] == "error", "what is not said is an error");
    assert_eq!(event["tags"]["session"], session_of(&missing));
    assert_eq!(event["tags"]["trace_id"].as_str().unwrap().len(), 32);
    for key in ["server_name", "user", "request", "breadcrumbs"] {
        assert!(event[key].is_null(), "{key}: {event}");
    }
    tracker.envelopes().iter().for_each(|envelope| holds_nothing_said("the tracker", envelope, &phrases));
}

/// A session whose handshake bears these headers; what was said at its end, `ended` or `error`.
async fn speak(url: &str, headers: &[(&'static str, &str)], spoken: &[u8], last: Value) -> Value {
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let start = serde_json::to_value(start(&["es"])).unwrap();
    let mut first = json!({"type": "start"});
    first.as_object_mut().unwrap().extend(start.as_object().unwrap().clone());
    socket.send(Message::text(first.to_string())).await.unwrap();
    for frame in spoken.chunks(32_000) {
        socket.send(Message::binary(frame.to_vec())).await.unwrap();
    }
    socket.send(Message::text(last.to_string())).await.unwrap();
    loop {
        let message = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        let event: Value = serde_json::from_str(&text).unwrap();
        if event["type"] == "ended" || event["type"] == "error" {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process_the_header_is_followed_and_the_share_holds_for_everybody_else() {
    let collector = Collector::spawn().await;
    let endpoint = collector.endpoint();
    let client = free_addr();
    let port = client.port().to_string();
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ("GATEWAY_PORT", &port),
        ("LOG_LEVEL", "info"),
        ("LOG_FORMAT", "json"),
    ];
    let mut serve = Role::spawn("subtide serve", &env);
    serve.ready().await;
    let (url, spoken, stop) = (format!("ws://{client}/v1/stream"), speech(), json!({"type": "stop"}));
    for headers in [&[][..], &[("traceparent", "00-0-0-01")], &[("traceparent", &traceparent().replace("-01", "-00"))]]
    {
        assert_eq!(speak(&url, headers, &spoken, stop.clone()).await["type"], "ended");
    }
    let parent = traceparent();
    let chosen = [("traceparent", parent.as_str())];
    assert_eq!(speak(&url, &chosen, &spoken, stop).await["type"], "ended");
    let error = speak(&url, &chosen, &[], json!({"type": "shout"})).await;
    let other = speak(&url, &[], &[], json!({"type": "shout"})).await;
    serve.end().await;

    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE && span.service == "subtide"), "{spans:#?}");
    let root = spans.iter().find(|span| span.name == "utterance").unwrap();
    assert_eq!(root.parent, SPAN);
    for name in ["receive", "speech_job", "speech", "queue", "inference", "publish", "translate", "deliver"] {
        assert!(spans.iter().any(|span| span.name == name), "{name}");
    }
    assert_eq!(error["trace_id"], TRACE, "an error bears the id that its session's lines bear");
    let log = serve.log();
    for error in [&error, &other] {
        let id = error["trace_id"].as_str().unwrap();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let told = |line: &Value| line["trace_id"] == id && line["message"] == "session ended by an error";
        assert!(lines.iter().any(|line| told(line) && line["session"].is_string()), "{id}:\n{log}");
    }
}
