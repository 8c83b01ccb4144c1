//! What `subtide admin` answers: rows, as a table for people or as JSON for programs.

use std::io::{self, Write as _};

use identity::clock::utc_time;
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::output;

/// Columns that hold times, seconds since the Unix epoch.
const TIMES: [&str; 7] = ["at", "created", "last_seen", "last_used", "expires", "revoked_at", "active_from"];

/// Rows with named columns, or one thing.
#[derive(Debug)]
pub(super) enum Answer {
    /// A list, which may be empty.
    Table { columns: Vec<&'static str>, rows: Vec<Vec<Value>> },
    /// Something that was done, to whom.
    Done { kind: &'static str, id: String, what: String },
    /// Something to be put into a variable, and so alone on its line.
    Secret { kind: &'static str, value: String },
}

impl Answer {
    pub(super) fn table<const N: usize>(columns: [&'static str; N]) -> Self {
        Self::Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [Value; N]) {
        if let Self::Table { rows, .. } = self {
            rows.push(cells.to_vec());
        }
    }

    pub(super) fn done(kind: &'static str, id: &str, what: &str) -> Self {
        Self::Done { kind, id: id.to_owned(), what: what.to_owned() }
    }

    pub(super) fn secret(kind: &'static str, value: String) -> Self {
        Self::Secret { kind, value }
    }

    /// # Errors
    /// When standard output cannot be written, or nobody reads it.
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        let text = if json { format!("{:#}\n", self.to_json()) } else { self.to_text() };
        Ok(output::print(&text)?)
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Table { columns, rows } => {
                let object = |row: &Vec<Value>| -> Map<String, Value> {
                    columns.iter().map(|name| (*name).to_owned()).zip(row.iter().cloned()).collect()
                };
                rows.iter().map(object).collect()
            }
            Self::Done { kind, id, what } => json!({ *kind: id, "done": what }),
            Self::Secret { kind, value } => json!({ *kind: value }),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Table { columns, rows } => table(columns, rows),
            Self::Done { kind, id, what } => format!("{kind} {}: {what}\n", plain(id)),
            Self::Secret { value, .. } => format!("{value}\n"),
        }
    }
}

fn table(columns: &[&str], rows: &[Vec<Value>]) -> String {
    let head = columns.iter().map(|name| (*name).to_owned()).collect();
    let cells = |row: &Vec<Value>| row.iter().zip(columns).map(|(value, name)| cell(name, value)).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let width = |n: usize| lines.iter().map(|line| line[n].width()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let padded = line.iter().zip(&widths).map(|(cell, width)| {
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            format!("{cell}{blanks}")
        });
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cell(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => plain(text),
        Value::Number(time) if TIMES.contains(&name) => utc_time(time.as_u64().unwrap_or(0)),
        other => other.to_string(),
    }
}

/// Names come from elsewhere, and a terminal obeys control characters.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// For the person at the terminal; stdout stays free for what programs read.
pub(super) fn say(text: &str) {
    // Nobody is left to tell when stderr is closed.
    writeln!(io::stderr(), "{text}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_a_terminal_is_not_told_what_to_do() {
        let mut answer = Answer::table(["id", "name", "created", "disabled"]);
        answer.row([json!("1"), json!("A\u{1b}[2J"), json!(0), json!(false)]);
        answer.row([json!("200"), json!(null), json!(1_735_689_599), json!(true)]);
        let expected = "id   name   created              disabled\n\
                        1    A\u{fffd}[2J  1970-01-01 00:00:00  false\n\
                        200  -      2024-12-31 23:59:59  true\n";
        assert_eq!(answer.to_text(), expected);
        assert_eq!(answer.to_json()[1], json!({"id": "200", "name": null, "created": 1_735_689_599, "disabled": true}));
    }
}
