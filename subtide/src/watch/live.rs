//! The screen in a terminal: drawn when something new is there, and left as it was found, whatever happens.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use shared::shutdown::{self, CancellationToken};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{
    Watcher,
    report::Report,
    view::{Order, Screen},
};

/// How long the screen waits for a key before it looks for something new to show.
const TICK: Duration = Duration::from_millis(100);

/// Shows what `watcher` sees until a key or a signal ends it.
///
/// # Errors
/// When standard output is no terminal, or the terminal breaks.
pub(super) async fn run(mut watcher: Watcher, every: Duration) -> anyhow::Result<()> {
    let both = io::stdout().is_terminal() && io::stdin().is_terminal();
    ensure!(both, "`subtide top` needs a terminal; for scripts and pipes there is `subtide status --json`");
    let stop = shutdown::on_signal()?;
    let (newest, reports) = watch::channel(None);
    let looking = tokio::spawn(async move {
        let mut clock = interval(every);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            newest.send_replace(Some(watcher.look().await));
        }
    });
    let shown = spawn_blocking(move || show(reports, &stop)).await;
    looking.abort();
    shown.context("the screen broke")?
}

/// The terminal in its raw state; put right again when this goes, and by a hook where the program panics.
struct Raw(DefaultTerminal);

impl Raw {
    fn enter() -> io::Result<Self> {
        // What was done before a failure is undone.
        ratatui::try_init().map(Self).inspect_err(|_| drop(ratatui::try_restore()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Where the terminal is gone there is nothing to put right.
        ratatui::try_restore().ok();
    }
}

fn show(mut reports: watch::Receiver<Option<Report>>, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut terminal = Raw::enter().context("the terminal cannot be used")?;
    let mut screen = Screen::default();
    let mut stale = true;
    while !stop.is_cancelled() {
        if !screen.paused && reports.has_changed().context("looking ended")? {
            if let Some(report) = reports.borrow_and_update().clone() {
                screen.take(report);
            }
            stale = true;
        }
        if stale {
            terminal.0.draw(|frame| screen.draw(frame)).context("the terminal cannot be written to")?;
            stale = false;
        }
        if event::poll(TICK).context("the terminal cannot be read")? {
            let event = event::read().context("the terminal cannot be read")?;
            let key = event.as_key_event().filter(|key| key.kind != KeyEventKind::Release);
            if key.is_some_and(|key| press(&mut screen, key)) {
                return Ok(());
            }
            // Also after a change of size.
            stale = true;
        }
    }
    Ok(())
}

/// What a key does; true: that was enough.
fn press(screen: &mut Screen, key: KeyEvent) -> bool {
    let helped = std::mem::take(&mut screen.help);
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Char('q') => return true,
        KeyCode::Esc => return !helped,
        KeyCode::Char(' ') => screen.paused = !screen.paused,
        KeyCode::Char('?' | 'h') => screen.help = !helped,
        KeyCode::Char('1') => screen.order = Order::Role,
        KeyCode::Char('2') => screen.order = Order::Busy,
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_foot_of_the_screen_says() {
        let mut screen = Screen::default();
        let mut on = |code| (press(&mut screen, KeyEvent::from(code)), screen.paused, screen.help, screen.order);
        assert_eq!(on(KeyCode::Char(' ')), (false, true, false, Order::Role));
        assert_eq!(on(KeyCode::Char('2')), (false, true, false, Order::Busy));
        assert_eq!(on(KeyCode::Char('?')), (false, true, true, Order::Busy));
        assert_eq!(on(KeyCode::Esc), (false, true, false, Order::Busy), "leaves the help, not the program");
        assert!(on(KeyCode::Esc).0 && on(KeyCode::Char('q')).0);
        assert!(press(&mut screen, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!press(&mut screen, KeyEvent::from(KeyCode::Char('c'))));
    }
}
