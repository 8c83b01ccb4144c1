//! Which language a request is in: as asked for, or as the model hears it, slow to change its mind.

use super::SpeechModel;
use super::request::{SWITCH_PROBABILITY, SpeechRequest};
use crate::decoder::Source;
use crate::error::ModelError;

impl SpeechModel {
    /// The language of each row and how sure that is: as asked for, or as the model hears it.
    pub(super) fn languages_of(
        &self,
        requests: &[&SpeechRequest],
        sources: &[Source],
    ) -> Result<Vec<(String, f32)>, ModelError> {
        let known = self.tokens.languages();
        let asked = |request: &SpeechRequest| request.language.is_some() || known.len() < 2;
        let unsure: Vec<usize> = (0..requests.len()).filter(|i| !asked(requests[*i])).collect();
        let mut heard = Vec::new();
        if !unsure.is_empty() {
            let decoder = self.network.decoder();
            let mut batch = decoder.batch(&unsure.iter().map(|i| sources[*i].clone()).collect::<Vec<_>>())?;
            let hidden = decoder.forward(&vec![vec![self.tokens.start]; unsure.len()], &mut batch)?;
            let scores = decoder.scores(&hidden)?.into_host()?;
            let rows = scores.chunks_exact(decoder.vocabulary()).zip(&unsure);
            heard.extend(rows.map(|(row, i)| choose(row, known, requests[*i].expected_language.as_deref())));
        }
        let mut heard = heard.into_iter();
        let name = |request: &&SpeechRequest| match &request.language {
            Some(language) => (language.clone(), 1.0),
            None if asked(request) => (self.languages[0].clone(), 1.0),
            None => heard.next().unwrap_or_default(),
        };
        Ok(requests.iter().map(name).collect())
    }
}

/// The likeliest of the known languages (name and token) and its share of their softmax; instead of it the expected one,
/// if that is known and the likeliest is not as likely as [`SWITCH_PROBABILITY`]. `scores` has one for each token.
fn choose(scores: &[f32], known: &[(String, u32)], expected: Option<&str>) -> (String, f32) {
    let of = |(_, id): &(String, u32)| scores.get(*id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let candidates: Vec<f32> = known.iter().map(of).collect();
    let total = kernels::log_sum_exp(&candidates);
    let share = |index: usize| (known[index].0.clone(), (candidates[index] - total).exp());
    let best = kernels::top_k(&candidates, 1).first().map(|best| share(best.id as usize)).unwrap_or_default();
    let expected = known.iter().position(|(name, _)| Some(name.as_str()) == expected);
    match expected {
        Some(expected) if best.1 < SWITCH_PROBABILITY => share(expected),
        _ => best,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_language_stays_until_another_is_all_but_certain() {
        let known: Vec<(String, u32)> =
            [("en", 1), ("es", 2), ("ja", 4)].map(|(name, id)| (name.to_owned(), id)).into();
        let chosen = |shares: [f32; 3], expected| {
            // Tokens that stand for no language are not among the shares, however likely they are.
            let scores = [9.0, shares[0].ln(), shares[1].ln(), 9.0, shares[2].ln()];
            let (name, share) = choose(&scores, &known, expected);
            (name, (share * 1000.0).round() / 1000.0)
        };
        let told = |name: &str, share: f32| (name.to_owned(), share);
        assert_eq!(chosen([0.2, 0.7, 0.1], None), told("es", 0.7));
        assert_eq!(chosen([0.2, 0.7, 0.1], Some("en")), told("en", 0.2), "not sure enough to turn round");
        assert_eq!(chosen([0.2, 0.7, 0.1], Some("ja")), told("ja", 0.1));
        assert_eq!(chosen([0.2, 0.7, 0.1], Some("es")), told("es", 0.7));
        assert_eq!(chosen([0.1, 0.81, 0.09], Some("en")), told("es", 0.81), "all but certain");
        assert_eq!(chosen([0.2, 0.7, 0.1], Some("tlh")), told("es", 0.7), "a language it does not know is none");
        assert_eq!(choose(&[], &[], Some("en")), (String::new(), 0.0));
    }
}
