//! What was measured, as tables and as JSON.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde_json::{Value, json};
use shared::language::Language;

use super::{
    figures::{Delay, Figures, tenth, wall},
    measured::Measured,
    offline::Offline,
    ramp::{Ramp, Row, TOO_LATE_MS},
    round::Round,
    translated::Translated,
};

/// All that a run found. The tables are of the first round; of a ramp, that is the one with the fewest clients.
#[derive(Debug)]
pub(super) struct Report<'a> {
    /// Rounds, in the order they were played.
    pub(super) rounds: &'a [Round],
    /// The rows of a ramp.
    pub(super) ramp: Option<&'a Ramp>,
    /// The same audio decoded at once.
    pub(super) offline: Option<&'a Offline>,
    /// How long the gateway waits for an utterance to go on.
    pub(super) silence: Duration,
    /// What the figures depend on.
    pub(super) setup: Value,
}

impl Report<'_> {
    fn silence_ms(&self) -> f64 {
        self.silence.as_secs_f64() * 1000.0
    }

    /// One object with everything.
    pub(super) fn json(&self) -> Value {
        let silence = self.silence_ms();
        let all = |sums: BTreeMap<String, Measured>| -> BTreeMap<String, Value> {
            sums.into_iter().map(|(key, measured)| (key, measured.json(silence))).collect()
        };
        let Some(round) = self.rounds.first() else { return json!({}) };
        let total = round.total();
        let pairs: BTreeMap<String, Value> =
            pairs(round).iter().map(|(key, t)| (key.clone(), t.json(silence))).collect();
        let recordings: Vec<Value> = round
            .played
            .iter()
            .zip(&round.measured)
            .map(|(played, measured)| {
                let mut value = measured.json(silence);
                value["name"] = json!(played.reference.name);
                value["group"] = json!(played.reference.group);
                value["client"] = json!(played.client);
                value["error"] = json!(played.error);
                value
            })
            .collect();
        json!({
            "setup": self.setup,
            "silence_threshold_ms": silence,
            "sessions": round.sessions,
            "total": total.json(silence),
            "groups": all(round.groups()),
            "sources": all(round.sources()),
            "pairs": pairs,
            "recordings": recordings,
            "cost": round.cost.as_ref().map(|cost| cost.json(total.audio_ms)),
            "player_late_ms": tenth(round.worst_late().as_secs_f64() * 1000.0),
            "offline": self.offline.map(Offline::json),
            "ramp": self.ramp.map(Ramp::json),
        })
    }

    /// For people: seconds, unless it says otherwise.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if let Some(round) = self.rounds.first() {
            self.captions(round, &mut text);
            self.translations(round, &mut text);
            if let Some(offline) = self.offline {
                put_offline(offline, &mut text);
            }
            summary(round, &mut text);
        }
        if let Some(ramp) = self.ramp {
            put_ramp(ramp, &mut text);
        }
        text.trim_end().to_owned()
    }

    fn captions(&self, round: &Round, text: &mut String) {
        line(
            text,
            &format!(
                "{:<16} {:>6} {:>6} {:>15} {:>15} {:>15} {:>6} {:>6} {:>7} {:>7}",
                "captions",
                "words",
                "WER %",
                "shown p50/p95",
                "commit p50/p95",
                "final* p50/p95",
                "NE",
                "upd/s",
                "made up",
                "missed"
            ),
        );
        let mut rows: Vec<(String, Measured)> = round.groups().into_iter().collect();
        rows.extend(round.sources().into_iter().map(|(source, measured)| (format!("in {source}"), measured)));
        rows.push(("all".to_owned(), round.total()));
        for (name, measured) in &rows {
            let beyond = Figures::of(measured.finals.iter().map(|ms| ms - self.silence_ms()));
            line(
                text,
                &format!(
                    "{name:<16} {:>6} {:>6} {:>15} {:>15} {:>15} {:>6} {:>6} {:>7} {:>7}",
                    measured.errors.reference,
                    number(measured.errors.rate().map(|rate| rate * 100.0), 1),
                    both(wall(&measured.first_shown)),
                    both(wall(&measured.committed)),
                    both(beyond),
                    number(measured.erasure.normalised(), 2),
                    number(measured.update_rate(), 2),
                    number(measured.invented_a_minute(), 1),
                    measured.errors.missing,
                ),
            );
        }
        line(
            text,
            &format!(
                "delays in seconds; *final: from the last word to the final caption, beyond the silence of {:.1} s; NE: \
             normalised erasure; made up: words a minute where nobody speaks\n",
                self.silence.as_secs_f64()
            ),
        );
    }

    fn translations(&self, round: &Round, text: &mut String) {
        let mut rows: Vec<(String, Translated)> = Vec::new();
        for (group, measured) in round.groups() {
            let of_group =
                |(target, translated): (&Language, &Translated)| (format!("{group} > {target}"), translated.clone());
            rows.extend(measured.translations.iter().map(of_group));
        }
        rows.retain(|(_, translated)| translated.sentences > 0);
        if rows.is_empty() {
            return;
        }
        rows.extend(pairs(round));
        line(
            text,
            &format!(
                "{:<20} {:>5} {:>6} {:>15} {:>15} {:>15} {:>6} {:>13} {:>13}",
                "translations",
                "chrF",
                "BLEU",
                "shown p50/p95",
                "commit p50/p95",
                "final* p50/p95",
                "NE",
                "StreamLAAL",
                "LAAL"
            ),
        );
        for (name, translated) in &rows {
            let beyond = Figures::of(translated.finals.iter().map(|ms| ms - self.silence_ms()));
            let lag = |delays: &[Delay]| {
                let mean = |of: fn(&Delay) -> f64| {
                    number(Figures::of(delays.iter().map(of)).map(|figures| figures.mean / 1000.0), 2)
                };
                format!("{} ({})", mean(|d| d.wall_ms), mean(|d| d.audio_ms))
            };
            line(
                text,
                &format!(
                    "{name:<20} {:>5} {:>6} {:>15} {:>15} {:>15} {:>6} {:>13} {:>13}",
                    number(translated.chrf.score(), 1),
                    number(translated.bleu.score(), 1),
                    both(wall(&translated.first_shown)),
                    both(wall(&translated.committed)),
                    both(beyond),
                    number(translated.erasure.normalised(), 2),
                    lag(&translated.stream_laal),
                    lag(&translated.laal),
                ),
            );
        }
        line(text, "StreamLAAL and LAAL: by the clock, and in brackets by the audio heard\n");
    }
}

