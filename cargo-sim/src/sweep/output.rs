//! What the user sees while a sweep runs.
//!
//! Owns the progress bar and the child's output streams. It must not know what the output means. Invariant: standard
//! output carries cargo's own, or (for programs) nothing but the summary; all of ours goes to standard error.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::summary::Summary;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How long output may trickle in after cargo has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// The streams and the bar of one sweep.
pub(crate) struct Output {
    bar: Option<ProgressBar>,
    stdout_is_ours: bool,
    wanted: bool,
    last_line: (Instant, u64),
    readers: Vec<JoinHandle<()>>,
}

impl Output {
    /// `stdout_is_ours`: cargo's standard output goes to standard error. `wanted`: show progress at all.
    pub(crate) fn new(stdout_is_ours: bool, wanted: bool) -> Output {
        let bar = (wanted && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
            let style = ProgressStyle::with_template(
                "     Running [{elapsed_precise}] {wide_bar} {pos}/{len} seeds{msg}",
            );
            bar.set_style(style.expect("invariant: a valid template").progress_chars("=> "));
            bar
        });
        Output { bar, stdout_is_ours, wanted, last_line: (Instant::now(), 0), readers: Vec::new() }
    }

    /// Decides where the child writes. Only with a bar on the same terminal must its lines pass through us.
    pub(crate) fn prepare(&self, command: &mut Command) {
        if self.bar.is_some() {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            if std::env::var_os("CARGO_TERM_COLOR").is_none() {
                command.env("CARGO_TERM_COLOR", "always");
            }
        } else if self.stdout_is_ours {
            command
                .stdout(rustix::io::dup(rustix::stdio::stderr()).map_or_else(|_| Stdio::null(), Stdio::from));
        }
    }

    /// Passes the child's lines on, above the bar.
    pub(crate) fn follow(&mut self, child: &mut Child) {
        let Some(bar) = &self.bar else { return };
        if let Some(stdout) = child.stdout.take() {
            let to_stderr = self.stdout_is_ours;
            self.readers.push(pass_on(stdout, bar.clone(), to_stderr));
        }
        if let Some(stderr) = child.stderr.take() {
            self.readers.push(pass_on(stderr, bar.clone(), true));
        }
    }

    /// Shows how far the sweep is.
    pub(crate) fn show(&mut self, summary: &Summary) {
        let (done, planned, failed) = (summary.done(), summary.planned(), summary.failed());
        if !self.wanted || planned == 0 {
            return;
        }
        let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        if let Some(bar) = &self.bar {
            if bar.length() == Some(0) {
                bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            bar.set_length(planned);
            bar.set_position(done);
            bar.set_message(failures);
        } else if self.last_line.0.elapsed() >= LINE_EVERY && self.last_line.1 != done {
            eprintln!("     Running {done}/{planned} seeds{failures}");
            self.last_line = (Instant::now(), done);
        }
    }

    /// Takes the bar away. What the child left in its pipes is still shown; a stranger who holds them open is not
    /// waited for.
    pub(crate) fn finish(&mut self) {
        let end = Instant::now() + DRAIN;
        while self.readers.iter().any(|it| !it.is_finished()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn pass_on(from: impl Read + Send + 'static, bar: ProgressBar, to_stderr: bool) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            bar.suspend(|| {
                let _ = if to_stderr {
                    std::io::stderr().write_all(&line)
                } else {
                    std::io::stdout().write_all(&line).and_then(|()| std::io::stdout().flush())
                };
            });
            line.clear();
        }
    })
}
