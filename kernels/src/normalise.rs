//! Layer normalisation, and by the root mean square.

/// (x - mean) / sqrt(variance + epsilon) * weight + bias for each row of `x`, into `out`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    let width = weight.len().max(1);
    for (x, out) in x.chunks(width).zip(out.chunks_mut(width)) {
        let mean = x.iter().sum::<f32>() / width as f32;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
        let scale = 1.0 / (variance + epsilon).sqrt();
        for i in 0..x.len() {
            out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
        }
    }
}

/// x / sqrt(mean of squares + epsilon) * weight for each row of `x`, into `out`.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let width = weight.len().max(1);
    for (x, out) in x.chunks(width).zip(out.chunks_mut(width)) {
        let square = x.iter().map(|x| x * x).sum::<f32>() / width as f32;
        let scale = 1.0 / (square + epsilon).sqrt();
        for i in 0..x.len() {
            out[i] = x[i] * scale * weight[i];
        }
    }
}
