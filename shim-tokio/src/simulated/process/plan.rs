//! What a command asks for, as far as std does not tell it by methods: the standard streams, the child's own name, and
//! whether it begins without variables.
//!
//! Owns the reading of std's `{:#?}` text, of which only the lines of the outermost structure count. Must not start
//! anything. Invariant: a text that is not understood is refused, never guessed at.

use std::io;
use std::os::fd::RawFd;
use std::process::Command;

/// What one standard stream is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stream {
    /// The parent's.
    Inherit,
    /// Nothing.
    Null,
    /// A pipe to the parent.
    Pipe,
    /// A descriptor that the command owns.
    Descriptor(RawFd),
}

/// What std does not tell by methods.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) stdin: Stream,
    pub(crate) stdout: Stream,
    pub(crate) stderr: Stream,
    pub(crate) without_variables: bool,
}

impl Plan {
    /// Reads what `command` asks for.
    ///
    /// # Errors
    /// Where std's text has another form.
    pub(crate) fn of(command: &Command) -> io::Result<Plan> {
        let text = format!("{command:#?}");
        let stream = |name: &str| match field(&text, name) {
            None => Ok(Stream::Inherit),
            Some(lines) => stream_of(&lines).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("simulation: the {name} of a command is not understood: {lines:?}"),
                )
            }),
        };
        let without_variables =
            field(&text, "env").is_some_and(|lines| lines.contains(&"        clear: true,"));
        Ok(Plan {
            stdin: stream("stdin")?,
            stdout: stream("stdout")?,
            stderr: stream("stderr")?,
            without_variables,
        })
    }
}

/// A stream as std's text has it.
fn stream_of(lines: &[&str]) -> Option<Stream> {
    match lines.get(1)?.trim() {
        "Inherit," => Some(Stream::Inherit),
        "Null," => Some(Stream::Null),
        "MakePipe," => Some(Stream::Pipe),
        "Fd(" => {
            let number = lines.iter().find_map(|line| line.trim().strip_prefix("fd: "))?;
            number.trim_end_matches(',').parse().ok().map(Stream::Descriptor)
        }
        _ => None,
    }
}

/// The lines of a field of the outermost structure, which stand between its name and the next.
fn field<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let start = format!("    {name}: ");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&start));
    let first = lines.next()?;
    let rest = lines.take_while(|line| line.starts_with("     "));
    Some(std::iter::once(first).chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::process::Stdio;

    #[test]
    fn every_stream_is_understood() {
        let mut command = Command::new("a");
        command.arg("x\n    stdin: Some(\n        MakePipe,").env("A", "        clear: true,");
        let inherited = Stream::Inherit;
        let plan = Plan { stdin: inherited, stdout: inherited, stderr: inherited, without_variables: false };
        assert_eq!(Plan::of(&command).unwrap(), plan);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).env_clear();
        let plan =
            Plan { stdin: Stream::Pipe, stdout: Stream::Null, stderr: inherited, without_variables: true };
        assert_eq!(Plan::of(&command).unwrap(), plan);
    }

    #[test]
    fn a_descriptor_has_its_number() {
        let mut command = Command::new("a");
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        command.stdout(file);
        assert_eq!(Plan::of(&command).unwrap().stdout, Stream::Descriptor(number));
    }
}
