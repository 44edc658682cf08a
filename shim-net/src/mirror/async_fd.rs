//! Mirror of `tokio::io::unix`: a descriptor that the reactor watches for the application.
//!
//! Owns [`AsyncFd`] and its guards. Must not know what the descriptor is: that is the host layer's. Invariant: the
//! registration goes before the inner value does, so that a number that is used again is not mistaken for this one.
//!
//! What has to be `unsafe` of it, the ways to make one, is in `host::async_fd`.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll, ready};

use real::io::{Interest, Ready};

use crate::host::fd;
use crate::sys::reactor::{self, Registration};
use crate::sys::{Direction, Told};

/// A value with a descriptor of the simulation, and the reactor's news of it.
///
/// Sockets, pipes and pairs that were opened inside the simulation can be watched; so can sockets from outside
/// that are not connected. Anything else is refused with an error that says so.
pub struct AsyncFd<T: AsRawFd> {
    on: Registration,
    inner: Option<T>,
}

/// What an [`AsyncFd`] is ready for, while it is borrowed.
#[must_use = "the readiness stays as it is unless a method of the guard clears it"]
pub struct AsyncFdReadyGuard<'a, T: AsRawFd> {
    async_fd: &'a AsyncFd<T>,
    told: Option<Told>,
}

/// As [`AsyncFdReadyGuard`], with the right to change the inner value.
#[must_use = "the readiness stays as it is unless a method of the guard clears it"]
pub struct AsyncFdReadyMutGuard<'a, T: AsRawFd> {
    async_fd: &'a mut AsyncFd<T>,
    told: Option<Told>,
}

/// Making one, and taking it apart.
impl<T: AsRawFd> AsyncFd<T> {
    #[track_caller]
    pub(crate) fn watch(inner: T, interest: Interest) -> Result<AsyncFd<T>, AsyncFdRegisterError<T>> {
        let on = shim_runtime::runtime::io_runtime()
            .and_then(|_| fd::watched(inner.as_raw_fd()))
            .and_then(|id| reactor::register(id, interest, Ready::EMPTY));
        match on {
            Ok(on) => Ok(AsyncFd { on, inner: Some(inner) }),
            Err(cause) => Err(AsyncFdRegisterError { inner, cause }),
        }
    }

    /// The inner value.
    pub fn get_ref(&self) -> &T {
        self.inner.as_ref().expect("invariant: the inner value is there until the end")
    }

    /// The inner value.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("invariant: the inner value is there until the end")
    }

    /// Ends the watch and gives the inner value back, open.
    pub fn into_inner(mut self) -> T {
        reactor::deregister(self.on);
        self.inner.take().expect("invariant: the inner value is there until the end")
    }
}

