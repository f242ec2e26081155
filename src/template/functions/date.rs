//! Dates: ISO 8601 in, .NET's format strings out.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::Value;
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use super::Arguments;
use crate::template::{
    evaluate::{Evaluated, Frame, Place},
    expression::Call,
    fault::Fault,
};

type Answer = Result<Value, String>;

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

pub(super) fn utc_now<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    if frame.place != Place::Default {
        return Err(Fault::new("the template function 'utcNow' is allowed in the default value of a parameter only"));
    }
    let pattern = match call.arguments.first() {
        Some(argument) => frame.evaluate(argument)?.as_str().unwrap_or_default().to_owned(),
        None => "yyyyMMddTHHmmssZ".to_owned(),
    };
    now(frame.scope.context.now, &pattern).map(|text| Cow::Owned(Value::String(text))).map_err(Fault::new)
}

/// A moment in UTC, by a .NET format.
fn now(moment: OffsetDateTime, pattern: &str) -> Result<String, String> {
    write(moment.to_offset(UtcOffset::UTC), pattern)
}

pub(super) fn date_time_from_epoch(given: &Arguments<'_>) -> Answer {
    let seconds = given.integer(0)?;
    let moment = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| format!("{seconds} seconds are beyond the calendar"))?;
    write(moment, "yyyy-MM-ddTHH:mm:ssZ").map(Value::String)
}

pub(super) fn date_time_to_epoch(given: &Arguments<'_>) -> Answer {
    Ok(Value::from(read(given.text(0)?)?.moment.unix_timestamp()))
}

pub(super) fn date_time_add(given: &Arguments<'_>) -> Answer {
    let base = read(given.text(0)?)?;
    let moment = base.moment.checked_add(duration(given.text(1)?)?).ok_or("the result is beyond the calendar")?;
    let pattern = match given.get(2) {
        Some(_) => given.text(2)?.to_owned(),
        None => base.pattern,
    };
    write(moment, &pattern).map(Value::String)
}

/// An ISO 8601 duration; a year is 365 days and a month 30, as in .NET.
fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("'{text}' is no ISO 8601 duration such as PT1H or -P9D");
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let rest = rest.strip_prefix('P').filter(|rest| !rest.is_empty() && !rest.ends_with('T')).ok_or_else(invalid)?;
    let mut total = Duration::ZERO;
    let (mut digits, mut clock) = (String::new(), false);
    for c in rest.chars() {
        let unit = match (c, clock) {
            ('0'..='9' | '.', _) => {
                digits.push(c);
                continue;
            }
            ('T', false) if digits.is_empty() => {
                clock = true;
                continue;
            }
            ('Y', false) => 365 * 86_400,
            ('M', false) => 30 * 86_400,
            ('W', false) => 7 * 86_400,
            ('D', false) => 86_400,
            ('H', true) => 3_600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return Err(invalid()),
        };
        let number: f64 = digits.parse().map_err(|_| invalid())?;
        if number > 1e9 {
            return Err(invalid());
        }
        total = total.checked_add(Duration::seconds_f64(number * f64::from(unit))).ok_or_else(invalid)?;
        digits.clear();
    }
    if !digits.is_empty() {
        return Err(invalid());
    }
    Ok(if negative { -total } else { total })
}

/// A moment, and the format in which it was written.
struct Written {
    moment: OffsetDateTime,
    pattern: String,
}

/// Reads a date: ISO 8601 with `-` or without, `T` or a blank, seconds and their fraction left out or not, `Z`, an offset or nothing (UTC).
fn read(text: &str) -> Result<Written, String> {
    scan(text.trim()).ok_or_else(|| format!("'{text}' is no ISO 8601 date such as 2020-04-07T14:53:14Z"))
}

fn scan(text: &str) -> Option<Written> {
    let mut rest = text;
    let mut pattern = String::new();
    let number = |rest: &mut &str, width: usize, name: &str, pattern: &mut String| -> Option<u16> {
        let digits = rest.get(..width).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        *rest = &rest[width..];
        pattern.push_str(name);
        digits.parse().ok()
    };
    let mark = |rest: &mut &str, marks: &[char], pattern: &mut String| -> Option<char> {
        let c = rest.chars().next().filter(|c| marks.contains(c))?;
        *rest = &rest[c.len_utf8()..];
        pattern.push(c);
        Some(c)
    };
    let year = number(&mut rest, 4, "yyyy", &mut pattern)?;
    let dashed = mark(&mut rest, &['-', '/'], &mut pattern).is_some();
    let month = number(&mut rest, 2, "MM", &mut pattern)?;
    if dashed {
        mark(&mut rest, &['-', '/'], &mut pattern)?;
    }
    let day = number(&mut rest, 2, "dd", &mut pattern)?;
    let (mut hour, mut minute, mut second, mut nanosecond) = (0, 0, 0, 0);
    if mark(&mut rest, &['T', 't', ' '], &mut pattern).is_some() {
        hour = number(&mut rest, 2, "HH", &mut pattern)?;
        let colon = mark(&mut rest, &[':'], &mut pattern).is_some();
        minute = number(&mut rest, 2, "mm", &mut pattern)?;
        if !colon || mark(&mut rest, &[':'], &mut pattern).is_some() {
            second = number(&mut rest, 2, "ss", &mut pattern)?;
        }
        if mark(&mut rest, &['.'], &mut pattern).is_some() {
            let width = rest.bytes().take_while(u8::is_ascii_digit).count();
            let digits = rest.get(..width).filter(|_| (1..=9).contains(&width))?;
            nanosecond = format!("{digits:0<9}").parse().ok()?;
            pattern.push_str(&"f".repeat(width.min(7)));
            rest = &rest[width..];
        }
    }
    let offset = match rest {
        "" => 0,
        "Z" | "z" => {
            pattern.push('Z');
            0
        }
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let digits: String = zone.strip_prefix(['+', '-'])?.chars().filter(|c| *c != ':').collect();
            let (hours, minutes) = (digits.get(..2)?.parse::<i32>().ok()?, digits.get(2..).unwrap_or("").parse::<i32>().unwrap_or(0));
            pattern.push_str("zzz");
            sign * (hours * 3_600 + minutes * 60)
        }
    };
    let date = Date::from_calendar_date(i32::from(year), Month::try_from(u8::try_from(month).ok()?).ok()?, u8::try_from(day).ok()?).ok()?;
    let time = Time::from_hms_nano(u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, u8::try_from(second).ok()?, nanosecond).ok()?;
    let moment = PrimitiveDateTime::new(date, time).assume_offset(UtcOffset::from_whole_seconds(offset).ok()?);
    Some(Written { moment: moment.to_offset(UtcOffset::UTC), pattern: pattern.replace("zzz", "Z") })
}

