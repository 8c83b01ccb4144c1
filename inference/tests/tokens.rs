//! Token ids and texts are those of the reference libraries, on every line of tests/fixtures/tokens (made by
//! training/reference/tokens_fixtures.py): `SentencePiece` models of both kinds, Whisper's vocabularies, language lists.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;

use inference::directory::ModelDirectory;
use inference::language::Language;
use inference::sentencepiece::SentencePiece;
use inference::whisper_vocabulary;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenizers::Tokenizer;

/// What a reference library makes of the lines, and of ids drawn at random.
#[derive(Deserialize)]
struct Reference {
    ids: Vec<Vec<u32>>,
    /// None where it is the line itself.
    texts: Vec<Option<String>>,
    drawn: Vec<Vec<u32>>,
    drawn_texts: Vec<String>,
}

fn stored(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tokens").join(format!("{file}.gz"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn stored_json<T: DeserializeOwned>(file: &str) -> T {
    serde_json::from_slice(&stored(file)).unwrap()
}

/// Holds a tokenizer to its reference, and says how many lines differ and the first that does.
fn check(name: &str, reference: &Reference, encode: impl Fn(&str) -> Vec<u32>, decode: impl Fn(&[u32]) -> String) {
    let lines: Vec<String> = stored_json("lines.json");
    assert!(lines.len() >= 1000 && lines.len() == reference.ids.len() && lines.len() == reference.texts.len());
    let differ: Vec<&String> =
        lines.iter().zip(&reference.ids).filter(|(line, ids)| encode(line) != **ids).map(|(line, _)| line).collect();
    if let Some(line) = differ.first() {
        let at = lines.iter().position(|other| other == *line).unwrap();
        let (ours, theirs) = (encode(line), &reference.ids[at]);
        panic!("{name}: {} lines differ, first {line:?}:\n{ours:?}\nwant {theirs:?}", differ.len());
    }
    for ((ids, text), line) in reference.ids.iter().zip(&reference.texts).zip(&lines) {
        assert_eq!(decode(ids), *text.as_ref().unwrap_or(line), "{name}: {ids:?}");
    }
    assert!(reference.drawn.len() >= 100);
    for (ids, text) in reference.drawn.iter().zip(&reference.drawn_texts) {
        assert_eq!(decode(ids), *text, "{name}: {ids:?}");
    }
}

#[test]
fn the_lines_cover_scripts_and_oddities() {
    let lines: BTreeSet<String> = stored_json::<Vec<String>>("lines.json").into_iter().collect();
    assert!(lines.len() >= 1000, "{} different lines", lines.len());
    let scripts = [
        ('a', 'z'),
        ('à', 'ž'),
        ('а', 'я'),
        ('α', 'ω'),
        ('ء', 'ي'),
        ('א', 'ת'),
        ('अ', 'ह'),
        ('ก', 'ฮ'),
        ('一', '龥'),
        ('ぁ', 'ヶ'),
        ('가', '힣'),
        ('ա', 'ֆ'),
        ('ა', 'ჰ'),
        ('ሀ', 'ፗ'),
        ('\u{300}', '\u{36f}'),
        ('\0', '\u{1f}'),
        ('\u{1f300}', '\u{1faff}'),
    ];
    for (first, last) in scripts {
        let with = lines.iter().filter(|line| line.chars().any(|c| (first..=last).contains(&c))).count();
        assert!(with >= 10, "{with} lines have {first:?} to {last:?}");
    }
    assert!(lines.contains("") && lines.iter().any(|line| line.len() > 600));
}

fn check_sentencepiece(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, stored(&format!("{name}.spm"))).unwrap();
    let model = SentencePiece::load(&file).unwrap();
    let reference: Reference = stored_json(&format!("{name}_ids.json"));
    check(name, &reference, |line| model.encode(line), |ids| model.decode(ids));
}

#[test]
fn unigram_ids_and_texts_are_those_of_sentencepiece() {
    for name in ["unigram_nmt", "unigram_bytes", "unigram_raw", "unigram_suffix", "unigram_unused"] {
        check_sentencepiece(name);
    }
}

#[test]
fn bpe_ids_and_texts_are_those_of_sentencepiece() {
    for name in ["bpe_nmt", "bpe_bytes", "bpe_unused", "bpe_turned"] {
        check_sentencepiece(name);
    }
}

#[test]
fn a_cut_sentencepiece_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cut.spm");
    let whole = stored("unigram_nmt.spm");
    for part in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..part]).unwrap();
        let error = SentencePiece::load(&file).unwrap_err().to_string();
        assert!(error.contains("cut.spm"), "{part}: {error}");
    }
}

fn check_whisper(name: &str, tokenizer: &Tokenizer) {
    let encode = |line: &str| tokenizer.encode_fast(line, false).unwrap().get_ids().to_vec();
    let decode = |ids: &[u32]| tokenizer.decode(ids, true).unwrap();
    check(name, &stored_json(&format!("{name}_ids.json")), encode, decode);
}

