use shared::{
    ids::Revision,
    wire::{GapReason, GlossaryTerm},
};

use super::*;

fn language(tag: &str) -> Language {
    tag.parse().unwrap()
}

fn dispatch(targets: &[&str]) -> Dispatch {
    let targets = targets.iter().map(|t| language(t)).collect();
    let settings = Settings { source: Source::Auto, targets, glossary: Vec::new() };
    let (max_utterance, final_timeout) = (Duration::from_secs(9), Duration::from_secs(60));
    let conditions = Conditions { partials: true, words: false, max_utterance, final_timeout };
    Dispatch::new(SessionId::random(), conditions, settings)
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
    SessionEvent::Caption { caption, hidden: String::new(), committed_end_ms: None, reset: false }
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
    dispatch.receive(event, Instant::now(), &mut out);
    out
}

/// Opens utterance `id`, appends a second of audio and ends it; returns the revision of its final.
fn speak(d: &mut Dispatch, id: u32) -> Revision {
    d.opened(UtteranceId(id), 0, 0);
    d.appended(UtteranceId(id), entry(1), 1000);
    d.ended(UtteranceId(id), 1000, false);
    d.due(Instant::now()).pop().unwrap().revision
}

#[test]
fn one_partial_at_a_time_then_the_final() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0, 0);
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
    d.ended(UtteranceId(1), 1000, false);
    let last = d.due(now).pop().unwrap();
    assert_eq!((last.kind, last.revision), (JobKind::Final, Revision(3)));
    assert!(d.due(now).is_empty(), "one final is enough");
}

#[test]
fn a_partial_that_never_comes_back_does_not_stop_the_next() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0, 0);
    d.appended(UtteranceId(1), entry(1), 900);
    assert_eq!(d.due(now).len(), 1);
    d.appended(UtteranceId(1), entry(2), 2000);
    assert!(d.due(now + PARTIAL_TIMEOUT / 2).is_empty());
    assert_eq!(d.due(now + PARTIAL_TIMEOUT).len(), 1);
}

#[test]
fn an_answer_older_than_what_was_asked_is_dropped() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0, 0);
    d.appended(UtteranceId(1), entry(1), 900);
    assert_eq!(d.due(now).len(), 1);
    d.ended(UtteranceId(1), 1000, false);
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
    d.opened(UtteranceId(1), 0, 0);
    d.change(|settings| settings.targets = vec![language("fr")]);
    d.appended(UtteranceId(1), entry(1), 1000);
    d.ended(UtteranceId(1), 1000, false);
    assert_eq!(d.due(Instant::now()).pop().unwrap().targets, [language("es")]);
    d.opened(UtteranceId(2), 2000, 2000);
    d.appended(UtteranceId(2), entry(2), 3000);
    d.ended(UtteranceId(2), 3000, false);
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
    d.opened(UtteranceId(1), 0, 0);
    d.appended(UtteranceId(1), entry(1), 900);
    let revision = d.due(now)[0].revision;
    let (utterance, was_final, target) = (UtteranceId(1), false, None);
    let gap =
        SessionEvent::Gap { utterance, revision, was_final, target, from_ms: 0, to_ms: 900, reason: GapReason::Failed };
    assert!(receive(&mut d, gap).is_empty());
    d.appended(UtteranceId(1), entry(2), 5000);
    assert!(d.due(now).is_empty());
    d.ended(UtteranceId(1), 1000, false);
    assert_eq!(d.due(now)[0].kind, JobKind::Final);
}

/// An utterance of `end_ms` whose newest partial, answered with `text`, ends at `committed_end_ms`.
fn partial(d: &mut Dispatch, id: u32, end_ms: u64, text: (&str, &str), committed_end_ms: u64) -> Vec<ServerMessage> {
    d.appended(UtteranceId(id), entry(end_ms), end_ms);
    let job = d.due(Instant::now()).pop().unwrap();
    let SessionEvent::Caption { mut caption, .. } = caption(id, job.revision.0, text.0, text.1, false) else {
        unreachable!()
    };
    (caption.start_ms, caption.end_ms) = (job.start_ms, job.end_ms);
    let committed_end_ms = job.locate.then_some(committed_end_ms);
    receive(d, SessionEvent::Caption { caption, hidden: String::new(), committed_end_ms, reset: false })
}

