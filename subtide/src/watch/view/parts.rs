//! The parts of the screen, one below the other.

use std::collections::{BTreeMap, VecDeque};

use ratatui::{
    layout::{Constraint, Rect},
    style::Style,
    text::{Line, Span, Text},
    widgets::{Block, Borders, Cell, Paragraph, Row, Table},
};

use super::{
    BAD, DIM, GOOD, Order, STRONG,
    figures::{bytes, count, course, duration, rate, share},
};
use crate::watch::{
    names,
    report::{Latency, Process, Queue, Report, Source},
};

fn titled(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).border_style(DIM).title(Span::styled(format!(" {title} "), STRONG))
}

/// A cell whose text stands at its right.
fn right(text: String) -> Cell<'static> {
    Cell::from(Text::from(text).right_aligned())
}

fn heads<const N: usize>(left: &[&'static str], rights: [&'static str; N]) -> Row<'static> {
    let cells = left.iter().map(|text| Cell::from(*text));
    Row::new(cells.chain(rights.map(|text| right(text.to_owned())))).style(DIM)
}

/// What is wrong; the last row says how much more there is.
pub(super) fn faults(report: &Report, rows: u16) -> Paragraph<'static> {
    if report.faults.is_empty() {
        return Paragraph::new(Line::styled("✓ nothing is wrong", GOOD));
    }
    let rows = usize::from(rows);
    let shown = if report.faults.len() > rows { rows.saturating_sub(1) } else { rows };
    let mut lines: Vec<_> = report
        .faults
        .iter()
        .take(shown)
        .map(|fault| {
            Line::from(vec![
                Span::styled(format!("! [{}] ", fault.runbook), BAD),
                Span::styled(fault.what.clone(), STRONG),
            ])
        })
        .collect();
    if report.faults.len() > shown {
        lines.push(Line::styled(format!("! and {} more: subtide status", report.faults.len() - shown), BAD));
    }
    Paragraph::new(lines)
}

pub(super) fn sessions(report: &Report) -> Paragraph<'static> {
    let sessions = &report.sessions;
    let redis = &report.redis;
    let pair =
        |name: &'static str, value: String| [Span::styled(format!("{name} "), DIM), Span::raw(format!("{value}  "))];
    let mut spans: Vec<_> = [
        pair("open", count(sessions.open)),
        pair("audio", format!("{} s/s", rate(sessions.audio_seconds_per_second))),
        pair("speech", share(sessions.speech_share)),
        pair("utterances", format!("{}/s", rate(sessions.utterances_per_second))),
    ]
    .concat();
    if redis.reached {
        let limit = redis.limit_bytes.map_or_else(String::new, |limit| format!(" of {}", bytes(Some(limit))));
        spans.extend(pair("Redis", format!("{}{limit}", bytes(redis.used_bytes))));
    } else if redis.asked {
        spans.push(Span::styled("Redis away", BAD));
    }
    if let Some(times) = sessions.decoded_times_real_time {
        spans.extend(pair("decodes", format!("{times:.0}× real time")));
    }
    Paragraph::new(Line::from(spans)).block(titled("Sessions".to_owned()))
}

pub(super) fn queues(report: &Report, courses: &BTreeMap<&'static str, VecDeque<u64>>, width: u16) -> Table<'static> {
    const FIGURES: [u16; 8] = [12, 7, 7, 7, 7, 7, 6, 5];
    let taken: u16 = FIGURES.iter().sum::<u16>() + FIGURES.len() as u16;
    let room = width.saturating_sub(taken);
    let row = |(stage, queue): (&&'static str, &Queue)| {
        let depths = courses.get(stage).map(|depths| course(depths.iter().copied(), usize::from(room)));
        let old = queue.waiting_seconds.is_some_and(|seconds| seconds > 3.0);
        let nobody = queue.workers == Some(0);
        Row::new([
            Cell::from(*stage),
            right(count(queue.lag)),
            right(count(queue.pending)),
            right(duration(queue.oldest_seconds)),
            right(duration(queue.waiting_seconds)).style(if old { BAD } else { Style::new() }),
            right(count(queue.workers)).style(if nobody { BAD } else { Style::new() }),
            right(rate(queue.jobs_per_second)),
            right(rate(queue.batch_size)),
            Cell::from(depths.unwrap_or_default()).style(GOOD),
        ])
    };
    let rows: Vec<_> = report.queues.iter().map(row).collect();
    let widths = FIGURES.map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]);
    let by_roles = report.queues.values().any(|queue| queue.source == Source::Metrics);
    let title = if by_roles { "Queues, as the roles tell them" } else { "Queues" };
    let names = ["unread", "in hand", "oldest", "waits", "workers", "jobs/s", "batch"];
    let cells = names.map(|text| right(text.to_owned()));
    let head = Row::new([Cell::from("stage")].into_iter().chain(cells).chain([Cell::from("course")])).style(DIM);
    Table::new(rows, widths).header(head).block(titled(title.to_owned()))
}

