//! Mirror of `tokio::signal`: signals come from the test, through `tokio::sim::kill`.
//!
//! Must not touch the process's real signals. Invariant: listening for a signal turns off its default
//! action on that node, as on Linux.

use std::future::poll_fn;
use std::io;

/// Waits for the node's process to be interrupted (SIGINT).
///
/// # Errors
/// None in a simulation.
///
/// # Cancel safety
/// A signal that comes while nobody waits is seen by the next wait of the same listener only.
pub async fn ctrl_c() -> io::Result<()> {
    unix::signal(unix::SignalKind::interrupt())?.recv().await;
    Ok(())
}

/// Mirror of `tokio::signal::unix`.
pub mod unix {
    use std::io;
    use std::marker::PhantomData;
    use std::task::{Context, Poll};

    use shim_runtime::NodeId;
    use shim_runtime::node::signal as engine;

    /// The number of a signal.
    #[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
    pub struct SignalKind(i32);

    macro_rules! kinds {
        ($($name:ident = $number:literal, $text:literal;)*) => {
            impl SignalKind {
                $(
                    #[doc = $text]
                    pub const fn $name() -> SignalKind {
                        SignalKind($number)
                    }
                )*
            }
        };
    }

    kinds! {
        alarm = 14, "SIGALRM.";
        child = 17, "SIGCHLD.";
        hangup = 1, "SIGHUP.";
        interrupt = 2, "SIGINT.";
        io = 29, "SIGIO.";
        pipe = 13, "SIGPIPE.";
        quit = 3, "SIGQUIT.";
        terminate = 15, "SIGTERM.";
        user_defined1 = 10, "SIGUSR1.";
        user_defined2 = 12, "SIGUSR2.";
        window_change = 28, "SIGWINCH.";
    }

    impl SignalKind {
        /// Any signal, by its number.
        pub const fn from_raw(signum: std::os::raw::c_int) -> SignalKind {
            SignalKind(signum)
        }

        /// The number.
        pub const fn as_raw_value(&self) -> std::os::raw::c_int {
            self.0
        }
    }

    impl From<std::os::raw::c_int> for SignalKind {
        fn from(signum: std::os::raw::c_int) -> SignalKind {
            SignalKind(signum)
        }
    }

    impl From<SignalKind> for std::os::raw::c_int {
        fn from(kind: SignalKind) -> std::os::raw::c_int {
            kind.0
        }
    }

    /// A listener for one signal of the node that it was made on.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless polled"]
    pub struct Signal {
        kind: SignalKind,
        node: NodeId,
        seen: u64,
        /// tokio's type makes no promise of unwind safety.
        _not_unwind_safe: PhantomData<Box<dyn Send + Sync>>,
    }

    /// Listens for `kind` on the current node.
    ///
    /// # Errors
    /// For SIGKILL, SIGSTOP and the signals of faults, as tokio.
    ///
    /// # Panics
    /// Outside a runtime, and in one without I/O.
    #[track_caller]
    pub fn signal(kind: SignalKind) -> io::Result<Signal> {
        shim_runtime::runtime::require_signals();
        const LAST: i32 = 64;
        const FORBIDDEN: [i32; 5] = [4, 8, 9, 11, 19];
        if kind.0 <= 0 || FORBIDDEN.contains(&kind.0) {
            return Err(io::Error::other(format!("Refusing to register signal {}", kind.0)));
        }
        if kind.0 > LAST {
            return Err(io::Error::other("signal too large"));
        }
        let (node, seen) = engine::listen(kind.0);
        Ok(Signal { kind, node, seen, _not_unwind_safe: PhantomData })
    }

    impl Signal {
        /// Waits for the next signal; several that came meanwhile count as one.
        ///
        /// # Cancel safety
        /// No signal is lost where this is dropped.
        pub async fn recv(&mut self) -> Option<()> {
            super::poll_fn(|cx| self.poll_recv(cx)).await
        }

        /// Polls for the next signal.
        pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
            engine::poll(self.node, self.kind.0, self.seen, cx.waker()).map(|sent| {
                self.seen = sent;
                Some(())
            })
        }
    }
}
