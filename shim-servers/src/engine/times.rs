//! Dates, times and intervals, and their text.
//!
//! Owns the calendar (proleptic Gregorian, by chrono) and the ISO style of text. Must not read a clock. Invariant: times
//! are microseconds since 2000-01-01 00:00 UTC, days count from the same day; there is one time zone for text, UTC.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::error::{Condition, Result, SqlError};

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;
/// 2000-01-01 in microseconds since 1970.
pub(crate) const EPOCH_US: i64 = 946_684_800_000_000;

/// The date after, and the one before, all others.
const DATES: [i64; 2] = [i32::MAX as i64, i32::MIN as i64];
/// The point in time after, and the one before, all others.
const TIMES: [i64; 2] = [i64::MAX, i64::MIN];
const WORDS: [&str; 2] = ["infinity", "-infinity"];

/// The special value that a word stands for.
fn special(text: &str, values: [i64; 2]) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    WORDS.iter().position(|word| *word == text).map(|at| values[at])
}

/// The word that stands for a special value.
fn word(value: i64, values: [i64; 2]) -> Option<String> {
    values.iter().position(|special| *special == value).map(|at| WORDS[at].to_owned())
}

/// Whether a point in time is at no end.
pub(crate) fn is_finite(timestamp_us: i64) -> bool {
    !TIMES.contains(&timestamp_us)
}

/// The beginning of a day.
pub(crate) fn timestamp_of_date(days: i64) -> Result<i64> {
    match DATES.iter().position(|special| *special == days) {
        Some(at) => Ok(TIMES[at]),
        None => days.checked_mul(DAY_US).ok_or_else(|| out_of_range("date")),
    }
}

/// The day of a point in time.
pub(crate) fn date_of_timestamp(timestamp_us: i64) -> i64 {
    let at = TIMES.iter().position(|special| *special == timestamp_us);
    at.map_or_else(|| timestamp_us.div_euclid(DAY_US), |at| DATES[at])
}

fn epoch() -> NaiveDateTime {
    DateTime::from_timestamp_micros(EPOCH_US).expect("invariant: the year 2000 exists").naive_utc()
}

fn invalid(kind: &str, text: &str) -> SqlError {
    let message = format!("invalid input syntax for type {kind}: \"{text}\"");
    SqlError::new(Condition::InvalidDatetimeFormat, message)
}

fn out_of_range(what: &str) -> SqlError {
    SqlError::new(Condition::DatetimeFieldOverflow, format!("{what} out of range"))
}

/// A point in time as date and time of day.
pub(crate) fn civil(timestamp_us: i64) -> NaiveDateTime {
    let micros = timestamp_us.saturating_add(EPOCH_US);
    DateTime::from_timestamp_micros(micros).map_or_else(epoch, |time| time.naive_utc())
}

/// Microseconds since 2000 of a date and time of day.
pub(crate) fn micros(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp_micros() - EPOCH_US
}

/// Days since 2000 of a date.
pub(crate) fn days(date: NaiveDate) -> i64 {
    (date - epoch().date()).num_days()
}

/// Reads a date, `2024-02-29`; what follows a blank or `T` is not looked at.
pub(crate) fn parse_date(text: &str) -> Result<i64> {
    if let Some(special) = special(text, DATES) {
        return Ok(special);
    }
    let date = text.trim().split([' ', 'T']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else { return Err(invalid("date", text)) };
    let number = |part: &str| part.parse::<u32>().map_err(|_| invalid("date", text));
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    NaiveDate::from_ymd_opt(year as i32, month, day).map(days).ok_or_else(|| {
        let message = format!("date/time field value out of range: \"{text}\"");
        SqlError::new(Condition::DatetimeFieldOverflow, message)
    })
}

pub(crate) fn format_date(days_since: i64) -> String {
    if let Some(word) = word(days_since, DATES) {
        return word;
    }
    civil(days_since.saturating_mul(DAY_US)).format("%Y-%m-%d").to_string()
}

/// Reads a time of day, `13:45:01.5`.
pub(crate) fn parse_time(text: &str) -> Result<i64> {
    let trimmed = text.trim();
    let format = if trimmed.matches(':').count() == 1 { "%H:%M" } else { "%H:%M:%S%.f" };
    let time = NaiveTime::parse_from_str(trimmed, format).map_err(|_| invalid("time", text))?;
    Ok(i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1000))
}

