//! Whisper: configuration, weights, and the encoder from log-mel frames.

use candle_core::{Device, Tensor};
use serde::Deserialize;

use crate::decoder::{Decoder, DecoderParts};
use crate::directory::{ModelDirectory, Weights};
use crate::error::ModelError;
use crate::layers::{Activation, BlockShape, EncoderStack, sinusoids};

/// The keys of `config.json` that shape the network.
#[derive(Debug, Clone, Deserialize)]
pub struct WhisperConfig {
    /// Width of every layer.
    pub d_model: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Attention heads of each.
    pub encoder_attention_heads: usize,
    /// Inner width of their feed-forward blocks.
    pub encoder_ffn_dim: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Attention heads of each.
    pub decoder_attention_heads: usize,
    /// Inner width of their feed-forward blocks.
    pub decoder_ffn_dim: usize,
    /// Tokens.
    pub vocab_size: usize,
    /// Bands of the features: 80 or 128.
    pub num_mel_bins: usize,
    /// Encoder positions of the whole window, 20 ms each: 1500 are 30 s.
    pub max_source_positions: usize,
    /// Tokens a decoded window may have, prompt included.
    pub max_target_positions: usize,
    /// Function of the feed-forward blocks.
    #[serde(default = "gelu")]
    pub activation_function: Activation,
}

fn gelu() -> Activation {
    Activation::Gelu
}

impl WhisperConfig {
    fn block(&self, heads: usize, inner: usize) -> BlockShape {
        let (width, activation) = (self.d_model, self.activation_function);
        BlockShape { width, heads, inner, activation, norm_first: true }
    }
}

/// The network.
#[derive(Debug)]
pub struct Whisper {
    config: WhisperConfig,
    device: Device,
    first: Convolution,
    second: Convolution,
    /// (positions, width)
    positions: Tensor,
    encoder: EncoderStack,
    decoder: Decoder,
}

#[derive(Debug)]
struct Convolution {
    weight: Tensor,
    /// (1, channels, 1)
    bias: Tensor,
    stride: usize,
}

impl Convolution {
    fn load(weights: &Weights, name: &str, channels: (usize, usize), stride: usize) -> Result<Self, ModelError> {
        let (input, output) = channels;
        let bias = weights.get(&format!("{name}.bias"), &[output])?.reshape((1, output, 1))?;
        Ok(Self { weight: weights.get(&format!("{name}.weight"), &[output, input, 3])?, bias, stride })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.conv1d(&self.weight, 1, self.stride, 1, 1)?.broadcast_add(&self.bias)?.gelu_erf()
    }
}

impl Whisper {
    /// Loads `config.json` and the weights.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong; the message names it.
    pub fn load(directory: &ModelDirectory, device: &Device) -> Result<Self, ModelError> {
        let config: WhisperConfig = directory.json("config.json")?;
        let weights = directory.weights(device)?;
        let width = config.d_model;
        let positions = config.max_source_positions;
        let positions = match weights.optional("model.encoder.embed_positions.weight", &[positions, width])? {
            Some(table) => table,
            None => sinusoids(positions, width, 1.0 / (width / 2 - 1) as f64, device)?,
        };
        let encoder_shape = config.block(config.encoder_attention_heads, config.encoder_ffn_dim);
        let embeddings = weights.get("model.decoder.embed_tokens.weight", &[config.vocab_size, width])?;
        let parts = DecoderParts {
            layers: config.decoder_layers,
            shape: config.block(config.decoder_attention_heads, config.decoder_ffn_dim),
            output: embeddings.clone(),
            embeddings,
            embedding_scale: 1.0,
            positions: weights.get("model.decoder.embed_positions.weight", &[config.max_target_positions, width])?,
            output_bias: None,
        };
        Ok(Self {
            first: Convolution::load(&weights, "model.encoder.conv1", (config.num_mel_bins, width), 1)?,
            second: Convolution::load(&weights, "model.encoder.conv2", (width, width), 2)?,
            positions,
            encoder: EncoderStack::load(&weights, "model.encoder", config.encoder_layers, &encoder_shape)?,
            decoder: Decoder::load(&weights, "model.decoder", parts)?,
            device: device.clone(),
            config,
        })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &WhisperConfig {
        &self.config
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Features of equally long rows, each `num_mel_bins` x `frames` values, to the encoder's output,
    /// (rows, frames / 2, width). Frames may be fewer than the whole window.
    ///
    /// # Errors
    /// When a row has another length, or the frames are more than the window.
    pub fn encode(&self, features: &[Vec<f32>], frames: usize) -> Result<Tensor, ModelError> {
        let limit = 2 * self.config.max_source_positions;
        if frames > limit {
            return Err(ModelError::TooLong { what: "audio (frames of 10 ms)", got: frames, limit });
        }
        let shape = (features.len(), self.config.num_mel_bins, frames);
        let x = Tensor::from_vec(features.concat(), shape, &self.device)?;
        let x = self.second.forward(&self.first.forward(&x)?)?.transpose(1, 2)?;
        let positions = self.positions.narrow(0, 0, x.dims()[1])?;
        let x = x.broadcast_add(&positions)?.contiguous()?;
        Ok(self.encoder.forward(&x, None)?)
    }
}
