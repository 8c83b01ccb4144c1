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
        S::fma(S::fma(p, f, S::splat(std::f32::consts::LN_2)), f, S::splat(1.0))
    };
    S::scale(p, n)
}

/// e^x for x <= 88: see `exp2`. The product with log2 e rounds, so the relative error grows with |x|, by 1e-7 each unit.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::F) -> S::F {
    exp2::<S, false>(S::mul(x, S::splat(std::f32::consts::LOG2_E)))
}

/// The error function to 3e-7, by the ratio of an odd and an even polynomial on [-4, 4], beyond which it is 1 to half a
/// unit in the last place. The coefficients are those of Eigen (GenericPacketMath, `generic_fast_erf`) and XLA.
#[inline(always)]
pub(crate) unsafe fn erf<S: Simd>(x: S::F) -> S::F {
    let x = S::min(S::max(x, S::splat(-4.0)), S::splat(4.0));
    let square = S::mul(x, x);
    let mut p = S::splat(-2.726_142_3e-10);
    for c in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_5e-5, -7.349_906_3e-4, -2.954_6e-3, -0.016_096_033] {
        p = S::fma(p, square, S::splat(c));
    }
    let mut q = S::splat(-1.456_607_2e-5);
    for c in [-2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        q = S::fma(q, square, S::splat(c));
    }
    S::mul(S::mul(x, p), S::reciprocal(q))
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
        let u = S::mul(S::fma(cube, S::splat(0.044_715), x), S::splat(1.595_769_2));
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
