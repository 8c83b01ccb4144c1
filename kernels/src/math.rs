//! exp, erf and the activations, on vectors.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::simd::Simd;

/// 2^t for t <= 127, and 0 where t is `S::LOWEST` or less, or no number.
///
/// t = n + f with n whole and |f| <= 1/2; 2^f by the polynomial that meets it at the Chebyshev points of [-1/2, 1/2]: of
/// degree 5 with a relative error of 1.1e-7, or, `COARSE`, of degree 3 with one of 1e-4, a fortieth of a bf16's.
#[inline(always)]
pub(crate) unsafe fn exp2<S: Simd, const COARSE: bool>(t: S::F) -> S::F {
    let t = S::max(t, S::splat(S::LOWEST));
    let n = S::round(t);
    let f = S::sub(t, n);
    let p = if COARSE {
        let p = S::fma(S::splat(0.055_838_283), f, S::splat(0.242_639_48));
        S::fma(S::fma(p, f, S::splat(0.693_136_73)), f, S::splat(0.999_924_56))
    } else {
        let p = S::fma(S::splat(0.001_339_086_3), f, S::splat(0.009_676_032));
        let p = S::fma(S::fma(p, f, S::splat(0.055_503_57)), f, S::splat(0.240_221_08));
        S::fma(S::fma(p, f, S::splat(0.693_147_2)), f, S::splat(1.0))
    };
    S::scale(p, n)
}

/// e^x for x <= 88: see `exp2`. The product with log2 e rounds, so the relative error grows with |x|, by 1e-7 each unit.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::F) -> S::F {
    exp2::<S, false>(S::mul(x, S::splat(std::f32::consts::LOG2_E)))
}

/// The error function to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
#[inline(always)]
pub(crate) unsafe fn erf<S: Simd>(x: S::F) -> S::F {
    let size = S::abs(x);
    let t = S::reciprocal(S::fma(size, S::splat(0.327_591_1), S::splat(1.0)));
    let mut p = S::splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = S::fma(p, t, S::splat(c));
    }
    let tail = S::mul(S::mul(p, t), exp::<S>(S::sub(S::splat(0.0), S::mul(x, x))));
    S::signed(S::sub(S::splat(1.0), tail), x)
}

/// 1 / (1 + e^-x)
#[inline(always)]
unsafe fn sigmoid<S: Simd>(x: S::F) -> S::F {
    let x = S::min(S::sub(S::splat(0.0), x), S::splat(87.0));
    S::div(S::splat(1.0), S::add(S::splat(1.0), exp::<S>(x)))
}

/// A function of each number, as a type: a closure would be compiled without the level's instructions.
pub(crate) trait Shape {
    unsafe fn of<S: Simd>(x: S::F) -> S::F;
}

/// x
pub(crate) struct Same;
/// x Phi(x)
pub(crate) struct Gelu;
/// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
pub(crate) struct GeluTanh;
/// max(x, 0)
pub(crate) struct Relu;
/// x sigmoid(x)
pub(crate) struct Silu;

impl Shape for Same {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::F) -> S::F {
        x
    }
}

impl Shape for Gelu {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::F) -> S::F {
        let half = S::mul(x, S::splat(0.5));
        S::fma(half, erf::<S>(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2))), half)
    }
}

impl Shape for GeluTanh {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::F) -> S::F {
        let cube = S::mul(S::mul(x, x), x);
        let u = S::mul(S::fma(cube, S::splat(0.044_715), x), S::splat(1.595_769_1));
        S::mul(x, sigmoid::<S>(u))
    }
}

impl Shape for Relu {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::F) -> S::F {
        S::max(x, S::splat(0.0))
    }
}

impl Shape for Silu {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::F) -> S::F {
        S::mul(x, sigmoid::<S>(x))
    }
}

/// The largest |x|; what is no number is passed over.
#[inline(always)]
pub(crate) unsafe fn largest<S: Simd>(x: &[f32]) -> f32 {
    let whole = x.len() - x.len() % S::LANES;
    let mut most = S::splat(0.0);
    for at in (0..whole).step_by(S::LANES) {
        most = S::max(S::abs(S::load(x.as_ptr().add(at))), most);
    }
    let rest = S::load_some(x.as_ptr().add(whole), x.len() - whole);
    S::greatest(S::max(S::abs(rest), most))
}