pub(crate) fn format_time(us: i64) -> String {
    let (seconds, fraction) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    push_fraction(&mut text, fraction);
    text
}

fn push_fraction(text: &mut String, fraction: i64) {
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
}

/// Reads date, time and zone; without a zone it is UTC.
pub(crate) fn parse_timestamp(text: &str, zoned: bool) -> Result<i64> {
    if let Some(special) = special(text, TIMES) {
        return Ok(special);
    }
    let kind = if zoned { "timestamp with time zone" } else { "timestamp" };
    let trimmed = text.trim();
    let (date, rest) = match trimmed.find([' ', 'T']) {
        Some(at) => (&trimmed[..at], trimmed[at + 1..].trim()),
        None => (trimmed, ""),
    };
    let day = parse_date(date).map_err(|error| match error.condition {
        Condition::DatetimeFieldOverflow => SqlError::new(
            Condition::DatetimeFieldOverflow,
            format!("date/time field value out of range: \"{text}\""),
        ),
        _ => invalid(kind, text),
    })?;
    if rest.is_empty() {
        return Ok(day * DAY_US);
    }
    let zone_at = rest.find(['Z', 'z', '+', '-', ' ', 'U']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let time = parse_time(time).map_err(|_| invalid(kind, text))?;
    let offset = if zoned { parse_offset(zone.trim()).ok_or_else(|| invalid(kind, text))? } else { 0 };
    Ok(day * DAY_US + time - offset)
}

/// Microseconds east of UTC of `Z`, `UTC`, `+02`, `+0200` or `+02:00`.
pub(crate) fn parse_offset(zone: &str) -> Option<i64> {
    if zone.is_empty() || ["z", "utc", "gmt", "etc/utc"].contains(&zone.to_ascii_lowercase().as_str()) {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    let hours: i64 = digits.get(..2).or(Some(&digits))?.parse().ok()?;
    let minutes: i64 = digits.get(2..4).map_or(Ok(0), str::parse).ok()?;
    Some(sign * (hours * 60 + minutes) * 60_000_000)
}

pub(crate) fn format_timestamp(us: i64, zoned: bool) -> String {
    if let Some(word) = word(us, TIMES) {
        return word;
    }
    let time = civil(us);
    let mut text = time.format("%Y-%m-%d %H:%M:%S").to_string();
    push_fraction(&mut text, us.rem_euclid(1_000_000));
    if zoned {
        text.push_str("+00");
    }
    text
}

/// A span of time: months and days have no fixed length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Whole months.
    pub months: i32,
    /// Whole days.
    pub days: i32,
    /// The rest, in microseconds.
    pub us: i64,
}

impl Interval {
    /// Reads `1 day 02:03:04`, `90 minutes`, `-1 mon`, `1h` and the like.
    ///
    /// # Errors
    /// `22007` with PostgreSQL's text.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || invalid("interval", text);
        let mut result = Self::default();
        let mut words = text.split_whitespace().flat_map(split_unit).peekable();
        let mut any = false;
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case("ago") {
                result = result.scaled(-1);
                continue;
            }
            any = true;
            if word.contains(':') {
                let (sign, digits) = match word.strip_prefix('-') {
                    Some(digits) => (-1, digits),
                    None => (1, word.trim_start_matches('+')),
                };
                result.us += sign * parse_time(digits).map_err(|_| wrong())?;
                continue;
            }
            let number: f64 = word.parse().map_err(|_| wrong())?;
            let unit = words.next().unwrap_or_else(|| "seconds".to_owned()).to_ascii_lowercase();
            result = result.plus(&Self::of(number, &unit).ok_or_else(wrong)?);
        }
        if any { Ok(result) } else { Err(wrong()) }
    }

    /// So many of a unit.
    pub fn of(number: f64, unit: &str) -> Option<Self> {
        let unit = match unit {
            "s" | "m" | "h" | "d" | "w" | "y" | "us" | "ms" => unit,
            longer => longer.trim_end_matches('s'),
        };
        let us = |factor: f64| Self { us: (number * factor).round() as i64, ..Self::default() };
        let months = |factor: f64| {
            let whole = (number * factor).trunc();
            Self { months: whole as i32, days: ((number * factor - whole) * 30.0).round() as i32, us: 0 }
        };
        let days = |factor: f64| {
            let whole = (number * factor).trunc();
            let us = ((number * factor - whole) * DAY_US as f64).round() as i64;
            Self { months: 0, days: whole as i32, us }
        };
        Some(match unit {
            "us" | "microsecond" | "usec" => us(1.0),
            "ms" | "millisecond" | "msec" => us(1e3),
            "s" | "second" | "sec" => us(1e6),
            "m" | "minute" | "min" => us(6e7),
            "h" | "hour" | "hr" => us(3.6e9),
            "d" | "day" => days(1.0),
            "w" | "week" => days(7.0),
            "month" | "mon" => months(1.0),
            "y" | "year" | "yr" => months(12.0),
            "decade" => months(120.0),
            "century" | "centurie" => months(1200.0),
            _ => return None,
        })
    }

    /// Part by part the sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            months: self.months.saturating_add(other.months),
            days: self.days.saturating_add(other.days),
            us: self.us.saturating_add(other.us),
        }
    }

    /// Part by part times a whole number.
    #[must_use]
    pub fn scaled(&self, by: i32) -> Self {
        Self {
            months: self.months.saturating_mul(by),
            days: self.days.saturating_mul(by),
            us: self.us.saturating_mul(i64::from(by)),
        }
    }

    /// A point in time moved by it: months first, then days, then the rest.
    ///
    /// # Errors
    /// `22008` beyond the calendar.
    pub fn add_to(&self, timestamp_us: i64) -> Result<i64> {
        let time = civil(timestamp_us);
        let months = Months::new(self.months.unsigned_abs());
        let moved =
            if self.months < 0 { time.checked_sub_months(months) } else { time.checked_add_months(months) };
        let days = Days::new(u64::from(self.days.unsigned_abs()));
        let moved = moved.and_then(|time| {
            if self.days < 0 { time.checked_sub_days(days) } else { time.checked_add_days(days) }
        });
        let moved = moved.ok_or_else(|| out_of_range("timestamp"))?;
        micros(moved).checked_add(self.us).ok_or_else(|| out_of_range("timestamp"))
    }

    /// How SQLite keeps it.
    pub fn kept(&self) -> String {
        format!("{} {} {}", self.months, self.days, self.us)
    }

    /// Reads what [`kept`](Self::kept) wrote.
    ///
    /// # Errors
    /// An internal error for other text.
    pub fn from_kept(text: &str) -> Result<Self> {
        let mut parts = text.split(' ');
        let mut next = || parts.next().and_then(|part| part.parse::<i64>().ok());
        let (Some(months), Some(days), Some(us)) = (next(), next(), next()) else {
            return Err(SqlError::internal(format!("not a kept interval: \"{text}\"")));
        };
        Ok(Self { months: months as i32, days: days as i32, us })
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |number: i32| if number == 1 { "" } else { "s" };
        let mut words = Vec::new();
        let (years, months) = (self.months / 12, self.months % 12);
        if years != 0 {
            words.push(format!("{years} year{}", plural(years)));
        }
        if months != 0 {
            words.push(format!("{months} mon{}", plural(months)));
        }
        if self.days != 0 {
            words.push(format!("{} day{}", self.days, plural(self.days)));
        }
        if self.us != 0 || words.is_empty() {
            let sign = if self.us < 0 { "-" } else { "" };
            words.push(format!("{sign}{}", format_time(self.us.saturating_abs())));
        }
        f.write_str(&words.join(" "))
    }
}