fn whisper(files: &[(&str, &[u8])]) -> (TempDir, Result<Tokenizer, String>) {
    let dir = tempfile::tempdir().unwrap();
    for (file, content) in files {
        std::fs::write(dir.path().join(file), content).unwrap();
    }
    let loaded = whisper_vocabulary::load(&ModelDirectory::open(dir.path()).unwrap());
    (dir, loaded.map_err(|e| e.to_string()))
}

/// The layout's ordinary tokens, as openai-whisper's file has them.
fn as_tiktoken(layout: &Value) -> String {
    let byte = |letter: char| match u32::from(letter) {
        code @ 0..256 => code as u8,
        // Bytes that are not printable follow in order: 0-32, 127-160, 173.
        code => (0..=u8::MAX).filter(|b| matches!(b, 0..=0x20 | 0x7f..=0xa0 | 0xad)).nth(code as usize - 256).unwrap(),
    };
    let vocabulary = layout["model"]["vocab"].as_object().unwrap();
    let by_rank: BTreeMap<u64, &String> = vocabulary.iter().map(|(token, id)| (id.as_u64().unwrap(), token)).collect();
    let line =
        |(rank, token): (&u64, &&String)| format!("{} {rank}\n", base64(&token.chars().map(byte).collect::<Vec<_>>()));
    by_rank.iter().map(line).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = (0..3).fold(0_usize, |bits, i| bits << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        let letter = |i: usize| if i > chunk.len() { '=' } else { char::from(LETTERS[bits >> (18 - 6 * i) & 63]) };
        (0..4).map(letter).collect::<String>()
    };
    // The empty token is written so in the original file.
    if bytes.is_empty() { "=".to_owned() } else { bytes.chunks(3).map(group).collect() }
}

#[test]
fn whisper_ids_and_texts_are_those_of_openai_whisper() {
    let layout = stored("whisper_multilingual_tokenizer.json");
    let (_dir, loaded) = whisper(&[("tokenizer.json", &layout)]);
    check_whisper("whisper_multilingual", &loaded.unwrap());
}

#[test]
fn whisper_vocabularies_are_read_from_tiktoken_files_too() {
    let layout: Value = stored_json("whisper_multilingual_tokenizer.json");
    let multilingual = as_tiktoken(&layout);
    let english = stored("gpt2.tiktoken");
    let specials: Vec<String> = stored_json("whisper_specials.json");
    for (name, file, content, size, languages) in [
        ("whisper_multilingual", "multilingual.tiktoken", multilingual.as_bytes(), 51_865, 99),
        ("whisper_multilingual", "multilingual.tiktoken", multilingual.as_bytes(), 51_866, 100),
        ("whisper_gpt2", "gpt2.tiktoken", &english, 51_864, 99),
    ] {
        let config = json!({ "vocab_size": size }).to_string();
        let (_dir, loaded) = whisper(&[(file, content), ("config.json", config.as_bytes())]);
        let tokenizer = loaded.unwrap();
        check_whisper(name, &tokenizer);
        let end = tokenizer.token_to_id("<|endoftext|>").unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), size);
        let expected = specials.iter().filter(|special| languages == 100 || *special != "<|yue|>");
        for (i, special) in expected.enumerate() {
            assert_eq!(tokenizer.token_to_id(special), Some(end + i as u32), "{special}");
        }
    }
    for damaged in [&multilingual.as_bytes()[..5000], b"junk", b""] {
        let (_dir, loaded) =
            whisper(&[("multilingual.tiktoken", damaged), ("config.json", br#"{"vocab_size": 51865}"#)]);
        let error = loaded.unwrap_err();
        assert!(error.contains("multilingual.tiktoken"), "{error}");
    }
}

#[test]
fn languages_are_those_of_the_models() {
    #[derive(Deserialize)]
    struct Lists {
        whisper: HashMap<String, String>,
        nllb: Vec<String>,
        m2m100: Vec<String>,
    }
    let lists: Lists = stored_json("languages.json");
    assert_eq!((lists.whisper.len(), lists.nllb.len(), lists.m2m100.len()), (100, 202, 100));
    assert_eq!(Language::nllb_codes().collect::<Vec<_>>(), lists.nllb, "in the order of NLLB's tokens");
    let codes = |code: fn(&Language) -> Option<&'static str>| -> BTreeSet<String> {
        Language::all().iter().filter_map(code).map(str::to_owned).collect()
    };
    assert_eq!(codes(Language::whisper), lists.whisper.keys().cloned().collect());
    assert_eq!(codes(Language::m2m100), lists.m2m100.iter().cloned().collect());
    assert!(lists.m2m100.is_sorted(), "the tokens are in the order of the codes");
    for code in lists.whisper.keys() {
        let language = Language::from_whisper(code).unwrap();
        assert_eq!(Language::parse(code).and_then(Language::whisper), Some(code.as_str()));
        assert_eq!(Language::parse(language.tag()), Some(language), "{code}");
    }
    for code in &lists.nllb {
        assert_eq!(Language::from_nllb(code).and_then(Language::nllb), Some(code.as_str()));
        assert_eq!(Language::parse(code).and_then(Language::nllb), Some(code.as_str()), "{code}");
    }
    for language in Language::all() {
        assert_eq!(Language::parse(language.tag()), Some(language), "{}", language.tag());
    }
}
