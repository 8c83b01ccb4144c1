//! Terms that are likelier than the model thinks: contextual biasing by shallow fusion.
//!
//! The spellings of all terms, as tokens, make a trie that is walked along the decoded text. A token that begins a term,
//! or goes on inside one, scores higher by a bonus; a text that leaves a term unfinished, or does not end the word with
//! it, loses all it earned there. (Zhao et al. 2019, "Shallow-Fusion End-to-End Contextual Biasing", section 3: the bonus
//! on every token, taken back along failure arcs; Le et al. 2021, "Contextualized Streaming End-to-End Speech Recognition
//! with Trie-Based Deep Biasing and Shallow Fusion": the trie.) All terms that fit are followed at once, which is what
//! failure arcs come to.
//!
//! A search that follows several texts sees the loss and finds back to the text without the term. One that follows a
//! single text cannot: there it means that going on in a term gets easier the further it has come.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Spellings to be preferred, shared by all requests that ask for the same terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Bias {
    /// The first is the root.
    nodes: Vec<Node>,
    inner: Arc<[bool]>,
}

const ROOT: usize = 0;

#[derive(Debug, Clone, PartialEq, Default)]
struct Node {
    next: BTreeMap<u32, usize>,
    /// Of all tokens from the root to here.
    bonus: f32,
    /// A term ends here.
    ends: bool,
}

/// How far a text is inside terms.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Walk {
    /// Where it stands in the trie, once for each term it may be in, with the bonus nobody takes back any more: that of a
    /// term that the present one begins with.
    inside: Vec<(usize, f32)>,
}

/// One way to write a term.
#[derive(Debug, Clone, PartialEq)]
pub struct Spelling {
    /// Its tokens, each with its bonus in natural logarithms of probability.
    pub tokens: Vec<(u32, f32)>,
}

impl Bias {
    /// Prefers these. `inner` says of each token of the vocabulary whether a word goes on with it, so that a term before
    /// it would only be a part of that word; tokens beyond its end never do. `None` where there are no spellings.
    pub fn new(spellings: &[Spelling], inner: Arc<[bool]>) -> Option<Self> {
        let mut bias = Self { nodes: vec![Node::default()], inner };
        for spelling in spellings.iter().filter(|spelling| !spelling.tokens.is_empty()) {
            bias.add(spelling);
        }
        (bias.nodes.len() > 1).then_some(bias)
    }

    fn add(&mut self, spelling: &Spelling) {
        let mut at = ROOT;
        for (token, bonus) in &spelling.tokens {
            let total = self.nodes[at].bonus + bonus;
            at = match self.nodes[at].next.get(token) {
                Some(next) => *next,
                None => {
                    let new = self.nodes.len();
                    self.nodes[at].next.insert(*token, new);
                    self.nodes.push(Node::default());
                    new
                }
            };
            // Of two terms that share tokens the better one counts.
            self.nodes[at].bonus = self.nodes[at].bonus.max(total);
        }
        self.nodes[at].ends = true;
    }

    fn inner(&self, token: u32) -> bool {
        self.inner.get(token as usize).copied().unwrap_or(false)
    }

    /// At the start of a text, where these tokens were forced.
    pub fn after(&self, tokens: &[u32]) -> Walk {
        self.go_on(&Walk::default(), tokens)
    }

    /// After these more tokens.
    pub fn go_on(&self, walk: &Walk, tokens: &[u32]) -> Walk {
        tokens.iter().fold(walk.clone(), |walk, token| self.step(&walk, *token))
    }

    /// After one more token.
    pub fn step(&self, walk: &Walk, token: u32) -> Walk {
        let inner = self.inner(token);
        let own = |(at, kept): &(usize, f32)| {
            let node = &self.nodes[*at];
            (*at, if node.ends && !inner { node.bonus } else { *kept })
        };
        let ways = walk.inside.iter().map(own).chain([(ROOT, 0.0)]);
        let next = ways.filter_map(|(at, kept)| Some((*self.nodes[at].next.get(&token)?, kept)));
        Walk { inside: next.collect() }
    }

    /// What the text earned in terms and may lose again.
    pub fn held(&self, walk: &Walk) -> f32 {
        walk.inside.iter().map(|(at, kept)| self.nodes[*at].bonus - kept).fold(0.0, f32::max)
    }

    /// What it earned in a term that ends here, if the word ends as well.
    fn won(&self, walk: &Walk) -> f32 {
        let ended = walk.inside.iter().filter(|(at, _)| self.nodes[*at].ends);
        ended.map(|(at, kept)| self.nodes[*at].bonus - kept).fold(0.0, f32::max)
    }

