//! Dynamic time warping: the cheapest path through a matrix that goes back in neither direction.

/// How a path comes to a cell.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// From the token before, at the position before.
    Both,
    /// From the token before, at the same position.
    Token,
    /// From the same token, at the position before.
    Position,
}

/// The first position of each token on the path through `matrix`, (tokens, positions), with the greatest sum.
///
/// Of equally dear ways the references (`dtw_cpu` of openai-whisper, `_dynamic_time_warping` of transformers) take the
/// one that stays with the token, even where it is not the cheapest; so does this. Time and bytes of memory:
/// O(tokens * positions).
pub(super) fn starts(matrix: &[f32], tokens: usize, positions: usize) -> Vec<u32> {
    let mut starts = vec![0; tokens];
    if matrix.is_empty() {
        return starts;
    }
    let steps = steps(matrix, tokens, positions);
    let (mut token, mut position) = (tokens - 1, positions - 1);
    loop {
        starts[token] = position as u32;
        // The edges of the matrix leave one way only.
        let step = match (token, position) {
            (0, _) => break,
            (_, 0) => Step::Token,
            _ => steps[token * positions + position],
        };
        token -= usize::from(step != Step::Position);
        position -= usize::from(step != Step::Token);
    }
    starts[0] = 0;
    starts
}

fn steps(matrix: &[f32], tokens: usize, positions: usize) -> Vec<Step> {
    let mut steps = vec![Step::Position; tokens * positions];
    // Costs of the row above, one longer: index 0 lies before the first position.
    let mut above = vec![f32::INFINITY; positions + 1];
    above[0] = 0.0;
    for (row, steps) in matrix.chunks_exact(positions).zip(steps.chunks_exact_mut(positions)) {
        let mut both = above[0];
        let mut left = f32::INFINITY;
        above[0] = f32::INFINITY;
        for ((above, step), value) in above[1..].iter_mut().zip(steps).zip(row) {
            let token = *above;
            let by_both = both < token && both < left;
            let by_token = token < both && token < left;
            *step = if by_both {
                Step::Both
            } else if by_token {
                Step::Token
            } else {
                Step::Position
            };
            let before = if by_both || by_token { if by_both { both } else { token } } else { left };
            left = before - value;
            *above = left;
            both = token;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_follows_the_ridge() {
        let ridge = [[9., -1., -1., -1., -1.], [-1., 9., 9., -1., -1.], [-1., -1., -1., 9., 9.]].concat();
        assert_eq!(starts(&ridge, 3, 5), [0, 1, 3]);
    }

    #[test]
    fn more_tokens_than_positions_share_them() {
        assert_eq!(starts(&[1., -1., 1., -1., -1., 1., -1., 1.], 4, 2), [0, 0, 1, 1]);
        assert_eq!(starts(&[1., 2., 3.], 3, 1), [0, 0, 0]);
        assert_eq!(starts(&[1., 2., 3.], 1, 3), [0]);
    }
}