#[test]
fn a_long_utterance_is_split_at_the_end_of_a_sentence_and_its_tail_goes_on() {
    let mut d = dispatch(&[]);
    d.opened(UtteranceId(1), 0, 0);
    partial(&mut d, 1, 2000, ("It is late.", "We go"), 1500);
    assert_eq!(d.take_committed_end(), None, "it is short yet");
    partial(&mut d, 1, 5000, ("It is late. We", "go home"), 4000);
    let end = CommittedEnd { utterance: UtteranceId(1), at_ms: 4000, split: false };
    assert_eq!(d.take_committed_end(), Some(end), "a sentence is open");
    partial(&mut d, 1, 6000, ("It is late. We go home.", "You too"), 5200);
    assert_eq!(d.take_committed_end(), Some(CommittedEnd { at_ms: 5200, split: true, ..end }));
    assert_eq!(d.take_committed_end(), None);

    let Some(ServerMessage::Caption(shown)) = d.ended(UtteranceId(1), 5210, true) else { panic!("the tail stays") };
    assert_eq!((shown.committed.as_str(), shown.tail.as_str()), ("It is late. We go home.", ""));
    let Some(ServerMessage::Caption(next)) = d.opened(UtteranceId(2), 5210, 5210) else { panic!("the tail is lost") };
    assert_eq!((next.committed.as_str(), next.tail.as_str(), next.end_ms), ("", "You too", 6000));
    d.appended(UtteranceId(2), entry(6001), 6000);
    let jobs = d.due(Instant::now());
    assert_eq!((jobs[0].kind, jobs[0].complete, jobs[0].end_ms), (JobKind::Final, true, 5210));
    assert_eq!(jobs[0].committed, "It is late. We go home.");
    assert_eq!((jobs[1].kind, jobs[1].complete, jobs[1].tail.as_str()), (JobKind::Partial, false, "You too"));
    assert!(jobs[1].revision > next.revision && jobs[0].revision > shown.revision);
}

#[test]
fn before_the_maximum_length_any_committed_word_will_do() {
    let mut d = dispatch(&[]);
    d.opened(UtteranceId(1), 0, 0);
    partial(&mut d, 1, 7000, ("and so on and", "on"), 6000);
    let end = CommittedEnd { utterance: UtteranceId(1), at_ms: 6000, split: true };
    assert_eq!(d.take_committed_end(), Some(end));
    d.ended(UtteranceId(1), 6000, true);
    assert!(d.opened(UtteranceId(2), 6000, 6000).is_some());
    // One that ended by itself leaves nothing behind.
    d.ended(UtteranceId(2), 7000, false);
    assert_eq!(d.opened(UtteranceId(3), 8000, 8000), None);
}

fn heard(revision: u32, id: u32, tag: &str, probability: Option<f32>, text: &str, is_final: bool) -> SessionEvent {
    let SessionEvent::Caption { mut caption, .. } = caption(id, revision, text, "", is_final) else { unreachable!() };
    (caption.language, caption.language_probability) = (language(tag), probability);
    SessionEvent::Caption { caption, hidden: String::new(), committed_end_ms: None, reset: false }
}

#[test]
fn committed_text_settles_the_language_of_its_utterance_and_a_final_that_of_the_session() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0, 0);
    d.appended(UtteranceId(1), entry(1), 900);
    let job = d.due(now).pop().unwrap();
    assert_eq!((job.source, job.expected_language), (Source::Auto, None));
    receive(&mut d, heard(1, 1, "de", Some(0.6), "", false));
    d.appended(UtteranceId(1), entry(2), 2000);
    assert_eq!(d.due(now).pop().unwrap().source, Source::Auto, "nothing is committed yet");
    receive(&mut d, heard(2, 1, "de", Some(0.9), "guten", false));
    d.ended(UtteranceId(1), 3000, false);
    assert_eq!(d.due(now).pop().unwrap().source, Source::Language(language("de")));
    let out = receive(&mut d, heard(3, 1, "de", None, "guten Tag", true));
    assert!(matches!(&out[..], [ServerMessage::Caption(c)] if c.language_probability == Some(0.9)), "{out:?}");

    d.opened(UtteranceId(2), 5000, 5000);
    d.appended(UtteranceId(2), entry(3), 5900);
    let job = d.due(now).pop().unwrap();
    assert_eq!((job.source, job.expected_language), (Source::Auto, Some(language("de"))));
    d.change(|settings| settings.source = Source::Language(language("fr")));
    d.opened(UtteranceId(3), 7000, 7000);
    d.appended(UtteranceId(3), entry(4), 8000);
    let job = d.due(now).pop().unwrap();
    assert_eq!((job.source, job.expected_language), (Source::Language(language("fr")), None));
}

