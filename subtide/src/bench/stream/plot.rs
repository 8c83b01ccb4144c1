//! Delays and stability as a picture: SVG, written by hand, so that nothing has to be installed to make it.

mod panel;

use self::panel::{Panel, Series};
use super::{
    figures::{Delay, Figures},
    ramp::{Ramp, TOO_LATE_MS},
    report::Report,
    round::Round,
};

/// Size of a panel with its labels.
const PANEL: (f64, f64) = (460.0, 330.0);
/// Delays beyond this are at the right edge, seconds.
const LONGEST: f64 = 5.0;

/// The whole picture: delays, erasure and, of a ramp, delays by clients.
pub(super) fn draw(report: &Report<'_>) -> String {
    let mut panels = Vec::new();
    if let Some(round) = report.rounds.first() {
        panels.push(delays(round));
        panels.push(erasure(round));
    }
    panels.extend(report.ramp.map(clients));
    let (width, height) = (PANEL.0 * panels.len() as f64, PANEL.1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        svg.push_str(&panel.draw(n as f64 * PANEL.0, PANEL));
    }
    svg.push_str("</svg>\n");
    svg
}

/// How many of all words were there so long after they were said.
fn delays(round: &Round) -> Panel {
    let total = round.total();
    let mut series = vec![
        Series::line("captions shown", 0, distribution(&total.first_shown)),
        Series::line("captions committed", 1, distribution(&total.committed)),
    ];
    let (mut shown, mut committed) = (Vec::new(), Vec::new());
    for translated in total.translations.values() {
        shown.extend(&translated.first_shown);
        committed.extend(&translated.committed);
    }
    series.push(Series::line("translations shown", 2, distribution(&shown)));
    series.push(Series::line("translations committed", 3, distribution(&committed)));
    series.retain(|series| !series.points.is_empty());
    Panel {
        title: "Words on the screen, by time since they were said".to_owned(),
        across: "seconds after the end of the word".to_owned(),
        up: "% of words".to_owned(),
        across_max: LONGEST,
        up_max: 100.0,
        names: Vec::new(),
        series,
        limit: None,
    }
}

/// Points (seconds, percent) of the distribution of `delays`.
fn distribution(delays: &[Delay]) -> Vec<(f64, f64)> {
    let mut seconds: Vec<f64> = delays.iter().map(|delay| (delay.wall_ms / 1000.0).clamp(0.0, LONGEST)).collect();
    seconds.sort_unstable_by(f64::total_cmp);
    let count = seconds.len() as f64;
    seconds.into_iter().enumerate().map(|(n, second)| (second, (n + 1) as f64 * 100.0 / count)).collect()
}

/// Words taken back by words that stayed, by group.
fn erasure(round: &Round) -> Panel {
    let groups: Vec<_> = round.groups().into_iter().filter(|(_, measured)| measured.speech_ms > 0).collect();
    let (mut captions, mut translations) = (Vec::new(), Vec::new());
    for (n, (_, measured)) in groups.iter().enumerate() {
        captions.extend(measured.erasure.normalised().map(|erasure| (n as f64, erasure)));
        let mut of_all = super::erasure::Erasure::default();
        measured.translations.values().for_each(|translated| of_all.add(translated.erasure));
        translations.extend(of_all.normalised().map(|erasure| (n as f64, erasure)));
    }
    let highest = captions.iter().chain(&translations).map(|(_, erasure)| *erasure).fold(0.25, f64::max);
    Panel {
        title: "Text taken back (normalised erasure)".to_owned(),
        across: String::new(),
        up: "words erased / words of the final text".to_owned(),
        across_max: groups.len() as f64,
        up_max: highest,
        names: groups.into_iter().map(|(name, _)| name).collect(),
        series: vec![Series::bars("captions", 0, captions), Series::bars("translations", 2, translations)],
        limit: None,
    }
}

/// Delays by clients at once.
fn clients(ramp: &Ramp) -> Panel {
    let rows: Vec<_> = ramp.rows.iter().chain(&ramp.overload).collect();
    let points = |value: fn(&super::ramp::Row) -> Option<Figures>, of: fn(Figures) -> f64| {
        let mut points: Vec<(f64, f64)> =
            rows.iter().filter_map(|row| Some((row.sessions as f64, of(value(row)?) / 1000.0))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let series = vec![
        Series::line("shown, half of the words", 0, points(|row| row.first_shown, |figures| figures.p50)),
        Series::line("shown, 95 of 100", 1, points(|row| row.first_shown, |figures| figures.p95)),
        Series::line("final after the last word, 95 of 100", 3, points(|row| row.finals, |figures| figures.p95)),
    ];
    let highest = |of: fn(&(f64, f64)) -> f64| {
        series.iter().flat_map(|series| series.points.iter().map(of)).fold(TOO_LATE_MS / 1000.0, f64::max)
    };
    Panel {
        title: "Delays by sessions at once".to_owned(),
        across: "sessions".to_owned(),
        up: "seconds".to_owned(),
        across_max: highest(|point| point.0),
        up_max: highest(|point| point.1),
        names: Vec::new(),
        limit: Some(TOO_LATE_MS / 1000.0),
        series,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_ends_with_all() {
        let delay = |wall_ms: f64| Delay { wall_ms, audio_ms: 0.0 };
        let points = distribution(&[delay(900.0), delay(-20.0), delay(9000.0), delay(500.0)]);
        assert_eq!(points, [(0.0, 25.0), (0.5, 50.0), (0.9, 75.0), (5.0, 100.0)]);
    }
}