/// `90min` as a number and a unit.
fn split_unit(word: &str) -> Vec<String> {
    let unit_at = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
    let (number, unit) = word.split_at(unit_at);
    [number, unit].iter().filter(|part| !part.is_empty()).map(|part| (*part).to_owned()).collect()
}

/// A part of a point in time, by name, as `extract` has it.
pub(crate) fn field(name: &str, timestamp_us: i64) -> Option<f64> {
    let time = civil(timestamp_us);
    let fraction = timestamp_us.rem_euclid(1_000_000) as f64;
    Some(match name {
        "epoch" => (timestamp_us + EPOCH_US) as f64 / 1e6,
        "year" => f64::from(time.year()),
        "month" => f64::from(time.month()),
        "day" => f64::from(time.day()),
        "hour" => f64::from(time.hour()),
        "minute" => f64::from(time.minute()),
        "second" => f64::from(time.second()) + fraction / 1e6,
        "millisecond" | "milliseconds" => f64::from(time.second()) * 1e3 + fraction / 1e3,
        "microsecond" | "microseconds" => f64::from(time.second()) * 1e6 + fraction,
        "dow" => f64::from(time.weekday().num_days_from_sunday()),
        "isodow" => f64::from(time.weekday().number_from_monday()),
        "doy" => f64::from(time.ordinal()),
        "quarter" => f64::from(time.month().div_ceil(3)),
        "week" => f64::from(time.iso_week().week()),
        "isoyear" => f64::from(time.iso_week().year()),
        _ => return None,
    })
}

