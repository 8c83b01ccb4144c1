//! The vector instructions that the kernels are written in, at several levels, and the choice of a level at run time.

// SAFETY of this room: the methods of `Simd` are intrinsics. They are reached only through `Level::run`, which checks
// that the processor has the level's instructions; pointers are the caller's promise.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::{cell::Cell, sync::OnceLock};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// Outputs of one panel of packed weights: a row of a panel is four lines of cache.
pub(crate) const PANEL: usize = 64;

/// Vectors of f32 and of 32-bit words, as one processor has them.
///
/// # Safety
/// Every method may be called only where the level's instructions exist, and each pointer must be good for what is
/// read or written through it: `LANES` values, or the first `n` where the method takes an `n`.
pub(crate) trait Simd: Copy + 'static {
    /// `LANES` numbers.
    type F: Copy;
    /// `LANES` words.
    type I: Copy;
    /// Numbers of a vector.
    const LANES: usize;
    /// See `scale`.
    const LOWEST: f32;
    /// Rows of the largest tile.
    const ROWS: usize;
    /// Columns of a tile.
    const COLUMNS: usize;

    unsafe fn splat(value: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    /// The first `n` numbers, then zeros.
    unsafe fn load_some(from: *const f32, n: usize) -> Self::F;
    unsafe fn store(to: *mut f32, value: Self::F);
    unsafe fn store_some(to: *mut f32, value: Self::F, n: usize);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    /// a * b + c
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a if a > b, else b: what is no number in `a` is passed over.
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn abs(a: Self::F) -> Self::F;
    /// The nearest whole number, ties to even.
    unsafe fn round(a: Self::F) -> Self::F;
    /// a * 2^n of whole numbers n in LOWEST..=127; 0 where n is LOWEST.
    unsafe fn scale(a: Self::F, n: Self::F) -> Self::F;
    /// 1 / a to 1e-7 of it, of a between 1e-30 and 1e30.
    unsafe fn reciprocal(a: Self::F) -> Self::F;
    /// The sum of all.
    unsafe fn sum(a: Self::F) -> f32;
    /// The greatest of all.
    unsafe fn greatest(a: Self::F) -> f32;
    /// Rounds to bf16 and writes `LANES` of them.
    unsafe fn store_bf16(to: *mut u16, value: Self::F);
    /// Rounds to whole numbers of -128..=127 and writes `LANES` of them.
    unsafe fn store_i8(to: *mut i8, value: Self::F);

    unsafe fn splat_words(value: u32) -> Self::I;
    unsafe fn load_words(from: *const u32) -> Self::I;
    unsafe fn sub_words(a: Self::I, b: Self::I) -> Self::I;
    /// Signed words as numbers.
    unsafe fn to_numbers(a: Self::I) -> Self::F;
    /// sum + w.low * a.low + w.high * a.high, the words being pairs of bf16.
    unsafe fn dot_pairs(sum: Self::F, w: Self::I, a: Self::I) -> Self::F;
    /// sum + the four products of unsigned bytes of `w` and signed bytes of `a`.
    unsafe fn dot_quads(sum: Self::I, w: Self::I, a: Self::I) -> Self::I;
    /// sum + w.low * a.low + w.high * a.high, the words being pairs of signed numbers of sixteen bits.
    unsafe fn dot_halves(sum: Self::I, w: Self::I, a: Self::I) -> Self::I;

    /// See `tile::Tile::run`; here because the shape of a tile is a level's own.
    unsafe fn tile<D: crate::tile::Dot<Self>, K: crate::tile::Sink<Self, D>>(
        tile: &crate::tile::Tile,
        rows: usize,
        sink: &mut K,
    );
}

/// Writes a level's `Simd::tile`: tiles of 1 to 6 rows and `$vectors` vectors.
macro_rules! tiles {
    ($vectors:literal: $most:literal $($rows:literal)*) => {
        const ROWS: usize = $most;
        const COLUMNS: usize = $vectors * Self::LANES;
        #[inline(always)]
        unsafe fn tile<D: crate::tile::Dot<Self>, K: crate::tile::Sink<Self, D>>(
            tile: &crate::tile::Tile,
            rows: usize,
            sink: &mut K,
        ) {
            match rows {
                $($rows => tile.run::<Self, D, K, $rows, $vectors>(sink),)*
                _ => tile.run::<Self, D, K, $most, $vectors>(sink),
            }
        }
    };
}
pub(crate) use tiles;

/// What the processor offers, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust, whatever the compiler makes of it.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX2, FMA and AVX-VNNI.
    Avx2Vnni,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// The same with BF16.
    Avx512Bf16,
}

thread_local! {
    static LIMIT: Cell<Option<Level>> = const { Cell::new(None) };
}

/// A piece of work written for any level. `run` must be `#[inline(always)]`, or its intrinsics become calls.
pub(crate) trait Work {
    type Output;
    /// # Safety
    /// The processor has the instructions of `S`.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

impl Level {
    /// All levels, the least first.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx2Vnni, Self::Avx512, Self::Avx512Bf16];

    /// The best that this processor has.
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::ALL.into_iter().rev().find(|level| level.exists()).unwrap_or(Self::Portable))
    }

    /// Whether this processor has it.
    pub fn exists(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            match self {
                Self::Portable => true,
                Self::Avx2 => avx2,
                Self::Avx2Vnni => avx2 && is_x86_feature_detected!("avxvnni"),
                Self::Avx512 => avx512,
                Self::Avx512Bf16 => avx512 && is_x86_feature_detected!("avx512bf16"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }

    /// What kernels called on this thread use now.
    pub(crate) fn current() -> Self {
        LIMIT.get().unwrap_or_else(Self::best)
    }

    /// Runs `work` with the kernels it calls on this thread held to this level, or to the best there is below it.
    pub fn limit<T>(self, work: impl FnOnce() -> T) -> T {
        struct Reset(Option<Level>);
        impl Drop for Reset {
            fn drop(&mut self) {
                LIMIT.set(self.0);
            }
        }
        let level = Self::ALL.into_iter().rev().find(|level| *level <= self && level.exists());
        let _reset = Reset(LIMIT.replace(level));
        work()
    }

    /// Runs `work` in this level's instructions.
    #[inline]
    pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
        // SAFETY: a level gets here through `current`, which names only levels that exist on this processor.
        unsafe {
            match self {
                Self::Portable => work.run::<portable::Portable>(),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2::run::<W>(work),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2Vnni => avx2::run_vnni::<W>(work),
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512::run::<W>(work),
                #[cfg(target_arch = "x86_64")]
                Self::Avx512Bf16 => avx512::run_bf16::<W>(work),
                #[cfg(not(target_arch = "x86_64"))]
                _ => work.run::<portable::Portable>(),
            }
        }
    }
}
