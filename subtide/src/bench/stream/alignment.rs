//! Words of one text laid beside the words of another by minimum edit distance.

/// A word, when it may have been said, and what it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    /// Folded.
    pub(super) word: String,
    /// The stretch it lies in, milliseconds since the start of the recording.
    pub(super) start_ms: u64,
    /// End of that stretch.
    pub(super) end_ms: u64,
    /// Number of the utterance it came in.
    pub(super) utterance: usize,
}

/// One step of an alignment; indices into the reference and into what was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The same word in both.
    Same(usize, usize),
    /// Another word in its place.
    Replaced(usize, usize),
    /// A reference word that nothing stands for.
    Missing(usize),
    /// A word that nothing in the reference stands for.
    Added(usize),
}

/// What an alignment costs: edits first, milliseconds between the stretches of words laid side by side second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    edits: u32,
    apart_ms: u64,
}

/// How a cell of the table was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Start,
    Both,
    Reference,
    Heard,
}

/// Lays `heard` beside `reference` with the fewest edits (Levenshtein 1966: words replaced, left out and put in cost one
/// each). Of alignments with equally few, the one whose words are nearest in time is taken.
pub(super) fn align(reference: &[Placed], heard: &[Placed]) -> Vec<Step> {
    let (rows, columns) = (reference.len() + 1, heard.len() + 1);
    let mut moves = vec![Move::Start; rows * columns];
    let mut above: Vec<Cost> = Vec::new();
    for row in 0..rows {
        let mut current: Vec<Cost> = Vec::with_capacity(columns);
        for column in 0..columns {
            let mut best: Option<(Cost, Move)> = None;
            let mut offer = |from: Cost, edits: u32, apart_ms: u64, by: Move| {
                let cost = Cost { edits: from.edits + edits, apart_ms: from.apart_ms + apart_ms };
                if best.is_none_or(|(standing, _)| cost < standing) {
                    best = Some((cost, by));
                }
            };
            if row > 0 && column > 0 {
                let (a, b) = (&reference[row - 1], &heard[column - 1]);
                offer(above[column - 1], u32::from(a.word != b.word), apart(a, b), Move::Both);
            }
            if row > 0 {
                offer(above[column], 1, 0, Move::Reference);
            }
            if column > 0 {
                offer(current[column - 1], 1, 0, Move::Heard);
            }
            let (cost, by) = best.unwrap_or((Cost::default(), Move::Start));
            moves[row * columns + column] = by;
            current.push(cost);
        }
        above = current;
    }
    trace(&moves, columns, reference, heard)
}

fn trace(moves: &[Move], columns: usize, reference: &[Placed], heard: &[Placed]) -> Vec<Step> {
    let (mut row, mut column) = (reference.len(), heard.len());
    let mut steps = Vec::new();
    loop {
        match moves[row * columns + column] {
            Move::Start => break,
            Move::Both => {
                (row, column) = (row - 1, column - 1);
                let same = reference[row].word == heard[column].word;
                steps.push(if same { Step::Same(row, column) } else { Step::Replaced(row, column) });
            }
            Move::Reference => {
                row -= 1;
                steps.push(Step::Missing(row));
            }
            Move::Heard => {
                column -= 1;
                steps.push(Step::Added(column));
            }
        }
    }
    steps.reverse();
    steps
}

/// Milliseconds between two stretches; 0 where they overlap.
fn apart(a: &Placed, b: &Placed) -> u64 {
    a.start_ms.saturating_sub(b.end_ms).max(b.start_ms.saturating_sub(a.end_ms))
}