/// A point in time without what is smaller than the unit.
pub(crate) fn truncated(unit: &str, timestamp_us: i64) -> Option<i64> {
    let date = civil(timestamp_us).date();
    let first =
        |year: i32, month: u32| NaiveDate::from_ymd_opt(year, month, 1).map(|date| days(date) * DAY_US);
    let down = |step: i64| Some(timestamp_us.div_euclid(step) * step);
    match unit {
        "microsecond" | "microseconds" => Some(timestamp_us),
        "millisecond" | "milliseconds" => down(1000),
        "second" => down(1_000_000),
        "minute" => down(60_000_000),
        "hour" => down(3_600_000_000),
        "day" => down(DAY_US),
        "week" => Some((days(date) - i64::from(date.weekday().num_days_from_monday())) * DAY_US),
        "month" => first(date.year(), date.month()),
        "quarter" => first(date.year(), (date.month() - 1) / 3 * 3 + 1),
        "year" => first(date.year(), 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written() {
        let us = parse_timestamp("2024-02-29 12:30:00.25+02", true).expect("a time");
        assert_eq!(format_timestamp(us, true), "2024-02-29 10:30:00.25+00");
        assert_eq!(format_date(parse_date("1999-12-31").expect("a date")), "1999-12-31");
        assert_eq!(
            parse_date("2023-02-30").expect_err("no such day").condition,
            Condition::DatetimeFieldOverflow
        );
        let span = Interval::parse("1 year 2 mons 3 days 04:05:06").expect("an interval");
        assert_eq!(span.to_string(), "1 year 2 mons 3 days 04:05:06");
        let moved = Interval::parse("1 month").expect("an interval").add_to(us).expect("in range");
        assert_eq!(format_timestamp(moved, false), "2024-03-29 10:30:00.25");
        assert_eq!(field("epoch", 0), Some(946_684_800.0));
    }
}
