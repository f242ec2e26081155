//! The simulated clock: it runs at real speed from wherever it was set.
//!
//! Durations are measured elsewhere, on a clock that never jumps; setting this one changes dates and the expiry of tokens only.

use std::sync::atomic::{AtomicI64, Ordering};

use time::{Duration, OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const MILLISECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const TICKS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]");

/// A clock that can be set.
#[derive(Debug, Default)]
pub struct Clock {
    offset_milliseconds: AtomicI64,
}

impl Clock {
    /// The simulated time, in UTC.
    pub fn now(&self) -> OffsetDateTime {
        // Work that is taken up again lives in its own past until it has caught up.
        OffsetDateTime::now_utc() + Duration::milliseconds(self.offset()) - super::ledger::credit()
    }

    /// How far it is ahead of the real time, in milliseconds.
    pub fn offset(&self) -> i64 {
        self.offset_milliseconds.load(Ordering::Relaxed)
    }

    /// Sets how far it is ahead.
    pub fn set_offset(&self, milliseconds: i64) {
        self.offset_milliseconds.store(milliseconds, Ordering::Relaxed);
    }

    /// Sets the clock, which then goes on.
    pub fn set(&self, now: OffsetDateTime) {
        let offset = (now - OffsetDateTime::now_utc()).whole_milliseconds();
        self.set_offset(i64::try_from(offset).unwrap_or_default());
    }
}

/// A date as DevTest Labs writes it: seven fraction digits and an offset.
pub fn dtl_date(date: OffsetDateTime) -> String {
    format!("{}+00:00", date.format(TICKS).unwrap_or_default())
}

/// A date as Azure Resource Manager writes it: seven fraction digits and `Z`.
pub fn arm_date(date: OffsetDateTime) -> String {
    format!("{}Z", date.format(TICKS).unwrap_or_default())
}

/// A date in ISO 8601 with milliseconds.
pub fn millisecond_date(date: OffsetDateTime) -> String {
    date.format(MILLISECONDS).unwrap_or_default()
}

/// A duration as ISO 8601 writes it, such as `PT1M51.6402217S`.
pub fn iso_duration(duration: Duration) -> String {
    let hours = duration.whole_hours();
    let minutes = duration.whole_minutes() % 60;
    let seconds = duration.whole_seconds() % 60;
    let ticks = duration.subsec_nanoseconds() / 100;
    let part = |number: i64, unit: char| if number > 0 { format!("{number}{unit}") } else { String::new() };
    let (hours, minutes) = (part(hours, 'H'), part(minutes, 'M'));
    format!("PT{hours}{minutes}") + &if ticks > 0 { format!("{seconds}.{ticks:07}S") } else { format!("{seconds}S") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_azure_writes_them() {
        let cases = [
            (Duration::new(0, 442_582_300), "PT0.4425823S"),
            (Duration::new(111, 640_221_700), "PT1M51.6402217S"),
            (Duration::new(3600, 0), "PT1H0S"),
            (Duration::ZERO, "PT0S"),
        ];
        for (duration, text) in cases {
            assert_eq!(iso_duration(duration), text);
        }
    }

    #[test]
    fn a_clock_that_was_set_goes_on() {
        let clock = Clock::default();
        let date = OffsetDateTime::from_unix_timestamp(1_900_000_000).expect("in range");
        clock.set(date);
        let passed = clock.now() - date;
        assert!(passed >= Duration::milliseconds(-2) && passed < Duration::seconds(5), "{passed}");
    }
}
