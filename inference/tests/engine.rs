//! What the decoding loop promises, shown with tiny models of random weights: who joins or leaves while others are under
//! way changes nothing for them, with our kernels as with candle's operations; beams, temperatures, timestamps and word
//! times are what they say.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

mod parity_weights;
#[allow(dead_code, reason = "other tests use more of it")]
mod tiny_models;

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use inference::compute::{Compute, ComputeType, EngineOptions, Precision};
use inference::decode::bias::{Bias, Spelling};
use inference::decode::quality::Thresholds;
use inference::decode::{Decoded, Decoding, Rules, Strategy, Task};
use inference::directory::ModelDirectory;
use inference::marian::Marian;
use inference::model_thread::Model;
use inference::speech::{SpeechHypothesis, SpeechModel, SpeechOptions, SpeechRequest};
use inference::t5::T5;
use inference::text_network::TextNetwork;
use inference::translation::{Term, TranslationModel, TranslationOptions, TranslationRequest};
use parity_weights::{signal, uniform};
use tempfile::TempDir;
use tiny_models::{write_joint_marian, write_json, write_m2m100, write_t5, write_whisper};

fn directory(write: fn(&Path)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    dir
}

fn marian(compute: &Compute) -> Marian {
    Marian::load(&ModelDirectory::open(directory(write_joint_marian).path()).unwrap(), compute).unwrap()
}

fn ways() -> [(&'static str, Compute); 2] {
    [("kernels", Compute::host(Precision::F32)), ("candle", Compute::candle(&Device::Cpu))]
}

/// Sources of unequal lengths, and how many tokens each may decode: all end at different steps.
fn texts() -> Vec<(Vec<u32>, usize)> {
    let source =
        |i: usize| uniform(&format!("source {i}"), 3 + 4 * i).iter().map(|n| 3 + (n.abs() * 26.0) as u32).collect();
    (0..6).map(|i| (source(i), 4 + 5 * (5 - i))).collect()
}

fn task(limit: usize, strategy: Strategy, prefix: &[u32]) -> Task {
    let prompt = [&[2], prefix].concat();
    Task { prompt, fresh: prefix.is_empty(), limit, strategy, timestamps: false, probe: None, bias: None, text_from: 1 }
}

fn decode(network: &Marian, rules: &Rules, arrivals: &[usize], width: usize) -> Vec<Decoded> {
    let strategy = if width > 1 { Strategy::Beam { length_penalty: 1.0 } } else { Strategy::Greedy };
    let texts = texts();
    let mut decoding = Decoding::new(width);
    let (mut done, mut next, mut step) = (Vec::new(), 0, 0);
    while next < texts.len() || !decoding.is_empty() {
        let due = arrivals.iter().filter(|at| **at <= step).count().max(next);
        let new: Vec<usize> = (next..due).collect();
        let rows: Vec<Vec<u32>> = new.iter().map(|i| texts[*i].0.clone()).collect();
        if !rows.is_empty() {
            let sources = network.sources(&rows).unwrap();
            let prefix =
                |i: usize| uniform("prefix", i).iter().map(|n| 3 + (n.abs() * 26.0) as u32).collect::<Vec<_>>();
            let tasks = new.iter().map(|i| task(texts[*i].1, strategy, &prefix(*i)));
            let requests = new.iter().copied().zip(sources).zip(tasks).map(|((i, source), task)| (i, source, task));
            done.extend(decoding.admit(network.decoder(), rules, requests.collect()).unwrap());
        }
        next = due;
        done.extend(decoding.step(network.decoder(), rules).unwrap());
        step += 1;
    }
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, decoded)| decoded).collect()
}

fn alike(a: &[Decoded], b: &[Decoded], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!((&a.tokens, a.truncated), (&b.tokens, b.truncated), "{what}, row {i}");
        assert!((a.avg_logprob - b.avg_logprob).abs() < 1e-4, "{what}, row {i}: {} {}", a.avg_logprob, b.avg_logprob);
    }
}

