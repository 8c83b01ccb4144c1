use shared::{ids::Revision, wire::GapReason};

use super::*;

fn language(tag: &str) -> Language {
    tag.parse().unwrap()
}

fn dispatch(targets: &[&str]) -> Dispatch {
    let targets = targets.iter().map(|t| language(t)).collect();
    let settings = Settings { source: Source::Auto, targets, glossary: Vec::new() };
    Dispatch::new(SessionId::random(), true, settings, Duration::from_secs(60))
}

fn entry(ms: u64) -> EntryId {
    EntryId { ms, seq: 0 }
}

fn caption(utterance: u32, revision: u32, committed: &str, tail: &str, is_final: bool) -> SessionEvent {
    let caption = Caption {
        utterance: UtteranceId(utterance),
        revision: Revision(revision),
        start_ms: 0,
        end_ms: 0,
        language: language("en"),
        language_probability: None,
        committed: committed.to_owned(),
        tail: tail.to_owned(),
        words: Vec::new(),
        is_final,
    };
    SessionEvent::Caption { caption, committed_end_ms: None }
}

fn translation(utterance: u32, revision: u32, target: &str, is_final: bool) -> SessionEvent {
    SessionEvent::Translation(Translation {
        utterance: UtteranceId(utterance),
        revision: Revision(revision),
        target: language(target),
        committed: format!("{target} {revision}"),
        tail: String::new(),
        is_final,
    })
}

fn receive(dispatch: &mut Dispatch, event: SessionEvent) -> Vec<ServerMessage> {
    let mut out = Vec::new();
    dispatch.receive(event, &mut out);
    out
}

/// Opens utterance `id`, appends a second of audio and ends it; returns the revision of its final.
fn speak(d: &mut Dispatch, id: u32) -> Revision {
    d.opened(UtteranceId(id), 0);
    d.appended(UtteranceId(id), entry(1), 1000);
    d.ended(UtteranceId(id));
    d.due(Instant::now()).pop().unwrap().revision
}

#[test]
fn one_partial_at_a_time_then_the_final() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0);
    d.appended(UtteranceId(1), entry(1), 300);
    assert!(d.due(now).is_empty(), "too little audio for a partial");
    d.appended(UtteranceId(1), entry(2), 900);
    let first = d.due(now);
    assert_eq!((first.len(), first[0].kind, first[0].last_entry), (1, JobKind::Partial, entry(2)));
    d.appended(UtteranceId(1), entry(3), 2000);
    assert!(d.due(now).is_empty(), "the first partial is still out");
    assert_eq!(receive(&mut d, caption(1, 1, "good", "morning", false)).len(), 1);
    let second = d.due(now).pop().unwrap();
    assert_eq!((second.committed.as_str(), second.tail.as_str(), second.revision), ("good", "morning", Revision(2)));
    d.ended(UtteranceId(1));
    let last = d.due(now).pop().unwrap();
    assert_eq!((last.kind, last.revision), (JobKind::Final, Revision(3)));
    assert!(d.due(now).is_empty(), "one final is enough");
}

#[test]
fn a_partial_that_never_comes_back_does_not_stop_the_next() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0);
    d.appended(UtteranceId(1), entry(1), 900);
    assert_eq!(d.due(now).len(), 1);
    d.appended(UtteranceId(1), entry(2), 2000);
    assert!(d.due(now + PARTIAL_TIMEOUT / 2).is_empty());
    assert_eq!(d.due(now + PARTIAL_TIMEOUT).len(), 1);
}

#[test]
fn an_answer_older_than_what_was_asked_is_dropped() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0);
    d.appended(UtteranceId(1), entry(1), 900);
    assert_eq!(d.due(now).len(), 1);
    d.ended(UtteranceId(1));
    assert_eq!(d.due(now).pop().unwrap().committed, "");
    assert!(receive(&mut d, caption(1, 1, "late", "", false)).is_empty(), "the final does not know of this text");
    assert_eq!(receive(&mut d, caption(1, 2, "the whole", "", true)).len(), 1);
    assert!(receive(&mut d, caption(1, 2, "the whole", "", true)).is_empty(), "exactly one final");
    assert!(d.idle());
}

#[test]
fn finals_go_out_in_the_order_of_the_utterances() {
    let mut d = dispatch(&["es"]);
    assert_eq!((speak(&mut d, 1), speak(&mut d, 2)), (Revision(1), Revision(1)));
    assert!(receive(&mut d, caption(2, 1, "second", "", true)).is_empty());
    assert!(receive(&mut d, translation(2, 1, "es", true)).is_empty());
    let out = receive(&mut d, caption(1, 1, "first", "", true));
    let texts: Vec<_> =
        out.iter().filter_map(|m| if let ServerMessage::Caption(c) = m { Some(&c.committed) } else { None }).collect();
    assert_eq!(texts, ["first", "second"]);
    assert_eq!(out.len(), 2, "the second translation still waits for the first");
    assert_eq!(receive(&mut d, translation(1, 1, "es", true)).len(), 2);
    assert!(d.idle());
    assert_eq!(d.take_closed().len(), 2);
}

