//! Sound files.

use std::{io::Cursor, path::Path};

use subtide::recording::Recording;

const NAMES: [&str; 4] = ["a.wav", "a.flac", "a.mp3", "a.ogg"];
/// Pieces that are looked at.
const PIECES: usize = 2_000;

/// A sound file, the first byte saying how it is called: what can be opened has a rate that gateways take and gives whole
/// samples, and comes to an end or says that it is cut short.
pub fn recording(data: &[u8]) {
    let Some((name, data)) = data.split_first() else { return };
    let name = NAMES[usize::from(*name) % NAMES.len()];
    let Ok(recording) = Recording::of(Path::new(name), Box::new(Cursor::new(data.to_vec()))) else { return };
    let mut recording = recording.with_both_channels();
    let format = recording.format();
    assert!((8_000..=48_000).contains(&format.sample_rate) && (1..=2).contains(&format.channels));
    for _ in 0..PIECES {
        match recording.next_piece() {
            Ok(Some(piece)) => {
                assert!(!piece.is_empty() && piece.len().is_multiple_of(2 * usize::from(format.channels)));
            }
            Ok(None) => return,
            Err(error) => {
                assert!(error.to_string().contains(name));
                return;
            }
        }
    }
}