#[test]
fn who_joins_or_leaves_between_steps_changes_nothing_for_the_others() {
    for width in [1, 3] {
        let mut by_way = Vec::new();
        for (way, compute) in ways() {
            let network = marian(&compute);
            let rules = Rules::new(network.decoder(), 0, &[1, 2], &[]).unwrap();
            // One after the other, all at once, and as they come.
            let alone = decode(&network, &rules, &[0, 100, 200, 300, 400, 500], width);
            let what = format!("{way}, {width} rows each");
            alike(&alone, &decode(&network, &rules, &[0; 6], width), &format!("{what}, together"));
            alike(&alone, &decode(&network, &rules, &[0, 0, 2, 3, 3, 9], width), &format!("{what}, staggered"));
            let lengths: std::collections::BTreeSet<usize> = alone.iter().map(|text| text.tokens.len()).collect();
            assert!(lengths.len() > 2, "texts must end at different steps for this to show anything: {lengths:?}");
            by_way.push(alone);
        }
        alike(&by_way[0], &by_way[1], &format!("kernels and candle, {width} rows each"));
    }
}

#[test]
fn a_withdrawn_request_leaves_the_others_as_they_were() {
    for (way, compute) in ways() {
        let network = marian(&compute);
        let rules = Rules::new(network.decoder(), 0, &[0, 1, 2], &[]).unwrap();
        let rows: Vec<Vec<u32>> = texts().into_iter().map(|(row, _)| row).collect();
        let run = |gone: Option<usize>| {
            let sources = network.sources(&rows).unwrap();
            let requests =
                sources.into_iter().enumerate().map(|(i, source)| (i, source, task(9, Strategy::Greedy, &[])));
            let mut decoding = Decoding::new(1);
            let mut done = decoding.admit(network.decoder(), &rules, requests.collect()).unwrap();
            for step in 0.. {
                if let Some(gone) = gone.filter(|_| step == 2) {
                    decoding.withdraw(|key| *key == gone).unwrap();
                }
                done.extend(decoding.step(network.decoder(), &rules).unwrap());
                if decoding.is_empty() {
                    break;
                }
            }
            done.sort_by_key(|(i, _)| *i);
            done
        };
        let (all, without) = (run(None), run(Some(2)));
        let kept: Vec<_> = all.into_iter().filter(|(i, _)| *i != 2).collect();
        assert_eq!(
            kept.iter().map(|(i, text)| (i, &text.tokens)).collect::<Vec<_>>(),
            without.iter().map(|(i, text)| (i, &text.tokens)).collect::<Vec<_>>(),
            "{way}"
        );
    }
}

#[test]
fn who_ends_at_once_or_comes_again_leaves_the_others_whole() {
    for (way, compute) in ways() {
        let network = marian(&compute);
        let rules = Rules::new(network.decoder(), 0, &[0, 1, 2], &[]).unwrap();
        let rows: Vec<Vec<u32>> = texts().into_iter().map(|(row, _)| row).collect();
        let sources = network.sources(&rows).unwrap();
        let alone = |i: usize, limit: usize| {
            let mut decoding = Decoding::new(1);
            let request = vec![(i, sources[i].clone(), task(limit, Strategy::Greedy, &[]))];
            let mut done = decoding.admit(network.decoder(), &rules, request).unwrap();
            while !decoding.is_empty() {
                done.extend(decoding.step(network.decoder(), &rules).unwrap());
            }
            done.remove(0).1.tokens
        };
        let mut decoding = Decoding::new(1);
        let mut done = Vec::new();
        // Every time: the one that runs already, one that ends with its first token, and one that stays; then again.
        for (round, (runs, ends, stays)) in [(0, 1, 2), (3, 4, 5), (0, 3, 1), (0, 0, 0)].into_iter().enumerate() {
            let request =
                |i: usize, limit: usize| ((round, i, limit), sources[i].clone(), task(limit, Strategy::Greedy, &[]));
            done.extend(decoding.admit(network.decoder(), &rules, vec![request(runs, 7)]).unwrap());
            done.extend(decoding.step(network.decoder(), &rules).unwrap());
            let both = vec![request(ends, 1), request(stays, 5)];
            done.extend(decoding.admit(network.decoder(), &rules, both).unwrap());
            while !decoding.is_empty() {
                done.extend(decoding.step(network.decoder(), &rules).unwrap());
            }
        }
        assert_eq!(done.len(), 12, "{way}");
        for ((round, i, limit), decoded) in done {
            assert_eq!(decoded.tokens, alone(i, limit), "{way}, round {round}, text {i}, {limit} tokens");
        }
    }
}

