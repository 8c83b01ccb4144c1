//! `subtide bench stream` as people run it, over the beginning of the speech that ships.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use subtide::recording::Recording;

/// Two sentences and the pause behind them.
const PLAYED_MS: usize = 6600;
const BYTES_OF_MS: usize = 32;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// 16 kHz mono as a wave file.
fn wave(pcm: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let format: [&[u8]; 6] = [&length(16), &[1, 0, 1, 0], &length(16_000), &length(32_000), &[2, 0, 16, 0], b"data"];
    [b"RIFF", &length(36 + pcm.len())[..], b"WAVEfmt ", &format.concat(), &length(pcm.len()), pcm].concat()
}

/// A corpus of the first sentences of the demo, whose words are taken to be said evenly, and of two seconds of nothing.
fn make_corpus(directory: &Path) {
    let speech = checkout().join("models/demo-speech");
    let manifest: Value = serde_json::from_slice(&fs::read(speech.join("manifest.json")).unwrap()).unwrap();
    let mut recording = Recording::open(&speech.join("demo.wav")).unwrap();
    let mut pcm = Vec::new();
    while let Some(piece) = recording.next_piece().unwrap() {
        pcm.extend(piece);
    }
    fs::write(directory.join("speech.wav"), wave(&pcm[..PLAYED_MS * BYTES_OF_MS])).unwrap();
    fs::write(directory.join("silence.wav"), wave(&vec![0; 2000 * BYTES_OF_MS])).unwrap();
    let utterance = |spoken: &Value| {
        let (text, start, end) = (spoken["text"].as_str().unwrap(), &spoken["start_ms"], &spoken["end_ms"]);
        let (from, to) = (start.as_u64().unwrap(), end.as_u64().unwrap());
        let count = text.split_whitespace().count() as u64;
        let at = |n: u64| from + (to - from) * n / count;
        let words: Vec<Value> = (0..)
            .zip(text.split_whitespace())
            .map(|(n, word)| json!({"text": word, "start_ms": at(n), "end_ms": at(n + 1)}))
            .collect();
        json!({"text": text, "language": "en", "translations": {"es": spoken["spanish"]}, "start_ms": from,
            "end_ms": to, "voice": spoken["voice"], "words": words})
    };
    let over = |spoken: &&Value| spoken["end_ms"].as_u64().unwrap() < PLAYED_MS as u64;
    let utterances: Vec<Value> =
        manifest["utterances"].as_array().unwrap().iter().filter(over).map(utterance).collect();
    assert_eq!(utterances.len(), 2, "the demo's speech is another now");
    let recording = |name: &str, speech: bool, duration_ms: usize, utterances: Vec<Value>| {
        json!({"name": name, "group": name, "file": format!("{name}.wav"), "sample_rate": 16_000, "channels": 1,
            "duration_ms": duration_ms, "language": "en", "targets": ["es"], "speech": speech, "utterances": utterances})
    };
    let recordings = [recording("speech", true, PLAYED_MS, utterances), recording("silence", false, 2000, Vec::new())];
    fs::write(directory.join("corpus.json"), json!({ "recordings": recordings }).to_string()).unwrap();
}

fn bench(arguments: &[&str]) -> Value {
    let program = env!("CARGO_BIN_EXE_subtide");
    let mut command = Command::new(program);
    command.args(["bench", "stream", "--json"]).args(arguments).current_dir(checkout()).env_remove("REDIS_URL");
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_corpus_is_played_and_every_figure_is_there() {
    let directory = tempfile::tempdir().unwrap();
    make_corpus(directory.path());
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (corpus, events, plot) = (file(""), file("events.jsonl"), file("plot.svg"));
    let report = bench(&["--corpus", &corpus, "--events", &events, "--plot", &plot, "--offline"]);

    let speech = &report["groups"]["speech"];
    let captions = &speech["captions"];
    assert_eq!(captions["words"], 13);
    assert!(captions["wer"].as_f64().unwrap() < 0.5, "{captions}");
    for delay in ["word_to_first_shown", "word_to_committed"] {
        for clock in ["wall_ms", "audio_ms"] {
            assert!(captions[delay][clock]["count"].as_u64().unwrap() > 6, "{delay}, {clock}: {captions}");
            assert!(speech["translations"]["es"][delay][clock]["p95"].is_number(), "{delay}, {clock}: {speech}");
        }
    }
    // A word cannot be committed before it is shown, nor shown by the clock before its audio came in.
    let middle = |delay: &str, clock: &str| captions[delay][clock]["mean"].as_f64().unwrap();
    assert!(middle("word_to_committed", "wall_ms") >= middle("word_to_first_shown", "wall_ms"));
    assert!(middle("word_to_first_shown", "wall_ms") >= middle("word_to_first_shown", "audio_ms"));
    assert_eq!(captions["end_to_final_ms"]["count"], 2);
    assert!(captions["normalised_erasure"].is_number() && captions["updates_a_second"].as_f64().unwrap() > 0.5);
    let spanish = &report["pairs"]["en > es"];
    assert!(spanish["chrf"].as_f64().unwrap() > 50.0 && spanish["bleu"].is_number(), "{spanish}");
    assert!(spanish["stream_laal"]["wall_ms"].is_number() && spanish["laal"]["audio_ms"].is_number(), "{spanish}");

    let faults = &report["total"]["faults"];
    for never in ["reworded", "finals_missing", "finals_repeated", "gaps", "invented_words", "broken_sessions"] {
        assert_eq!(faults[never], 0, "{never}: {faults}");
    }
    assert!(report["offline"]["total"]["wer_offline"].is_number(), "{}", report["offline"]);
    assert_eq!(report["recordings"].as_array().unwrap().len(), 2);

    let events = fs::read_to_string(&events).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["type"] == "caption" && event["at_ms"].is_number()));
    assert_eq!(events.iter().filter(|event| event["type"] == "ended").count(), 2);
    assert!(fs::read_to_string(&plot).unwrap().contains("<polyline"));
}

