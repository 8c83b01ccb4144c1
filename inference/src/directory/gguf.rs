//! A GGUF file: quantised tensors under Hugging Face's names or llama.cpp's.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::gguf_header::Header;
use super::weights::{Source, open};
use crate::error::ModelError;

#[derive(Debug)]
pub(super) struct GgufFile {
    path: PathBuf,
    header: Header,
    /// Hugging Face's name to the file's.
    names: HashMap<String, String>,
}

impl GgufFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, ModelError> {
        let (file, length) = open(&path)?;
        let header = Header::read(&mut BufReader::new(file), length);
        let header = header.map_err(|reason| ModelError::Malformed { path: path.clone(), reason })?;
        // A gated feed-forward block has two first halves, and then llama.cpp's "up" is the second.
        let gated = header.tensors.keys().any(|name| name.contains(".ffn_gate."));
        let named = header.tensors.keys().map(|name| (hugging_face_name(name, gated), name.clone()));
        let names = named.collect();
        Ok(Self { path, header, names })
    }

    fn load(&self, name: &str, device: &Device) -> Result<QTensor, String> {
        let info = self.names.get(name).and_then(|own| self.header.tensors.get(own)).ok_or("is missing")?;
        let mut file = File::open(&self.path).map_err(|e| e.to_string())?;
        info.read(&mut file, self.header.start, device).map_err(|e| e.to_string())
    }
}

impl Source for GgufFile {
    fn tensors(&self) -> Vec<(&str, &[usize])> {
        let shape = |name: &String| self.header.tensors.get(name).map(|info| info.shape.dims());
        self.names.iter().filter_map(|(name, own)| Some((name.as_str(), shape(own)?))).collect()
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor, String> {
        self.load(name, device)?.dequantize(device).map_err(|e| e.to_string())
    }

    fn quantized(&self, name: &str, device: &Device) -> Result<Option<QTensor>, String> {
        let info = self.names.get(name).and_then(|own| self.header.tensors.get(own)).ok_or("is missing")?;
        match info.ggml_dtype {
            GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 => Ok(None),
            _ => self.load(name, device).map(Some),
        }
    }
}

/// The name a T5 tensor has at Hugging Face when it has one of llama.cpp's (the T5 part of the tensor name table in
/// gguf-py); any other name stays.
fn hugging_face_name(name: &str, gated: bool) -> String {
    translated(name, gated).unwrap_or_else(|| name.to_owned())
}

fn translated(name: &str, gated: bool) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("shared.weight".to_owned()),
        "output.weight" => return Some("lm_head.weight".to_owned()),
        "enc.output_norm.weight" => return Some("encoder.final_layer_norm.weight".to_owned()),
        "dec.output_norm.weight" => return Some("decoder.final_layer_norm.weight".to_owned()),
        _ => {}
    }
    let (side, rest) = name.split_once(".blk.")?;
    let (block, part) = rest.strip_suffix(".weight")?.split_once('.')?;
    let (stack, feed_forward) = match side {
        "enc" => ("encoder", 1),
        "dec" => ("decoder", 2),
        _ => return None,
    };
    let attention = |letter: &str| match letter {
        "q" | "k" | "v" | "o" => Some(letter.to_owned()),
        "rel_b" => Some("relative_attention_bias".to_owned()),
        _ => None,
    };
    let layer = match part {
        "attn_norm" => "0.layer_norm".to_owned(),
        "cross_attn_norm" => "1.layer_norm".to_owned(),
        "ffn_norm" => format!("{feed_forward}.layer_norm"),
        "ffn_gate" => format!("{feed_forward}.DenseReluDense.wi_0"),
        "ffn_up" => format!("{feed_forward}.DenseReluDense.{}", if gated { "wi_1" } else { "wi" }),
        "ffn_down" => format!("{feed_forward}.DenseReluDense.wo"),
        part => match part.strip_prefix("cross_attn_") {
            Some(letter) => format!("1.EncDecAttention.{}", attention(letter)?),
            None => format!("0.SelfAttention.{}", attention(part.strip_prefix("attn_")?)?),
        },
    };
    Some(format!("{stack}.block.{block}.layer.{layer}.weight"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_cpp_names_become_hugging_face_names() {
        for (own, name) in [
            ("token_embd.weight", "shared.weight"),
            ("output.weight", "lm_head.weight"),
            ("enc.output_norm.weight", "encoder.final_layer_norm.weight"),
            ("enc.blk.0.attn_q.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"),
            ("enc.blk.0.attn_rel_b.weight", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
            ("enc.blk.11.ffn_up.weight", "encoder.block.11.layer.1.DenseReluDense.wi_1.weight"),
            ("enc.blk.11.ffn_norm.weight", "encoder.block.11.layer.1.layer_norm.weight"),
            ("dec.blk.3.attn_o.weight", "decoder.block.3.layer.0.SelfAttention.o.weight"),
            ("dec.blk.3.cross_attn_norm.weight", "decoder.block.3.layer.1.layer_norm.weight"),
            ("dec.blk.3.cross_attn_k.weight", "decoder.block.3.layer.1.EncDecAttention.k.weight"),
            ("dec.blk.3.ffn_gate.weight", "decoder.block.3.layer.2.DenseReluDense.wi_0.weight"),
            ("dec.blk.3.ffn_down.weight", "decoder.block.3.layer.2.DenseReluDense.wo.weight"),
            ("decoder.block.0.layer.0.layer_norm.weight", "decoder.block.0.layer.0.layer_norm.weight"),
            ("enc.blk.0.strange.weight", "enc.blk.0.strange.weight"),
        ] {
            assert_eq!(hugging_face_name(own, true), name);
        }
        let up = hugging_face_name("dec.blk.0.ffn_up.weight", false);
        assert_eq!(up, "decoder.block.0.layer.2.DenseReluDense.wi.weight");
    }
}
