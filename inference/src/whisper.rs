//! Whisper: configuration, weights, and the encoder from log-mel frames.

use candle_core::{Result as Computed, Tensor};
use kernels::Convolution;
use serde::Deserialize;

use crate::compute::Compute;
use crate::decoder::{Decoder, DecoderParts, Embedding, Positions, Source};
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::layers::{Activation, BlockShape, EncoderStack, Loader, StackNames, host, sinusoids};

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
        BlockShape::bart(self.d_model, heads, inner, self.activation_function, true)
    }
}

/// The network.
#[derive(Debug)]
pub struct Whisper {
    config: WhisperConfig,
    compute: Compute,
    stem: Stem,
    /// (positions, width)
    positions: Tensor,
    encoder: EncoderStack,
    decoder: Decoder,
}

/// The two convolutions before the encoder's layers; the second halves the number of frames.
#[derive(Debug)]
enum Stem {
    Host(Box<[Convolution; 2]>),
    /// Weights (out, in, 3), biases (1, out, 1) and strides.
    Device([(Tensor, Tensor, usize); 2]),
}

impl Stem {
    fn load(weights: &Loader, bands: usize, width: usize) -> Result<Self, ModelError> {
        let load = |name: &str, input: usize, stride: usize| -> Result<_, ModelError> {
            let weight = weights.get(&format!("model.encoder.{name}.weight"), &[width, input, 3])?;
            Ok((weight, weights.get(&format!("model.encoder.{name}.bias"), &[width])?, stride))
        };
        let both = [load("conv1", bands, 1)?, load("conv2", width, 2)?];
        let Some(precision) = weights.compute().host_precision() else {
            let [first, second] = both;
            let shaped = |(weight, bias, stride): (Tensor, Tensor, usize)| -> Computed<_> {
                Ok((weight, bias.reshape((1, width, 1))?, stride))
            };
            return Ok(Self::Device([shaped(first)?, shaped(second)?]));
        };
        let pack = |(weight, bias, stride): &(Tensor, Tensor, usize)| -> Computed<Convolution> {
            let channels = weight.dims()[1];
            host::read(weight, |weight| {
                host::read(bias, |bias| Convolution::pack(weight, bias, channels, width, *stride, precision))
            })?
        };
        Ok(Self::Host(Box::new([pack(&both[0])?, pack(&both[1])?])))
    }

    /// Rows of `frames` x bands values to (rows, frames / 2, width), `positions` added.
    fn forward(&self, features: &[Vec<f32>], frames: usize, positions: &Tensor) -> Computed<Tensor> {
        let width = positions.dims()[1];
        match self {
            Self::Host(convolutions) => {
                let [first, second] = &**convolutions;
                let (steps, rows) = (frames.div_ceil(2), features.len());
                let mut middle = vec![0.0; frames * width];
                let mut out = vec![0.0; rows * steps * width];
                host::read(positions, |positions| {
                    for (row, out) in features.iter().zip(out.chunks_exact_mut(steps * width)) {
                        first.forward(row, frames, None, &mut middle);
                        second.forward(&middle, frames, Some(positions), out);
                    }
                })?;
                Tensor::from_vec(out, (rows, steps, width), positions.device())
            }
            Self::Device(convolutions) => {
                let bands = convolutions[0].0.dims()[1];
                let shape = (features.len(), frames, bands);
                let x = Tensor::from_vec(features.concat(), shape, positions.device())?.to_dtype(positions.dtype())?;
                let mut x = x.transpose(1, 2)?.contiguous()?;
                for (weight, bias, stride) in convolutions {
                    x = x.conv1d(weight, 1, *stride, 1, 1)?.broadcast_add(bias)?.gelu_erf()?;
                }
                x.transpose(1, 2)?.contiguous()?.broadcast_add(positions)
            }
        }
    }
}

impl Whisper {
    /// Loads `config.json` and the weights.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong; the message names it.
    pub fn load(directory: &ModelDirectory, compute: &Compute) -> Result<Self, ModelError> {
        let config: WhisperConfig = directory.json("config.json")?;
        let weights = Loader::open(directory, compute)?;
        let width = config.d_model;
        let positions = config.max_source_positions;
        let positions = match weights.optional("model.encoder.embed_positions.weight", &[positions, width])? {
            Some(table) => table,
            None => sinusoids(positions, width, 1.0 / (width / 2 - 1) as f64)?
                .to_dtype(compute.dtype())?
                .to_device(compute.device())?,
        };
        let encoder_shape = config.block(config.encoder_attention_heads, config.encoder_ffn_dim);
        let table = weights.get("model.decoder.embed_tokens.weight", &[config.vocab_size, width])?;
        let (embedding, output) = Embedding::tied(&weights, &table, 1.0, None)?;
        let learned = weights.get("model.decoder.embed_positions.weight", &[config.max_target_positions, width])?;
        let parts = DecoderParts {
            layers: config.decoder_layers,
            shape: config.block(config.decoder_attention_heads, config.decoder_ffn_dim),
            names: StackNames::bart("model.decoder"),
            embedding,
            positions: Positions::Table(learned),
            output,
            output_factor: 1.0,
        };
        let names = StackNames::bart("model.encoder");
        Ok(Self {
            stem: Stem::load(&weights, config.num_mel_bins, width)?,
            positions,
            encoder: EncoderStack::load(&weights, &names, config.encoder_layers, &encoder_shape)?,
            decoder: Decoder::load(&weights, parts)?,
            compute: compute.clone(),
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

    /// How it computes.
    pub fn compute(&self) -> &Compute {
        &self.compute
    }

    /// Features of equally long rows, each `frames` x `num_mel_bins` values, to the encoder's output,
    /// (rows, frames / 2, width). Frames may be fewer than the whole window.
    ///
    /// # Errors
    /// When a row has another length, or the frames are more than the window.
    pub fn encode(&self, features: &[Vec<f32>], frames: usize) -> Result<Tensor, ModelError> {
        let limit = 2 * self.config.max_source_positions;
        if frames > limit {
            return Err(ModelError::TooLong { what: "audio (frames of 10 ms)", got: frames, limit });
        }
        if let Some(row) = features.iter().find(|row| row.len() != frames * self.config.num_mel_bins) {
            let (got, limit) = (row.len(), frames * self.config.num_mel_bins);
            return Err(ModelError::Compute(format!("{got} features where {limit} were to be")));
        }
        let steps = frames.div_ceil(2);
        let x = self.stem.forward(features, frames, &self.positions.narrow(0, 0, steps)?)?;
        Ok(self.encoder.forward(&x, &vec![steps; features.len()], None)?)
    }

    /// As [`Whisper::encode`], and projected for the decoder: one source a row.
    ///
    /// # Errors
    /// As [`Whisper::encode`].
    pub fn sources(&self, features: &[Vec<f32>], frames: usize) -> Result<Vec<Source>, ModelError> {
        let encoded = self.encode(features, frames)?;
        self.decoder.remember(&encoded, &vec![frames.div_ceil(2); features.len()])
    }
}
