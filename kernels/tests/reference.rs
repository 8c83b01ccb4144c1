//! Every kernel, at every level the processor has, against plain sums in f64.
//!
//! How far they may be apart. f32: rounding at each of n additions, some n * 2^-24 of the sum of |products| at worst and
//! sqrt(n) * 2^-24 as a rule; 1e-6 of that sum is allowed. bf16: both factors are rounded to 8 bits, each by 2^-8 of
//! itself at most, so the sum is off by 2^-7 (and a little for both at once) of the sum of |products|. int8: a weight is off by half a step, its largest / 254,
//! an activation likewise: in all (|w|max * sum|x| + |x|max * sum|w|) / 254, and the product of both errors, n times.

use kernels::{
    Activation, Attend, Convolution, Finish, KeysValues, Level, Matrix, Precision, SelfAttention, Threads, attend,
    attention_weights, self_attention,
};

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(next).collect()
}

fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.exists())
}

/// erf by its series or, far out, its continued fraction, in f64.
fn erf(x: f64) -> f64 {
    if x.abs() < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * 2.0 / std::f64::consts::PI.sqrt();
    }
    let size = x.abs();
    let fraction = (1..60).rev().fold(size, |rest, n| size + f64::from(n) / 2.0 / rest);
    (1.0 - (-size * size).exp() / fraction / std::f64::consts::PI.sqrt()).copysign(x)
}

fn activated(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::Relu => x.max(0.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
    }
}

fn most(x: &[f32]) -> f64 {
    x.iter().fold(0.0, |most, x| f64::from(x.abs()).max(most))
}

fn total(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(x.abs())).sum()
}

/// x . w, and how far a kernel may be from it.
fn dot(x: &[f32], w: &[f32], precision: Precision) -> (f64, f64) {
    let products = || x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
    let sum_of_sizes: f64 = products().map(f64::abs).sum();
    let rounding = 1e-6 * sum_of_sizes + 1e-7;
    let allowed = match precision {
        Precision::F32 => rounding,
        Precision::Bf16 => sum_of_sizes / 128.0 * (1.0 + 1.0 / 512.0) + rounding,
        Precision::Int8 => {
            let (x_most, w_most) = (most(x), most(w));
            let cross = x.len() as f64 * x_most * w_most / (254.0 * 254.0);
            (w_most * total(x) + x_most * total(w)) / 254.0 + cross + rounding
        }
    };
    (products().sum(), allowed)
}

