//! The arithmetic of the models on a CPU, over plain slices: packed matrix products (f32, bf16, int8), attention,
//! normalisation and the choice of a token. The one crate where `unsafe` and `std::arch` may appear.
//!
//! What models call:
//! - [`Matrix`]: weights packed once, multiplied with bias, activation, gate and residual fused in; [`Convolution`] on it
//! - [`self_attention`] of an encoder; [`attend`] over [`KeysValues`] that grow, of a decoder
//! - [`layer_norm`], [`rms_norm`]; [`best_of`], [`top_k`], [`log_sum_exp`]: a row of scores to a token
//! - [`VoiceNetwork`]: how likely a frame of a spectrum holds speech
//! - [`Threads`]: the team that the kernels called inside share
//!
//! What those are made of: `simd`, the instructions at several levels ([`Level`]) chosen at run time; `tile` and `multiply`,
//! products in registers; `rows`, activations as words; `head`, attention of one head; `math`, exp and erf.
//!
//! Shapes are row-major. Inputs whose lengths do not fit the shapes panic, as slices do.

#![allow(clippy::needless_range_loop, reason = "loops over the registers of a tile, which the compiler unrolls")]

mod attend;
mod buffer;
mod choose;
mod convolution;
mod head;
mod math;
mod matrix;
mod memory;
mod multiply;
mod normalise;
mod peaks;
mod precision;
mod rows;
mod self_attention;
mod simd;
mod threads;
mod tile;
mod voice;

pub use attend::{Attend, attend, attention_weights};
pub use choose::{Best, best_of, log_sum_exp, top_k};
pub use convolution::Convolution;
pub use matrix::{Activation, Finish, Matrix};
pub use memory::KeysValues;
pub use normalise::{layer_norm, rms_norm};
pub use peaks::peaks;
pub use precision::{ParsePrecisionError, Precision};
pub use self_attention::{SelfAttention, self_attention};
pub use simd::Level;
pub use threads::Threads;
pub use voice::{VOICE_BINS, VoiceNetwork};