const EXACT: EngineOptions =
    EngineOptions { device: inference::device::DeviceChoice::Cpu, compute: ComputeType::F32, threads: 2 };

fn whisper(options: SpeechOptions) -> SpeechModel {
    SpeechModel::load(directory(write_whisper).path(), &EXACT, options).unwrap()
}

fn speech(milliseconds: usize) -> SpeechRequest {
    SpeechRequest { pcm: signal(milliseconds * 16), language: Some("en".to_owned()), ..SpeechRequest::default() }
}

#[test]
fn speech_that_joins_while_other_speech_is_decoded_is_heard_as_if_alone() {
    let requests = [900, 4_000, 2_500, 7_000].map(speech);
    let mut model = whisper(SpeechOptions::default());
    let alone: Vec<SpeechHypothesis> =
        requests.iter().map(|request| model.transcribe(std::slice::from_ref(request)).unwrap().remove(0)).collect();
    let mut heard = Vec::new();
    for (i, request) in requests.iter().enumerate() {
        model.admit(vec![(i as u64, Arc::new(request.clone()))]).unwrap();
        (0..3).for_each(|_| heard.extend(model.step().unwrap()));
    }
    while heard.len() < requests.len() {
        heard.extend(model.step().unwrap());
    }
    heard.sort_by_key(|(ticket, _)| *ticket);
    for ((_, heard), alone) in heard.iter().zip(&alone) {
        assert_eq!(heard.as_ref().unwrap().text, alone.text);
    }
}

#[test]
fn words_make_up_the_text_in_order_and_within_the_audio() {
    let mut model = whisper(SpeechOptions::default());
    let request = SpeechRequest { words: true, ..speech(3_000) };
    let heard = model.transcribe(&[request.clone(), speech(3_000)]).unwrap();
    let (timed, plain) = (&heard[0], &heard[1]);
    assert_eq!(timed.text, plain.text);
    assert!(plain.words.is_empty(), "nobody asked for them");
    assert_eq!(timed.prefix_words, 0);
    assert_eq!(timed.words.iter().map(|word| word.text.as_str()).collect::<String>(), timed.text);
    for word in &timed.words {
        assert!(word.start_ms <= word.end_ms && word.end_ms <= 3_000, "{word:?}");
        assert!((0.0..=1.0).contains(&word.probability), "{word:?}");
        assert!(word.attended_ms > 0 && word.attended_ms <= 3_000, "{word:?}");
    }
    assert!(timed.words.windows(2).all(|pair| pair[0].end_ms <= pair[1].start_ms), "{:?}", timed.words);
}

#[test]
fn preferred_terms_are_written_whatever_the_way_of_choosing_and_only_by_those_who_ask() {
    let term = [20, 9, 25, 13];
    let spelling = Spelling { tokens: term.map(|token| (token, 9.0)).to_vec() };
    let bias = Arc::new(Bias::new(&[spelling], Arc::new([])).unwrap());
    for (way, compute) in ways() {
        let network = marian(&compute);
        let rules = Rules::new(network.decoder(), 0, &[1, 2], &[]).unwrap();
        let source = network.sources(&[texts()[0].0.clone()]).unwrap().remove(0);
        let run = |strategy: Strategy, width: usize, bias: Option<&Arc<Bias>>| {
            let asks = Task { bias: bias.cloned(), ..task(9, strategy, &[]) };
            let requests = vec![(0, source.clone(), asks), (1, source.clone(), task(9, strategy, &[]))];
            let mut decoding = Decoding::new(width);
            let mut done = decoding.admit(network.decoder(), &rules, requests).unwrap();
            while !decoding.is_empty() {
                done.extend(decoding.step(network.decoder(), &rules).unwrap());
            }
            done.sort_by_key(|(i, _)| *i);
            done.into_iter().map(|(_, decoded)| decoded).collect::<Vec<_>>()
        };
        let draws = Strategy::Sample { temperature: 0.5, seed: 3 };
        for (strategy, width) in [(Strategy::Greedy, 1), (draws, 1), (Strategy::Beam { length_penalty: 1.0 }, 3)] {
            let (asked, plain) = (run(strategy, width, Some(&bias)), run(strategy, width, None));
            let holds = |decoded: &Decoded| decoded.tokens.windows(term.len()).any(|tokens| tokens == term);
            assert!(holds(&asked[0]) && !holds(&plain[0]), "{way} {strategy:?}");
            alike(&asked[1..], &plain[1..], &format!("{way} {strategy:?}"));
            assert!(asked[0].logprobs.iter().all(|logprob| *logprob <= 0.0), "{:?}", asked[0].logprobs);
        }
    }
}

