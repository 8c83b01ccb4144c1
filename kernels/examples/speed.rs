//! Speed of the kernels at the shapes that matter, beside what the processor could do: `cargo run --release -p kernels
//! --example speed [threads] [part of a name]`.

#![allow(clippy::print_stdout, reason = "it is there to print a table")]

use std::{hint::black_box, time::Instant};

use kernels::{Activation, Attend, Finish, KeysValues, Matrix, Precision, SelfAttention, Threads};

/// The least seconds of many runs, for about `for_seconds`. With `alone`, seconds of this thread: on a machine that
/// does other things too, a long run is put aside every time.
fn least(for_seconds: f64, alone: bool, mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let now = || if alone { thread_seconds() } else { begun.elapsed().as_secs_f64() };
    let mut best = f64::INFINITY;
    while begun.elapsed().as_secs_f64() < for_seconds || best.is_infinite() {
        let start = now();
        work();
        best = best.min(now() - start);
    }
    best
}

/// Processor time that this thread has used.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn thread_seconds() -> f64 {
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    }
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let mut time = [0; 2];
    // SAFETY: a `timespec` of 64-bit Linux is two 64-bit numbers.
    unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time[0] as f64 + time[1] as f64 * 1e-9
}

#[cfg(not(target_os = "linux"))]
fn thread_seconds() -> f64 {
    static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed().as_secs_f64()
}

fn numbers(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(next).collect()
}

struct Bench {
    threads: Threads,
    only: String,
}

impl Bench {
    fn show(&self, name: &str, flop: f64, bytes: f64, work: impl FnMut() + Send) {
        if !name.contains(&self.only) {
            return;
        }
        let seconds = self.threads.run(|| least(0.3, self.threads.count() == 1, work));
        let (g, b) = (flop / seconds / 1e9, bytes / seconds / 1e9);
        println!("{name:48} {:9.1} us {g:8.0} GFLOP/s {b:6.1} GB/s", seconds * 1e6);
    }

