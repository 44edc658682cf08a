//! Exact decimal numbers, as SQL's `numeric` has them.
//!
//! Owns their arithmetic and the scales of its results. Must not know binary formats. Invariant: a number keeps the
//! digits after its point that it was given, as `1.50`, and compares as its value.

use std::cmp::Ordering;
use std::str::FromStr;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode, Signed, ToPrimitive, Zero};

use super::error::{Condition, Result, SqlError};

/// How many significant digits a quotient has at least.
const MIN_SIGNIFICANT_DIGITS: i64 = 16;

/// An exact decimal number with its number of digits after the point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numeric(BigDecimal);

impl Numeric {
    /// Reads decimal digits, with a sign, a point and an exponent where there are.
    ///
    /// # Errors
    /// `22P02` with PostgreSQL's text.
    pub fn parse(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        let digits =
            trimmed.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
        let number = if digits { BigDecimal::from_str(trimmed).ok() } else { None };
        let number = number.ok_or_else(|| {
            let message = format!("invalid input syntax for type numeric: \"{text}\"");
            SqlError::new(Condition::InvalidTextRepresentation, message)
        })?;
        Ok(Self(if number.fractional_digit_count() < 0 { number.with_scale(0) } else { number }))
    }

    /// The number of base-ten digits after the point.
    pub fn scale(&self) -> i64 {
        self.0.fractional_digit_count()
    }

    /// The same number with `scale` digits after the point, rounded half away from zero.
    #[must_use]
    pub fn rounded(&self, scale: i64) -> Self {
        Self(self.0.with_scale_round(scale, RoundingMode::HalfUp))
    }

    /// The same number without the digits beyond `scale`.
    #[must_use]
    pub fn truncated(&self, scale: i64) -> Self {
        Self(self.0.with_scale_round(scale, RoundingMode::Down))
    }

    /// The next whole number below or equal, or above or equal.
    #[must_use]
    pub fn to_whole(&self, up: bool) -> Self {
        let mode = if up { RoundingMode::Ceiling } else { RoundingMode::Floor };
        Self(self.0.with_scale_round(0, mode))
    }

    /// Holds it to a declared precision and scale.
    ///
    /// # Errors
    /// `22003` where it has too many digits before the point.
    pub fn limited(&self, precision: u16, scale: u16) -> Result<Self> {
        let rounded = self.rounded(i64::from(scale));
        let whole = rounded.0.with_scale_round(0, RoundingMode::Down).abs();
        let digits = if whole.is_zero() { 0 } else { whole.digits() };
        if digits > u64::from(precision.saturating_sub(scale)) {
            let limit = precision.saturating_sub(scale);
            return Err(SqlError::new(Condition::NumericValueOutOfRange, "numeric field overflow").detail(
                format!(
                    "A field with precision {precision}, scale {scale} must round to an absolute value less than \
                     {}{limit}.",
                    if limit == 0 { "1; exponent " } else { "10^" }
                ),
            ));
        }
        Ok(rounded)
    }

