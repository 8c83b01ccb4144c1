//! Whole model directories of a few kilobytes, with random weights: enough to hold the engine to its promises.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::Tensor;
use serde_json::{Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::parity_weights::{fixture, tensor};

const WIDTH: usize = 32;
const INNER: usize = 64;
const LAYERS: usize = 2;

/// Specials of the tiny Whisper, in order, right after the 256 bytes.
const SPECIALS: [&str; 12] = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|es|>",
    "<|ja|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
    "<|0.00|>",
    "<|0.02|>",
];
const WHISPER_TOKENS: usize = 256 + SPECIALS.len();

/// Writes a model that hears 10 s and speaks in lower-case letters, one a token.
pub(crate) fn write_whisper(dir: &Path) {
    let config = json!({
        "d_model": WIDTH, "encoder_layers": LAYERS, "encoder_attention_heads": 2, "encoder_ffn_dim": INNER,
        "decoder_layers": LAYERS, "decoder_attention_heads": 4, "decoder_ffn_dim": INNER,
        "vocab_size": WHISPER_TOKENS, "num_mel_bins": 80, "max_source_positions": 500, "max_target_positions": 96,
    });
    let vocabulary = bytes();
    let letter = |token: &str| token.len() == 1 && token.as_bytes()[0].is_ascii_lowercase();
    let others: Vec<u32> = vocabulary.iter().filter(|(token, _)| !letter(token)).map(|(_, id)| *id).collect();
    write_json(dir, "config.json", &config);
    write_json(dir, "generation_config.json", &json!({ "suppress_tokens": others }));
    let special = |(i, token): (usize, &&str)| {
        json!({
            "id": 256 + i, "content": token, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": SPECIALS.iter().enumerate().map(special).collect::<Vec<_>>(),
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocabulary, "merges": [] },
    });
    write_json(dir, "tokenizer.json", &tokenizer);
    let mut shapes = shapes_of_layers();
    shapes.extend([
        ("model.encoder.conv1.weight".to_owned(), vec![WIDTH, 80, 3]),
        ("model.encoder.conv1.bias".to_owned(), vec![WIDTH]),
        ("model.encoder.conv2.weight".to_owned(), vec![WIDTH, WIDTH, 3]),
        ("model.encoder.conv2.bias".to_owned(), vec![WIDTH]),
        ("model.encoder.layer_norm.weight".to_owned(), vec![WIDTH]),
        ("model.encoder.layer_norm.bias".to_owned(), vec![WIDTH]),
        ("model.decoder.layer_norm.weight".to_owned(), vec![WIDTH]),
        ("model.decoder.layer_norm.bias".to_owned(), vec![WIDTH]),
        ("model.decoder.embed_tokens.weight".to_owned(), vec![WHISPER_TOKENS, WIDTH]),
        ("model.decoder.embed_positions.weight".to_owned(), vec![96, WIDTH]),
    ]);
    write_weights(dir, &shapes);
}

/// Bytes in the letters byte-level BPE writes them in.
fn bytes() -> BTreeMap<String, u32> {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    alphabet.into_iter().zip(0..).map(|(letter, id)| (letter.to_string(), id)).collect()
}

/// Writes a model with one `tokenizer.json` for both sides, a letter a token.
pub(crate) fn write_joint_marian(dir: &Path) {
    let letters = "▁abcdefghijklmnopqrstuvwxyz.,".chars().map(String::from);
    let names = ["</s>", "<unk>", "<pad>"].map(String::from).into_iter().chain(letters);
    let vocabulary: BTreeMap<String, u32> = names.zip(0..).collect();
    let special = |id: u32, token: &str| {
        json!({
            "id": id, "content": token, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let metaspace = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true });
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [special(0, "</s>"), special(1, "<unk>"), special(2, "<pad>")],
        "pre_tokenizer": metaspace, "decoder": metaspace,
        "model": { "type": "BPE", "unk_token": "<unk>", "vocab": vocabulary, "merges": [] },
    });
    write_json(dir, "tokenizer.json", &tokenizer);
    write_marian(dir, vocabulary.len(), (0, 2));
}