#[test]
fn slow_answers_make_captions_less_frequent() {
    let (mut d, start) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0, 0);
    let mut asked = 0;
    for revision in 1..=6_u32 {
        d.appended(UtteranceId(1), entry(u64::from(revision)), 1000 * u64::from(revision));
        let now = start + Duration::from_secs(u64::from(revision) * 10);
        asked += d.due(now).len();
        let mut out = Vec::new();
        let answer = caption(1, u32::try_from(asked).unwrap(), "", &format!("text {revision}"), false);
        d.receive(answer, now + Duration::from_secs(2), &mut out);
    }
    assert!((2..6).contains(&asked), "{asked} partials for 6 s of audio");
    assert!(d.update_interval_ms() > 1500);
}

#[test]
fn new_terms_hold_for_what_is_heard_next() {
    let mut d = dispatch(&[]);
    d.opened(UtteranceId(1), 0, 0);
    d.change(|settings| settings.glossary = vec![GlossaryTerm { source: "Subtide".to_owned(), target: None }]);
    d.appended(UtteranceId(1), entry(1), 1000);
    assert_eq!(d.due(Instant::now())[0].glossary.len(), 1);
}

#[test]
fn what_was_said_before_is_forgotten_where_the_model_lost_its_way() {
    let mut d = dispatch(&[]);
    speak(&mut d, 1);
    receive(&mut d, caption(1, 1, "all is well", "", true));
    speak(&mut d, 2);
    let event = caption(2, 1, "well well well", "", true);
    let SessionEvent::Caption { caption, .. } = event else { unreachable!() };
    receive(&mut d, SessionEvent::Caption { caption, hidden: String::new(), committed_end_ms: None, reset: true });
    d.opened(UtteranceId(3), 0, 0);
    d.appended(UtteranceId(3), entry(1), 1000);
    assert_eq!(d.due(Instant::now())[0].context, "");
}

fn stages(d: &mut Dispatch) -> Vec<(Stage, Since)> {
    d.take_tally().shown.into_iter().map(|shown| (shown.stage, shown.since)).collect()
}

#[test]
fn a_final_has_waited_since_it_was_asked_for_itself_and_one_that_is_overtaken_not_at_all() {
    let (mut d, start) = (dispatch(&["es"]), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    for (id, seconds) in [(1, 1), (2, 5)] {
        d.opened(UtteranceId(id), 0, 0);
        d.appended(UtteranceId(id), entry(1), 1000);
        d.ended(UtteranceId(id), 1000, false);
        assert_eq!(d.due(at(seconds)).len(), 1);
    }
    d.take_tally();
    receive(&mut d, caption(2, 1, "the second is early", "", true));
    assert_eq!(stages(&mut d), [], "it is held behind the first");
    receive(&mut d, caption(1, 7, "of a revision nobody asked for", "", true));
    assert_eq!(stages(&mut d), [], "what is not let out has no time");
    receive(&mut d, caption(1, 1, "the first", "", true));
    let first = (Stage::First, Since::Audio(0));
    let expected = [first, (Stage::Final, Since::Moment(at(1))), first, (Stage::Final, Since::Moment(at(5)))];
    assert_eq!(stages(&mut d), expected, "each since its own question, not since the oldest of the session");
    receive(&mut d, caption(1, 1, "the first", "", true));
    assert_eq!(stages(&mut d), [], "exactly once");
    receive(&mut d, translation(1, 1, "es", true));
    assert_eq!(stages(&mut d), [(Stage::TranslationFinal, Since::Moment(at(1)))]);
    let gap = SessionEvent::Gap {
        utterance: UtteranceId(2),
        revision: Revision(1),
        was_final: true,
        target: Some(language("es")),
        from_ms: 0,
        to_ms: 1000,
        reason: GapReason::Failed,
    };
    assert_eq!(receive(&mut d, gap).len(), 1);
    assert_eq!(stages(&mut d), [], "a gap is no final");
}

#[test]
fn first_words_count_once_and_committed_ones_since_the_audio_they_were_heard_in() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 500, 700);
    let mut partial = |end_ms, text: (&str, &str), located| {
        d.appended(UtteranceId(1), entry(end_ms), end_ms);
        let revision = d.due(now).pop().unwrap().revision.0;
        let SessionEvent::Caption { caption, .. } = caption(1, revision, text.0, text.1, false) else { unreachable!() };
        let event = SessionEvent::Caption { caption, hidden: String::new(), committed_end_ms: located, reset: false };
        receive(&mut d, event);
        stages(&mut d)
    };
    assert_eq!(partial(1200, ("", ""), None), [], "nothing was understood yet");
    assert_eq!(partial(1600, ("", "good morn"), None), [(Stage::First, Since::Audio(700))]);
    assert_eq!(partial(2000, ("good", "morning"), None), [(Stage::Committed, Since::Audio(1600))]);
    assert_eq!(partial(2400, ("good", "morning to"), None), []);
    assert_eq!(partial(2800, ("good morning", "to all"), Some(1900)), [(Stage::Committed, Since::Audio(1900))]);
}

