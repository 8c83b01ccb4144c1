//! Whisper's vocabulary from `tokenizer.json`, or from the file the original models come with,
//! `multilingual.tiktoken` or `gpt2.tiktoken`.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::directory::{ModelDirectory, read};
use crate::error::ModelError;
use crate::language::WHISPER;

/// Timestamp tokens: 0.00 to 30.00 seconds in steps of 0.02.
const TIMESTAMPS: usize = 1501;
/// Languages of the models before large-v3, and of the English-only ones.
const FEWEST_LANGUAGES: usize = 99;

/// Loads the vocabulary a model directory has. A text that spells out a special token or a timestamp stays text.
///
/// # Errors
/// When the directory has no such file, or one that makes no sense.
pub fn load(directory: &ModelDirectory) -> Result<Tokenizer, ModelError> {
    let (path, layout) = match directory.file("tokenizer.json") {
        Some(path) => {
            let layout = serde_json::from_slice(&read(&path)?).map_err(|e| e.to_string());
            (path, layout)
        }
        None => tiktoken(directory)?,
    };
    let fault = |reason: String| ModelError::Malformed { path, reason };
    layout.and_then(tokenizer).map_err(fault)
}

/// Builds the vocabulary that a layout tells of.
fn tokenizer(layout: Value) -> Result<Tokenizer, String> {
    let mut tokenizer: Tokenizer = serde_json::from_value(parts(layout)?).map_err(|e| e.to_string())?;
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

/// What a vocabulary of Whisper has, taken out of whatever else the file says. The library builds other kinds as well, and some of
/// those panic at numbers that make no sense.
fn parts(mut layout: Value) -> Result<Value, String> {
    for (part, kind) in [("model", "BPE"), ("pre_tokenizer", "ByteLevel"), ("decoder", "ByteLevel")] {
        let found = &layout[part]["type"];
        if found != kind {
            return Err(format!("its {part} is of the type {found}, that of a Whisper model of \"{kind}\""));
        }
    }
    whole_merges(&layout["model"])?;
    let mut take = |path: &str| layout.pointer_mut(path).map(Value::take);
    let mut added = take("/added_tokens").unwrap_or(json!([]));
    for token in added.as_array_mut().into_iter().flatten() {
        // Timestamps come without this mark, and would be recognised in a text.
        if let Some(token) = token.as_object_mut() {
            token.insert("special".to_owned(), Value::Bool(true));
        }
    }
    let model = json!({
        "type": "BPE", "vocab": take("/model/vocab"), "merges": take("/model/merges"),
        "unk_token": take("/model/unk_token"), "ignore_merges": take("/model/ignore_merges").unwrap_or(json!(false)),
    });
    Ok(json!({
        "version": "1.0", "added_tokens": added,
        "pre_tokenizer": take("/pre_tokenizer"), "decoder": take("/decoder"), "model": model,
    }))
}

/// Checks that no merge is longer than every token: the library takes it for granted.
fn whole_merges(model: &Value) -> Result<(), String> {
    let tokens = model["vocab"].as_object().into_iter().flat_map(|tokens| tokens.keys());
    let longest = tokens.map(String::len).max().unwrap_or(0);
    let length = |merge: &Value| match merge {
        // Two tokens, and a space between them.
        Value::String(both) => both.len().saturating_sub(1),
        Value::Array(both) => both.iter().filter_map(Value::as_str).map(str::len).sum(),
        _ => 0,
    };
    match model["merges"].as_array().into_iter().flatten().find(|merge| length(merge) > longest) {
        Some(merge) => Err(format!("it merges {merge} to what is no token")),
        None => Ok(()),
    }
}

/// For the fuzz targets alone: a vocabulary from the bytes of a `tokenizer.json`.
///
/// # Errors
/// What is wrong with it.
#[doc(hidden)]
pub fn probe_json(file: &[u8]) -> Result<Tokenizer, String> {
    serde_json::from_slice(file).map_err(|e| e.to_string()).and_then(tokenizer)
}

/// For the fuzz targets alone: how many tokens a tiktoken file has, and the vocabulary that they make. The special tokens, 1608
/// that are always the same, are left out: they would take a hundred times as long as the rest.
///
/// # Errors
/// What is wrong with it.
#[doc(hidden)]
pub fn probe_tiktoken(file: &[u8]) -> Result<(usize, Tokenizer), String> {
    let tokens = ranked_tokens(file)?;
    Ok((tokens.len(), tokenizer(layout(&tokens, Vec::new())?)?))
}

/// The path of a tiktoken file and its content in the layout of `tokenizer.json`.
fn tiktoken(directory: &ModelDirectory) -> Result<(PathBuf, Result<Value, String>), ModelError> {
    #[derive(Deserialize)]
    struct Config {
        vocab_size: usize,
    }
    let wanted = "tokenizer.json, nor multilingual.tiktoken or gpt2.tiktoken";
    let path = directory.file("multilingual.tiktoken").or_else(|| directory.file("gpt2.tiktoken"));
    let path = path.ok_or_else(|| ModelError::NoTokenizer { path: directory.path().to_owned(), wanted })?;
    let size = directory.json::<Config>("config.json")?.vocab_size;
    let layout = ranked_tokens(&read(&path)?).and_then(|tokens| {
        let specials = specials(tokens.len(), size)?;
        layout(&tokens, specials)
    });
    Ok((path, layout))
}

/// The lines of the file, a token in base64 and its rank, in the order of the ranks. One token of the multilingual
/// vocabulary is empty.
fn ranked_tokens(file: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let text = std::str::from_utf8(file).map_err(|_| "it is not text".to_owned())?;
    let mut tokens = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let fault = || format!("\"{line}\" is not a token and its rank in order");
        let (token, rank) = line.split_once(' ').ok_or_else(fault)?;
        if rank.parse() != Ok(tokens.len()) {
            return Err(fault());
        }
        tokens.push(from_base64(token).ok_or_else(fault)?);
    }
    Ok(tokens)
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

fn layout(tokens: &[Vec<u8>], specials: Vec<String>) -> Result<Value, String> {
    let letters = letters();
    let spell = |token: &[u8]| -> String { token.iter().map(|byte| letters[usize::from(*byte)]).collect() };
    let ranks: HashMap<&[u8], usize> =
        tokens.iter().enumerate().map(|(rank, token)| (token.as_slice(), rank)).collect();
    let mut merges = Vec::new();
    for token in tokens.iter().filter(|token| token.len() > 1) {
        let (left, right) = halves(&ranks, token).ok_or("a token is no merge of those before it")?;
        merges.push(json!([spell(left), spell(right)]));
    }
    let vocabulary: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(rank, token)| (spell(token), rank.into())).collect();
    let added = |(i, content): (usize, String)| {
        json!({
            "id": tokens.len() + i, "content": content, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    Ok(json!({
        "version": "1.0",
        "added_tokens": specials.into_iter().enumerate().map(added).collect::<Vec<_>>(),
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocabulary, "merges": merges },
    }))
}

/// The special tokens of a model with `size` tokens, which follow the `ordinary` ones. How many languages there are
/// follows from the size.
fn specials(ordinary: usize, size: usize) -> Result<Vec<String>, String> {
    const BEFORE: [&str; 2] = ["endoftext", "startoftranscript"];
    const AFTER: [&str; 6] = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"];
    let languages = size.checked_sub(ordinary + BEFORE.len() + AFTER.len() + TIMESTAMPS);
    let languages = languages.filter(|count| (FEWEST_LANGUAGES..=WHISPER.len()).contains(count));
    let languages = languages.ok_or_else(|| format!("{ordinary} tokens do not fit config.json's vocab_size {size}"))?;
    let named = BEFORE.iter().chain(&WHISPER[..languages]).chain(&AFTER).map(|name| format!("<|{name}|>"));
    let times = (0..TIMESTAMPS).map(|i| format!("<|{}.{:02}|>", i / 50, i % 50 * 2));
    Ok(named.chain(times).collect())
}

/// The two tokens a token is merged from: where merging by rank ends when the token itself is not allowed.
fn halves<'a>(ranks: &HashMap<&[u8], usize>, token: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut cuts: Vec<usize> = (0..=token.len()).collect();
    while cuts.len() > 3 {
        let pairs = cuts.windows(3).enumerate().filter(|(_, cut)| cut[2] - cut[0] < token.len());
        let ranked = pairs.filter_map(|(i, cut)| Some((*ranks.get(&token[cut[0]..cut[2]])?, i)));
        let (_, lowest) = ranked.min()?;
        cuts.remove(lowest + 1);
    }
    Some(token.split_at(*cuts.get(1)?))
}

/// The letter byte-level BPE writes each byte in: printable Latin-1 ones stand for themselves, the others follow from
/// U+0100 on (as in GPT-2's vocabulary).
fn letters() -> Vec<char> {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut others = '\u{100}'..;
    let letter = |byte| if printable(byte) { char::from(byte) } else { others.next().unwrap_or_default() };
    (0..=u8::MAX).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_ranks_are_read_or_refused() {
        assert_eq!(
            ranked_tokens(b"IQ== 0\nIGE= 1\n/+8h 2\n= 3\n").unwrap(),
            [b"!".to_vec(), b" a".to_vec(), vec![255, 239, 33], vec![]]
        );
        for damaged in [&b"IQ=="[..], b"IQ== 1", b"I*== 0", b"IQ== x", b"\xff"] {
            assert!(ranked_tokens(damaged).is_err(), "{damaged:?}");
        }
    }

    /// Each of these made the library panic, or this module.
    #[test]
    fn what_no_whisper_model_has_is_refused_or_left_out() {
        let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true });
        let whole = json!({
            "version": "1.0", "pre_tokenizer": byte_level, "decoder": byte_level,
            "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "ab": 2 }, "merges": ["a b"] },
        });
        let read = |layout: &Value| probe_json(layout.to_string().as_bytes()).map_err(|error| error.to_string());
        assert_eq!(read(&whole).unwrap().get_vocab_size(true), 3);
        for nothing in [json!([]), json!("a"), json!(1), json!({})] {
            assert!(read(&nothing).unwrap_err().contains("its model is of the type null"), "{nothing}");
        }
        let with = |path: &str, value: Value| {
            let mut layout = whole.clone();
            let (part, key) = path.rsplit_once('/').unwrap();
            let part = layout.pointer_mut(part).and_then(Value::as_object_mut).unwrap();
            part.insert(key.to_owned(), value);
            read(&layout)
        };
        assert!(with("/model/continuing_subword_prefix", json!("longer than what it stands before")).is_ok());
        assert!(with("/normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "BAAAAP///38=" })).is_ok());
        assert!(with("/truncation", json!({ "max_length": 1, "stride": 9 })).is_ok());
        assert!(with("/model/type", json!("Unigram")).unwrap_err().contains("Unigram"));
        assert!(with("/model/merges", json!(["a b", "ab a"])).unwrap_err().contains("no token"));
        assert!(with("/model/merges", json!([["ab", "b"]])).unwrap_err().contains("no token"));
        assert!(with("/decoder", Value::Null).unwrap_err().contains("its decoder"));
    }

    #[test]
    fn a_vocabulary_of_the_wrong_size_is_refused() {
        assert_eq!(specials(50_257, 51_865).unwrap().len(), 1608);
        assert_eq!(specials(50_257, 51_866).unwrap()[101], "<|yue|>");
        assert_eq!(specials(50_256, 51_864).unwrap().last().unwrap(), "<|30.00|>");
        assert!(specials(50_257, 51_000).unwrap_err().contains("51000"));
        assert!(specials(50_257, 100).is_err());
    }
}
