//! Figures as short texts: never wider than 7 columns, and `-` for what nobody tells.

const NOTHING: &str = "-";

/// A count.
pub(in crate::watch) fn count(value: Option<u64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

/// So many in a second.
pub(in crate::watch) fn rate(value: Option<f64>) -> String {
    let Some(value) = value else { return NOTHING.to_owned() };
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// A share, in percent.
pub(in crate::watch) fn share(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| format!("{:.0} %", 100.0 * value))
}

/// A duration, in the unit that fits.
pub(in crate::watch) fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => NOTHING.to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(seconds) if seconds < 0.9995 => format!("{:.0} ms", (seconds * 1000.0).max(1.0)),
        Some(seconds) if seconds < 100.0 => format!("{seconds:.1} s"),
        Some(seconds) if seconds < 6000.0 => format!("{:.0} min", seconds / 60.0),
        Some(seconds) if seconds < 172_800.0 => format!("{:.0} h", seconds / 3600.0),
        Some(seconds) => format!("{:.0} d", seconds / 86_400.0),
    }
}

/// Bytes, in the unit that fits (powers of 1000).
pub(in crate::watch) fn bytes(value: Option<u64>) -> String {
    match value {
        None => NOTHING.to_owned(),
        Some(bytes) if bytes < 1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        Some(bytes) if bytes < 1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        Some(bytes) if bytes < 10_000_000_000 => format!("{:.1} GB", bytes as f64 / 1e9),
        Some(bytes) => format!("{:.0} GB", bytes as f64 / 1e9),
    }
}

/// The course of a figure, the newest at the right, as bars against the largest of them.
pub(in crate::watch) fn course(values: impl DoubleEndedIterator<Item = u64> + Clone, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let newest = values.rev().take(width).collect::<Vec<_>>();
    let most = newest.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| BARS[usize::try_from(value * 7 / most).unwrap_or(7).min(7)];
    newest.iter().rev().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_nothing_is_not_zero() {
        assert_eq!((count(None), count(Some(0))), ("-".to_owned(), "0".to_owned()));
        let durations = [0.0, 0.0001, 0.25, 0.9996, 12.34, 99.99, 125.0, 7200.0, 864_000.0];
        let shown = durations.map(|seconds| duration(Some(seconds)));
        assert_eq!(shown, ["0", "1 ms", "250 ms", "1.0 s", "12.3 s", "100.0 s", "2 min", "2 h", "10 d"]);
        assert!(shown.iter().all(|text| text.len() <= 7));
        assert_eq!([2_000, 512_000_000, 32_000_000_000].map(|b| bytes(Some(b))), ["2 kB", "512 MB", "32 GB"]);
        assert_eq!(
            (rate(Some(2.34)), rate(Some(1234.5)), share(Some(0.716))),
            ("2.3".into(), "1234".into(), "72 %".into())
        );
    }

    #[test]
    fn the_newest_of_a_course_is_at_the_right() {
        assert_eq!(course([9, 9, 0, 4, 8].into_iter(), 3), "▁▄█");
        assert_eq!(course([0, 0].into_iter(), 5), "▁▁");
    }
}
