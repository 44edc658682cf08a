//! How one seed of one test ended, and its way from the process that ran it to the one that asked.
//!
//! Owns the form of the message. Must not know who sends it. Invariant: a message that was cut off (the
//! process died) is recognised.

use std::io::{self, Read, Write};
use std::time::Duration;

/// How one seed ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) ok: bool,
    pub(crate) trace_hash: u64,
    pub(crate) steps: u64,
    pub(crate) virtual_ns: u64,
    pub(crate) real: Duration,
    /// A panic's message, or the report's first line.
    pub(crate) message: Option<String>,
    pub(crate) report: Option<String>,
    pub(crate) not_deterministic: Vec<String>,
}

const MAX_TEXT: u64 = 64 << 20;

impl Outcome {
    pub(crate) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::new();
        for number in
            [u64::from(self.ok), self.trace_hash, self.steps, self.virtual_ns, self.real.as_micros() as u64]
        {
            bytes.extend(number.to_le_bytes());
        }
        put_text(&mut bytes, self.message.as_deref());
        put_text(&mut bytes, self.report.as_deref());
        put_text(&mut bytes, Some(&self.not_deterministic.join("\n")));
        out.write_all(&(bytes.len() as u64).to_le_bytes())?;
        out.write_all(&bytes)
    }

    pub(crate) fn read_from(input: &mut impl Read) -> io::Result<Outcome> {
        let length = number(input)?;
        if length > MAX_TEXT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length as usize];
        input.read_exact(&mut bytes)?;
        let input = &mut bytes.as_slice();
        let mut outcome = Outcome {
            ok: number(input)? == 1,
            trace_hash: number(input)?,
            steps: number(input)?,
            virtual_ns: number(input)?,
            real: Duration::from_micros(number(input)?),
            ..Outcome::default()
        };
        outcome.message = text(input)?;
        outcome.report = text(input)?;
        let reasons = text(input)?.unwrap_or_default();
        outcome.not_deterministic = reasons.lines().map(str::to_owned).collect();
        Ok(outcome)
    }
}

fn put_text(bytes: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => bytes.extend(u64::MAX.to_le_bytes()),
        Some(text) => {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
    }
}

pub(crate) fn number(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn text(input: &mut impl Read) -> io::Result<Option<String>> {
    match number(input)? {
        u64::MAX => Ok(None),
        length if length > MAX_TEXT => Err(io::ErrorKind::InvalidData.into()),
        length => {
            let mut bytes = vec![0; length as usize];
            input.read_exact(&mut bytes)?;
            String::from_utf8(bytes).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_whole_and_a_cut_one_is_refused() {
        let outcome = Outcome {
            ok: false,
            trace_hash: 7,
            steps: 9,
            virtual_ns: 11,
            real: Duration::from_micros(13),
            message: Some("möp".to_owned()),
            report: None,
            not_deterministic: vec!["a".to_owned(), "b".to_owned()],
        };
        let mut bytes = Vec::new();
        outcome.write_to(&mut bytes).unwrap();
        assert_eq!(Outcome::read_from(&mut bytes.as_slice()).unwrap(), outcome);
        for cut in 0..bytes.len() {
            assert!(Outcome::read_from(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
