//! How steady, how early and how right translations are that grow with their captions: the whole translation-worker on
//! the in-process bus, with a real model.
//!
//! Captions are played as speech recognition sends them: one or two more words each time, the last of them still tail.
//!
//! ```text
//! cargo run -p translation-worker --example erasure [-- MODEL_DIR [FILE [stops] [slips]]]
//! ```
//! `FILE` holds utterances, `source | reference` a line. With `stops`, each growing caption ends in a full stop, as
//! models write that were trained on whole sentences; with `slips`, the last word of every third is a wrong one.
//!
//! - erasure: words taken back for each word of the final (Arivazhagan et al., "Re-translation versus Streaming for
//!   Simultaneous Translation", 2020: normalised erasure).
//! - lag: words heard after a word until its translation, on the diagonal of source and final, is there: shown for the
//!   first time, shown for good, or committed. A final comes [`PAUSE`] words late.
//! - chrF: character n-grams of 1 to 6, recall twice as heavy as precision (Popović 2015).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that prints and stops where something is wrong"
)]

use std::{
    collections::{BTreeMap, HashMap},
    env::args,
    iter::once,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use prometheus::Registry;
use shared::{
    bus::{Bus, EntryId, MemoryBus, Produce, StateWrite},
    consumer::BUS,
    health::Health,
    ids::{Revision, SessionId, UtteranceId},
    jobs::{self, JobKind, SESSION_TTL, SessionEvent, TRANSLATION_JOBS, TranslationJob, event_stream, revision_key},
    model_metrics::{ModelMetrics, Work},
    shutdown::CancellationToken,
    wire::Translation,
};
use tokio::time::sleep;
use translation_worker::{TranslationConfig, TranslationWorker, engine};

/// Words of the shown source that are not committed yet.
const UNSTABLE: usize = 2;
/// How late a final comes after the last word, in words: the silence that ends an utterance is about as long as two.
const PAUSE: usize = 2;

/// An update: words heard, and what is shown for them.
struct Shown {
    heard: usize,
    committed: String,
    all: Vec<String>,
}

#[derive(Default)]
struct Sums {
    utterances: usize,
    updates: usize,
    erased: usize,
    words: usize,
    lags: [usize; 3],
    source_words: usize,
    as_offline: usize,
    agreement: f64,
    reference: f64,
    reference_offline: f64,
}

struct Player {
    bus: MemoryBus,
    session: SessionId,
    utterance: u32,
    read: EntryId,
    stops: bool,
    slips: bool,
}

impl Player {
    async fn job(&mut self, revision: u32, kind: JobKind, committed: &str, tail: &str) -> Translation {
        let utterance = UtteranceId(self.utterance);
        let job = TranslationJob {
            session: self.session,
            utterance,
            revision: Revision(revision),
            kind,
            start_ms: 0,
            end_ms: 0,
            source: "en".parse().unwrap(),
            target: "es".parse().unwrap(),
            committed: committed.to_owned(),
            tail: tail.to_owned(),
            glossary: Vec::new(),
            trace_parent: String::new(),
        };
        let (key, value) = (revision_key(self.session, utterance), Bytes::from(revision.to_string()));
        self.bus.set(StateWrite { key, value, ttl: SESSION_TTL }).await.unwrap();
        let produce = Produce {
            stream: TRANSLATION_JOBS.to_owned(),
            idempotency_key: format!("{}:{revision}", self.utterance),
            payload: jobs::encode(&job).unwrap(),
            set: None,
        };
        self.bus.produce(produce).await.unwrap().unwrap();
        let last = "99999999999999-0".parse().unwrap();
        loop {
            let entries = self.bus.range(&event_stream(self.session), self.read, last, 1).await.unwrap();
            let Some(entry) = entries.first() else {
                sleep(Duration::from_millis(1)).await;
                continue;
            };
            self.read = entry.id;
            match jobs::decode(&entry.payload).unwrap() {
                SessionEvent::Translation(translation) => return translation,
                other => panic!("not a translation: {other:?}"),
            }
        }
    }

    /// The utterance as it grows; the last of the updates is its final.
    async fn play(&mut self, source: &[&str]) -> Vec<Shown> {
        self.utterance += 1;
        let (mut shown, mut heard, mut revision) = (Vec::new(), 0, 0);
        while heard < source.len() {
            revision += 1;
            heard = (heard + 1 + revision as usize % 2).min(source.len());
            let (committed, tail) = source[..heard].split_at(heard.saturating_sub(UNSTABLE));
            let mut tail = tail.join(" ");
            if self.slips && revision % 3 == 0 && heard < source.len() {
                let other = source[(heard + 2) % source.len()].trim_end_matches(['.', '?', '!', ',']);
                tail = format!("{} {other}", tail.rsplit_once(' ').map_or("", |(first, _)| first));
            }
            if self.stops && !tail.ends_with(['.', '?', '!']) {
                tail = tail.trim_end_matches(',').to_owned() + ".";
            }
            shown.push(update(heard, &self.job(revision, JobKind::Partial, &committed.join(" "), &tail).await));
        }
        let last = self.job(revision + 1, JobKind::Final, &source.join(" "), "").await;
        shown.push(update(heard + PAUSE, &last));
        shown
    }

    /// The utterance without anything before its final, sentence by sentence.
    async fn offline(&mut self, source: &[&str]) -> String {
        let mut texts = Vec::new();
        for sentence in source.split_inclusive(|word| word.ends_with(['.', '?', '!'])) {
            self.utterance += 1;
            texts.push(self.job(1, JobKind::Final, &sentence.join(" "), "").await.committed);
        }
        texts.join(" ")
    }
}

fn update(heard: usize, translation: &Translation) -> Shown {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let all = format!("{}{}", translation.committed, translation.tail);
    Shown { heard, committed: translation.committed.clone(), all: words(&all) }
}

fn common(a: &[String], b: &[String]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Sums {
    fn add(&mut self, source: usize, shown: &[Shown], offline: &str, reference: &str) {
        let last = shown.last().unwrap();
        self.utterances += 1;
        self.updates += shown.len();
        self.words += last.all.len();
        self.source_words += source;
        for pair in shown.windows(2) {
            self.erased += pair[0].all.len() - common(&pair[0].all, &pair[1].all);
            assert!(pair[1].committed.starts_with(&pair[0].committed), "committed words were reworded");
        }
        // From when on so many words of the final stand.
        let stands: Vec<usize> = shown.iter().map(|update| common(&update.all, &last.all)).collect();
        let for_good: Vec<usize> = (0..shown.len()).map(|at| stands[at..].iter().copied().min().unwrap()).collect();
        for word in 1..=source {
            let needed = (word * last.all.len()).div_ceil(source);
            let lag = |there: &dyn Fn(usize) -> bool| {
                let at = (0..shown.len()).find(|&at| shown[at].heard >= word && there(at)).unwrap();
                shown[at].heard - word
            };
            self.lags[0] += lag(&|at| shown[at].all.len() >= needed);
            self.lags[1] += lag(&|at| for_good[at] >= needed);
            self.lags[2] += lag(&|at| shown[at].committed.split_whitespace().count() >= needed);
        }
        let text = last.all.join(" ");
        self.as_offline += usize::from(text == offline);
        self.agreement += chrf(&text, offline);
        self.reference += chrf(&text, reference);
        self.reference_offline += chrf(offline, reference);
    }

    fn report(&self, name: &str) -> String {
        let each = |sum: usize, of: usize| sum as f64 / of.max(1) as f64;
        let mean = |sum: f64| sum / self.utterances.max(1) as f64;
        let [shown, for_good, committed] = self.lags.map(|lag| each(lag, self.source_words));
        format!(
            "{name:<10} {:>4} utterances {:>5} updates | erasure {:.3} | lag: shown {shown:.2} for good {for_good:.2} \
             committed {committed:.2} | as offline {:.3}, chrF to it {:.2} | chrF {:.2}, offline {:.2}",
            self.utterances,
            self.updates,
            each(self.erased, self.words),
            each(self.as_offline, self.utterances),
            mean(self.agreement),
            mean(self.reference),
            mean(self.reference_offline),
        )
    }
}

fn chrf(text: &str, reference: &str) -> f64 {
    let grams = |text: &str, n: usize| {
        let letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
        let mut counts: HashMap<Vec<char>, usize> = HashMap::new();
        letters.windows(n).for_each(|gram| *counts.entry(gram.to_vec()).or_default() += 1);
        counts
    };
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for n in 1..=6 {
        let (said, wanted) = (grams(text, n), grams(reference, n));
        let (all_said, all_wanted): (usize, usize) = (said.values().sum(), wanted.values().sum());
        if all_said == 0 || all_wanted == 0 {
            continue;
        }
        let same: usize = said.iter().map(|(gram, count)| wanted.get(gram).map_or(0, |most| *count.min(most))).sum();
        precision += same as f64 / all_said as f64;
        recall += same as f64 / all_wanted as f64;
        orders += 1.0;
    }
    if precision + recall == 0.0 { 0.0 } else { 100.0 * 5.0 * precision * recall / (4.0 * precision + recall) / orders }
}

#[tokio::main]
async fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut args = args().skip(1);
    let model = args.next().map_or_else(|| root.join("../models/demo-mt-en-es"), PathBuf::from);
    let file = args.next().map_or_else(|| root.join("examples/erasure/utterances.txt"), PathBuf::from);
    let habits: Vec<String> = args.collect();
    let [stops, slips] = ["stops", "slips"].map(|habit| habits.iter().any(|word| word == habit));
    let config = TranslationConfig::of_models(BTreeMap::from([("en-es".parse().unwrap(), model)]));
    let (bus, registry) = (MemoryBus::new(), Registry::new());
    let metrics = ModelMetrics::register(&registry, Work::Translation).unwrap();
    let routes = engine::load(&config, &metrics).await.unwrap();
    let health = Health::new("erasure", &[BUS], registry.clone());
    let worker = TranslationWorker::new(&config, Arc::new(bus.clone()), routes, health, &registry).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));

    let session = SessionId::random();
    let mut player = Player { bus, session, utterance: 0, read: EntryId::START, stops, slips };
    let mut groups: BTreeMap<&str, Sums> = BTreeMap::new();
    let text = std::fs::read_to_string(file).unwrap();
    for (source, reference) in text.lines().filter_map(|line| line.split_once(" | ")) {
        let words: Vec<&str> = source.split_whitespace().collect();
        let shown = player.play(&words).await;
        let offline = player.offline(&words).await;
        let ends = words.iter().filter(|word| word.ends_with(['.', '?', '!'])).count();
        let group = if ends > 3 {
            "monologue"
        } else if ends > 1 {
            "several"
        } else if words.len() > 25 {
            "long"
        } else {
            "one"
        };
        for name in once(group).chain(once("~ all")) {
            groups.entry(name).or_default().add(words.len(), &shown, &offline, reference);
        }
    }
    for (name, sums) in &groups {
        println!("{}", sums.report(name));
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}
