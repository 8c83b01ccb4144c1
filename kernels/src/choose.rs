//! The choice of a token from a row of logits.

/// A token, and its log-probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// The token's place in the row.
    pub id: u32,
    /// Its log-probability under the softmax of what is allowed.
    pub logprob: f32,
}

/// Sets the logits of `banned[row]` (ids; those outside the row are ignored) to -inf in each row of `n` logits, and
/// returns each row's best id (the first of equals) with its log-probability. `banned` may be empty: nothing is
/// banned. A row with nothing allowed gives id 0 with -inf.
pub fn best_of(logits: &mut [f32], n: usize, banned: &[&[u32]]) -> Vec<Best> {
    let mut best = Vec::new();
    for (row, logits) in logits.chunks_mut(n.max(1)).enumerate() {
        for &id in banned.get(row).copied().unwrap_or_default() {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        let mut chosen = (0, f32::NEG_INFINITY);
        for (id, &logit) in logits.iter().enumerate() {
            if logit > chosen.1 {
                chosen = (id, logit);
            }
        }
        let logprob = if chosen.1 == f32::NEG_INFINITY { f32::NEG_INFINITY } else { chosen.1 - log_sum_exp(logits) };
        best.push(Best { id: chosen.0 as u32, logprob });
    }
    best
}

/// The `k` best of one row of already masked logits, best first (of equals the first), with log-probabilities.
/// Logits of -inf are never among them.
pub fn top_k(logits: &[f32], k: usize) -> Vec<Best> {
    let total = log_sum_exp(logits);
    let mut ids: Vec<u32> = (0..logits.len() as u32).filter(|&id| logits[id as usize] > f32::NEG_INFINITY).collect();
    ids.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
    ids.truncate(k);
    ids.into_iter().map(|id| Best { id, logprob: logits[id as usize] - total }).collect()
}

/// log(sum(exp(logits))); -inf of nothing.
pub fn log_sum_exp(logits: &[f32]) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        return most;
    }
    most + logits.iter().map(|logit| (logit - most).exp()).sum::<f32>().ln()
}
