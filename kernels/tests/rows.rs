//! Normalisation and the choice of a token, at every level the processor has, against plain sums in f64.

use kernels::{Best, Level, Threads, best_of, layer_norm, log_sum_exp, rms_norm, top_k};

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 20) as f32 - 8.0
    };
    (0..n).map(next).collect()
}

fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.exists())
}

#[test]
fn rows_are_normalised() {
    for (rows, width) in [(1, 1), (2, 15), (5, 64), (3, 385), (200, 512)] {
        let (x, weight, bias) = (numbers(rows * width, 1), numbers(width, 2), numbers(width, 3));
        // Far from 0, where a sum of squares less the square of a sum would lose everything.
        let x: Vec<f32> = x.iter().map(|x| x + 1000.0).collect();
        for level in levels() {
            let (mut layer, mut root) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
            Threads::new(2).run(|| {
                level.limit(|| {
                    layer_norm(&x, &weight, &bias, 1e-5, &mut layer);
                    rms_norm(&x, &weight, 1e-5, &mut root);
                });
            });
            for (row, values) in x.chunks(width).enumerate() {
                let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
                let square = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
                for (at, x) in values.iter().enumerate() {
                    let (weight, bias) = (f64::from(weight[at]), f64::from(bias[at]));
                    let place = row * width + at;
                    let normal = (f64::from(*x) - mean) / (variance + 1e-5).sqrt();
                    // The mean of numbers about 1000 is known to 1e-4; a row of one is all mean, and takes epsilon's
                    // root for its size.
                    let slack = 1e-4 / (variance + 1e-5).sqrt() * weight.abs() + 1e-4;
                    let off = (f64::from(layer[place]) - normal * weight - bias).abs();
                    assert!(off <= slack, "{level:?} {rows}x{width} at {at}: off by {off:e}");
                    let expected = f64::from(*x) / (square + 1e-5).sqrt() * weight;
                    let off = (f64::from(root[place]) - expected).abs();
                    assert!(off <= 2e-6 * expected.abs(), "{level:?} {rows}x{width} at {at}: off by {off:e}");
                }
            }
        }
    }
}

/// log of the sum of exp, in f64.
fn total(logits: &[f32]) -> f64 {
    logits.iter().map(|logit| f64::from(*logit).exp()).sum::<f64>().ln()
}

#[test]
fn the_best_is_found_with_its_probability_and_what_is_banned_is_not() {
    for n in [1, 2, 17, 1024, 1025, 5000] {
        for level in levels() {
            let logits = numbers(3 * n, 5);
            let by_size = |row: usize| {
                let row = &logits[row * n..][..n];
                let mut ids: Vec<u32> = (0..n as u32).collect();
                ids.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
                ids
            };
            let banned: Vec<u32> = by_size(1)[..n / 2].iter().copied().chain([n as u32 + 5]).collect();
            let mut masked = logits.clone();
            let best = level.limit(|| best_of(&mut masked, n, &[&[], &banned]));
            for row in 0..3 {
                let expected = by_size(row)[if row == 1 { n / 2 } else { 0 }];
                assert_eq!(best[row].id, expected, "{level:?}, row {row} of {n}");
                let logits = &masked[row * n..][..n];
                let off = f64::from(best[row].logprob) - (f64::from(logits[expected as usize]) - total(logits));
                assert!(off.abs() <= 1e-5, "{level:?}, row {row} of {n}: off by {off:e}");
                assert!((f64::from(level.limit(|| log_sum_exp(logits))) - total(logits)).abs() <= 1e-5);
            }
        }
    }
}

#[test]
fn the_k_best_come_in_order_the_first_of_equals_first() {
    for level in levels() {
        let mut logits = numbers(3000, 7);
        (logits[40], logits[2500], logits[2900]) = (9.0, 9.0, 10.0);
        let best = level.limit(|| top_k(&logits, 5));
        let mut ids: Vec<u32> = (0..3000).collect();
        ids.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
        assert_eq!(best.iter().map(|best| best.id).collect::<Vec<_>>(), ids[..5]);
        assert_eq!(best[..3].iter().map(|best| best.id).collect::<Vec<_>>(), [2900, 40, 2500]);
        for Best { id, logprob } in best {
            let expected = f64::from(logits[id as usize]) - total(&logits);
            assert!((f64::from(logprob) - expected).abs() <= 1e-5);
        }
        assert_eq!(level.limit(|| top_k(&[f32::NEG_INFINITY, 1.0], 5)).len(), 1);
        assert!(level.limit(|| top_k(&logits, 0)).is_empty());
    }
}

#[test]
fn nothing_and_nonsense_are_survived() {
    for level in levels() {
        level.limit(|| {
            assert!(best_of(&mut [], 0, &[]).is_empty());
            let nothing = best_of(&mut [f32::NEG_INFINITY, 1.0], 2, &[&[1]]);
            assert_eq!(nothing, [Best { id: 0, logprob: f32::NEG_INFINITY }]);
            let best = best_of(&mut [f32::NAN, 1.0, f32::NAN], 3, &[]);
            assert_eq!(best[0].id, 1);
            assert_eq!(best_of(&mut [0.0, f32::INFINITY], 2, &[])[0].id, 1);
            assert_eq!(log_sum_exp(&[]), f32::NEG_INFINITY);
            assert!(top_k(&[f32::NAN; 3], 2).is_empty());
            layer_norm(&[], &[1.0], &[1.0], 1e-5, &mut []);
            let mut out = [0.0; 4];
            layer_norm(&[f32::NAN, 1.0, 2.0, 4.0], &[1.0; 2], &[0.0; 2], 1e-5, &mut out);
            assert!(out[2] < -0.99 && out[3] > 0.99, "the other row");
        });
    }
}