/// Waiting.
impl<T: AsRawFd> AsyncFd<T> {
    /// Waits until the descriptor is ready for something of `interest`.
    ///
    /// # Errors
    /// Where the runtime was shut down.
    ///
    /// # Cancel safety
    /// Nothing is lost where this is dropped; so it is with the other waits.
    pub async fn ready(&self, interest: Interest) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        let told = self.on.ready(interest).await?;
        Ok(AsyncFdReadyGuard { async_fd: self, told: Some(told) })
    }

    /// As [`ready`](AsyncFd::ready), with the right to change the inner value.
    ///
    /// # Errors
    /// Where the runtime was shut down.
    pub async fn ready_mut(&mut self, interest: Interest) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        let told = self.on.ready(interest).await?;
        Ok(AsyncFdReadyMutGuard { async_fd: self, told: Some(told) })
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// Where the runtime was shut down.
    pub async fn readable<'a>(&'a self) -> io::Result<AsyncFdReadyGuard<'a, T>> {
        self.ready(Interest::READABLE).await
    }

    /// As [`readable`](AsyncFd::readable), with the right to change the inner value.
    ///
    /// # Errors
    /// Where the runtime was shut down.
    pub async fn readable_mut<'a>(&'a mut self) -> io::Result<AsyncFdReadyMutGuard<'a, T>> {
        self.ready_mut(Interest::READABLE).await
    }

    /// Waits until there is room to write.
    ///
    /// # Errors
    /// Where the runtime was shut down.
    pub async fn writable<'a>(&'a self) -> io::Result<AsyncFdReadyGuard<'a, T>> {
        self.ready(Interest::WRITABLE).await
    }

    /// As [`writable`](AsyncFd::writable), with the right to change the inner value.
    ///
    /// # Errors
    /// Where the runtime was shut down.
    pub async fn writable_mut<'a>(&'a mut self) -> io::Result<AsyncFdReadyMutGuard<'a, T>> {
        self.ready_mut(Interest::WRITABLE).await
    }

    fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Option<Told>>> {
        self.on.poll_ready(direction, cx).map_ok(Some)
    }

    /// As [`readable`](AsyncFd::readable); only the task that polled last is woken.
    pub fn poll_read_ready<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'a, T>>> {
        let told = ready!(self.poll(Direction::Read, cx))?;
        Poll::Ready(Ok(AsyncFdReadyGuard { async_fd: self, told }))
    }

    /// As [`readable_mut`](AsyncFd::readable_mut); only the task that polled last is woken.
    pub fn poll_read_ready_mut<'a>(
        &'a mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'a, T>>> {
        let told = ready!(self.poll(Direction::Read, cx))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard { async_fd: self, told }))
    }

    /// As [`writable`](AsyncFd::writable); only the task that polled last is woken.
    pub fn poll_write_ready<'a>(
        &'a self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'a, T>>> {
        let told = ready!(self.poll(Direction::Write, cx))?;
        Poll::Ready(Ok(AsyncFdReadyGuard { async_fd: self, told }))
    }

    /// As [`writable_mut`](AsyncFd::writable_mut); only the task that polled last is woken.
    pub fn poll_write_ready_mut<'a>(
        &'a mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'a, T>>> {
        let told = ready!(self.poll(Direction::Write, cx))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard { async_fd: self, told }))
    }

    /// Calls `f` each time the descriptor is ready, until it does not say `WouldBlock`.
    ///
    /// # Errors
    /// Those of `f`; where the runtime was shut down.
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        mut f: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.on.async_io(interest, || f(self.get_ref())).await
    }

    /// As [`async_io`](AsyncFd::async_io), with the right to change the inner value.
    ///
    /// # Errors
    /// As [`async_io`](AsyncFd::async_io).
    pub async fn async_io_mut<R>(
        &mut self,
        interest: Interest,
        mut f: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.on.async_io(interest, || f(self.get_mut())).await
    }

    /// Calls `f` where the descriptor is ready.
    ///
    /// # Errors
    /// `WouldBlock`; those of `f`.
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.on.try_io(interest, || f(self.get_ref()))
    }

    /// As [`try_io`](AsyncFd::try_io), with the right to change the inner value.
    ///
    /// # Errors
    /// As [`try_io`](AsyncFd::try_io).
    pub fn try_io_mut<R>(
        &mut self,
        interest: Interest,
        f: impl FnOnce(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.on.try_io(interest, || f(self.get_mut()))
    }
}

impl<T: AsRawFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.get_ref().as_raw_fd()
    }
}

impl<T: fmt::Debug + AsRawFd> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd").field("inner", &self.inner).finish()
    }
}

impl<T: AsRawFd> Drop for AsyncFd<T> {
    fn drop(&mut self) {
        reactor::deregister(self.on);
    }
}

