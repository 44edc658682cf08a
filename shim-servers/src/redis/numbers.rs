//! Numbers as Redis reads and writes them.
//!
//! Owns their text. Must not know commands. Invariant: what is written here is read here as the same number.

use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};

/// A floating point number with 17 significant digits, as `%.17g` writes it.
pub(crate) fn format_double(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let scientific = format!("{number:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..17).contains(&exponent) {
        let mantissa = trim_fraction(mantissa);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let decimals = usize::try_from(16 - exponent).unwrap_or(0);
    trim_fraction(&format!("{number:.decimals$}")).to_owned()
}

fn trim_fraction(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// A signed number in its one shortest form: no spaces, no plus, no leading zeros.
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_canonical.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// A floating point number that is not NaN.
pub(crate) fn parse_double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with(|first: char| first.is_ascii_whitespace()) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| !number.is_nan())
}

/// A decimal number, for sums without rounding; `None` where it is not finite.
pub(crate) fn parse_decimal(text: &[u8]) -> Option<BigDecimal> {
    parse_double(text).filter(|number| number.is_finite())?;
    std::str::from_utf8(text).ok()?.trim_start_matches('+').parse().ok()
}

/// A number as Redis computes with it here: 64 binary digits, half of a unit goes to the even neighbour.
pub(crate) fn round_to_long_double(number: &BigDecimal) -> BigDecimal {
    let Some(size) = number.abs().to_f64().filter(|size| size.is_normal()) else { return number.clone() };
    let exponent = size.log2().floor() as i32 - 63;
    // A power of two is a finite decimal number, so both products are exact.
    let (unit, parts) = (power_of_two(exponent), power_of_two(-exponent));
    (number * parts).with_scale_round(0, RoundingMode::HalfEven) * unit
}

fn power_of_two(exponent: i32) -> BigDecimal {
    let base = if exponent < 0 { BigDecimal::new(5.into(), 1) } else { BigDecimal::from(2) };
    (0..exponent.unsigned_abs()).fold(BigDecimal::from(1), |power, _| power * &base)
}

/// A decimal number with at most 17 digits behind the point, none of them a zero at the end.
pub(crate) fn format_decimal(number: &BigDecimal) -> String {
    let rounded = number.with_scale_round(17, RoundingMode::HalfEven);
    trim_fraction(&rounded.to_plain_string()).to_owned()
}

/// Whether `text` matches the pattern, as KEYS and PSUBSCRIBE have them.
pub(crate) fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => {
            let rest = &rest[rest.iter().take_while(|byte| **byte == b'*').count()..];
            rest.is_empty() || (0..=text.len()).any(|start| glob_matches(rest, &text[start..]))
        }
        [b'?', rest @ ..] => !text.is_empty() && glob_matches(rest, &text[1..]),
        [b'[', rest @ ..] => match text {
            [] => false,
            [first, text @ ..] => {
                let (is_in, rest) = class_matches(rest, *first);
                is_in && glob_matches(rest, text)
            }
        },
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
            text.first() == Some(byte) && glob_matches(rest, &text[1..])
        }
    }
}

/// Whether a byte is in the class that begins behind `[`, and what comes behind the class.
fn class_matches(mut class: &[u8], byte: u8) -> (bool, &[u8]) {
    let is_negated = class.first() == Some(&b'^');
    if is_negated {
        class = &class[1..];
    }
    let mut is_in = false;
    loop {
        class = match class {
            [] => break,
            [b']', rest @ ..] => {
                class = rest;
                break;
            }
            [b'\\', escaped, rest @ ..] => {
                is_in |= *escaped == byte;
                rest
            }
            [first, b'-', last, rest @ ..] => {
                is_in |= (*first.min(last)..=*first.max(last)).contains(&byte);
                rest
            }
            [one, rest @ ..] => {
                is_in |= *one == byte;
                rest
            }
        };
    }
    (is_in != is_negated, class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_have_seventeen_digits() {
        for (number, text) in [
            (0.1, "0.10000000000000001"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (0.00001, "1.0000000000000001e-05"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(format_double(number), text);
        }
    }

    #[test]
    fn sums_have_the_digits_of_a_long_double() {
        let long = |text: &[u8]| round_to_long_double(&parse_decimal(text).expect("a number"));
        let sum = round_to_long_double(&(long(b"0.3") + long(b"1e3")));
        assert_eq!(format_decimal(&sum), "1000.29999999999999999");
        assert_eq!(format_decimal(&long(b"0.1")), "0.1");
    }

    #[test]
    fn only_the_shortest_form_is_an_integer() {
        assert_eq!(parse_integer(b"-12"), Some(-12));
        for text in ["", "-", "-0", "01", "+1", " 1", "1.0", "9223372036854775808"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn patterns_match_as_in_keys() {
        for (pattern, text, matches) in [
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-b]llo", "hbllo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*", "", true),
        ] {
            assert_eq!(glob_matches(pattern.as_bytes(), text.as_bytes()), matches, "{pattern} {text}");
        }
    }
}
