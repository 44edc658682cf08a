//! Running a child and living through signals.
//!
//! Owns SIGINT and SIGTERM for this process. It must not know what the child does. Invariant: `wait` returns
//! only when the child is gone, and a signal that reaches us reaches the child, too.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::{Error, Result};
use crate::exit_code;

/// How long a child may take to end after a signal before it is killed.
const GRACE: Duration = Duration::from_secs(10);

static ARRIVED: OnceLock<[(i32, Arc<AtomicUsize>); 2]> = OnceLock::new();

/// What a finished child left behind.
pub(crate) struct Captured {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

/// Takes over SIGINT and SIGTERM: from now on they are counted instead of ending the process.
pub(crate) fn take_signals() {
    let counters = ARRIVED.get_or_init(|| [(SIGINT, Arc::default()), (SIGTERM, Arc::default())]);
    for (signal, counter) in counters {
        // `register_usize` stores a value, a counter needs its own action: a flag per arrival is enough here.
        let counter = counter.clone();
        let mut signals = match signal_hook::iterator::Signals::new([*signal]) {
            Ok(signals) => signals,
            Err(_) => continue,
        };
        std::thread::spawn(move || {
            for _ in signals.forever() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
}

/// How many signals have come so far, and which was the last kind seen.
fn arrived() -> (usize, i32) {
    let Some([(_, interrupts), (_, terminates)]) = ARRIVED.get() else { return (0, SIGINT) };
    let terminated = terminates.load(Ordering::SeqCst);
    let total = interrupts.load(Ordering::SeqCst) + terminated;
    (total, if terminated > 0 { SIGTERM } else { SIGINT })
}

/// Whether the user wants us to stop.
pub(crate) fn interrupted() -> bool {
    arrived().0 > 0
}

/// Starts `command`. Without a terminal it gets its own process group, so that a signal sent to us alone can be
/// given to all of its children; with one it stays in ours, and the terminal does that.
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    if interrupted() {
        return Err(Error::Interrupted);
    }
    if !owns_terminal() {
        command.process_group(0);
    }
    command.spawn().map_err(|error| Error::NotRunnable {
        program: command.get_program().to_string_lossy().into_owned(),
        reason: error.to_string(),
    })
}

/// Waits for `child`, calling `meanwhile` about ten times a second. A first signal is passed on; a second one, or
/// ten seconds, kills.
pub(crate) fn wait(child: &mut Child, mut meanwhile: impl FnMut()) -> Result<ExitStatus> {
    let mut passed_on = 0;
    let mut deadline: Option<Instant> = None;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().map_err(|error| not_waitable(&error))? {
            if interrupted() && !owns_terminal() {
                send(child, Signal::KILL); // what is left of its group
            }
            return Ok(status);
        }
        let (count, signal) = arrived();
        if count > passed_on {
            let kill =
                passed_on > 0 && deadline.is_some_and(|at| Instant::now() + GRACE > at + SECOND_SIGNAL);
            send(child, if kill { Signal::KILL } else { as_signal(signal) });
            passed_on = count;
            deadline.get_or_insert(Instant::now() + GRACE);
        }
        if deadline.is_some_and(|at| Instant::now() > at) {
            send(child, Signal::KILL);
        }
        meanwhile();
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// A terminal may deliver the same Ctrl-C twice (once to each of two handlers); only a later one means "kill".
const SECOND_SIGNAL: Duration = Duration::from_millis(500);

/// Runs `command` to its end and keeps what it writes.
pub(crate) fn capture(command: &mut Command) -> Result<Captured> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let readers = [child.stdout.take().map(read_all), child.stderr.take().map(read_all)];
    let status = wait(&mut child, || ())?;
    if interrupted() {
        return Err(Error::Interrupted);
    }
    let [stdout, stderr] = readers.map(|reader| reader.and_then(|it| it.join().ok()).unwrap_or_default());
    Ok(Captured { status, stdout, stderr })
}

/// The exit code to leave with when a child ended this way.
pub(crate) fn code_of(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        _ if interrupted() => exit_code::INTERRUPTED,
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => exit_code::CARGO_FAILED,
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn send(child: &Child, signal: Signal) {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    let _ = if owns_terminal() { kill_process(pid, signal) } else { kill_process_group(pid, signal) };
}

fn as_signal(number: i32) -> Signal {
    if number == SIGTERM { Signal::TERM } else { Signal::INT }
}

fn owns_terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stdin())
}

fn not_waitable(error: &std::io::Error) -> Error {
    Error::NotRunnable { program: "cargo".into(), reason: error.to_string() }
}