#[test]
fn clients_of_a_ramp_play_at_once() {
    let directory = tempfile::tempdir().unwrap();
    make_corpus(directory.path());
    let corpus = directory.path().to_str().unwrap();
    let report = bench(&["--corpus", corpus, "--group", "speech", "--ramp", "1,2", "--seconds", "4"]);
    let rows = report["ramp"]["rows"].as_array().unwrap();
    assert!(!rows.is_empty(), "{report}");
    for row in rows {
        // Four seconds hold the first sentence, of six words, for each client.
        let sessions = row["sessions"].as_u64().unwrap();
        assert_eq!(row["faults"]["broken_sessions"], 0, "{row}");
        assert!(row["faults"]["utterances"].as_u64().unwrap() >= sessions, "{row}");
        assert!(row["word_to_first_shown"]["wall_ms"]["count"].as_u64().unwrap() <= 6 * sessions, "{row}");
    }
}

/// Plays what ships; `arguments` choose the groups.
fn shipped(arguments: &[&str]) -> Value {
    bench(&[&["--corpus", "models/demo-speech/stream"], arguments].concat())
}

fn figure(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no figure: {value}"))
}

/// No delay is looked at by itself, for this machine may be busy: only what part of it is the machine's, against the part
/// that the audio alone takes on any machine.
#[test]
fn clean_speech_is_captioned_steadily_and_as_well_as_offline() {
    let report = shipped(&["--group", "clean", "--offline"]);
    let clean = &report["groups"]["clean"];
    let captions = &clean["captions"];
    let faults = &report["total"]["faults"];
    for never in ["reworded", "finals_missing", "finals_repeated", "gaps", "loops", "broken_sessions"] {
        assert_eq!(faults[never], 0, "{never}: {faults}");
    }
    assert!(figure(&captions["normalised_erasure"]) <= 0.15, "{captions}");
    assert!(figure(&clean["translations"]["es"]["normalised_erasure"]) <= 0.20, "{}", clean["translations"]);
    let worse = figure(&report["offline"]["groups"]["clean"]["wer_streamed_minus_offline"]);
    assert!(worse <= 0.01, "streaming costs {worse}: {}", report["offline"]);
    for delay in ["word_to_first_shown", "word_to_committed"] {
        let (wall, audio) = (&captions[delay]["wall_ms"]["p50"], &captions[delay]["audio_ms"]["p50"]);
        let ratio = figure(wall) / figure(audio);
        assert!(ratio <= 2.0, "{delay}: {ratio} times the delay of the audio alone");
    }
}

#[test]
fn a_monologue_goes_on_from_sentence_to_sentence() {
    let report = shipped(&["--group", "monologue", "--offline"]);
    let faults = &report["total"]["faults"];
    for never in ["reworded", "finals_missing", "finals_repeated", "gaps", "loops", "broken_sessions"] {
        assert_eq!(faults[never], 0, "{never}: {faults}");
    }
    // Cut between sentences it is heard better than the same stretches at once; cut anywhere it would be far worse.
    let worse = figure(&report["offline"]["groups"]["monologue"]["wer_streamed_minus_offline"]);
    assert!(worse <= 0.05, "streaming costs {worse}: {}", report["offline"]);
    assert!(figure(&report["groups"]["monologue"]["captions"]["normalised_erasure"]) <= 0.30, "{report}");
}

#[test]
fn sounds_without_speech_get_no_words() {
    let groups = ["silence", "hum", "clicks", "white", "music"];
    let mut arguments: Vec<&str> = groups.iter().flat_map(|group| ["--group", group]).collect();
    arguments.extend(["--sessions", "5", "--seconds", "8"]);
    let report = shipped(&arguments);
    assert_eq!(report["total"]["faults"]["invented_words"], 0, "{}", report["total"]["faults"]);
    assert_eq!(report["total"]["faults"]["broken_sessions"], 0, "{}", report["total"]["faults"]);
}
