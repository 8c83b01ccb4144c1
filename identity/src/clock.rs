//! What time it is, for everything that expires. Tests move it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The system's clock plus what [`Clock::advance`] added; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_seconds: Arc<AtomicU64>,
}

impl Clock {
    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since_epoch.as_secs() + self.ahead_seconds.load(Ordering::Acquire)
    }

    /// Lets `time` (whole seconds) pass for everybody who shares this clock.
    pub fn advance(&self, time: Duration) {
        self.ahead_seconds.fetch_add(time.as_secs(), Ordering::AcqRel);
    }
}

/// The day of a time, seconds since the Unix epoch: `YYYY-MM-DD` in UTC.
///
/// Years are counted from March, so that the leap day is a year's last (H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
#[must_use]
pub fn utc_day(seconds: u64) -> String {
    // Days since 0000-03-01; 1970-01-01 is day 719,468. An era is 400 years, 146,097 days.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A time, seconds since the Unix epoch, for people: `YYYY-MM-DD HH:MM:SS` in UTC.
#[must_use]
pub fn utc_time(seconds: u64) -> String {
    let of_day = seconds % 86_400;
    format!("{} {:02}:{:02}:{:02}", utc_day(seconds), of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::{utc_day, utc_time};

    #[test]
    fn days_are_those_of_the_calendar() {
        // As `date -u -d @SECONDS +%F` tells them.
        let days = [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_107_542_400, "2100-03-01"),
        ];
        for (seconds, day) in days {
            assert_eq!(utc_day(seconds), day);
        }
    }

    #[test]
    fn times_are_those_of_the_clock() {
        assert_eq!(utc_time(1_735_689_599), "2024-12-31 23:59:59");
    }
}
