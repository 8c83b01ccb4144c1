//! Vectors of sixteen numbers: AVX-512 with VNNI, and BF16 where it is.

use std::arch::x86_64::*;

use super::{Simd, Work, tiles};

/// `BF16`: whether pairs of bf16 are multiplied and made by AVX512-BF16.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>;

#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn run<W: Work>(work: W) -> W::Output {
    work.run::<Avx512<false>>()
}

#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
pub(super) unsafe fn run_bf16<W: Work>(work: W) -> W::Output {
    work.run::<Avx512<true>>()
}

#[inline(always)]
fn first(n: usize) -> __mmask16 {
    if n >= 16 { 0xffff } else { (1u16 << n) - 1 }
}

/// The low bf16 of each word.
#[inline(always)]
unsafe fn low(pair: __m512i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pair))
}

/// The high bf16 of each word.
#[inline(always)]
unsafe fn high(pair: __m512i) -> __m512 {
    _mm512_castsi512_ps(_mm512_and_si512(pair, _mm512_set1_epi32(0xffff_0000_u32 as i32)))
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    type F = __m512;
    type I = __m512i;
    const LANES: usize = 16;
    // 2^-200 is less than half of the least number.
    const LOWEST: f32 = -200.0;
    tiles!(4: 6 1 2 3 4 5);

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::F {
        _mm512_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        _mm512_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn load_some(from: *const f32, n: usize) -> Self::F {
        _mm512_maskz_loadu_ps(first(n), from)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::F) {
        _mm512_storeu_ps(to, value);
    }
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, value: Self::F, n: usize) {
        _mm512_mask_storeu_ps(to, first(n), value);
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        _mm512_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        _mm512_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        _mm512_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
        _mm512_div_ps(a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        _mm512_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        _mm512_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn abs(a: Self::F) -> Self::F {
        _mm512_abs_ps(a)
    }
    #[inline(always)]
    unsafe fn round(a: Self::F) -> Self::F {
        _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
    }
    #[inline(always)]
    unsafe fn scale(a: Self::F, n: Self::F) -> Self::F {
        _mm512_scalef_ps(a, n)
    }
    #[inline(always)]
    unsafe fn reciprocal(a: Self::F) -> Self::F {
        // Fourteen bits, and a step of Newton's: r + r (1 - a r).
        let r = _mm512_rcp14_ps(a);
        _mm512_fmadd_ps(r, _mm512_fnmadd_ps(a, r, _mm512_set1_ps(1.0)), r)
    }
    #[inline(always)]
    unsafe fn sum(a: Self::F) -> f32 {
        _mm512_reduce_add_ps(a)
    }
    #[inline(always)]
    unsafe fn greatest(a: Self::F) -> f32 {
        _mm512_reduce_max_ps(a)
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: Self::F) {
        let halves = if BF16 {
            std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value))
        } else {
            let bits = _mm512_castps_si512(value);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(value, value);
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
            _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(quiet, number, rounded)))
        };
        _mm256_storeu_si256(to.cast(), halves);
    }
    #[inline(always)]
    unsafe fn store_i8(to: *mut i8, value: Self::F) {
        _mm_storeu_si128(to.cast(), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(value)));
    }
    #[inline(always)]
    unsafe fn splat_words(value: u32) -> Self::I {
        _mm512_set1_epi32(value as i32)
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Self::I {
        _mm512_loadu_si512(from.cast())
    }
    #[inline(always)]
    unsafe fn sub_words(a: Self::I, b: Self::I) -> Self::I {
        _mm512_sub_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn to_numbers(a: Self::I) -> Self::F {
        _mm512_cvtepi32_ps(a)
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: Self::F, w: Self::I, a: Self::I) -> Self::F {
        if BF16 {
            let (w, a) = (std::mem::transmute::<__m512i, __m512bh>(w), std::mem::transmute::<__m512i, __m512bh>(a));
            return _mm512_dpbf16_ps(sum, w, a);
        }
        _mm512_fmadd_ps(high(w), high(a), _mm512_fmadd_ps(low(w), low(a), sum))
    }
    #[inline(always)]
    unsafe fn dot_halves(sum: Self::I, w: Self::I, a: Self::I) -> Self::I {
        _mm512_dpwssd_epi32(sum, w, a)
    }
    #[inline(always)]
    unsafe fn dot_quads(sum: Self::I, w: Self::I, a: Self::I) -> Self::I {
        _mm512_dpbusd_epi32(sum, w, a)
    }
}