    /// What [`Bias::apply`] adds to the score of a token.
    pub fn lifted(&self, walk: &Walk, token: u32) -> f32 {
        let won = if self.inner(token) { 0.0 } else { self.won(walk) };
        won + self.held(&self.step(walk, token))
    }

    /// What [`Bias::apply`] adds to the score of a token, what is to be taken off included.
    pub fn gain(&self, walk: &Walk, token: u32) -> f32 {
        self.lifted(walk, token) - self.held(walk)
    }

    /// Adds to the scores of the tokens that begin a term, go on in one or end its word. What is returned must be taken
    /// off all of them where texts are compared with each other: a text that leaves a term loses it. Scores of minus
    /// infinity stay.
    pub fn apply(&self, walk: &Walk, scores: &mut [f32]) -> f32 {
        let won = self.won(walk);
        if won > 0.0 {
            for (token, score) in scores.iter_mut().enumerate() {
                *score += if self.inner(token as u32) { 0.0 } else { won };
            }
        }
        let ways = walk.inside.iter().map(|(at, _)| *at).chain([ROOT]);
        let mut tokens: Vec<u32> = ways.flat_map(|at| self.nodes[at].next.keys().copied()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        for token in tokens {
            if let Some(score) = scores.get_mut(token as usize) {
                *score += self.held(&self.step(walk, token));
            }
        }
        self.held(walk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each token is worth 1; from 10 on they go on a word.
    fn bias(terms: &[&[u32]]) -> Bias {
        let spelling = |tokens: &&[u32]| Spelling { tokens: tokens.iter().map(|token| (*token, 1.0)).collect() };
        let inner: Vec<bool> = (0..20).map(|token| token >= 10).collect();
        Bias::new(&terms.iter().map(spelling).collect::<Vec<_>>(), inner.into()).unwrap()
    }

    fn gains(bias: &Bias, text: &[u32]) -> Vec<f32> {
        let gain = |i: usize| bias.gain(&bias.after(&text[..i]), text[i]);
        (0..text.len()).map(gain).collect()
    }

    #[test]
    fn who_finishes_a_term_keeps_its_bonus_and_who_leaves_it_does_not() {
        let bias = bias(&[&[5, 16, 17]]);
        assert_eq!(gains(&bias, &[1, 5, 16, 17, 1]), [0.0, 1.0, 1.0, 1.0, 0.0]);
        assert_eq!(gains(&bias, &[5, 16, 1, 17]), [1.0, 1.0, -2.0, 0.0]);
        assert_eq!(gains(&bias, &[5, 5, 16, 17, 5]), [1.0, 0.0, 1.0, 1.0, 1.0], "begun anew: one is lost, one won");
        assert_eq!(gains(&bias, &[5, 16, 17, 18]), [1.0, 1.0, 1.0, -3.0], "the word goes on: it was another one");
    }

    #[test]
    fn terms_within_terms_are_followed_at_once() {
        let bias = bias(&[&[5], &[5, 16], &[5, 6, 7], &[6, 8]]);
        assert_eq!(gains(&bias, &[5, 1]), [1.0, 0.0], "a term that begins another is one too");
        assert_eq!(gains(&bias, &[5, 6, 1]), [1.0, 1.0, -1.0], "the first of them stays");
        assert_eq!(gains(&bias, &[5, 6, 8, 1]), [1.0, 1.0, 1.0, 0.0], "from one term over to another");
        assert_eq!(gains(&bias, &[5, 16, 1]), [1.0, 1.0, 0.0], "a longer word that is a term as well");
        assert_eq!(gains(&bias, &[5, 16, 17]), [1.0, 1.0, -2.0], "neither of both");
    }

    #[test]
    fn scores_rise_by_all_that_is_at_stake_and_bans_stay() {
        let bias = bias(&[&[1, 12, 13]]);
        for text in [&[][..], &[1], &[1, 12], &[1, 12, 13], &[2]] {
            let walk = bias.after(text);
            let mut scores = [0.0; 20];
            let held = bias.apply(&walk, &mut scores);
            assert_eq!(held, bias.held(&walk));
            for token in 0..20 {
                assert_eq!(scores[token as usize], bias.lifted(&walk, token), "{text:?} {token}");
            }
        }
        let mut scores = [f32::NEG_INFINITY; 20];
        bias.apply(&bias.after(&[1, 12, 13]), &mut scores);
        assert_eq!(scores, [f32::NEG_INFINITY; 20]);
        assert_eq!(Bias::new(&[], Arc::new([])), None);
    }
}
