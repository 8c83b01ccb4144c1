//! One panel of a picture: axes, a legend, lines or bars.

use std::fmt::Write as _;

/// Colours that people who do not see all colours can tell apart (Okabe and Ito 2008).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
/// Room for labels: left, right, top, bottom.
const MARGINS: (f64, f64, f64, f64) = (56.0, 14.0, 34.0, 46.0);
/// Height of a line of the legend.
const LEGEND_LINE: f64 = 16.0;
/// Marks on an axis, about so many.
const MARKS: f64 = 5.0;
/// Names of bars are turned when there are more.
const STRAIGHT_NAMES: usize = 4;
/// Lines of so few points show them as dots.
const DOTTED: usize = 24;
/// Room for turned names.
const TURNED: f64 = 44.0;

/// Axes and what is drawn between them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Panel {
    /// Above it.
    pub(super) title: String,
    /// What the horizontal axis is.
    pub(super) across: String,
    /// What the vertical axis is.
    pub(super) up: String,
    /// Right end of the horizontal axis, which begins with 0.
    pub(super) across_max: f64,
    /// Upper end of the vertical axis, which begins with 0.
    pub(super) up_max: f64,
    /// Names of groups of bars; empty where the horizontal axis has numbers.
    pub(super) names: Vec<String>,
    /// What is drawn.
    pub(super) series: Vec<Series>,
    /// A goal on the vertical axis.
    pub(super) limit: Option<f64>,
}

/// One line, or one bar of each group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// In the legend.
    pub(super) name: String,
    /// Number of its colour.
    pub(super) colour: usize,
    /// Across and up.
    pub(super) points: Vec<(f64, f64)>,
    bars: bool,
}

/// Where on the picture the axes lie.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Series {
    /// A line through `points`.
    pub(super) fn line(name: &str, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), colour, points, bars: false }
    }

    /// A bar for each point; across is the number of the group.
    pub(super) fn bars(name: &str, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), colour, points, bars: true }
    }
}

impl Panel {
    /// The panel of `size` that begins `left` on the picture.
    pub(super) fn draw(&self, left: f64, size: (f64, f64)) -> String {
        let turned = if self.names.len() > STRAIGHT_NAMES { TURNED } else { 0.0 };
        let legend = LEGEND_LINE * self.series.len() as f64;
        let frame = Frame {
            left: left + MARGINS.0,
            top: MARGINS.2 + legend,
            width: size.0 - MARGINS.0 - MARGINS.1,
            height: size.1 - MARGINS.2 - MARGINS.3 - legend - turned,
        };
        let mut svg = String::new();
        put(
            &mut svg,
            &text(frame.left, 20.0, "start", &format!("<tspan font-weight=\"bold\">{}</tspan>", escape(&self.title))),
        );
        for (n, series) in self.series.iter().enumerate() {
            let y = MARGINS.2 + LEGEND_LINE * n as f64;
            let colour = COLOURS[series.colour % COLOURS.len()];
            put(
                &mut svg,
                &format!(
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>",
                    frame.left,
                    y + 2.0
                ),
            );
            put(&mut svg, &text(frame.left + 20.0, y + 8.0, "start", &escape(&series.name)));
        }
        self.axes(&frame, turned > 0.0, &mut svg);
        self.limit.iter().for_each(|limit| put(&mut svg, &self.goal(&frame, *limit)));
        for (n, series) in self.series.iter().enumerate() {
            let drawn = if series.bars { self.bars(&frame, n, series) } else { self.line(&frame, series) };
            put(&mut svg, &drawn);
        }
        svg
    }

    fn across(&self, frame: &Frame, value: f64) -> f64 {
        frame.left + frame.width * value / self.across_max.max(f64::MIN_POSITIVE)
    }

    fn up(&self, frame: &Frame, value: f64) -> f64 {
        frame.top + frame.height * (1.0 - value / self.up_max.max(f64::MIN_POSITIVE))
    }

