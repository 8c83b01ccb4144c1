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
    let mut layout: Value = match layout {
        Ok(layout) => layout,
        Err(reason) => return Err(fault(reason)),
    };
    for token in layout["added_tokens"].as_array_mut().into_iter().flatten() {
        // Timestamps come without this mark, and would be recognised in a text.
        if let Some(token) = token.as_object_mut() {
            token.insert("special".to_owned(), Value::Bool(true));
        }
    }
    let mut tokenizer: Tokenizer = serde_json::from_value(layout).map_err(|e| fault(e.to_string()))?;
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

/// For the fuzz targets alone: how many tokens a tiktoken file of a model with `size` tokens has.
///
/// # Errors
/// What is wrong with it.
#[doc(hidden)]
pub fn probe_tiktoken(file: &[u8], size: usize) -> Result<usize, String> {
    let tokens = ranked_tokens(file)?;
    let written = layout(&tokens, size)?;
    serde_json::from_value::<Tokenizer>(written).map(|_| tokens.len()).map_err(|e| e.to_string())
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
    let layout = ranked_tokens(&read(&path)?).and_then(|tokens| layout(&tokens, size));
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

fn layout(tokens: &[Vec<u8>], size: usize) -> Result<Value, String> {
    let specials = specials(tokens.len(), size)?;
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

    #[test]
    fn a_vocabulary_of_the_wrong_size_is_refused() {
        assert_eq!(specials(50_257, 51_865).unwrap().len(), 1608);
        assert_eq!(specials(50_257, 51_866).unwrap()[101], "<|yue|>");
        assert_eq!(specials(50_256, 51_864).unwrap().last().unwrap(), "<|30.00|>");
        assert!(specials(50_257, 51_000).unwrap_err().contains("51000"));
        assert!(specials(50_257, 100).is_err());
    }
}