#[test]
fn alignment_heads_are_those_of_the_model_and_must_exist() {
    let dir = directory(write_whisper);
    let load = || SpeechModel::load(dir.path(), &EXACT, SpeechOptions::default());
    write_json(dir.path(), "generation_config.json", &serde_json::json!({ "alignment_heads": [[1, 3]] }));
    let request = SpeechRequest { words: true, ..speech(2_000) };
    let one = load().unwrap().transcribe(std::slice::from_ref(&request)).unwrap().remove(0);
    write_json(dir.path(), "generation_config.json", &serde_json::json!({ "alignment_heads": [[0, 1]] }));
    let other = load().unwrap().transcribe(&[request]).unwrap().remove(0);
    assert_eq!(one.text, other.text);
    assert_eq!(one.words.len(), other.words.len());
    assert!(one.words.iter().zip(&other.words).any(|(a, b)| a.attended_ms != b.attended_ms), "it looks elsewhere");
    write_json(dir.path(), "generation_config.json", &serde_json::json!({ "alignment_heads": [[2, 0]] }));
    let error = load().unwrap_err().to_string();
    assert!(error.contains("generation_config.json") && error.contains("layer 2, head 0"), "{error}");
}

#[test]
fn timestamps_cut_the_text_into_segments() {
    let mut model = whisper(SpeechOptions::default());
    let heard = model.transcribe(&[SpeechRequest { timestamps: true, ..speech(3_000) }, speech(3_000)]).unwrap();
    assert!(!heard[0].segments.is_empty() && heard[1].segments.is_empty());
    assert_eq!(heard[0].segments.iter().map(|segment| segment.text.as_str()).collect::<String>(), heard[0].text);
    assert!(heard[0].segments.iter().all(|segment| segment.start_ms <= segment.end_ms), "{:?}", heard[0].segments);
}

#[test]
fn a_doubtful_text_is_decoded_again_at_rising_temperatures_and_always_the_same() {
    let never_good = Thresholds { logprob: Some(0.0), no_speech: None, ..Thresholds::default() };
    let options = |thresholds| SpeechOptions { fallback: vec![0.4, 0.8], thresholds, ..SpeechOptions::default() };
    let hear = |options| whisper(options).transcribe(&[speech(2_000), speech(3_100)]).unwrap();
    let doubted = hear(options(never_good));
    assert!(doubted.iter().all(|heard| heard.temperature == 0.8), "the last one tried is kept");
    assert_eq!(doubted, hear(options(never_good)), "a draw is the same each time");
    let anything = Thresholds { logprob: None, compression_ratio: None, no_speech: None };
    let kept = hear(options(anything));
    assert!(kept.iter().all(|heard| heard.temperature == 0.0));
    assert_eq!(kept, hear(SpeechOptions::default()), "what is good is as it is without a fallback");
    assert_ne!(kept[0].text, doubted[0].text);
}

#[test]
fn beams_of_speech_are_the_same_alone_and_in_a_batch() {
    let options = || SpeechOptions { beams: 4, ..SpeechOptions::default() };
    let requests = [1_000, 5_000, 2_200].map(speech);
    let together = whisper(options()).transcribe(&requests).unwrap();
    for (request, batched) in requests.iter().zip(&together) {
        let alone = whisper(options()).transcribe(std::slice::from_ref(request)).unwrap().remove(0);
        assert_eq!(alone.text, batched.text);
    }
    let greedy = whisper(SpeechOptions::default()).transcribe(&requests).unwrap();
    assert!(greedy.iter().zip(&together).any(|(a, b)| a.text != b.text), "more texts were looked at");
}

