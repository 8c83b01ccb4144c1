//! Vectors of four numbers in plain Rust, which compilers turn into what any processor has.

use super::{Simd, tiles};
use crate::precision::{from_bf16, to_bf16};

#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 4;

#[inline(always)]
fn map(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type F = [f32; LANES];
    type I = [u32; LANES];
    const LANES: usize = LANES;
    const LOWEST: f32 = -127.0;
    tiles!(2: 4 1 2 3);

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::F {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        from.cast::<[f32; LANES]>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn load_some(from: *const f32, n: usize) -> Self::F {
        let mut all = [0.0; LANES];
        std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), n.min(LANES));
        all
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::F) {
        to.cast::<[f32; LANES]>().write_unaligned(value);
    }
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, value: Self::F, n: usize) {
        std::ptr::copy_nonoverlapping(value.as_ptr(), to, n.min(LANES));
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        Self::add(Self::mul(a, b), c)
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn abs(a: Self::F) -> Self::F {
        a.map(f32::abs)
    }
    #[inline(always)]
    unsafe fn round(a: Self::F) -> Self::F {
        // Adding 1.5 * 2^23 leaves no room for a fraction; larger numbers have none.
        a.map(|a| if a.abs() < 4_194_304.0 { (a + 12_582_912.0) - 12_582_912.0 } else { a })
    }
    #[inline(always)]
    unsafe fn scale(a: Self::F, n: Self::F) -> Self::F {
        map(a, n, |a, n| a * f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    unsafe fn reciprocal(a: Self::F) -> Self::F {
        a.map(f32::recip)
    }
    #[inline(always)]
    unsafe fn sum(a: Self::F) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }
    #[inline(always)]
    unsafe fn greatest(a: Self::F) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, |most, a| if a > most { a } else { most })
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: Self::F) {
        to.cast::<[u16; LANES]>().write_unaligned(value.map(to_bf16));
    }
    #[inline(always)]
    unsafe fn store_i8(to: *mut i8, value: Self::F) {
        to.cast::<[i8; LANES]>().write_unaligned(Self::round(value).map(|value| value as i8));
    }
    #[inline(always)]
    unsafe fn splat_words(value: u32) -> Self::I {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Self::I {
        from.cast::<[u32; LANES]>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn sub_words(a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    unsafe fn to_numbers(a: Self::I) -> Self::F {
        a.map(|a| a as i32 as f32)
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: Self::F, w: Self::I, a: Self::I) -> Self::F {
        std::array::from_fn(|i| {
            let low = from_bf16(w[i] as u16) * from_bf16(a[i] as u16);
            let high = from_bf16((w[i] >> 16) as u16) * from_bf16((a[i] >> 16) as u16);
            sum[i] + low + high
        })
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn dot_halves(sum: Self::I, w: Self::I, a: Self::I) -> Self::I {
        use std::{arch::x86_64::*, mem::transmute};
        // SAFETY: every processor of this kind has SSE2, and all of these are sixteen bytes.
        let [sum, w, a] = [sum, w, a].map(|words| transmute::<Self::I, __m128i>(words));
        transmute::<__m128i, Self::I>(_mm_add_epi32(sum, _mm_madd_epi16(w, a)))
    }
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    unsafe fn dot_halves(sum: Self::I, w: Self::I, a: Self::I) -> Self::I {
        std::array::from_fn(|i| {
            let low = i32::from(w[i] as i16) * i32::from(a[i] as i16);
            let high = i32::from((w[i] >> 16) as i16) * i32::from((a[i] >> 16) as i16);
            sum[i].wrapping_add(low as u32).wrapping_add(high as u32)
        })
    }
    #[inline(always)]
    unsafe fn dot_quads(sum: Self::I, w: Self::I, a: Self::I) -> Self::I {
        std::array::from_fn(|i| {
            let (w, a) = (w[i].to_le_bytes(), a[i].to_le_bytes());
            let product = |at: usize| i32::from(w[at]) * i32::from(a[at] as i8);
            sum[i].wrapping_add((product(0) + product(1) + product(2) + product(3)) as u32)
        })
    }
}