/// For each word of `whole`, whether it stands at its place in `shown`, an earlier state of the same text: `shown` is
/// laid beside the start of `whole` that is nearest to it, by edit distance.
pub(super) fn standing(shown: &[String], whole: &[String]) -> Vec<bool> {
    let columns = whole.len() + 1;
    let mut costs: Vec<usize> = (0..columns).collect();
    for (i, word) in shown.iter().enumerate() {
        let above = i * columns;
        costs.push(i + 1);
        for (j, other) in whole.iter().enumerate() {
            let both = costs[above + j] + usize::from(word != other);
            let cost = both.min(costs[above + j + 1] + 1).min(costs[above + columns + j] + 1);
            costs.push(cost);
        }
    }
    let last = shown.len() * columns;
    let nearest = (0..columns).min_by_key(|&j| (costs[last + j], j.abs_diff(shown.len()))).unwrap_or(0);
    let mut stands = vec![false; whole.len()];
    let (mut i, mut j) = (shown.len(), nearest);
    while i > 0 && j > 0 {
        let (here, before) = (costs[i * columns + j], costs[(i - 1) * columns + j - 1]);
        let same = shown[i - 1] == whole[j - 1];
        if here == before + usize::from(!same) {
            (i, j) = (i - 1, j - 1);
            stands[j] = same;
        } else if here == costs[(i - 1) * columns + j] + 1 {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    stands
}

/// For each word heard, the sentence of the reference it belongs to: the stream is cut where the alignment passes from
/// one sentence into the next (Matusov, Leusch, Bender, Ney 2005, "Evaluating Machine Translation Output with Automatic
/// Sentence Segmentation"). A word that stands for none of the reference stays with the word before it, unless it came in
/// one utterance with the word after it only. `sentences`: the sentence of each reference word.
pub(super) fn cut(steps: &[Step], sentences: &[usize], heard: &[Placed]) -> Vec<usize> {
    let mut anchors: Vec<Option<usize>> = vec![None; heard.len()];
    for step in steps {
        if let Step::Same(r, h) | Step::Replaced(r, h) = step {
            anchors[*h] = Some(sentences[*r]);
        }
    }
    let mut after: Vec<Option<(usize, usize)>> = vec![None; heard.len()];
    let mut next = None;
    for h in (0..heard.len()).rev() {
        after[h] = next;
        next = anchors[h].map(|sentence| (sentence, heard[h].utterance)).or(next);
    }
    let mut before: Option<(usize, usize)> = None;
    (0..heard.len())
        .map(|h| {
            if let Some(sentence) = anchors[h] {
                before = Some((sentence, heard[h].utterance));
                return sentence;
            }
            let with = |side: Option<(usize, usize)>| side.filter(|(_, utterance)| *utterance == heard[h].utterance);
            with(before).or(with(after[h])).or(before).or(after[h]).map_or(0, |(sentence, _)| sentence)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(words: &[(&str, u64, u64, usize)]) -> Vec<Placed> {
        let one = |(word, start_ms, end_ms, utterance): &(&str, u64, u64, usize)| Placed {
            word: (*word).to_owned(),
            start_ms: *start_ms,
            end_ms: *end_ms,
            utterance: *utterance,
        };
        words.iter().map(one).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_fewest_edits_are_found() {
        let reference = placed(&[("a", 0, 1, 0), ("b", 1, 2, 0), ("c", 2, 3, 0), ("d", 3, 4, 0)]);
        let heard = placed(&[("a", 0, 4, 0), ("x", 0, 4, 0), ("c", 0, 4, 0), ("e", 0, 4, 0), ("d", 0, 4, 0)]);
        let expected = [Step::Same(0, 0), Step::Replaced(1, 1), Step::Same(2, 2), Step::Added(3), Step::Same(3, 4)];
        assert_eq!(align(&reference, &heard), expected);
        assert_eq!(align(&reference[..1], &[]), [Step::Missing(0)]);
        assert!(align(&[], &[]).is_empty());
    }

    #[test]
    fn of_equal_alignments_the_one_in_time_is_taken() {
        let reference = placed(&[("no", 0, 500, 0), ("no", 5000, 5500, 1)]);
        let late = placed(&[("no", 4800, 6000, 0)]);
        assert_eq!(align(&reference, &late), [Step::Missing(0), Step::Same(1, 0)]);
        let early = placed(&[("no", 0, 900, 0)]);
        assert_eq!(align(&reference, &early), [Step::Same(0, 0), Step::Missing(1)]);
    }

    #[test]
    fn a_shown_start_stands_at_the_start() {
        let whole = texts("the cat sat on the mat");
        assert_eq!(standing(&texts("the"), &whole), [true, false, false, false, false, false]);
        assert_eq!(standing(&texts("the bat sat"), &whole), [true, false, true, false, false, false]);
        assert_eq!(standing(&texts("cat sat on the"), &whole), [false, true, true, true, true, false]);
        assert_eq!(standing(&whole, &whole), [true; 6]);
        assert_eq!(standing(&[], &whole), [false; 6]);
        assert!(standing(&whole, &[]).is_empty());
    }

    #[test]
    fn a_stream_is_cut_at_the_sentences_of_the_reference() {
        let reference = placed(&[("a", 0, 1, 0), ("b", 1, 2, 0), ("c", 5, 6, 1), ("d", 6, 7, 1)]);
        let heard =
            placed(&[("a", 0, 2, 0), ("b", 0, 2, 0), ("x", 5, 7, 1), ("c", 5, 7, 1), ("d", 5, 7, 1), ("y", 5, 7, 1)]);
        let steps = align(&reference, &heard);
        assert_eq!(cut(&steps, &[0, 0, 1, 1], &heard), [0, 0, 1, 1, 1, 1]);
        let in_one = placed(&[("a", 0, 7, 0), ("b", 0, 7, 0), ("x", 0, 7, 0), ("c", 0, 7, 0), ("d", 0, 7, 0)]);
        assert_eq!(cut(&align(&reference, &in_one), &[0, 0, 1, 1], &in_one), [0, 0, 0, 1, 1]);
        assert!(cut(&[], &[], &[]).is_empty());
    }
}