/// What both guards do with the news.
macro_rules! guard {
    ($guard:ident) => {
        impl<T: AsRawFd> $guard<'_, T> {
            /// An operation said that it would block: the readiness is hidden until there is news.
            pub fn clear_ready(&mut self) {
                if let Some(told) = self.told.take() {
                    reactor::clear(self.async_fd.on, told);
                }
            }

            /// As `clear_ready`, for the bits of `ready` alone.
            pub fn clear_ready_matching(&mut self, ready: Ready) {
                let Some(told) = self.told.take() else { return };
                reactor::clear(self.async_fd.on, told.with(ready));
                let rest = told.with(told.ready - ready);
                self.told = (!rest.ready.is_empty()).then_some(rest);
            }

            /// Leaves the readiness as it is.
            pub fn retain_ready(&mut self) {}

            /// What the descriptor is ready for, as far as this guard has not cleared it.
            pub fn ready(&self) -> Ready {
                self.told.map_or(Ready::EMPTY, |told| told.ready)
            }

            fn outcome<R>(&mut self, result: io::Result<R>) -> Result<io::Result<R>, TryIoError> {
                match result {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.clear_ready();
                        Err(TryIoError(()))
                    }
                    result => Ok(result),
                }
            }
        }
    };
}

guard!(AsyncFdReadyGuard);
guard!(AsyncFdReadyMutGuard);

impl<'a, T: AsRawFd> AsyncFdReadyGuard<'a, T> {
    /// Calls `f`, and clears the readiness where it says `WouldBlock`.
    ///
    /// # Errors
    /// [`TryIoError`] for `WouldBlock`; any other error of `f` is in the result.
    pub fn try_io<R>(
        &mut self,
        f: impl FnOnce(&'a AsyncFd<T>) -> io::Result<R>,
    ) -> Result<io::Result<R>, TryIoError> {
        let result = f(self.async_fd);
        self.outcome(result)
    }

    /// The descriptor's holder.
    pub fn get_ref(&self) -> &'a AsyncFd<T> {
        self.async_fd
    }

    /// The inner value.
    pub fn get_inner(&self) -> &'a T {
        self.async_fd.get_ref()
    }
}

impl<T: AsRawFd> AsyncFdReadyMutGuard<'_, T> {
    /// Calls `f`, and clears the readiness where it says `WouldBlock`.
    ///
    /// # Errors
    /// [`TryIoError`] for `WouldBlock`; any other error of `f` is in the result.
    pub fn try_io<R>(
        &mut self,
        f: impl FnOnce(&mut AsyncFd<T>) -> io::Result<R>,
    ) -> Result<io::Result<R>, TryIoError> {
        let result = f(self.async_fd);
        self.outcome(result)
    }

    /// The descriptor's holder.
    pub fn get_ref(&self) -> &AsyncFd<T> {
        self.async_fd
    }

    /// The descriptor's holder.
    pub fn get_mut(&mut self) -> &mut AsyncFd<T> {
        self.async_fd
    }

    /// The inner value.
    pub fn get_inner(&self) -> &T {
        self.async_fd.get_ref()
    }

    /// The inner value.
    pub fn get_inner_mut(&mut self) -> &mut T {
        self.async_fd.get_mut()
    }
}

impl<T: fmt::Debug + AsRawFd> fmt::Debug for AsyncFdReadyGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyGuard").field("async_fd", &self.async_fd).finish()
    }
}

impl<T: fmt::Debug + AsRawFd> fmt::Debug for AsyncFdReadyMutGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutReadyGuard").field("async_fd", &self.async_fd).finish()
    }
}

/// A closure said that it would block; the readiness was cleared.
#[derive(Debug)]
pub struct TryIoError(());

/// Why a value could not be watched, and the value.
pub struct AsyncFdRegisterError<T> {
    inner: T,
    cause: io::Error,
}

/// The old name of [`AsyncFdRegisterError`].
#[doc(hidden)]
#[deprecated(note = "use `AsyncFdRegisterError` instead")]
pub type AsyncFdTryNewError<T> = AsyncFdRegisterError<T>;

impl<T> AsyncFdRegisterError<T> {
    /// The value, and what went wrong.
    pub fn into_parts(self) -> (T, io::Error) {
        (self.inner, self.cause)
    }
}

impl<T> fmt::Display for AsyncFdRegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cause, f)
    }
}

impl<T> fmt::Debug for AsyncFdRegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.cause, f)
    }
}

impl<T> Error for AsyncFdRegisterError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl<T> From<AsyncFdRegisterError<T>> for io::Error {
    fn from(error: AsyncFdRegisterError<T>) -> io::Error {
        error.cause
    }
}