#[test]
fn one_target_does_not_wait_for_another() {
    let mut d = dispatch(&["es", "de"]);
    speak(&mut d, 1);
    assert_eq!(receive(&mut d, caption(1, 1, "hello", "", true)).len(), 1);
    assert_eq!(receive(&mut d, translation(1, 1, "de", true)).len(), 1);
    assert!(!d.idle());
    assert_eq!(receive(&mut d, translation(1, 1, "es", true)).len(), 1);
    assert!(d.idle());
}

#[test]
fn a_given_up_final_becomes_a_gap_and_frees_what_waits() {
    let mut d = dispatch(&["es"]);
    speak(&mut d, 1);
    speak(&mut d, 2);
    assert!(receive(&mut d, caption(2, 1, "second", "", true)).is_empty());
    let (utterance, revision, was_final, target) = (UtteranceId(1), Revision(1), true, None);
    let gap = SessionEvent::Gap {
        utterance,
        revision,
        was_final,
        target,
        from_ms: 0,
        to_ms: 1000,
        reason: GapReason::Failed,
    };
    let out = receive(&mut d, gap);
    assert!(matches!(out[0], ServerMessage::Gap { reason: GapReason::Failed, .. }));
    assert!(matches!(out[1], ServerMessage::Caption(_)));
    assert_eq!(receive(&mut d, translation(2, 1, "es", true)).len(), 1);
    assert!(d.idle());
}

#[test]
fn a_final_that_does_not_come_in_time_becomes_a_gap() {
    let mut d = dispatch(&["es"]);
    speak(&mut d, 1);
    let mut out = Vec::new();
    d.expire(Instant::now(), &mut out);
    assert!(out.is_empty());
    d.expire(Instant::now() + Duration::from_secs(61), &mut out);
    assert!(matches!(out[..], [ServerMessage::Gap { reason: GapReason::TimedOut, target: None, .. }]));
    assert!(d.idle());
}

#[test]
fn a_missing_translation_is_a_gap_of_its_own() {
    let mut d = dispatch(&["es"]);
    speak(&mut d, 1);
    assert_eq!(receive(&mut d, caption(1, 1, "hello", "", true)).len(), 1);
    let mut out = Vec::new();
    d.give_up(&mut out);
    assert!(matches!(&out[..], [ServerMessage::Gap { target: Some(t), .. }] if t.as_str() == "es"));
    assert!(d.idle());
}

#[test]
fn settings_change_from_the_next_utterance_on() {
    let mut d = dispatch(&["es"]);
    d.opened(UtteranceId(1), 0);
    d.settings_mut().targets = vec![language("fr")];
    d.appended(UtteranceId(1), entry(1), 1000);
    d.ended(UtteranceId(1));
    assert_eq!(d.due(Instant::now()).pop().unwrap().targets, [language("es")]);
    d.opened(UtteranceId(2), 2000);
    d.appended(UtteranceId(2), entry(2), 3000);
    d.ended(UtteranceId(2));
    assert_eq!(d.due(Instant::now()).pop().unwrap().targets, [language("fr")]);
}

#[test]
fn context_is_cut_at_a_word() {
    assert_eq!(tail_of("one two three", 7), "three");
    assert_eq!(tail_of("short", 240), "short");
    assert_eq!(tail_of("ñandú año", 5), "año");
}

#[test]
fn what_a_client_has_as_committed_is_never_reworded() {
    let mut d = dispatch(&["es"]);
    speak(&mut d, 1);
    let said = |revision, committed: &str, is_final| {
        SessionEvent::Translation(Translation {
            utterance: UtteranceId(1),
            revision: Revision(revision),
            target: language("es"),
            committed: committed.to_owned(),
            tail: String::new(),
            is_final,
        })
    };
    assert_eq!(receive(&mut d, said(1, "so the", false)).len(), 1);
    assert_eq!(receive(&mut d, caption(1, 1, "So, the end.", "", true)).len(), 1);
    let out = receive(&mut d, said(2, "So, the end.", true));
    assert!(matches!(&out[..], [ServerMessage::Translation(t)] if t.committed == "so the end."), "{out:?}");
    let mut kept = String::new();
    keep("so the", &mut kept);
    assert_eq!(kept, "so the");
}

#[test]
fn after_a_hopeless_partial_only_the_final_is_asked_for() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0);
    d.appended(UtteranceId(1), entry(1), 900);
    let revision = d.due(now)[0].revision;
    let (utterance, was_final, target) = (UtteranceId(1), false, None);
    let gap =
        SessionEvent::Gap { utterance, revision, was_final, target, from_ms: 0, to_ms: 900, reason: GapReason::Failed };
    assert!(receive(&mut d, gap).is_empty());
    d.appended(UtteranceId(1), entry(2), 5000);
    assert!(d.due(now).is_empty());
    d.ended(UtteranceId(1));
    assert_eq!(d.due(now)[0].kind, JobKind::Final);
}
