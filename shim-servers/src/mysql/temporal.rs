//! Days and times: as texts that are stored, and as bytes of the binary protocol.
//!
//! Owns reading and writing of both. Must not know columns beyond a name for messages. Invariant: a stored text is
//! MySQL's own form without trailing zeros after the point, so that texts compare as times do.

use std::borrow::Cow;
use std::cmp::Ordering;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::types::Refusal;
use crate::engine::Value;

fn wrong(what: &str, text: &str, column: &str) -> Refusal {
    (1292, format!("Incorrect {what} value: '{text}' for column '{column}' at row 1"))
}

/// Reads a day, with or without a time after it.
pub(super) fn parse_datetime(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim().trim_end_matches('Z');
    let text = text.replace('T', " ");
    let (day, rest) = text.split_once(' ').unwrap_or((&text, "00:00:00"));
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
    let time =
        NaiveTime::parse_from_str(rest, "%H:%M:%S%.f").or_else(|_| NaiveTime::parse_from_str(rest, "%H:%M"));
    Some(day.and_time(time.ok()?))
}

/// A day, from a text that may have a time.
pub(super) fn date(text: &str, column: &str) -> Result<Value, Refusal> {
    let day = parse_datetime(text).ok_or_else(|| wrong("date", text, column))?;
    Ok(Value::Text(day.format("%Y-%m-%d").to_string()))
}

/// A point in time with so many digits after the point, rounded.
pub(super) fn datetime(text: &str, digits: u8, column: &str) -> Result<Value, Refusal> {
    let at = parse_datetime(text).ok_or_else(|| wrong("datetime", text, column))?;
    let step_ns = 10_i64.pow(9 - u32::from(digits));
    let late = i64::from(at.nanosecond()) % step_ns;
    let move_by = if late * 2 >= step_ns { step_ns - late } else { -late };
    let at = at + chrono::Duration::nanoseconds(move_by);
    Ok(Value::Text(stored(at)))
}

/// Which of two days or points in time is earlier, however each is written: a day is its midnight.
pub(super) fn order(left: &str, right: &str) -> Ordering {
    parts(left).cmp(&parts(right))
}

/// The day and the time of a text; a text that is neither is compared as it is.
fn parts(text: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    const MIDNIGHT: &str = " 00:00:00";
    let bytes = text.as_bytes();
    let has_day = bytes.len() >= 10 && bytes[4] == b'-' && bytes[7] == b'-' && text.is_char_boundary(10);
    if has_day && bytes.len() == 10 {
        return (text.into(), MIDNIGHT.into());
    }
    let has_time = has_day && bytes.len() >= 19 && bytes[10] == b' ';
    if has_time && !(text.contains('.') && text.ends_with('0')) {
        return (text[..10].into(), text[10..].into());
    }
    match parse_datetime(text).map(stored) {
        Some(text) => (text[..10].to_owned().into(), text[10..].to_owned().into()),
        None => (text.into(), "".into()),
    }
}

/// The stored form of a point in time.
pub(super) fn stored(at: NaiveDateTime) -> String {
    without_zeros(&at.format("%Y-%m-%d %H:%M:%S%.6f").to_string()).to_owned()
}

/// A text that ends in a point and six digits, without zeros at its end.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// A time of day or a span, from `-838:59:59` to `838:59:59`, with so many digits after the point.
pub(super) fn time(text: &str, digits: u8, column: &str) -> Result<Value, Refusal> {
    let micros = parse_time(text).ok_or_else(|| wrong("time", text, column))?;
    let step = 10_i64.pow(6 - u32::from(digits));
    let rounded = (micros.abs() + step / 2) / step * step * micros.signum();
    Ok(Value::Text(without_zeros(&time_text(rounded, 6)).to_owned()))
}

/// Microseconds of a time of day or span.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let (sign, text) = text.trim().strip_prefix('-').map_or((1, text.trim()), |rest| (-1, rest));
    let text = text.rsplit(' ').next()?;
    let mut parts = text.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds = parts.next().unwrap_or("0");
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let fraction: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    if hours > 838 || minutes > 59 || whole > 59 {
        return None;
    }
    Some(sign * (((hours * 60 + minutes) * 60 + whole) * 1_000_000 + fraction))
}

/// A span with so many digits after the point.
pub(super) fn time_text(micros: i64, digits: u8) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (seconds, fraction) = (micros.abs() / 1_000_000, micros.abs() % 1_000_000);
    let text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    with_fraction(text, fraction, digits)
}

fn with_fraction(text: String, micros: i64, digits: u8) -> String {
    if digits == 0 {
        return text;
    }
    let fraction = format!("{micros:06}");
    format!("{text}.{}", &fraction[..usize::from(digits)])
}

/// A stored point in time as MySQL shows it.
pub(super) fn shown(text: &str, digits: u8) -> String {
    match parse_datetime(text) {
        Some(at) => {
            let whole = at.format("%Y-%m-%d %H:%M:%S").to_string();
            with_fraction(whole, i64::from(at.nanosecond() / 1000), digits)
        }
        None => text.to_owned(),
    }
}

