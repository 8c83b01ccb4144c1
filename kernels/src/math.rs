//! exp, erf and the activations, on vectors.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::simd::Simd;

/// e^x with an error of about 1e-7 of it; 0 below -88 (and of what is no number), e^88 above 88.
///
/// x = n ln 2 + r, |r| <= ln 2 / 2, with ln 2 in two parts (Cody and Waite, Software Manual for the Elementary
/// Functions), and e^r by the polynomial of degree 6 of Cephes' expf.c.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::F) -> S::F {
    let x = S::min(S::max(x, S::splat(-88.0)), S::splat(88.0));
    let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
    let r = S::fma(n, S::splat(-0.693_359_4), x);
    let r = S::fma(n, S::splat(2.121_944_4e-4), r);
    let mut p = S::splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = S::fma(p, r, S::splat(c));
    }
    let p = S::add(S::fma(p, S::mul(r, r), r), S::splat(1.0));
    S::mul(p, S::power_of_two(n))
}

/// The error function to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
#[inline(always)]
pub(crate) unsafe fn erf<S: Simd>(x: S::F) -> S::F {
    let size = S::abs(x);
    let t = S::div(S::splat(1.0), S::fma(size, S::splat(0.327_591_1), S::splat(1.0)));
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
    S::div(S::splat(1.0), S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x))))
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
