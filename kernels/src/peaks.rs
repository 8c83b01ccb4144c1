//! What the processor could do at best: loops of nothing but multiplications, to hold the kernels' speed against.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::{
    simd::{Level, Simd, Work},
    tile::{Dot, Pairs, Quads, Singles},
};

const TURNS: usize = 100_000;
const CHAINS: usize = 12;

struct Peak<D>(std::marker::PhantomData<D>);

macro_rules! peak {
    ($dot:ident) => {
        impl Work for Peak<$dot> {
            type Output = usize;
            #[inline(always)]
            unsafe fn run<S: Simd>(self) -> usize {
                let words = [0u32; 16];
                let words = std::hint::black_box(&words).as_ptr();
                let (w, a) = (<$dot as Dot<S>>::load(words), <$dot as Dot<S>>::splat(words));
                let mut sums = [<$dot as Dot<S>>::zero(); CHAINS];
                for _ in 0..TURNS {
                    for sum in &mut sums {
                        *sum = <$dot as Dot<S>>::dot(*sum, w, a);
                    }
                }
                std::hint::black_box(&sums);
                S::LANES
            }
        }
    };
}
peak!(Singles);
peak!(Pairs);
peak!(Quads);

fn spin<D>()
where
    Peak<D>: Work<Output = usize>,
{
    std::hint::black_box(Level::current().run(Peak::<D>(std::marker::PhantomData)));
}

/// Loops to be timed: what is multiplied, the operations of one call (an addition and a multiplication are two), and
/// the loop.
pub fn peaks() -> Vec<(&'static str, f64, fn())> {
    let level = Level::current();
    let lanes = level.run(Peak::<Singles>(std::marker::PhantomData));
    let words = (lanes * TURNS * CHAINS * 2) as f64;
    vec![("f32", words, spin::<Singles>), ("bf16", 2.0 * words, spin::<Pairs>), ("int8", 4.0 * words, spin::<Quads>)]
}