    fn axes(&self, frame: &Frame, turned: bool, svg: &mut String) {
        let bottom = frame.top + frame.height;
        for mark in marks(self.up_max) {
            let y = self.up(frame, mark);
            let right = frame.left + frame.width;
            put(svg, &format!("<path d=\"M{:.1} {y:.1}H{right:.1}\" stroke=\"#ddd\"/>", frame.left));
            put(svg, &text(frame.left - 6.0, y + 4.0, "end", &label(mark)));
        }
        if self.names.is_empty() {
            for mark in marks(self.across_max) {
                put(svg, &text(self.across(frame, mark), bottom + 16.0, "middle", &label(mark)));
            }
        }
        for (n, name) in self.names.iter().enumerate() {
            let (x, y) = (self.across(frame, n as f64 + 0.5), bottom + 14.0);
            let turn = if turned { format!(" transform=\"rotate(-40 {x:.1} {y:.1})\"") } else { String::new() };
            let anchor = if turned { "end" } else { "middle" };
            put(
                svg,
                &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{turn}>{}</text>", escape(name)),
            );
        }
        let middle = frame.top + frame.height / 2.0;
        let x = frame.left - 40.0;
        put(
            svg,
            &format!(
                "<path d=\"M{:.1} {:.1}V{bottom:.1}h{:.1}\" fill=\"none\" stroke=\"#444\"/>",
                frame.left, frame.top, frame.width
            ),
        );
        put(svg, &text(frame.left + frame.width / 2.0, bottom + 34.0, "middle", &escape(&self.across)));
        put(
            svg,
            &format!(
                "<text x=\"{x:.1}\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {x:.1} {middle:.1})\">{}</text>",
                escape(&self.up)
            ),
        );
    }

    fn line(&self, frame: &Frame, series: &Series) -> String {
        let at = |(x, y): &(f64, f64)| (self.across(frame, *x), self.up(frame, *y));
        let points: Vec<String> = series.points.iter().map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let colour = COLOURS[series.colour % COLOURS.len()];
        let points = points.join(" ");
        let mut svg = format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        for (x, y) in series.points.iter().map(at).filter(|_| series.points.len() <= DOTTED) {
            put(&mut svg, &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
        }
        svg
    }

    /// A broken line from left to right at `value`.
    fn goal(&self, frame: &Frame, value: f64) -> String {
        let (y, right) = (self.up(frame, value), frame.left + frame.width);
        format!("<path d=\"M{:.1} {y:.1}H{right:.1}\" stroke=\"#444\" stroke-dasharray=\"4 3\"/>", frame.left)
    }

    /// The bars of series `n`; those of one group stand side by side.
    fn bars(&self, frame: &Frame, n: usize, series: &Series) -> String {
        let group = frame.width / self.names.len().max(1) as f64;
        let width = group * 0.8 / self.series.len() as f64;
        let mut svg = String::new();
        for (x, value) in &series.points {
            let left = frame.left + group * (x + 0.1) + width * n as f64;
            let top = self.up(frame, *value);
            let (height, colour) = (frame.top + frame.height - top, COLOURS[series.colour % COLOURS.len()]);
            put(
                &mut svg,
                &format!(
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
                ),
            );
        }
        svg
    }
}

/// Round numbers from 0 to `max`.
fn marks(max: f64) -> Vec<f64> {
    let rough = max / MARKS;
    let magnitude = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * magnitude).find(|step| *step >= rough).unwrap_or(rough);
    (0..).map(|n| f64::from(n) * step).take_while(|mark| *mark <= max * 1.000_001).collect()
}

fn label(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn text(x: f64, y: f64, anchor: &str, inner: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{inner}</text>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn put(svg: &mut String, element: &str) {
    // Writing to a string cannot fail.
    writeln!(svg, "{element}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers() {
        assert_eq!(marks(5.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(marks(100.0).len(), 6);
        assert_eq!(marks(0.3).iter().map(|mark| label(*mark)).collect::<Vec<_>>(), ["0", "0.1", "0.2", "0.3"]);
    }

    #[test]
    fn values_lie_where_the_axes_say() {
        let series = vec![Series::line("a < b", 0, vec![(0.0, 0.0), (2.0, 10.0)])];
        let (title, across, up) = (String::new(), String::new(), String::new());
        let panel =
            Panel { title, across, up, across_max: 2.0, up_max: 10.0, names: Vec::new(), series, limit: Some(5.0) };
        let svg = panel.draw(100.0, (200.0, 200.0));
        // Left margin 56, right 14; top 34 and one line of legend, bottom 46.
        assert!(svg.contains("points=\"156.0,154.0 286.0,50.0\""), "{svg}");
        assert!(svg.contains("a &lt; b"));
        assert!(svg.contains("M156.0 102.0H286.0"), "the limit is half way up: {svg}");
    }
}