/// Writes a moment in UTC by a .NET format, a standard one of one letter or a custom one, in the invariant culture.
fn write(moment: OffsetDateTime, pattern: &str) -> Result<String, String> {
    let pattern = match pattern {
        "" | "G" => "MM/dd/yyyy HH:mm:ss",
        "d" => "MM/dd/yyyy",
        "D" => "dddd, dd MMMM yyyy",
        "f" => "dddd, dd MMMM yyyy HH:mm",
        "F" | "U" => "dddd, dd MMMM yyyy HH:mm:ss",
        "g" => "MM/dd/yyyy HH:mm",
        "m" | "M" => "MMMM dd",
        "o" | "O" => "yyyy-MM-ddTHH:mm:ss.fffffffK",
        "r" | "R" => "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
        "s" => "yyyy-MM-ddTHH:mm:ss",
        "t" => "HH:mm",
        "T" => "HH:mm:ss",
        "u" => "yyyy-MM-dd HH:mm:ss'Z'",
        "y" | "Y" => "yyyy MMMM",
        one if one.chars().count() == 1 => return Err(format!("'{one}' is no standard date format")),
        custom => custom.strip_prefix('%').filter(|rest| rest.chars().count() == 1).unwrap_or(custom),
    };
    let mut text = String::new();
    let characters: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    while let Some(&c) = characters.get(at) {
        let run = characters[at..].iter().take_while(|next| **next == c).count();
        match c {
            '\'' | '"' => {
                let length = characters[at + 1..].iter().position(|next| *next == c);
                let length = length.ok_or_else(|| format!("the date format '{pattern}' has a quote without its end"))?;
                text.extend(&characters[at + 1..at + 1 + length]);
                at += length + 2;
                continue;
            }
            '\\' => {
                text.extend(characters.get(at + 1));
                at += 2;
                continue;
            }
            _ => {}
        }
        if field(&mut text, moment, c, run) {
            at += run;
        } else {
            text.push(c);
            at += 1;
        }
    }
    Ok(text)
}

/// Writes one field of a custom format; false for a character that stands for itself.
fn field(text: &mut String, moment: OffsetDateTime, letter: char, run: usize) -> bool {
    let number = |text: &mut String, number: u32, width: usize| {
        let _ = write!(text, "{number:0width$}");
    };
    let hour12 = (u32::from(moment.hour()) + 11) % 12 + 1;
    let year = u32::try_from(moment.year()).unwrap_or_default();
    let month = usize::from(u8::from(moment.month()));
    let day = DAYS[usize::from(moment.weekday().number_days_from_monday())];
    match (letter, run) {
        ('y', 1..=2) => number(text, year % 100, run),
        ('y', _) => number(text, year, run.min(9)),
        ('M', 1..=2) => number(text, u32::from(u8::from(moment.month())), run),
        ('M', 3) => text.push_str(&MONTHS[month - 1][..3]),
        ('M', _) => text.push_str(MONTHS[month - 1]),
        ('d', 1..=2) => number(text, u32::from(moment.day()), run),
        ('d', 3) => text.push_str(&day[..3]),
        ('d', _) => text.push_str(day),
        ('H', _) => number(text, u32::from(moment.hour()), run.min(2)),
        ('h', _) => number(text, hour12, run.min(2)),
        ('m', _) => number(text, u32::from(moment.minute()), run.min(2)),
        ('s', _) => number(text, u32::from(moment.second()), run.min(2)),
        ('f', _) => text.push_str(&format!("{:09}", moment.nanosecond())[..run.min(7)]),
        ('F', _) => text.push_str(format!("{:09}", moment.nanosecond())[..run.min(7)].trim_end_matches('0')),
        ('t', 1) => text.push(if moment.hour() < 12 { 'A' } else { 'P' }),
        ('t', _) => text.push_str(if moment.hour() < 12 { "AM" } else { "PM" }),
        ('K', _) => text.push_str(&"Z".repeat(run)),
        ('z', 1) => text.push_str("+0"),
        ('z', 2) => text.push_str("+00"),
        ('z', _) => text.push_str("+00:00"),
        ('g', _) => text.push_str("A.D."),
        _ => return false,
    }
    true
}
