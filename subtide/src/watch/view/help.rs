//! What the figures mean, and the keys.

use ratatui::{
    Frame,
    layout::Rect,
    text::Line,
    widgets::{Block, Clear, Paragraph},
};

use super::STRONG;

const LINES: [&str; 17] = [
    "audio      seconds of audio received in a second: about so many people stream",
    "unread     jobs that no worker has read;  in hand: read, and not yet done",
    "oldest     age of the oldest job of either",
    "waits      age of the oldest unread job: how long a new one has to wait",
    "workers    that are ready",
    "batch      rows of a batch of the model, mean",
    "course     depth (unread and in hand) of the last looks, newest at right",
    "p50, p95   half, and nineteen of twenty, took at most this; of: so many",
    "first words .. final translation: from the audio to the message on its way",
    "has        sessions of a gateway, jobs in hand of a worker;  cores: used, mean",
    "-          nobody tells it",
    "",
    "In brackets: the heading of docs/OPERATIONS.md that says what to do.",
    "The same for scripts: subtide status --json",
    "",
    "q, Esc, Ctrl-C quit     space pause     1 sort by role     2 busiest first",
    "any other key leaves this page",
];

pub(super) fn draw(frame: &mut Frame<'_>) {
    let area = frame.area();
    let (width, height) = (area.width.min(84), (LINES.len() as u16 + 2).min(area.height));
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    let lines: Vec<_> = LINES.into_iter().map(Line::raw).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Help ").title_style(STRONG)), place);
}