#[test]
fn decodes_that_were_dropped_are_told_apart() {
    let (mut d, now) = (dispatch(&[]), Instant::now());
    d.opened(UtteranceId(1), 0, 0);
    d.appended(UtteranceId(1), entry(1), 900);
    d.due(now);
    d.appended(UtteranceId(1), entry(2), 2100);
    d.due(now);
    let tally = d.take_tally();
    assert_eq!((tally.partials, tally.coalesced), (1, 0), "the first is still out");
    d.due(now + PARTIAL_TIMEOUT);
    let tally = d.take_tally();
    let figures = (tally.partials, tally.given_up, tally.coalesced, tally.overtaken);
    assert_eq!(figures, (1, 1, 3, 0), "one decode for four steps of new audio");
    d.ended(UtteranceId(1), 2100, false);
    d.due(now + PARTIAL_TIMEOUT);
    let tally = d.take_tally();
    assert_eq!((tally.finals, tally.overtaken, tally.given_up), (1, 1, 0));
}

#[test]
fn nobody_knows_how_long_what_another_gateway_began_has_waited() {
    let mut d = dispatch(&[]);
    speak(&mut d, 1);
    let memory = serde_json::from_value(serde_json::to_value(d.memory()).unwrap()).unwrap();
    let (session, conditions, settings) = (d.session, d.conditions, d.settings.clone());
    let mut resumed = Dispatch::resumed(session, conditions, settings, memory, Instant::now());
    assert_eq!(receive(&mut resumed, caption(1, 1, "the whole", "", true)).len(), 1);
    assert_eq!(stages(&mut resumed), []);
}

#[test]
fn a_translation_that_another_gateway_was_owed_does_not_hold_up_the_session_for_ever() {
    let mut d = dispatch(&["es"]);
    let revision = speak(&mut d, 1).0;
    assert_eq!(
        receive(&mut d, caption(1, revision, "the whole", "", true)).len(),
        1,
        "only its translation is missing"
    );
    let memory = serde_json::from_value(serde_json::to_value(d.memory()).unwrap()).unwrap();
    let (session, conditions, settings, now) = (d.session, d.conditions, d.settings.clone(), Instant::now());
    let mut resumed = Dispatch::resumed(session, conditions, settings, memory, now);
    speak(&mut resumed, 2);
    let mut out = Vec::new();
    resumed.expire(now + Duration::from_secs(59), &mut out);
    assert!(out.is_empty(), "{out:?}");
    resumed.expire(now + Duration::from_secs(61), &mut out);
    let gaps = |utterance| {
        let of = |message: &&ServerMessage| matches!(message, ServerMessage::Gap { utterance: Some(id), .. } if id.0 == utterance);
        out.iter().filter(of).count()
    };
    assert_eq!((gaps(1), gaps(2)), (1, 1), "a gap for the translation of the first, and one for the second: {out:?}");
    assert!(resumed.idle());
}