    fn product(&self, rows: usize, inputs: usize, outputs: usize, activation: Option<Activation>) {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let name = format!("product {rows}x{inputs}->{outputs} {precision}");
            if !name.contains(&self.only) {
                continue;
            }
            let matrix = Matrix::pack(&numbers(outputs * inputs), outputs, inputs, precision);
            let (x, bias, mut out) = (numbers(rows * inputs), numbers(outputs), vec![0.0; rows * outputs]);
            let finish = Finish { bias: Some(&bias), activation, ..Finish::default() };
            let flop = 2.0 * (rows * inputs * outputs) as f64;
            self.show(&name, flop, matrix.bytes() as f64, || matrix.multiply(black_box(&x), &mut out, &finish));
        }
    }

    fn encoder(&self, rows: usize, steps: usize, heads: usize) {
        for precision in [Precision::F32, Precision::Bf16] {
            let qkv = numbers(rows * steps * 3 * heads * 64);
            let mut out = vec![0.0; rows * steps * heads * 64];
            let lengths = vec![steps; rows];
            let (qkv, lengths) = (&qkv, &lengths);
            let attention = SelfAttention { qkv, rows, steps, heads, size: 64, lengths, bias: None, precision };
            let flop = 4.0 * (rows * steps * steps * heads * 64) as f64;
            self.show(&format!("self-attention {rows}x{steps} heads {heads} {precision}"), flop, 0.0, || {
                kernels::self_attention(black_box(&attention), &mut out);
            });
        }
    }

    fn memory(&self, rows: usize, positions: usize, heads: usize, queries: usize) {
        for precision in [Precision::F32, Precision::Bf16] {
            let width = heads * 64;
            let values = numbers(positions * width);
            let mut memories = vec![KeysValues::new(heads, 64, precision); rows];
            memories.iter_mut().for_each(|memory| memory.push(&values, &values, width, positions));
            let queries_of = numbers(queries * width);
            let task = |memory| Attend {
                memory,
                queries: &queries_of,
                query_stride: width,
                n: queries,
                causal_from: None,
                bias: None,
            };
            let tasks: Vec<_> = memories.iter().map(task).collect();
            let mut out = vec![0.0; rows * queries * width];
            let bytes = (rows * positions * width * 2 * if precision == Precision::F32 { 4 } else { 2 }) as f64;
            let flop = 4.0 * (rows * queries * positions * width) as f64;
            let name = format!("attend {rows} rows of {positions}, heads {heads}, queries {queries} {precision}");
            self.show(&name, flop, bytes, || kernels::attend(black_box(&tasks), heads, 64, &mut out));
            let name = format!("push {positions} positions, heads {heads} {precision}");
            self.show(&name, 0.0, bytes, || {
                memories[0].truncate(0);
                memories[0].push(&values, &values, width, positions);
            });
        }
    }

    fn rest(&self) {
        let (mut out, weight) = (vec![0.0; 1500 * 384], numbers(384));
        let x = numbers(1500 * 384);
        self.show("layer_norm 1500x384", 0.0, (x.len() * 8) as f64, || {
            kernels::layer_norm(black_box(&x), &weight, &weight, 1e-5, &mut out);
        });
        self.show("layer_norm 1x384", 0.0, (384 * 8) as f64, || {
            kernels::layer_norm(black_box(&x[..384]), &weight, &weight, 1e-5, &mut out[..384]);
        });
        for rows in [1, 16] {
            let mut logits = numbers(rows * 51865);
            self.show(&format!("best_of {rows}x51865"), 0.0, (logits.len() * 4) as f64, || {
                black_box(kernels::best_of(&mut logits, 51865, &[]));
            });
        }
        let logits = numbers(51865);
        self.show("top_k 5 of 51865", 0.0, (logits.len() * 4) as f64, || drop(kernels::top_k(black_box(&logits), 5)));
        for (channels, stride, frames) in [(80, 1, 3000), (384, 2, 3000)] {
            for precision in [Precision::F32, Precision::Int8] {
                let weights = numbers(384 * channels * 3);
                let conv = kernels::Convolution::pack(&weights, &numbers(384), channels, 384, stride, precision);
                let (x, mut out) = (numbers(frames * channels), vec![0.0; frames / stride * 384]);
                let flop = 2.0 * (out.len() * channels * 3) as f64;
                self.show(&format!("convolution {channels}->384 stride {stride} {precision}"), flop, 0.0, || {
                    conv.forward(black_box(&x), frames, None, &mut out);
                });
            }
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    let bench = Bench { threads: Threads::new(count), only: arguments.next().unwrap_or_default() };
    for (name, flop, work) in kernels::peaks() {
        bench.show(&format!("peak {name}, one thread"), flop, 0.0, work);
    }
    for (name, bytes) in [("1 MB", 1 << 20), ("8 MB", 8 << 20), ("256 MB", 256 << 20)] {
        let (from, mut to) = (vec![1u8; bytes / 2], vec![0u8; bytes / 2]);
        bench.show(&format!("copy within {name}, one thread"), 0.0, bytes as f64, || {
            to.copy_from_slice(black_box(&from));
        });
    }
    for (width, ffn) in [(384, 1536), (512, 2048)] {
        for rows in [1500, 250] {
            bench.product(rows, width, 3 * width, None);
            bench.product(rows, width, width, None);
            bench.product(rows, width, ffn, Some(Activation::Gelu));
            bench.product(rows, ffn, width, None);
        }
    }
    for rows in [1, 5, 16] {
        bench.product(rows, 384, 384, None);
        bench.product(rows, 384, 1152, None);
        bench.product(rows, 384, 1536, Some(Activation::Gelu));
        bench.product(rows, 1536, 384, None);
        bench.product(rows, 384, 51865, None);
        bench.product(rows, 512, 65001, None);
    }
    for (rows, steps, heads) in [(1, 1500, 6), (1, 1500, 8), (1, 250, 6), (16, 250, 6), (16, 32, 8)] {
        bench.encoder(rows, steps, heads);
    }
    for (rows, positions, queries) in [(1, 1500, 1), (1, 1500, 5), (16, 250, 1), (1, 32, 1), (16, 32, 1)] {
        bench.memory(rows, positions, 6, queries);
    }
    bench.rest();
}
