//! Attention of queries over the keys and values of a memory.

use crate::{choose::soften, memory::KeysValues};

/// Queries of one row, over its own memory.
#[derive(Debug, Clone, Copy)]
pub struct Attend<'a> {
    /// What is attended to.
    pub memory: &'a KeysValues,
    /// Query i is `queries[i * query_stride..][..heads * size]`, already scaled.
    pub queries: &'a [f32],
    /// Floats from one query to the next.
    pub query_stride: usize,
    /// Queries.
    pub n: usize,
    /// Positions of the memory that the first query may see; query i sees i more. None: all see everything.
    pub causal_from: Option<usize>,
    /// Added to the scores (heads x n x positions).
    pub bias: Option<&'a [f32]>,
}

/// Softmax weights of head `head` of query `i`, hidden positions 0.
fn weigh(task: &Attend<'_>, heads: usize, size: usize, head: usize, i: usize) -> Vec<f32> {
    let positions = task.memory.len();
    let seen = task.causal_from.map_or(positions, |from| (from + i).min(positions));
    let query = &task.queries[i * task.query_stride + head * size..][..size];
    let mut scores: Vec<f32> = (0..seen)
        .map(|at| {
            let key = &task.memory.keys[at * heads * size + head * size..][..size];
            let bias = task.bias.map_or(0.0, |bias| bias[(head * task.n + i) * positions + at]);
            query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>() + bias
        })
        .collect();
    soften(&mut scores);
    scores.resize(positions, 0.0);
    scores
}

/// Attends each task's queries to its memory; `out` holds for each task in order n x (heads * size). A query that
/// sees nothing gets zeros.
pub fn attend(tasks: &[Attend<'_>], heads: usize, size: usize, out: &mut [f32]) {
    out.fill(0.0);
    let mut start = 0;
    for task in tasks {
        for i in 0..task.n {
            for head in 0..heads {
                let weights = weigh(task, heads, size, head, i);
                let out = &mut out[start + i * heads * size + head * size..][..size];
                for (at, weight) in weights.iter().enumerate() {
                    let value = &task.memory.values[at * heads * size + head * size..][..size];
                    out.iter_mut().zip(value).for_each(|(out, v)| *out += weight * v);
                }
            }
        }
        start += task.n * heads * size;
    }
}

/// Softmax weights of the `chosen` heads: for each, n x positions. For word times and streaming policies.
pub fn attention_weights(task: &Attend<'_>, heads: usize, size: usize, chosen: &[usize]) -> Vec<Vec<f32>> {
    let of_head = |&head: &usize| (0..task.n).flat_map(|i| weigh(task, heads, size, head, i)).collect();
    chosen.iter().map(of_head).collect()
}