#[test]
fn products_agree_with_the_reference_at_every_size() {
    for precision in PRECISIONS {
        for outputs in [1, 15, 16, 17, 100, 384] {
            for inputs in [1, 3, 64, 100, 385] {
                let weights = numbers(outputs * inputs, 1);
                let matrix = Matrix::pack(&weights, outputs, inputs, precision);
                for rows in [1, 2, 5, 17, 40] {
                    let x = numbers(rows * inputs, 2);
                    let bias = numbers(outputs, 3);
                    for level in levels() {
                        let mut out = vec![f32::NAN; rows * outputs];
                        let finish = Finish { bias: Some(&bias), ..Finish::default() };
                        level.limit(|| matrix.multiply(&x, &mut out, &finish));
                        for (at, out) in out.iter().enumerate() {
                            let (row, column) = (at / outputs, at % outputs);
                            let x = &x[row * inputs..][..inputs];
                            let (sum, allowed) = dot(x, &weights[column * inputs..][..inputs], precision);
                            let off = (f64::from(*out) - sum - f64::from(bias[column])).abs();
                            assert!(
                                off <= allowed,
                                "{level:?} {precision} {rows}x{inputs}->{outputs} at {at}: off by {off:e}, of {allowed:e}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn long_inputs_in_several_stretches_agree_too() {
    let (rows, inputs, outputs) = (50, 2049, 70);
    let (weights, x) = (numbers(outputs * inputs, 1), numbers(rows * inputs, 2));
    let (bias, add) = (numbers(outputs, 3), numbers(rows * outputs, 4));
    let matrix = Matrix::pack(&weights, outputs, inputs, Precision::F32);
    for level in levels() {
        let mut out = vec![f32::NAN; rows * outputs];
        let finish = Finish { bias: Some(&bias), activation: Some(Activation::Relu), add: Some(&add), gate: None };
        level.limit(|| matrix.multiply(&x, &mut out, &finish));
        for (at, out) in out.iter().enumerate() {
            let (row, column) = (at / outputs, at % outputs);
            let weights = &weights[column * inputs..][..inputs];
            let (sum, allowed) = dot(&x[row * inputs..][..inputs], weights, Precision::F32);
            let expected = (sum + f64::from(bias[column])).max(0.0) + f64::from(add[at]);
            assert!((f64::from(*out) - expected).abs() <= allowed, "{level:?} at {at}: {out} for {expected}");
        }
    }
}

#[test]
fn int8_products_are_the_same_bit_for_bit_at_every_level_and_by_any_team() {
    for (rows, inputs, outputs) in [(1, 385, 100), (5, 64, 384), (40, 100, 17), (3, 1536, 640)] {
        let matrix = Matrix::pack(&numbers(outputs * inputs, 5), outputs, inputs, Precision::Int8);
        let (x, add) = (numbers(rows * inputs, 6), numbers(rows * outputs, 7));
        let finish = Finish { bias: Some(&add[..outputs]), add: Some(&add), ..Finish::default() };
        let run = |level: Level, threads: usize| {
            let mut out = vec![0.0; rows * outputs];
            Threads::new(threads).run(|| level.limit(|| matrix.multiply(&x, &mut out, &finish)));
            out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let expected = run(Level::Portable, 1);
        for level in levels() {
            for threads in [1, 2, 3] {
                assert!(run(level, threads) == expected, "{level:?} with {threads} threads");
            }
        }
    }
}

#[test]
fn a_product_is_the_same_however_many_threads_share_it() {
    for (rows, inputs, outputs) in [(1, 384, 5000), (7, 512, 900), (300, 384, 384), (100, 1600, 130)] {
        for precision in PRECISIONS {
            let matrix = Matrix::pack(&numbers(outputs * inputs, 8), outputs, inputs, precision);
            let x = numbers(rows * inputs, 9);
            let run = |threads: usize| {
                let mut out = vec![0.0; rows * outputs];
                Threads::new(threads).run(|| matrix.multiply(&x, &mut out, &Finish::default()));
                out
            };
            let (one, three) = (run(1), run(3));
            let most = one.iter().zip(&three).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // A task's rows decide whether its sums are cut into stretches; each stretch rounds once more.
            assert!(most <= 1e-4, "{precision} {rows}x{inputs}->{outputs}: {most}");
        }
    }
}

#[test]
fn what_follows_a_product_comes_in_order() {
    let (rows, inputs, outputs) = (7, 33, 83);
    let weights = numbers(outputs * inputs, 10);
    let matrix = Matrix::pack(&weights, outputs, inputs, Precision::F32);
    let x: Vec<f32> = numbers(rows * inputs, 11).iter().map(|x| x * 2.0).collect();
    let (bias, gate, add) = (numbers(outputs, 12), numbers(rows * outputs, 13), numbers(rows * outputs, 14));
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu] {
        for level in levels() {
            let finish = Finish { bias: Some(&bias), activation: Some(activation), gate: Some(&gate), add: Some(&add) };
            let mut out = vec![f32::NAN; rows * outputs];
            level.limit(|| matrix.multiply(&x, &mut out, &finish));
            for (at, out) in out.iter().enumerate() {
                let (row, column) = (at / outputs, at % outputs);
                let weights = &weights[column * inputs..][..inputs];
                let (sum, allowed) = dot(&x[row * inputs..][..inputs], weights, Precision::F32);
                let value = activated(activation, sum + f64::from(bias[column])) * f64::from(gate[at]);
                let off = (f64::from(*out) - value - f64::from(add[at])).abs();
                // The slope of an activation is at most 1.13; its own error and that of the rest is 1e-6.
                assert!(off <= 1.13 * allowed + 1e-6, "{level:?} {activation:?} at {at}: off by {off:e}");
            }
        }
    }
}

#[test]
fn activations_are_right_to_a_millionth_from_end_to_end() {
    let x: Vec<f32> = (-20_000..=20_000).map(|i| i as f32 / 1000.0).collect();
    let matrix = Matrix::pack(&[1.0], 1, 1, Precision::F32);
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu] {
        for level in levels() {
            let mut out = vec![f32::NAN; x.len()];
            let finish = Finish { activation: Some(activation), ..Finish::default() };
            level.limit(|| matrix.multiply(&x, &mut out, &finish));
            for (x, out) in x.iter().zip(&out) {
                let expected = activated(activation, f64::from(*x));
                // 1e-6, and what rounding a number of that size takes.
                let allowed = 1e-6 + 2.0 * f64::from(f32::EPSILON) * expected.abs();
                let off = (f64::from(*out) - expected).abs();
                assert!(off <= allowed, "{level:?} {activation:?}({x}) = {out}, off by {off:e}");
            }
        }
    }
}

#[test]
fn a_row_of_the_weights_comes_back() {
    let (outputs, inputs) = (70, 37);
    let weights = numbers(outputs * inputs, 15);
    for precision in PRECISIONS {
        let matrix = Matrix::pack(&weights, outputs, inputs, precision);
        for index in [0, 63, 64, 69] {
            let mut row = vec![f32::NAN; inputs];
            matrix.row(index, &mut row);
            let expected = &weights[index * inputs..][..inputs];
            for (value, expected) in row.iter().zip(expected) {
                let off = f64::from((value - expected).abs());
                let allowed = match precision {
                    Precision::F32 => 0.0,
                    Precision::Bf16 => f64::from(expected.abs()) / 256.0,
                    Precision::Int8 => most(weights[index * inputs..][..inputs].as_ref()) / 253.9,
                };
                assert!(off <= allowed, "{precision} row {index}: off by {off}");
            }
        }
    }
}

/// Keys, values and queries in rows, and attention over them in f64.
struct Scene {
    heads: usize,
    size: usize,
    positions: usize,
    n: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
    queries: Vec<f32>,
    bias: Option<Vec<f32>>,
    causal_from: Option<usize>,
}

impl Scene {
    fn new(heads: usize, size: usize, positions: usize, n: usize) -> Self {
        let width = heads * size;
        Self {
            heads,
            size,
            positions,
            n,
            keys: numbers(positions * width, 20),
            values: numbers(positions * width, 21),
            queries: numbers(n * width, 22),
            bias: None,
            causal_from: None,
        }
    }

    fn weights(&self, head: usize, i: usize) -> Vec<f64> {
        let width = self.heads * self.size;
        let seen = self.causal_from.map_or(self.positions, |from| (from + i).min(self.positions));
        let query = &self.queries[i * width + head * self.size..][..self.size];
        let score = |p: usize| {
            let key = &self.keys[p * width + head * self.size..][..self.size];
            let bias = self.bias.as_ref().map_or(0.0, |bias| bias[(head * self.n + i) * self.positions + p]);
            dot(query, key, Precision::F32).0 + f64::from(bias)
        };
        let mut scores: Vec<f64> = (0..seen).map(score).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        scores.iter_mut().for_each(|score| *score = (*score - most).exp());
        let sum: f64 = scores.iter().sum();
        scores.iter_mut().for_each(|score| *score /= sum);
        scores.resize(self.positions, 0.0);
        scores
    }

    fn expected(&self) -> Vec<f64> {
        let width = self.heads * self.size;
        let mut out = vec![0.0; self.n * width];
        for i in 0..self.n {
            for head in 0..self.heads {
                for (p, weight) in self.weights(head, i).into_iter().enumerate() {
                    for d in head * self.size..(head + 1) * self.size {
                        out[i * width + d] += weight * f64::from(self.values[p * width + d]);
                    }
                }
            }
        }
        out
    }

    fn memory(&self, precision: Precision) -> KeysValues {
        let mut memory = KeysValues::new(self.heads, self.size, precision);
        // In one long piece, then one by one, with something forgotten in between.
        let width = self.heads * self.size;
        let first = self.positions * 2 / 3;
        memory.push(&self.keys, &self.values, width, first);
        memory.push(&self.values, &self.keys, width, self.positions - first);
        memory.truncate(first);
        for p in first..self.positions {
            memory.push(&self.keys[p * width..], &self.values[p * width..], width, 1);
        }
        assert_eq!(memory.len(), self.positions);
        memory
    }

    fn task<'a>(&'a self, memory: &'a KeysValues) -> Attend<'a> {
        let query_stride = self.heads * self.size;
        let (queries, bias) = (&self.queries, self.bias.as_deref());
        Attend { memory, queries, query_stride, n: self.n, causal_from: self.causal_from, bias }
    }
}

/// How far attention may be off: the softmax is taken of scores of some 64 products of size at most 1. In f32 these are
/// right to 1e-5, so weights to 1e-5 of themselves; in bf16 a product (of size 1/4 on average) is off by some 2^-8 of
/// itself, now up, now down, so a score by sqrt(64) times that, some 0.01; with weights and values rounded too, 0.02 of
/// values of size 1.
fn attention_tolerance(precision: Precision) -> f64 {
    if precision == Precision::F32 { 1e-5 } else { 0.02 }
}

#[test]
fn attention_over_a_memory_agrees_with_the_reference() {
    for (heads, size, positions, n) in
        [(2, 64, 1, 1), (3, 64, 63, 1), (2, 64, 200, 5), (2, 32, 65, 17), (1, 80, 130, 7)]
    {
        for (causal, biased) in [(false, false), (true, false), (true, true)] {
            let mut scene = Scene::new(heads, size, positions, n);
            scene.causal_from = causal.then(|| (positions + 1).saturating_sub(n).max(1));
            scene.bias = biased.then(|| numbers(heads * n * positions, 23));
            let expected = scene.expected();
            for precision in PRECISIONS {
                let memory = scene.memory(precision);
                for level in levels() {
                    let mut out = vec![f32::NAN; n * heads * size];
                    level.limit(|| attend(&[scene.task(&memory)], heads, size, &mut out));
                    for (at, (out, expected)) in out.iter().zip(&expected).enumerate() {
                        let off = (f64::from(*out) - expected).abs();
                        assert!(
                            off <= attention_tolerance(precision),
                            "{level:?} {precision} {heads}x{size}, {n} over {positions}, {causal} at {at}: {off:e}"
                        );
                    }
                    let chosen = [heads - 1];
                    let weights = level.limit(|| attention_weights(&scene.task(&memory), heads, size, &chosen));
                    for i in 0..n {
                        for (p, expected) in scene.weights(heads - 1, i).into_iter().enumerate() {
                            let off = (f64::from(weights[0][i * positions + p]) - expected).abs();
                            assert!(off <= attention_tolerance(precision), "{level:?} {precision} weight {i} {p}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn several_rows_attend_each_to_its_own_memory() {
    let scenes = [Scene::new(2, 64, 70, 3), Scene::new(2, 64, 5, 1), Scene::new(2, 64, 300, 130)];
    let memories: Vec<_> = scenes.iter().map(|scene| scene.memory(Precision::F32)).collect();
    let tasks: Vec<_> = scenes.iter().zip(&memories).map(|(scene, memory)| scene.task(memory)).collect();
    let expected: Vec<f64> = scenes.iter().flat_map(Scene::expected).collect();
    for threads in [1, 3] {
        let mut out = vec![f32::NAN; expected.len()];
        Threads::new(threads).run(|| attend(&tasks, 2, 64, &mut out));
        assert!(out.iter().zip(&expected).all(|(out, expected)| (f64::from(*out) - expected).abs() <= 1e-5));
    }
}

#[test]
fn a_memory_copied_into_another_is_the_same() {
    let scene = Scene::new(2, 64, 90, 2);
    let mut copy = Scene::new(1, 32, 200, 1).memory(Precision::Bf16);
    copy.clone_from_filled(&scene.memory(Precision::F32));
    let mut out = vec![f32::NAN; 2 * 128];
    attend(&[scene.task(&copy)], 2, 64, &mut out);
    assert!(out.iter().zip(scene.expected()).all(|(out, expected)| (f64::from(*out) - expected).abs() <= 1e-5));
}

#[test]
fn an_encoder_attends_to_each_row_s_real_steps() {
    let (rows, heads, size) = (3, 2, 64);
    let width = heads * size;
    for (steps, lengths) in [(1, [1, 1, 0]), (37, [37, 12, 1]), (250, [250, 249, 64])] {
        let qkv = numbers(rows * steps * 3 * width, 30);
        for biased in [false, true] {
            let bias = numbers(heads * steps * steps, 31);
            for (precision, level) in PRECISIONS.into_iter().flat_map(|p| levels().map(move |level| (p, level))) {
                let bias = biased.then_some(&bias[..]);
                let task = SelfAttention { qkv: &qkv, rows, steps, heads, size, lengths: &lengths, bias, precision };
                let mut out = vec![f32::NAN; rows * steps * width];
                Threads::new(2).run(|| level.limit(|| self_attention(&task, &mut out)));
                assert!(out.iter().all(|out| out.is_finite()));
                for row in 0..rows {
                    let part = |part: usize, n: usize| {
                        let of = move |step: usize| (row * steps + step) * 3 * width + part * width;
                        (0..n).flat_map(|step| qkv[of(step)..][..width].to_vec()).collect::<Vec<_>>()
                    };
                    let length = lengths[row];
                    let mut scene = Scene::new(heads, size, length, length);
                    (scene.queries, scene.keys) = (part(0, length), part(1, length));
                    scene.values = part(2, length);
                    let cut = |head: usize, i: usize| bias.map(|b| b[(head * steps + i) * steps..][..length].to_vec());
                    let rows_of_bias = (0..heads).flat_map(|head| (0..length).map(move |i| (head, i)));
                    scene.bias =
                        biased.then(|| rows_of_bias.flat_map(|(h, i)| cut(h, i).unwrap_or_default()).collect());
                    let out = &out[row * steps * width..][..length * width];
                    for (at, (out, expected)) in out.iter().zip(scene.expected()).enumerate() {
                        let off = (f64::from(*out) - expected).abs();
                        assert!(
                            off <= attention_tolerance(precision),
                            "{level:?} {precision} {steps} at {at}: {off:e}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_convolution_agrees_with_the_reference() {
    let (channels, outputs) = (20, 33);
    let weights = numbers(outputs * channels * 3, 40);
    let bias = numbers(outputs, 41);
    for stride in [1, 2] {
        for frames in [1, 2, 9, 40] {
            let x = numbers(frames * channels, 42);
            for precision in PRECISIONS {
                let convolution = Convolution::pack(&weights, &bias, channels, outputs, stride, precision);
                let steps = convolution.frames(frames);
                assert_eq!(steps, frames.div_ceil(stride));
                let add = numbers(steps * outputs, 43);
                let mut out = vec![f32::NAN; steps * outputs];
                convolution.forward(&x, frames, Some(&add), &mut out);
                for (at, out) in out.iter().enumerate() {
                    let (t, o) = (at / outputs, at % outputs);
                    let frame = |tap: usize| (t * stride + tap).checked_sub(1).filter(|frame| *frame < frames);
                    let value = |tap: usize, c: usize| frame(tap).map_or(0.0, |frame| x[frame * channels + c]);
                    let under: Vec<f32> = (0..channels * 3).map(|at| value(at % 3, at / 3)).collect();
                    let (sum, allowed) = dot(&under, &weights[o * channels * 3..][..channels * 3], precision);
                    let expected = activated(Activation::Gelu, sum + f64::from(bias[o])) + f64::from(add[at]);
                    let off = (f64::from(*out) - expected).abs();
                    assert!(
                        off <= 1.13 * allowed + 1e-6,
                        "{precision} stride {stride} frames {frames} at {at}: {off:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn nothing_and_nonsense_are_survived() {
    for precision in PRECISIONS {
        for level in levels() {
            level.limit(|| {
                Matrix::pack(&[], 0, 5, precision).multiply(&[], &mut [], &Finish::default());
                let no_inputs = Matrix::pack(&[], 3, 0, precision);
                let mut out = [f32::NAN; 3];
                no_inputs.multiply(&[], &mut out, &Finish { bias: Some(&[1.0, 2.0, 3.0]), ..Finish::default() });
                assert_eq!(out, [1.0, 2.0, 3.0]);
                let matrix = Matrix::pack(&numbers(100 * 70, 50), 100, 70, precision);
                matrix.multiply(&[], &mut [], &Finish::default());
                for nonsense in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                    let mut x = numbers(3 * 70, 51);
                    x[75] = nonsense;
                    let mut out = vec![0.0; 300];
                    matrix.multiply(&x, &mut out, &Finish { activation: Some(Activation::Gelu), ..Finish::default() });
                    assert!(out[..100].iter().chain(&out[200..]).all(|out| out.is_finite()), "the other rows");
                    let mut memory = KeysValues::new(1, 70, precision);
                    memory.push(&x, &x, 70, 3);
                    let task =
                        Attend { memory: &memory, queries: &x, query_stride: 70, n: 3, causal_from: None, bias: None };
                    attend(&[task], 1, 70, &mut [0.0; 210]);
                }
                let empty = KeysValues::new(1, 64, precision);
                let queries = numbers(64, 52);
                let task =
                    Attend { memory: &empty, queries: &queries, query_stride: 64, n: 1, causal_from: None, bias: None };
                let mut out = [f32::NAN; 64];
                attend(&[task], 1, 64, &mut out);
                assert_eq!(out, [0.0; 64]);
                attend(&[], 1, 64, &mut []);
            });
        }
    }
}
