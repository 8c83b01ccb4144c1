//! Vectors of eight numbers: AVX2 with FMA, and AVX-VNNI where it is.

use std::arch::x86_64::*;

use super::{Simd, Work, tiles};

/// `VNNI`: whether bytes are multiplied by AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>;

#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run<W: Work>(work: W) -> W::Output {
    work.run::<Avx2<false>>()
}

#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn run_vnni<W: Work>(work: W) -> W::Output {
    work.run::<Avx2<true>>()
}

/// All ones in the first `n` lanes.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// The low bf16 of each word.
#[inline(always)]
unsafe fn low(pair: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pair))
}

/// The high bf16 of each word.
#[inline(always)]
unsafe fn high(pair: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32(0xffff_0000_u32 as i32)))
}

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type F = __m256;
    type I = __m256i;
    const LANES: usize = 8;
    const LOWEST: f32 = -127.0;
    tiles!(2: 6 1 2 3 4 5);

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::F {
        _mm256_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        _mm256_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn load_some(from: *const f32, n: usize) -> Self::F {
        _mm256_maskload_ps(from, first(n))
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::F) {
        _mm256_storeu_ps(to, value);
    }
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, value: Self::F, n: usize) {
        _mm256_maskstore_ps(to, first(n), value);
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        _mm256_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        _mm256_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        _mm256_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
        _mm256_div_ps(a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        _mm256_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        _mm256_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        _mm256_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn abs(a: Self::F) -> Self::F {
        _mm256_andnot_ps(_mm256_set1_ps(-0.0), a)
    }
    #[inline(always)]
    unsafe fn round(a: Self::F) -> Self::F {
        _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
    }
    #[inline(always)]
    unsafe fn scale(a: Self::F, n: Self::F) -> Self::F {
        let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
    }
    #[inline(always)]
    unsafe fn reciprocal(a: Self::F) -> Self::F {
        _mm256_div_ps(_mm256_set1_ps(1.0), a)
    }
    #[inline(always)]
    unsafe fn sum(a: Self::F) -> f32 {
        let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps::<1>(a, a)))
    }
    #[inline(always)]
    unsafe fn greatest(a: Self::F) -> f32 {
        let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps::<1>(a, a)))
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: Self::F) {
        let bits = _mm256_castps_si256(value);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let number = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_ORD_Q>(value, value));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let words = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(quiet, rounded, number));
        let halves = _mm256_packus_epi32(words, words);
        let halves = _mm256_permute4x64_epi64::<0b1000>(halves);
        _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(halves));
    }
    #[inline(always)]
    unsafe fn store_i8(to: *mut i8, value: Self::F) {
        let words = _mm256_cvtps_epi32(value);
        let halves = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        _mm_storel_epi64(to.cast(), _mm_packs_epi16(halves, halves));
    }
    #[inline(always)]
    unsafe fn splat_words(value: u32) -> Self::I {
        _mm256_set1_epi32(value as i32)
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Self::I {
        _mm256_loadu_si256(from.cast())
    }
    #[inline(always)]
    unsafe fn sub_words(a: Self::I, b: Self::I) -> Self::I {
        _mm256_sub_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn to_numbers(a: Self::I) -> Self::F {
        _mm256_cvtepi32_ps(a)
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: Self::F, w: Self::I, a: Self::I) -> Self::F {
        _mm256_fmadd_ps(high(w), high(a), _mm256_fmadd_ps(low(w), low(a), sum))
    }
    #[inline(always)]
    unsafe fn dot_halves(sum: Self::I, w: Self::I, a: Self::I) -> Self::I {
        _mm256_add_epi32(sum, _mm256_madd_epi16(w, a))
    }
    #[inline(always)]
    unsafe fn dot_quads(sum: Self::I, w: Self::I, a: Self::I) -> Self::I {
        if VNNI {
            return _mm256_dpbusd_avx_epi32(sum, w, a);
        }
        // Even and odd bytes as sixteen bits; `maddubs` would saturate.
        let even = _mm256_madd_epi16(
            _mm256_and_si256(w, _mm256_set1_epi16(0xff)),
            _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a)),
        );
        let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(w), _mm256_srai_epi16::<8>(a));
        _mm256_add_epi32(sum, _mm256_add_epi32(even, odd))
    }
}