#[test]
fn a_model_of_many_languages_is_told_which_and_refuses_those_it_lacks() {
    let dir = directory(write_m2m100);
    let mut model = TranslationModel::load(dir.path(), &EXACT, TranslationOptions::default()).unwrap();
    let ask = |from: &str, to: &str| TranslationRequest {
        text: "the train is late".to_owned(),
        prefix: String::new(),
        terms: Vec::new(),
        from: Some(from.to_owned()),
        to: Some(to.to_owned()),
    };
    let answers = model.translate(&[ask("en", "es"), ask("en", "fr-CA"), ask("fr", "es")]).unwrap();
    assert!(answers.iter().all(|answer| !answer.text.is_empty()), "{answers:?}");
    assert_ne!(answers[0].text, answers[1].text, "the target's token comes first");
    assert_ne!(answers[0].avg_logprob, answers[2].avg_logprob, "the source begins with its own");
    assert!(!answers[0].text.contains("__"), "{answers:?}");
    // With random weights nothing translates anything; the term stands all the same, once.
    let term = Term { source: "train".to_owned(), target: "zug".to_owned() };
    for to in ["es", "fr"] {
        let asked = TranslationRequest { terms: vec![term.clone()], ..ask("en", to) };
        let answer = model.translate(&[asked]).unwrap().remove(0);
        assert_eq!(answer.text.matches("zug").count(), 1, "{answer:?}");
    }
    let error = model.translate(&[ask("en", "de")]).unwrap_err().to_string();
    assert!(error.contains("\"de\"") && error.contains("M2M100"), "{error}");
    let untold = TranslationRequest { to: None, ..ask("en", "es") };
    assert!(model.translate(&[untold]).unwrap_err().to_string().contains("BCP 47"));
    assert_eq!(model.translate(&[ask("en", "es")]).unwrap()[0], answers[0], "and goes on");
}

#[test]
fn a_gguf_file_gives_the_network_that_safetensors_give() {
    let plain = tempfile::tempdir().unwrap();
    let tensors = write_t5(plain.path());
    let logits = |dir: &Path, compute: &Compute| -> Vec<f32> {
        let network = T5::load(&ModelDirectory::open(dir).unwrap(), compute).unwrap();
        let mut batch = network.decoder().batch(&network.sources(&[vec![7, 9, 11, 1], vec![5, 1]]).unwrap()).unwrap();
        let hidden = network.decoder().forward(&[vec![0, 3, 4], vec![0]], &mut batch).unwrap();
        network.decoder().logits(&hidden).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    let exact = logits(plain.path(), &Compute::candle(&Device::Cpu));
    let most = exact.iter().fold(0f32, |most, value| most.max(value.abs()));
    // An 8-bit block of 32 weights is off by at most 1/254 of its largest.
    for (kind, allowed) in [(GgmlDType::F32, 1e-5), (GgmlDType::Q8_0, 0.03)] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(plain.path().join("config.json"), dir.path().join("config.json")).unwrap();
        let packed: Vec<(String, QTensor)> = tensors
            .iter()
            .map(|(name, tensor)| {
                // Vectors and narrow tables are left as they are, as the tools that write such files do.
                let wide = tensor.rank() == 2 && tensor.dims()[1] % 32 == 0;
                let kind = if wide { kind } else { GgmlDType::F32 };
                (name.clone(), QTensor::quantize(tensor, kind).unwrap())
            })
            .collect();
        let list: Vec<(&str, &QTensor)> = packed.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = std::fs::File::create(dir.path().join("model.gguf")).unwrap();
        gguf_file::write(&mut file, &[], &list).unwrap();
        for (way, compute) in ways() {
            let found = logits(dir.path(), &compute);
            let off = exact.iter().zip(&found).fold(0f32, |off, (a, b)| off.max((a - b).abs())) / most;
            assert!(off <= allowed, "{kind:?} with {way} is off by {off} of the greatest logit");
        }
    }
}
