//! How weights, keys and values are held.

use std::{fmt, str::FromStr};

/// How weights (and keys and values) are held. Activations are f32 at every function's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// IEEE single precision, true f32 arithmetic.
    #[default]
    F32,
    /// The upper half of an f32: 8 bits of significand; sums in f32.
    Bf16,
    /// Eight bits with a scale for each output (weights) or row (activations); sums in i32, exact.
    Int8,
}

/// A name that is none of "f32", "bf16" and "int8".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePrecisionError(String);

impl fmt::Display for ParsePrecisionError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?} is no precision: f32, bf16 or int8", self.0)
    }
}

impl std::error::Error for ParsePrecisionError {}

impl FromStr for Precision {
    type Err = ParsePrecisionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            _ => Err(ParsePrecisionError(name.to_owned())),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

/// The nearest bf16 (ties to even), as its sixteen bits.
#[inline(always)]
pub(crate) fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The f32 that a bf16 stands for.
#[inline(always)]
pub(crate) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