/// Writes a model of many languages with one `tokenizer.json`, a letter a token: M2M100 with English, Spanish and French.
pub(crate) fn write_m2m100(dir: &Path) {
    let letters = "▁abcdefghijklmnopqrstuvwxyz.,".chars().map(String::from);
    let names = ["<s>", "<pad>", "</s>", "<unk>"].map(String::from).into_iter().chain(letters);
    let vocabulary: BTreeMap<String, u32> = names.zip(0..).collect();
    let languages = ["__en__", "__es__", "__fr__"];
    let special = |(i, token): (usize, &&str)| {
        json!({
            "id": vocabulary.len() + i, "content": token, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let metaspace = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true });
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": languages.iter().enumerate().map(special).collect::<Vec<_>>(),
        "pre_tokenizer": metaspace, "decoder": metaspace,
        "model": { "type": "BPE", "unk_token": "<unk>", "vocab": vocabulary, "merges": [] },
    });
    write_json(dir, "tokenizer.json", &tokenizer);
    let tokens = vocabulary.len() + languages.len();
    let config = json!({
        "model_type": "m2m_100", "d_model": WIDTH, "encoder_layers": LAYERS, "encoder_attention_heads": 4,
        "encoder_ffn_dim": INNER, "decoder_layers": LAYERS, "decoder_attention_heads": 4, "decoder_ffn_dim": INNER,
        "vocab_size": tokens, "max_position_embeddings": 64, "activation_function": "relu", "scale_embedding": true,
        "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
    });
    write_json(dir, "config.json", &config);
    let mut shapes = shapes_of_layers();
    shapes.insert("model.shared.weight".to_owned(), vec![tokens, WIDTH]);
    for side in ["encoder", "decoder"] {
        shapes.insert(format!("model.{side}.layer_norm.weight"), vec![WIDTH]);
        shapes.insert(format!("model.{side}.layer_norm.bias"), vec![WIDTH]);
    }
    write_weights(dir, &shapes);
}

