//! The decoding rules held against transformers and openai-whisper: see training/reference/decode_fixtures.py.

#[path = "decode_reference/mod.rs"]
mod reference;

use inference::alignment::{TokenText, most_attended, token_times, words};
use inference::decode::beam::{Advance, Beam, BeamOptions, Candidate, EarlyStopping};
use inference::decode::quality::compression_ratio;
use inference::decode::repetition::{ban_repeated_phrases, penalise_repetition};
use inference::decode::sampling::log_softmax;
use inference::decode::timestamps::{STEP_MS, TimestampRules, resume_ms, segments};
use reference::{cases, noise};
use serde::Deserialize;

const END: u32 = 0;
const PROMPT: [u32; 2] = [1, 2];

#[derive(Deserialize)]
struct BeamCase {
    width: usize,
    length_penalty: f32,
    early_stopping: String,
    seed: u32,
    vocabulary: u32,
    bonus: f32,
    limit: usize,
    no_repeat: usize,
    repetition: f32,
    texts: Vec<BeamText>,
}

#[derive(Deserialize)]
struct BeamText {
    tokens: Vec<u32>,
    truncated: bool,
    /// None for one beam: transformers runs a greedy search then, which has no score.
    score: Option<f32>,
}

impl BeamCase {
    fn options(&self) -> BeamOptions {
        let early_stopping = match self.early_stopping.as_str() {
            "heuristic" => EarlyStopping::Heuristic,
            "full" => EarlyStopping::Full,
            "never" => EarlyStopping::Never,
            other => panic!("{other}"),
        };
        let Self { width, length_penalty, limit, .. } = *self;
        BeamOptions { width, length_penalty, early_stopping, end: END, limit }
    }

    /// The toy language model's log-probabilities after `decoded`, under the rules of the case.
    fn row(&self, decoded: &[u32]) -> Vec<f32> {
        let said: Vec<u32> = PROMPT.iter().chain(decoded).copied().collect();
        let (last, before) = (said[said.len() - 1], said[said.len() - 2]);
        let score = |token| 8.0 * noise(&[token, last, before, said.len() as u32, self.seed]);
        let mut scores: Vec<f32> = (0..self.vocabulary).map(score).collect();
        scores[END as usize] += self.bonus * decoded.len() as f32;
        log_softmax(&mut scores);
        penalise_repetition(&said, self.repetition, &mut scores);
        ban_repeated_phrases(&said, self.no_repeat, &mut scores);
        scores
    }
}

#[test]
fn beam_search_finds_what_transformers_finds_in_the_same_order() {
    let cases: Vec<BeamCase> = cases("beams");
    assert!(cases.len() >= 50);
    for (index, case) in cases.iter().enumerate() {
        let mut beam = Beam::new(case.options());
        let mut caches: Vec<Vec<u32>> = vec![Vec::new()];
        loop {
            assert_eq!(beam.rows(), caches, "case {index}: a row is its parent and its token");
            let wanted = beam.candidates_wanted();
            let rows: Vec<Vec<Candidate>> =
                beam.rows().iter().map(|row| Candidate::best(&case.row(row), wanted)).collect();
            let Advance::Continue { parents, tokens } = beam.advance(&rows) else { break };
            assert_eq!((parents.len(), tokens.len()), (case.width, case.width));
            let next = parents.iter().zip(tokens).map(|(parent, token)| [&caches[*parent][..], &[token]].concat());
            caches = next.collect();
        }
        let found = beam.n_best();
        assert_eq!(found.len(), case.texts.len(), "case {index}");
        for (found, wanted) in found.iter().zip(&case.texts) {
            assert_eq!((&found.tokens, found.truncated), (&wanted.tokens, wanted.truncated), "case {index}");
            // Sums of up to 30 single-precision numbers below 64: 30 roundings of 2e-6 each.
            if let Some(score) = wanted.score {
                assert!((found.score - score).abs() < 6e-5, "case {index}: {} for {score}", found.score);
            }
            assert!((found.sum - found.logprobs.iter().sum::<f32>()).abs() < 6e-5);
            assert_eq!(found.logprobs.len(), found.tokens.len() + usize::from(!found.truncated));
        }
    }
}

#[derive(Deserialize)]
struct TimestampCase {
    history: Vec<u32>,
    max_initial: Option<u32>,
    allowed: Vec<u32>,
}

const FIRST: u32 = 25;

#[test]
fn timestamp_rules_allow_what_transformers_allows() {
    for (index, case) in cases::<TimestampCase>("timestamps").iter().enumerate() {
        let rules = TimestampRules { no_timestamps: 24, first: FIRST, end: 20, max_initial: case.max_initial };
        let before: Vec<f32> =
            (0..64).map(|token| [4.0, 8.0, 16.0][index % 3] * noise(&[token, index as u32])).collect();
        let mut scores = before.clone();
        rules.apply(&case.history, &mut scores);
        let allowed: Vec<u32> = (0..64).filter(|token| scores[*token as usize].is_finite()).collect();
        assert_eq!(allowed, case.allowed, "case {index}: {:?}", case.history);
        assert!(allowed.iter().all(|token| scores[*token as usize] == before[*token as usize]));
    }
}