/// Translations by language pair.
fn pairs(round: &Round) -> Vec<(String, Translated)> {
    let of_source = |(source, measured): (String, Measured)| {
        let pair = move |(target, translated): (Language, Translated)| (format!("{source} > {target}"), translated);
        measured.translations.into_iter().map(pair)
    };
    let mut pairs: Vec<_> = round.sources().into_iter().flat_map(of_source).collect();
    pairs.retain(|(_, translated)| translated.sentences > 0);
    pairs
}

fn put_offline(offline: &Offline, text: &mut String) {
    line(
        text,
        &format!(
            "{:<16} {:>10} {:>10} {:>10} {:>12}",
            "word errors %", "streamed", "offline", "worse by", "by sentence"
        ),
    );
    let percent = |rate: Option<f64>| number(rate.map(|rate| rate * 100.0), 2);
    let total = ("all".to_owned(), offline.total);
    for (name, ways) in offline.groups.clone().into_iter().chain([total]) {
        let (streamed, utterances) = (percent(ways.streamed.rate()), percent(ways.utterances.rate()));
        let (worse, sentences) = (percent(ways.worse()), percent(ways.sentences.rate()));
        line(text, &format!("{name:<16} {streamed:>10} {utterances:>10} {worse:>10} {sentences:>12}"));
    }
    line(text, "offline: each utterance of the gateway decoded at once; by sentence: each sentence of the corpus\n");
}