    /// Its sum with another.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let scale = self.scale().max(other.scale());
        Self((&self.0 + &other.0).with_scale(scale))
    }

    /// Its difference to another.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let scale = self.scale().max(other.scale());
        Self((&self.0 - &other.0).with_scale(scale))
    }

    /// Its product with another.
    #[must_use]
    pub fn multiply(&self, other: &Self) -> Self {
        Self((&self.0 * &other.0).with_scale(self.scale() + other.scale()))
    }

    /// Its quotient, with at least sixteen significant digits.
    ///
    /// # Errors
    /// `22012` where `other` is zero.
    pub fn divide(&self, other: &Self) -> Result<Self> {
        if other.0.is_zero() {
            return Err(SqlError::new(Condition::DivisionByZero, "division by zero"));
        }
        // Digits are counted in groups of four, as PostgreSQL keeps them.
        let (left_weight, left_first) = first_group(&self.0);
        let (right_weight, right_first) = first_group(&other.0);
        let quotient_weight = left_weight - right_weight - i64::from(left_first <= right_first);
        let scale =
            (MIN_SIGNIFICANT_DIGITS - quotient_weight * 4).max(self.scale()).max(other.scale()).max(0);
        let (left, left_scale) = self.0.as_bigint_and_exponent();
        let (right, right_scale) = other.0.as_bigint_and_exponent();
        let shift = scale + 1 + right_scale - left_scale;
        let ten = |power: i64| BigInt::from(10).pow(u32::try_from(power).unwrap_or(0));
        let digits = if shift >= 0 { left * ten(shift) / right } else { left / (right * ten(-shift)) };
        Ok(Self(BigDecimal::new(digits, scale + 1)).rounded(scale))
    }

    /// The remainder, with the sign of the first.
    ///
    /// # Errors
    /// `22012` where `other` is zero.
    pub fn remainder(&self, other: &Self) -> Result<Self> {
        if other.0.is_zero() {
            return Err(SqlError::new(Condition::DivisionByZero, "division by zero"));
        }
        let scale = self.scale().max(other.scale());
        Ok(Self((&self.0 % &other.0).with_scale(scale)))
    }

    /// The number with the other sign.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self(-self.0.clone())
    }

    /// The number without its sign.
    #[must_use]
    pub fn absolute(&self) -> Self {
        Self(self.0.abs())
    }

    /// The nearest integer, halves away from zero, where it is one of 64 bits.
    pub fn to_i64(&self) -> Option<i64> {
        self.rounded(0).0.to_i64()
    }

    /// The nearest binary number.
    pub fn to_f64(&self) -> f64 {
        self.0.to_f64().unwrap_or(f64::NAN)
    }

    /// A binary number with its fifteen significant decimal digits.
    ///
    /// # Errors
    /// `22003` for what is not a number.
    pub fn from_f64(number: f64) -> Result<Self> {
        if !number.is_finite() {
            return Err(SqlError::unsupported("a numeric that is not finite"));
        }
        let text = format!("{number:.14e}");
        let parsed = Self::parse(&text)?;
        let normal = parsed.0.normalized();
        Ok(Self(if normal.fractional_digit_count() < 0 { normal.with_scale(0) } else { normal }))
    }
}

impl std::fmt::Display for Numeric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_plain_string())
    }
}

/// The weight of the first group of four digits around the point, and the group.
fn first_group(number: &BigDecimal) -> (i64, i64) {
    let (digits, scale) = number.as_bigint_and_exponent();
    let digits = digits.abs().to_string();
    if digits == "0" {
        return (0, 0);
    }
    let whole = digits.len() as i64 - scale;
    let weight = (whole - 1).div_euclid(4);
    let length = usize::try_from(whole - weight * 4).unwrap_or(1);
    let group: String = digits.chars().chain(std::iter::repeat('0')).take(length).collect();
    (weight, group.parse().unwrap_or(0))
}

/// How two kept numbers compare; what is no number comes last.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    match (BigDecimal::from_str(left), BigDecimal::from_str(right)) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    }
}

#[cfg(test)]
mod tests {
    use super::Numeric;

    fn number(text: &str) -> Numeric {
        Numeric::parse(text).expect("a number")
    }

    #[test]
    fn scales_are_those_of_postgres() {
        assert_eq!(number("1.50").add(&number("2")).to_string(), "3.50");
        assert_eq!(number("1.50").multiply(&number("2.0")).to_string(), "3.000");
        assert_eq!(number("1").divide(&number("3")).expect("not zero").to_string(), "0.33333333333333333333");
        assert_eq!(number("10").divide(&number("4")).expect("not zero").to_string(), "2.5000000000000000");
        assert_eq!(number("2.345").rounded(2).to_string(), "2.35");
        assert_eq!(number("1e3").to_string(), "1000");
        assert!(number("123.4").limited(4, 2).is_err());
        assert_eq!(super::compare("1.5", "1.50"), std::cmp::Ordering::Equal);
    }
}
