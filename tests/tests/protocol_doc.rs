//! docs/PROTOCOL.md against the code: every message, field and code that there is, is in it, with the right numbers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use shared::{
    ids::{Revision, SessionId, UtteranceId},
    jobs::RESUME_WINDOW,
    wire::{
        Caption, ClientMessage, EndReason, ErrorCode, GapReason, Limits, MAX_MESSAGE_BYTES, MAX_TARGETS, Resume,
        ServerMessage, Translation, WireError, Word,
    },
};
use tests::{session::start, stack::repository};

fn document() -> String {
    fs::read_to_string(repository().join("docs/PROTOCOL.md")).unwrap()
}

/// Cells of the table rows whose first cell is `` `name` ``.
fn rows<'a>(document: &'a str, name: &str) -> Vec<Vec<&'a str>> {
    let cells = |line: &'a str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let rows = document.lines().filter(|line| line.starts_with('|')).map(cells);
    rows.filter(|row| row[0] == format!("`{name}`")).collect()
}

#[test]
fn every_code_is_told_with_its_close_code_and_its_status() {
    let document = document();
    for code in ErrorCode::ALL {
        let of_http = [ErrorCode::NotFound, ErrorCode::UpgradeRequired].contains(&code);
        if of_http {
            let told = format!("`{}` ({})", code.as_str(), code.http_status());
            let in_table = format!("| {} | `{}` |", code.http_status(), code.as_str());
            assert!(document.contains(&told) || document.contains(&in_table), "{told}");
            continue;
        }
        let rows = rows(&document, code.as_str());
        assert_eq!(rows.len(), 1, "{}", code.as_str());
        assert_eq!(rows[0][1], code.close_code().to_string(), "{}", code.as_str());
    }
    // The table of the handshake: status, code, why.
    let statuses = document.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let status: u16 = cells.first()?.parse().ok().filter(|status| *status >= 400)?;
        Some((status, cells.get(1)?.trim_matches('`').to_owned()))
    });
    for (status, name) in statuses {
        let code = ErrorCode::ALL.into_iter().find(|code| code.as_str() == name);
        assert_eq!(code.map(ErrorCode::http_status), Some(status), "{status} {name}");
    }
}

fn server_messages() -> Vec<ServerMessage> {
    let (utterance, revision) = (UtteranceId(1), Revision(1));
    let tag = || "en".parse().unwrap();
    let word = Word { text: "tide".to_owned(), start_ms: 0, end_ms: 1, probability: 1.0 };
    let limits = Limits {
        max_message_bytes: MAX_MESSAGE_BYTES,
        max_targets: MAX_TARGETS,
        max_utterance_ms: 1,
        idle_timeout_ms: 1,
        resume_window_ms: 1,
    };
    let (committed, tail) = (String::new(), String::new());
    let error = WireError {
        code: ErrorCode::Internal,
        message: String::new(),
        retryable: true,
        retry_after_ms: Some(1),
        trace_id: String::new(),
    };
    let session = SessionId::random();
    vec![
        ServerMessage::Started { session, resume_token: String::new(), resumed: true, audio_ms: 0, limits },
        ServerMessage::SpeechStarted { utterance, start_ms: 0 },
        ServerMessage::SpeechEnded { utterance, end_ms: 0 },
        ServerMessage::Caption(Caption {
            utterance,
            revision,
            start_ms: 0,
            end_ms: 1,
            language: tag(),
            language_probability: Some(1.0),
            committed: committed.clone(),
            tail: tail.clone(),
            words: vec![word],
            is_final: true,
        }),
        ServerMessage::Translation(Translation { utterance, revision, target: tag(), committed, tail, is_final: true }),
        ServerMessage::Ack { audio_ms: 1 },
        ServerMessage::Lag { behind_ms: 1, update_interval_ms: 1 },
        ServerMessage::Gap {
            utterance: Some(utterance),
            target: Some(tag()),
            from_ms: 0,
            to_ms: 1,
            reason: GapReason::Failed,
        },
        ServerMessage::Warning { code: String::new(), message: String::new() },
        ServerMessage::Error(error),
        ServerMessage::Ended { reason: EndReason::Draining, audio_ms: 0, utterances: 0 },
    ]
}

#[test]
fn every_message_of_the_server_is_told_with_all_its_fields() {
    let document = document();
    for message in server_messages() {
        let value = serde_json::to_value(&message).unwrap();
        let name = value["type"].as_str().unwrap();
        let row = rows(&document, name).into_iter().next().unwrap_or_else(|| panic!("{name} is not told"));
        let told: BTreeSet<&str> = row[1].split(',').map(|field| field.trim().trim_matches(['`', '?'])).collect();
        let sent: BTreeSet<&str> =
            value.as_object().unwrap().keys().map(String::as_str).filter(|k| *k != "type").collect();
        assert_eq!(told, sent, "{name}");
    }
}

#[test]
fn every_message_of_the_client_is_told() {
    let document = document();
    let resume = Some(Resume { token: String::new(), last_event: 1 });
    let trace_parent = Some(String::new());
    let start = shared::wire::Start { resume, trace_parent, ..start(&["es"]) };
    let start = serde_json::to_value(ClientMessage::Start(start)).unwrap();
    for field in start.as_object().unwrap().keys().filter(|key| !["type", "audio"].contains(&key.as_str())) {
        assert_eq!(rows(&document, field).len(), 1, "`start` has a field {field}");
    }
    for field in ["encoding", "sample_rate", "channels"] {
        assert_eq!(rows(&document, &format!("audio.{field}")).len(), 1, "{field}");
    }
    for field in start["resume"].as_object().unwrap().keys() {
        assert!(rows(&document, "resume")[0][1].contains(&format!("\"{field}\"")), "{field}");
    }
    let others = [json!({"type": "finalize"}), json!({"type": "stop"}), json!({"type": "auth", "token": ""})];
    for message in others {
        serde_json::from_value::<ClientMessage>(message.clone()).unwrap();
        let name = |value: &Value| value["type"].as_str().unwrap().to_owned();
        assert!(document.contains(&format!("| `{{\"type\":\"{}\"", name(&message))), "{message}");
    }
    assert!(document.contains(r#"`{"type":"update""#));
}

#[test]
fn the_numbers_are_right() {
    let document = document();
    assert!(document.contains(&format!("`limits.resume_window_ms` ({} s)", RESUME_WINDOW.as_secs())));
    assert!(document.contains("up to 64 KiB (65,536 bytes)") && MAX_MESSAGE_BYTES == 65_536);
    assert!(
        document.contains(&format!("at most {MAX_TARGETS} |")) || document.contains(&format!("at most {MAX_TARGETS}"))
    );
}
