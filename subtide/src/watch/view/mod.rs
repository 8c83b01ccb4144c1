//! The screen of `subtide top`, from 80 columns and 24 rows on. What matters is said by words and signs; colour only helps.

pub(super) mod figures;
mod help;
mod parts;

use std::collections::{BTreeMap, VecDeque};

use identity::clock::utc_time;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    report::{Report, Verdict},
    status::word,
};

/// Columns and rows below which figures would be cut off.
const SMALLEST: (u16, u16) = (80, 24);
/// Looks whose depths are kept for the course of a queue.
const COURSE: usize = 60;
/// Rows of everything but what is wrong and latencies, in the smallest terminal.
const OTHER_ROWS: u16 = 13;
/// Rows of latencies, with title and heads.
const WAITS: u16 = 11;

const GOOD: Style = Style::new().fg(Color::Cyan);
const BAD: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

/// How processes are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// By role, then address.
    #[default]
    Role,
    /// The busiest first.
    Busy,
}

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The newest look; `None` before the first.
    pub(super) report: Option<Report>,
    /// Nothing new is taken in.
    pub(super) paused: bool,
    pub(super) help: bool,
    pub(super) order: Order,
    /// Depths of each queue, the newest last.
    courses: BTreeMap<&'static str, VecDeque<u64>>,
}

impl Screen {
    /// Takes in a look.
    pub(super) fn take(&mut self, report: Report) {
        for (stage, queue) in &report.queues {
            let course = self.courses.entry(stage).or_default();
            course.push_back(queue.depth.unwrap_or(0));
            if course.len() > COURSE {
                course.pop_front();
            }
        }
        self.report = Some(report);
    }

    /// Draws it.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let Some(report) = &self.report else {
            return frame.render_widget(Paragraph::new("subtide top: looking for the first time ..."), area);
        };
        if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
            return too_small(frame, report);
        }
        // Where there is room, the models' own times are shown, too.
        let waits = if area.height >= 30 { WAITS } else { WAITS - 3 };
        let spare = area.height - (OTHER_ROWS + waits);
        let faults = u16::try_from(report.faults.len()).unwrap_or(u16::MAX).clamp(1, spare);
        let rows = [1, faults, 2, 4, waits].map(Constraint::Length);
        let rows = Layout::vertical(rows.into_iter().chain([Constraint::Fill(1), Constraint::Length(1)]));
        let [head, wrong, now, queues, middle, processes, foot] = rows.areas(area);
        let [latencies, errors] = Layout::horizontal([Constraint::Length(45), Constraint::Fill(1)]).areas(middle);
        frame.render_widget(self.head(report), head);
        frame.render_widget(parts::faults(report, wrong.height), wrong);
        frame.render_widget(parts::sessions(report), now);
        frame.render_widget(parts::queues(report, &self.courses, queues.width), queues);
        frame.render_widget(parts::latencies(report, latencies.height), latencies);
        frame.render_widget(parts::errors(report, errors.height), errors);
        frame.render_widget(parts::processes(report, self.order, processes), processes);
        frame.render_widget(self.foot(), foot);
        if self.help {
            help::draw(frame);
        }
    }

    fn head(&self, report: &Report) -> Line<'static> {
        let time = utc_time(report.at_unix_ms / 1000);
        let time = time.split_once(' ').map_or("", |(_, time)| time);
        let over = format!("rates and latencies of the last {:.0} s", report.over_seconds);
        let mut spans = vec![
            Span::styled("Subtide  ", STRONG),
            Span::styled(format!(" {} ", word(report.verdict)), verdict_style(report.verdict)),
            Span::raw(format!("  {time} UTC  ")),
            Span::styled(over, DIM),
        ];
        if self.paused {
            spans.push(Span::styled("  PAUSED", BAD));
        }
        Line::from(spans)
    }

    fn foot(&self) -> Line<'static> {
        let chosen = |order| if self.order == order { STRONG } else { DIM };
        Line::from(vec![
            Span::styled("q quit   space pause   ? help   sort: ", DIM),
            Span::styled("1 by role", chosen(Order::Role)),
            Span::styled("  ", DIM),
            Span::styled("2 busiest first", chosen(Order::Busy)),
        ])
    }
}

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Well => GOOD.add_modifier(Modifier::BOLD),
        Verdict::Wrong | Verdict::Unreachable => BAD.add_modifier(Modifier::REVERSED),
    }
}

fn too_small(frame: &mut Frame<'_>, report: &Report) {
    let Rect { width, height, .. } = frame.area();
    let (columns, rows) = SMALLEST;
    let wanted = format!("The whole needs {columns} columns and {rows} rows; here are {width} and {height}.");
    let mut lines = vec![Line::styled(word(report.verdict), verdict_style(report.verdict))];
    lines.extend(report.faults.iter().map(|fault| Line::raw(format!("! {}", fault.what))));
    lines.push(Line::styled(wanted, DIM));
    frame.render_widget(Paragraph::new(lines), frame.area());
}
