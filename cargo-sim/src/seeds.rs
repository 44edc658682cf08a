//! Seeds as a user writes them, and as tests read them.
//!
//! Owns the syntax: `7`, `0..200`, `0..=199`, `1,5,10-20`. It must not know what a seed does. Invariant: the
//! normal form is one half-open range or a comma list without duplicates, and is never empty.

use crate::error::{Error, Result};

/// No sweep is larger than this: a slip of the keyboard shall not fill the disk with reports.
const SEEDS_MAX: u64 = 1_000_000_000;
/// A list is passed in one environment variable.
const LIST_MAX: u64 = 10_000;

/// The seeds of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seeds {
    /// `start..end`, half open.
    Range(u64, u64),
    /// In the order given, without duplicates.
    List(Vec<u64>),
}

impl Seeds {
    /// Reads what a user wrote.
    pub(crate) fn parse(text: &str) -> Result<Seeds> {
        let fail = |reason: String| Error::Seeds { text: text.to_owned(), reason };
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let mut ranges = Vec::new();
        for part in &parts {
            let (start, end) = parse_part(part).map_err(fail)?;
            if end <= start {
                return Err(fail(format!("`{part}` holds no seed")));
            }
            ranges.push((start, end));
        }
        if let [(start, end)] = ranges[..] {
            if end - start > SEEDS_MAX {
                return Err(fail(format!("more than {SEEDS_MAX} seeds")));
            }
            return Ok(if end - start == 1 { Seeds::List(vec![start]) } else { Seeds::Range(start, end) });
        }
        let total = ranges.iter().fold(0u64, |sum, (start, end)| sum.saturating_add(end - start));
        if total > LIST_MAX {
            return Err(fail(format!("a list may name {LIST_MAX} seeds; a single range may be larger")));
        }
        let mut list = Vec::new();
        for seed in ranges.into_iter().flat_map(|(start, end)| start..end) {
            if !list.contains(&seed) {
                list.push(seed);
            }
        }
        Ok(Seeds::List(list))
    }

    /// The one seed, if there is just one.
    pub(crate) fn single(&self) -> Option<u64> {
        match self {
            Seeds::List(list) if list.len() == 1 => Some(list[0]),
            _ => None,
        }
    }

    /// The form that goes into `SIM_SEEDS`.
    pub(crate) fn normal(&self) -> String {
        match self {
            Seeds::Range(start, end) => format!("{start}..{end}"),
            Seeds::List(list) => list.iter().map(u64::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

fn parse_part(part: &str) -> Result<(u64, u64), String> {
    let after = |end: u64| end.checked_add(1).ok_or_else(|| format!("`{end}` is too large for a range"));
    if let Some((start, end)) = part.split_once("..=").or_else(|| part.split_once('-')) {
        return Ok((parse_number(start)?, after(parse_number(end)?)?));
    }
    if let Some((start, end)) = part.split_once("..") {
        return Ok((parse_number(start)?, parse_number(end)?));
    }
    let seed = parse_number(part)?;
    Ok((seed, after(seed)?))
}

fn parse_number(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a number is missing".into());
    }
    text.parse().map_err(|_| format!("`{text}` is not a whole number below 2^64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (text, normal) in [
            ("7", "7"),
            ("0..200", "0..200"),
            ("0..=199", "0..200"),
            ("1,5,10-12", "1,5,10,11,12"),
            ("3..4", "3"),
            ("10-20", "10..21"),
            ("5,5,1", "5,1"),
            (" 1 , 2 ", "1,2"),
        ] {
            assert_eq!(Seeds::parse(text).expect(text).normal(), normal);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "5..5", "9..1", "-3", "1,,2", "1..", "18446744073709551616", "0..2000000000"] {
            assert!(Seeds::parse(text).is_err(), "{text}");
        }
    }
}