fn summary(round: &Round, text: &mut String) {
    let total = round.total();
    let audio = |delays: &[Delay]| both(Figures::of(delays.iter().map(|delay| delay.audio_ms)));
    line(
        text,
        &format!(
            "by the audio heard, on any machine: shown {}, committed {} (p50/p95)",
            audio(&total.first_shown),
            audio(&total.committed)
        ),
    );
    let faults = &total.faults;
    line(
        text,
        &format!(
            "committed text reworded {}; of {} utterances, finals missing {}, repeated {}; gaps {}; lag told {} times \
             (worst {:.1} s); loops {}; words made up {} in {} utterances; sentences missed {}; broken sessions {}",
            faults.reworded,
            faults.utterances,
            faults.finals_missing,
            faults.finals_repeated,
            faults.gaps,
            faults.lags,
            faults.worst_lag_ms as f64 / 1000.0,
            faults.loops,
            faults.invented_words,
            faults.invented_utterances,
            faults.sentences_missed,
            faults.broken_sessions,
        ),
    );
    if let Some(error) = round.played.iter().find_map(|played| played.error.as_ref()) {
        line(text, &format!("the first session that broke: {error}"));
    }
    if let Some(cost) = &round.cost {
        let memory: Vec<String> = cost.resident_mb.iter().map(|mb| format!("{mb:.0}")).collect();
        line(
            text,
            &format!(
                "processor {} s a second of audio; memory at quarters {} MB; graphics processor {} %",
                number(cost.cpu_share(total.audio_ms), 3),
                memory.join(", "),
                number(cost.gpu_percent, 0),
            ),
        );
    }
    line(
        text,
        &format!(
            "{} recordings, {:.0} s of audio, {} clients at once; frames were sent at most {:.0} ms late\n",
            total.sessions,
            total.audio_ms as f64 / 1000.0,
            round.sessions,
            round.worst_late().as_secs_f64() * 1000.0
        ),
    );
}

fn put_ramp(ramp: &Ramp, text: &mut String) {
    line(
        text,
        &format!(
            "{:>9} {:>15} {:>15} {:>15} {:>14} {:>5} {:>5} {:>10}",
            "sessions", "shown p50/p95", "commit p50/p95", "final p50/p95", "finals missing", "gaps", "lag", "cpu s/s"
        ),
    );
    let put = |row: &Row, text: &mut String| {
        let (shown, committed, finals) = (both(row.first_shown), both(row.committed), both(row.finals));
        let (missing, cpu) = (row.finals_missing, number(row.cpu_share, 3));
        line(
            text,
            &format!(
                "{:>9} {shown:>15} {committed:>15} {finals:>15} {missing:>14} {:>5} {:>5} {cpu:>10}",
                row.sessions, row.gaps, row.lags
            ),
        );
    };
    ramp.rows.iter().for_each(|row| put(row, text));
    let good = ramp.good().map_or_else(|| "no number".to_owned(), |good| good.to_string());
    let limit = TOO_LATE_MS / 1000.0;
    line(text, &format!("sessions at once with 95 of 100 words shown within {limit} s: {good} of those tried"));
    if let Some(row) = &ramp.overload {
        put(row, text);
        let finals = if row.all_finals() { "all finals came" } else { "not all finals came" };
        let lag = if row.lags > 0 { "`lag` was sent" } else { "`lag` was not sent" };
        line(text, &format!("with twice as many: {finals}, {lag}"));
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").ok();
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Seconds: the middle and the late end.
fn both(figures: Option<Figures>) -> String {
    let second = |ms: f64| number(Some(ms / 1000.0), 2);
    figures.map_or_else(|| "-".to_owned(), |figures| format!("{} / {}", second(figures.p50), second(figures.p95)))
}