/// Writes the configuration of a T5 with gated blocks and its weights, which are returned; no tokenizer.
pub(crate) fn write_t5(dir: &Path) -> HashMap<String, Tensor> {
    const HEADS: usize = 2;
    const SIZE: usize = 32;
    const TOKENS: usize = 96;
    let width = 64;
    let config = json!({
        "model_type": "t5", "d_model": width, "d_kv": SIZE, "d_ff": 2 * width, "num_layers": LAYERS,
        "num_decoder_layers": LAYERS, "num_heads": HEADS, "vocab_size": TOKENS, "feed_forward_proj": "gated-gelu",
        "relative_attention_num_buckets": 32, "tie_word_embeddings": false, "pad_token_id": 0, "eos_token_id": 1,
    });
    write_json(dir, "config.json", &config);
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    shapes.insert("shared.weight".to_owned(), vec![TOKENS, width]);
    shapes.insert("lm_head.weight".to_owned(), vec![TOKENS, width]);
    for (side, attentions) in [("encoder", &["SelfAttention"][..]), ("decoder", &["SelfAttention", "EncDecAttention"])]
    {
        shapes.insert(format!("{side}.final_layer_norm.weight"), vec![width]);
        let bias = format!("{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        shapes.insert(bias, vec![32, HEADS]);
        for layer in (0..LAYERS).map(|i| format!("{side}.block.{i}.layer")) {
            for (i, attention) in attentions.iter().enumerate() {
                for part in ["q", "k", "v"] {
                    shapes.insert(format!("{layer}.{i}.{attention}.{part}.weight"), vec![HEADS * SIZE, width]);
                }
                shapes.insert(format!("{layer}.{i}.{attention}.o.weight"), vec![width, HEADS * SIZE]);
                shapes.insert(format!("{layer}.{i}.layer_norm.weight"), vec![width]);
            }
            let last = attentions.len();
            shapes.insert(format!("{layer}.{last}.layer_norm.weight"), vec![width]);
            for wide in ["wi_0", "wi_1"] {
                shapes.insert(format!("{layer}.{last}.DenseReluDense.{wide}.weight"), vec![2 * width, width]);
            }
            shapes.insert(format!("{layer}.{last}.DenseReluDense.wo.weight"), vec![width, 2 * width]);
        }
    }
    write_weights(dir, &shapes);
    shapes.iter().map(|(name, shape)| (name.clone(), tensor(name, shape))).collect()
}

/// Writes a model with the SentencePiece files of the parity fixtures.
pub(crate) fn write_spm_marian(dir: &Path) {
    for file in ["source.spm", "target.spm", "vocab.json"] {
        std::fs::copy(fixture(file), dir.join(file)).unwrap();
    }
    let vocabulary: HashMap<String, u32> =
        serde_json::from_slice(&std::fs::read(fixture("vocab.json")).unwrap()).unwrap();
    write_marian(dir, vocabulary.len(), (vocabulary["</s>"], vocabulary["<pad>"]));
}

fn write_marian(dir: &Path, tokens: usize, (end, pad): (u32, u32)) {
    let config = json!({
        "d_model": WIDTH, "encoder_layers": LAYERS, "encoder_attention_heads": 4, "encoder_ffn_dim": INNER,
        "decoder_layers": LAYERS, "decoder_attention_heads": 4, "decoder_ffn_dim": INNER,
        "vocab_size": tokens, "max_position_embeddings": 64, "activation_function": "relu", "scale_embedding": true,
        "pad_token_id": pad, "eos_token_id": end, "decoder_start_token_id": pad,
    });
    write_json(dir, "config.json", &config);
    let mut shapes = shapes_of_layers();
    shapes.insert("model.shared.weight".to_owned(), vec![tokens, WIDTH]);
    shapes.insert("final_logits_bias".to_owned(), vec![1, tokens]);
    write_weights(dir, &shapes);
}

fn shapes_of_layers() -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    let mut linear = |name: String, output: usize, input: usize| {
        shapes.insert(format!("{name}.weight"), vec![output, input]);
        shapes.insert(format!("{name}.bias"), vec![output]);
    };
    let mut norms = Vec::new();
    for (side, attentions) in [("encoder", &["self_attn"][..]), ("decoder", &["self_attn", "encoder_attn"])] {
        for layer in (0..LAYERS).map(|i| format!("model.{side}.layers.{i}")) {
            for attention in attentions {
                for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                    linear(format!("{layer}.{attention}.{part}"), WIDTH, WIDTH);
                }
                norms.push(format!("{layer}.{attention}_layer_norm"));
            }
            linear(format!("{layer}.fc1"), INNER, WIDTH);
            linear(format!("{layer}.fc2"), WIDTH, INNER);
            norms.push(format!("{layer}.final_layer_norm"));
        }
    }
    for norm in norms {
        shapes.insert(format!("{norm}.weight"), vec![WIDTH]);
        shapes.insert(format!("{norm}.bias"), vec![WIDTH]);
    }
    shapes
}

fn write_weights(dir: &Path, shapes: &BTreeMap<String, Vec<usize>>) {
    let tensors = shapes.iter().map(|(name, shape)| (name.clone(), tensor(name, shape))).collect();
    candle_core::safetensors::save::<String, _>(&tensors, dir.join("model.safetensors")).unwrap();
}

/// Writes the model's weights anew, one of them changed.
pub(crate) fn change_weight(dir: &Path, name: &str, change: impl FnOnce(Tensor) -> Option<Tensor>) {
    let file = dir.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&file, &candle_core::Device::Cpu).unwrap();
    let old = tensors.remove(name).unwrap();
    tensors.extend(change(old).map(|new| (name.to_owned(), new)));
    candle_core::safetensors::save(&tensors, file).unwrap();
}

pub(crate) fn write_json(dir: &Path, name: &str, value: &Value) {
    std::fs::write(dir.join(name), value.to_string()).unwrap();
}