/// Moves a point in time by a number of units (`DAY`, `MONTH` …).
pub(super) fn moved(at: NaiveDateTime, amount: f64, unit: &str) -> Option<NaiveDateTime> {
    let whole = amount.round() as i64;
    let months = |count: i64| {
        let months = chrono::Months::new(u32::try_from(count.abs()).ok()?);
        if count < 0 { at.checked_sub_months(months) } else { at.checked_add_months(months) }
    };
    let micros =
        |each: f64| at.checked_add_signed(chrono::Duration::microseconds((amount * each).round() as i64));
    match unit {
        "YEAR" => months(whole * 12),
        "QUARTER" => months(whole * 3),
        "MONTH" => months(whole),
        "WEEK" => micros(7.0 * 86_400e6),
        "DAY" => micros(86_400e6),
        "HOUR" => micros(3_600e6),
        "MINUTE" => micros(60e6),
        "SECOND" => micros(1e6),
        "MICROSECOND" => micros(1.0),
        _ => None,
    }
}

/// `DATE_FORMAT`.
pub(super) fn formatted(at: NaiveDateTime, format: &str) -> String {
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let chrono_format = match letters.next() {
            Some('Y') => "%Y",
            Some('y') => "%y",
            Some('m') => "%m",
            Some('c') => "%-m",
            Some('d') => "%d",
            Some('e') => "%-d",
            Some('H') => "%H",
            Some('k') => "%-H",
            Some('h' | 'I') => "%I",
            Some('i') => "%M",
            Some('s' | 'S') => "%S",
            Some('f') => "%6f",
            Some('p') => "%p",
            Some('T') => "%H:%M:%S",
            Some('M') => "%B",
            Some('b') => "%b",
            Some('W') => "%A",
            Some('a') => "%a",
            Some('j') => "%j",
            Some(other) => {
                out.push(other);
                continue;
            }
            None => break,
        };
        out.push_str(&at.format(chrono_format).to_string());
    }
    out
}

/// How many whole units lie between two points in time.
pub(super) fn difference(unit: &str, from: NaiveDateTime, to: NaiveDateTime) -> Option<i64> {
    let span = to - from;
    let months = || {
        let count = i64::from(to.year() - from.year()) * 12 + i64::from(to.month()) - i64::from(from.month());
        let (late, early) = ((to.day(), to.time()), (from.day(), from.time()));
        match count {
            1.. if late < early => count - 1,
            ..=-1 if late > early => count + 1,
            _ => count,
        }
    };
    Some(match unit {
        "MICROSECOND" => span.num_microseconds()?,
        "SECOND" => span.num_seconds(),
        "MINUTE" => span.num_minutes(),
        "HOUR" => span.num_hours(),
        "DAY" => span.num_days(),
        "WEEK" => span.num_weeks(),
        "MONTH" => months(),
        "QUARTER" => months() / 3,
        "YEAR" => months() / 12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Result<Value, Refusal>) -> String {
        match value {
            Ok(Value::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn stored_texts_compare_as_times() {
        let of = |input: &str| text(datetime(input, 6, "a"));
        assert_eq!(of("2024-01-01"), "2024-01-01 00:00:00");
        assert_eq!(of("2024-01-01T10:00:00.500000Z"), "2024-01-01 10:00:00.5");
        assert_eq!(of("2024-01-01 10:00:10.123456"), "2024-01-01 10:00:10.123456");
        assert!(of("2024-01-01 10:00:10") < of("2024-01-01 10:00:10.000001"));
        assert_eq!(text(datetime("2024-01-01 23:59:59.6", 0, "a")), "2024-01-02 00:00:00");
        assert_eq!(datetime("2024-02-30", 0, "a").unwrap_err().0, 1292);
        assert_eq!(shown("2024-01-01 10:00:00.5", 6), "2024-01-01 10:00:00.500000");
        assert_eq!(shown("2024-01-01 10:00:00", 0), "2024-01-01 10:00:00");
    }

    #[test]
    fn moments_are_ordered_however_they_are_written() {
        let equal = [
            ("2024-02-29", "2024-02-29 00:00:00"),
            ("2024-02-29", "2024-2-29"),
            ("2024-02-29 10:00:00.5", "2024-02-29T10:00:00.500000"),
            ("no day", "no day"),
        ];
        for (left, right) in equal {
            assert_eq!(order(left, right), Ordering::Equal, "{left} {right}");
        }
        let ordered =
            ["2024-02-28 23:59:59.9", "2024-02-29", "2024-02-29 00:00:00.000001", "2024-3-1", "2024-11-01"];
        for (at, left) in ordered.iter().enumerate() {
            for (other, right) in ordered.iter().enumerate() {
                assert_eq!(order(left, right), at.cmp(&other), "{left} {right}");
            }
        }
    }

    #[test]
    fn spans_are_read_and_written() {
        assert_eq!(text(time("10:00:00", 0, "a")), "10:00:00");
        assert_eq!(text(time("-838:59:59", 0, "a")), "-838:59:59");
        assert_eq!(text(time("01:02:30.25", 6, "a")), "01:02:30.25");
        assert_eq!(text(time("01:02:30.6", 0, "a")), "01:02:31");
        assert!(time("839:00:00", 0, "a").is_err());
    }

    #[test]
    fn times_move_and_differ() {
        let at = |input: &str| parse_datetime(input).unwrap();
        assert_eq!(moved(at("2024-01-31"), 1.0, "MONTH"), Some(at("2024-02-29")));
        assert_eq!(moved(at("2024-01-31"), -1.5, "HOUR"), Some(at("2024-01-30 22:30:00")));
        assert_eq!(difference("MONTH", at("2024-01-31"), at("2024-02-29")), Some(0));
        assert_eq!(difference("DAY", at("2024-03-01"), at("2024-02-28")), Some(-2));
        assert_eq!(formatted(at("2024-03-01 05:06:07"), "%d.%c.%y %H:%i:%s %%"), "01.3.24 05:06:07 %");
    }
}