#[derive(Deserialize)]
struct RepetitionCase {
    history: Vec<u32>,
    size: usize,
    penalty: f32,
    banned: Vec<u32>,
    scores: Vec<f32>,
}

#[test]
fn repetition_is_banned_and_penalised_as_in_transformers() {
    for (index, case) in cases::<RepetitionCase>("repetition").iter().enumerate() {
        let before: Vec<f32> = (0..8).map(|token| (noise(&[token, index as u32]) - 0.5) * 4.0).collect();
        let mut scores = before.clone();
        ban_repeated_phrases(&case.history, case.size, &mut scores);
        let banned: Vec<u32> = (0..8).filter(|token| scores[*token as usize].is_infinite()).collect();
        assert_eq!(banned, case.banned, "case {index}");
        let mut scores = before;
        penalise_repetition(&case.history, case.penalty, &mut scores);
        assert_eq!(scores, case.scores, "case {index}");
    }
}

#[derive(Deserialize)]
struct SegmentCase {
    tokens: Vec<u32>,
    /// Begin and end of each finished segment, in steps.
    spans: Vec<(u32, u32)>,
    resume: u32,
}

#[test]
fn segments_end_where_transformers_ends_them() {
    let cases: Vec<SegmentCase> = cases("segments");
    assert!(cases.len() > 50);
    for case in cases {
        let found = segments(&case.tokens, FIRST, 30_000);
        let spans: Vec<(u32, u32)> =
            found.iter().filter(|s| s.finished).map(|s| (s.start_ms / STEP_MS, s.end_ms / STEP_MS)).collect();
        assert_eq!(spans, case.spans, "{:?}", case.tokens);
        assert_eq!(resume_ms(&found, 30_000), case.resume * STEP_MS, "{:?}", case.tokens);
    }
}

#[derive(Deserialize)]
struct CompressionCase {
    text: String,
    ratio: f64,
}

#[test]
fn texts_compress_as_in_python() {
    for case in cases::<CompressionCase>("compression") {
        assert_eq!(compression_ratio(&case.text), case.ratio as f32, "{}", case.text);
    }
}

#[derive(Deserialize)]
struct AlignmentCase {
    seed: u32,
    heads: usize,
    rows: usize,
    positions: usize,
    times: Vec<u32>,
    most: Vec<u32>,
}

impl AlignmentCase {
    /// `attention` of decode_fixtures.py.
    fn attention(&self) -> Vec<Vec<f32>> {
        let weight = |head: usize, row: usize, position: usize| {
            let bend = row * (self.rows % 7);
            let place = (row * row + bend) * self.positions / (self.rows * self.rows + self.rows * (self.rows % 7) + 1);
            let hill = 6usize.saturating_sub(position.abs_diff(place)) as f32 / 8.0;
            hill + noise(&[head as u32, row as u32, position as u32, self.seed]) * 0.5
        };
        let row = |head, row| (0..self.positions).map(move |position| weight(head, row, position));
        (0..self.heads).map(|head| (0..self.rows).flat_map(|at| row(head, at)).collect()).collect()
    }
}

#[test]
fn tokens_begin_where_transformers_says() {
    let cases: Vec<AlignmentCase> = cases("alignments");
    assert!(cases.iter().any(|case| (case.rows, case.positions) == (200, 1500)));
    for case in cases {
        let heads = case.attention();
        assert_eq!(token_times(&heads, case.rows, case.positions), case.times, "case {}", case.seed);
        let most = most_attended(&heads, case.rows, case.positions);
        let most: Vec<u32> = most.iter().map(|row| row.position).collect();
        assert_eq!(most, case.most, "case {}", case.seed);
    }
}

#[derive(Deserialize)]
struct WordCase {
    language: String,
    /// Each token's bytes in hexadecimal.
    pieces: Vec<String>,
    times: Vec<u32>,
    index: u32,
    /// Text, begin and end in milliseconds, probability.
    words: Vec<(String, u32, u32, f32)>,
}

#[test]
fn words_are_those_of_openai_whisper() {
    for case in cases::<WordCase>("words") {
        let piece = |(token, hex): (usize, &String)| {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes = (0..hex.len()).step_by(2).map(byte).collect();
            TokenText { bytes, probability: noise(&[token as u32, case.index, 78]), attended: 0 }
        };
        let pieces: Vec<TokenText> = case.pieces.iter().enumerate().map(piece).collect();
        let found = words(&pieces, &case.times, &case.language);
        let told: Vec<_> = found.iter().map(|word| (word.text.as_str(), word.start_ms, word.end_ms)).collect();
        let wanted: Vec<_> = case.words.iter().map(|(text, start, end, _)| (text.as_str(), *start, *end)).collect();
        assert_eq!(told, wanted);
        for (word, (.., probability)) in found.iter().zip(&case.words) {
            assert!((word.probability - probability).abs() < 1e-6, "{}", word.text);
        }
    }
}