pub(super) fn latencies(report: &Report, height: u16) -> Table<'static> {
    let row = |wait: &names::Wait| {
        let Latency { recent, .. } = report.latencies.get(wait.key).copied().unwrap_or_default();
        let of = if report.latencies.contains_key(wait.key) { recent.count.to_string() } else { "-".to_owned() };
        Row::new([Cell::from(wait.label), right(duration(recent.p50)), right(duration(recent.p95)), right(of)])
    };
    let widths = [Constraint::Length(19), Constraint::Length(7), Constraint::Length(7), Constraint::Length(7)];
    Table::new(names::WAITS.iter().take(usize::from(height.saturating_sub(2))).map(row), widths)
        .header(heads(&["how long for"], ["p50", "p95", "of"]))
        .block(titled("Latencies".to_owned()))
}

pub(super) fn errors(report: &Report, height: u16) -> Table<'static> {
    let room = usize::from(height.saturating_sub(2));
    // What happened just now comes first.
    let mut errors: Vec<_> = report.errors.iter().collect();
    errors.sort_by(|a, b| b.1.recent.total_cmp(&a.1.recent).then_with(|| a.0.cmp(b.0)));
    let row = |(name, count): &(&String, &crate::watch::report::Count)| {
        let style = if count.recent > 0.0 { BAD } else { Style::new() };
        let cells =
            [Cell::from((*name).clone()), right(format!("{:.0}", count.recent)), right(format!("{:.0}", count.total))];
        Row::new(cells).style(style)
    };
    let more = errors.len().saturating_sub(room);
    let mut rows: Vec<_> = errors.iter().take(if more > 0 { room.saturating_sub(1) } else { room }).map(row).collect();
    if more > 0 {
        rows.push(Row::new([Cell::from(format!("and {} more: subtide status", more + 1))]).style(DIM));
    }
    let name = if rows.is_empty() { "none ever" } else { "" };
    Table::new(rows, [Constraint::Fill(1), Constraint::Length(5), Constraint::Length(6)])
        .header(heads(&[name], ["now", "ever"]))
        .block(titled("Errors".to_owned()))
}

pub(super) fn processes(report: &Report, order: Order, area: Rect) -> Table<'static> {
    let mut all: Vec<_> = report.processes.iter().collect();
    match order {
        Order::Role => all.sort_by(|a, b| (&a.role, &a.address).cmp(&(&b.role, &b.address))),
        Order::Busy => all.sort_by(|a, b| busy(b).total_cmp(&busy(a))),
    }
    let room = usize::from(area.height.saturating_sub(2));
    let hidden = all.len().saturating_sub(room);
    let title = if hidden > 0 { format!("Processes ({hidden} more: subtide status)") } else { "Processes".to_owned() };
    let widths = [1, 18, 21, 5, 6, 7, 5, 7].map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]);
    let wide = area.width >= 100;
    let rows = all.into_iter().take(room).map(|process| process_row(process, wide));
    let names = ["has", "jobs/s", "job p95", "cores", "memory"];
    let cells = ["", "role", "at"].map(Cell::from).into_iter().chain(names.map(|text| right(text.to_owned())));
    let head = Row::new(cells.chain(wide.then(|| Cell::from("up, model")))).style(DIM);
    Table::new(rows, widths).header(head).block(titled(title))
}

fn busy(process: &Process) -> f64 {
    process.jobs_per_second.unwrap_or(0.0) + process.sessions.unwrap_or(0) as f64
}

fn process_row(process: &Process, wide: bool) -> Row<'static> {
    let at = process.address.clone().unwrap_or_else(|| process.target.clone());
    let (mark, style) = match (&process.error, process.ready) {
        (None, true) => ("✓", GOOD),
        _ => ("!", BAD),
    };
    let mut more = duration(process.up_seconds);
    if !process.models.is_empty() {
        more = format!("{more}, {}", process.models.join(", "));
    }
    // Why it is not ready is among the faults.
    let role = process.role.clone().unwrap_or_else(|| "away".to_owned());
    let cells = [
        Cell::from(mark).style(style),
        Cell::from(role).style(if process.ready { Style::new() } else { BAD }),
        Cell::from(at),
        right(count(process.sessions.or(process.jobs_in_flight))),
        right(rate(process.jobs_per_second)),
        right(duration(process.job_p95_seconds)),
        right(rate(process.cores)),
        right(bytes(process.resident_bytes)),
    ];
    Row::new(cells.into_iter().chain(wide.then(|| Cell::from(more).style(DIM))))
}
