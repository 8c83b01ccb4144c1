//! What `subtide demo --json --once` tells about its own latency.

use std::collections::HashMap;

use anyhow::Context as _;
use serde::Deserialize;

/// A cut begins so long before its speech, and may reach back into the utterance before.
const PRE_ROLL_MS: u64 = 300;

/// One line of the demo's output; other events have other types and are left out.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    /// What is played, first of all.
    Recording {
        utterances: Vec<Spoken>,
    },
    Caption(Text),
    Translation(Text),
    #[serde(other)]
    Other,
}

/// An utterance of the recording: milliseconds since its first sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Spoken {
    start_ms: u64,
    end_ms: u64,
}

/// A caption or translation event.
#[derive(Debug, Clone, Deserialize)]
struct Text {
    /// When it came, milliseconds since the first sample was sent.
    at_ms: u64,
    utterance: serde_json::Value,
    /// Captions only: the stretch of the recording.
    #[serde(default)]
    start_ms: u64,
    #[serde(default)]
    end_ms: u64,
    committed: String,
    tail: String,
    #[serde(rename = "final")]
    is_final: bool,
}

/// Seconds; infinite for what never came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Latency {
    /// From the recording's first word to the first text.
    pub(crate) first_text_s: f64,
    /// From the start of each utterance to its first text.
    pub(crate) first_texts_s: Vec<f64>,
    /// From the end of each utterance to the last final translation of it.
    pub(crate) final_translations_s: Vec<f64>,
}

/// # Errors
/// When a line is no event, or the recording was not announced.
pub(crate) fn latency(output: &str) -> anyhow::Result<Latency> {
    let mut spoken = Vec::new();
    let (mut captions, mut translations) = (Vec::new(), Vec::new());
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str::<Line>(line)
            .with_context(|| format!("the demo printed something else than an event: {line}"))?
        {
            Line::Recording { utterances } => spoken = utterances,
            Line::Caption(text) => captions.push(text),
            Line::Translation(text) => translations.push(text),
            Line::Other => (),
        }
    }
    let first = spoken.first().context("the demo announced no recording")?;
    let texts: Vec<_> = captions.iter().filter(|c| !(c.committed.is_empty() && c.tail.is_empty())).collect();
    // Text before the first word would be invented, and is no early success.
    let first_text = texts.iter().map(|text| text.at_ms).filter(|at| *at >= first.start_ms).min();
    let heard = |utterance: &Spoken| {
        texts.iter().filter(|text| belongs(text, &spoken) == Some(*utterance)).map(|text| text.at_ms).min()
    };
    Ok(Latency {
        first_text_s: seconds(first.start_ms, first_text),
        first_texts_s: spoken.iter().map(|utterance| seconds(utterance.start_ms, heard(utterance))).collect(),
        final_translations_s: spoken
            .iter()
            .map(|utterance| seconds(utterance.end_ms, translated(*utterance, &captions, &translations)))
            .collect(),
    })
}

/// When the last final translation of what overlaps `spoken` came; none when one of them never did.
fn translated(spoken: Spoken, captions: &[Text], translations: &[Text]) -> Option<u64> {
    let finals: HashMap<String, u64> =
        translations.iter().filter(|text| text.is_final).map(|text| (text.utterance.to_string(), text.at_ms)).collect();
    let mut cuts = captions
        .iter()
        .filter(|text| text.is_final && !text.committed.is_empty())
        .filter(|text| overlap(text, spoken) > 0)
        .map(|text| finals.get(&text.utterance.to_string()).copied())
        .peekable();
    cuts.peek()?;
    cuts.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// The utterance of the recording that a caption has most of.
fn belongs(text: &Text, spoken: &[Spoken]) -> Option<Spoken> {
    spoken.iter().copied().filter(|s| overlap(text, *s) > 0).max_by_key(|s| overlap(text, *s))
}

fn overlap(text: &Text, spoken: Spoken) -> u64 {
    text.end_ms.min(spoken.end_ms).saturating_sub((text.start_ms + PRE_ROLL_MS).max(spoken.start_ms))
}

fn seconds(from_ms: u64, to_ms: Option<u64>) -> f64 {
    to_ms.map_or(f64::INFINITY, |to| (to as f64 - from_ms as f64) / 1000.0)
}

/// The middle value; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2);
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2);
    match (lower, upper) {
        (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDING: &str = r#"{"type":"recording","utterances":[{"start_ms":600,"end_ms":2500,"text":"a","spanish":"b"},{"start_ms":3400,"end_ms":6100,"text":"c","spanish":"d"}]}"#;

    fn caption(at_ms: u64, utterance: u32, span: (u64, u64), text: &str, is_final: bool) -> String {
        let (start_ms, end_ms) = span;
        format!(
            r#"{{"event":1,"type":"caption","at_ms":{at_ms},"utterance":{utterance},"revision":1,"start_ms":{start_ms},"end_ms":{end_ms},"language":"en","committed":"{text}","tail":"","final":{is_final}}}"#
        )
    }

    fn translation(at_ms: u64, utterance: u32, is_final: bool) -> String {
        format!(
            r#"{{"event":2,"type":"translation","at_ms":{at_ms},"utterance":{utterance},"revision":1,"target":"es","committed":"x","tail":"","final":{is_final}}}"#
        )
    }

    fn measured(lines: &[String]) -> Latency {
        latency(&[&[RECORDING.to_owned()], lines].concat().join("\n")).unwrap()
    }

    #[test]
    fn times_run_from_the_recording_s_own_words() {
        let found = measured(&[
            r#"{"event":1,"type":"started","at_ms":0}"#.to_owned(),
            caption(1500, 1, (400, 1400), "", false),
            caption(2000, 1, (400, 1800), "a", false),
            caption(3000, 1, (400, 2900), "a", true),
            translation(2400, 1, false),
            translation(3500, 1, true),
            caption(4800, 2, (3300, 4600), "c", false),
            caption(6900, 2, (3300, 6700), "c", true),
            translation(7000, 2, true),
        ]);
        assert_eq!(found.first_texts_s, [1.4, 1.4]);
        assert_eq!(found.first_text_s, 1.4);
        assert_eq!(found.final_translations_s, [1.0, 0.9]);
    }

    #[test]
    fn an_utterance_cut_in_two_is_translated_when_both_parts_are() {
        let parts = [
            caption(1600, 1, (400, 1400), "a", true),
            translation(1700, 1, true),
            caption(2700, 2, (1450, 2600), "b", true),
        ];
        assert_eq!(measured(&parts).final_translations_s, [f64::INFINITY, f64::INFINITY]);
        let whole = [&parts[..], &[translation(2900, 2, true)]].concat();
        assert_eq!(measured(&whole).final_translations_s, [0.4, f64::INFINITY]);
    }

    #[test]
    fn text_before_the_first_word_is_no_success() {
        assert_eq!(measured(&[caption(300, 1, (0, 200), "ghost", true)]).first_text_s, f64::INFINITY);
    }

    #[test]
    fn a_missing_value_spoils_the_median_only_when_half_are_missing() {
        assert_eq!(median(&[1.0, f64::INFINITY, 2.0]), 2.0);
        assert_eq!(median(&[1.0, f64::INFINITY]), f64::INFINITY);
        assert_eq!(median(&[]), f64::INFINITY);
    }
}
