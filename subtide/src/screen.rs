//! Lines in a terminal: what is finished scrolls away upwards, what is still being said is redrawn below it.

use std::io::{self, Write};

use crossterm::{
    cursor::MoveUp,
    queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{self, Clear, ClearType},
};
use shared::language::Language;

use client::transcript::{Transcript, Utterance};

/// Width to draw for when the terminal does not say.
const DEFAULT_COLUMNS: usize = 80;
/// Indentation of a translation below its source.
const INDENT: &str = "   ";

/// A terminal that shows a transcript as it grows.
#[derive(Debug)]
pub struct Screen<W: Write> {
    out: W,
    columns: usize,
    /// Rows of the part that is redrawn.
    live_rows: u16,
    /// Utterances that have scrolled away.
    printed: usize,
}

/// A piece of text in one style.
struct Piece<'a> {
    text: &'a str,
    dim: bool,
    colour: Option<Color>,
}

impl<W: Write> Screen<W> {
    /// A screen that draws from the present line of `out` downwards.
    pub fn new(out: W) -> Self {
        let columns = terminal::size().map_or(DEFAULT_COLUMNS, |(columns, _)| usize::from(columns)).max(20);
        Self { out, columns, live_rows: 0, printed: 0 }
    }

    /// Draws the transcript, and `status` as the last line.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn draw(&mut self, transcript: &Transcript, targets: &[Language], status: &str) -> io::Result<()> {
        self.clear_live()?;
        let finished = transcript.utterances().take_while(|(_, u)| u.done(targets)).count();
        for (_, utterance) in transcript.utterances().take(finished).skip(self.printed) {
            self.utterance(utterance, targets)?;
        }
        self.printed = self.printed.max(finished);
        let mut rows = 0;
        for (_, utterance) in transcript.utterances().skip(finished) {
            rows += self.utterance(utterance, targets)?;
        }
        rows += self.line(&[Piece { text: status, dim: true, colour: None }])?;
        self.live_rows = rows;
        self.out.flush()
    }

    /// Leaves the screen as it is, and the cursor below it.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn clear_live(&mut self) -> io::Result<()> {
        if self.live_rows > 0 {
            queue!(self.out, MoveUp(self.live_rows), Print("\r"), Clear(ClearType::FromCursorDown))?;
        }
        Ok(())
    }

    fn utterance(&mut self, utterance: &Utterance, targets: &[Language]) -> io::Result<u16> {
        if utterance.lost && !utterance.has_text() {
            return self.line(&[Piece {
                text: "[gap: this speech got no caption]",
                dim: false,
                colour: Some(Color::Yellow),
            }]);
        }
        let Some(caption) = utterance.caption.as_ref().filter(|_| utterance.has_text()) else { return Ok(0) };
        let mut rows = self.line(&[
            Piece { text: &caption.committed, dim: false, colour: None },
            Piece { text: &caption.tail, dim: true, colour: None },
        ])?;
        for translation in targets.iter().filter_map(|target| utterance.translations.get(target)) {
            rows += self.line(&[
                Piece { text: INDENT, dim: false, colour: None },
                Piece { text: &translation.committed, dim: false, colour: Some(Color::Cyan) },
                Piece { text: &translation.tail, dim: true, colour: Some(Color::Cyan) },
            ])?;
        }
        Ok(rows)
    }

    /// One line and how many rows it takes once the terminal has wrapped it.
    fn line(&mut self, pieces: &[Piece<'_>]) -> io::Result<u16> {
        let mut width = 0;
        for Piece { text, dim, colour } in pieces {
            width += unicode_width::UnicodeWidthStr::width(*text);
            queue!(self.out, SetAttribute(if *dim { Attribute::Dim } else { Attribute::Bold }))?;
            if let Some(colour) = colour {
                queue!(self.out, SetForegroundColor(*colour))?;
            }
            queue!(self.out, Print(text), SetAttribute(Attribute::Reset), ResetColor)?;
        }
        queue!(self.out, Print("\r\n"))?;
        Ok(u16::try_from(width.div_ceil(self.columns).max(1)).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::wire::Event;

    use super::*;

    fn event(value: serde_json::Value) -> Event {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_tail_is_redrawn_and_a_finished_line_stays() {
        let mut screen = Screen { out: Vec::new(), columns: 40, live_rows: 0, printed: 0 };
        let mut transcript = Transcript::default();
        let caption = |revision, committed, tail, is_final| {
            event(json!({"event": revision, "type": "caption", "utterance": 1, "revision": revision, "start_ms": 0,
                "end_ms": 900, "language": "en", "committed": committed, "tail": tail, "final": is_final}))
        };
        transcript.apply(&caption(1, "good", " mourning", false));
        screen.draw(&transcript, &[], "status").unwrap();
        assert_eq!(screen.live_rows, 2);
        transcript.apply(&caption(2, "good morning", "", true));
        screen.draw(&transcript, &[], "status").unwrap();
        assert_eq!((screen.live_rows, screen.printed), (1, 1));
        let drawn = String::from_utf8(screen.finish().unwrap()).unwrap();
        assert!(drawn.contains("\u{1b}[2A"), "the two live rows are cleared before the next drawing");
        assert_eq!(drawn.matches("good morning").count(), 1);
    }

    #[test]
    fn wrapped_lines_count_all_their_rows() {
        let mut screen = Screen { out: Vec::new(), columns: 40, live_rows: 0, printed: 0 };
        let long = "x".repeat(81);
        assert_eq!(screen.line(&[Piece { text: &long, dim: false, colour: None }]).unwrap(), 3);
        assert_eq!(screen.line(&[Piece { text: "字".repeat(21).as_str(), dim: false, colour: None }]).unwrap(), 2);
    }
}
