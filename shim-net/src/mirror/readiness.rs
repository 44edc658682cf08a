//! The future of `ready`: one place in a socket's list of waiting tasks.
//!
//! Owns [`Readiness`]. Must not know what is done once the socket is ready. Invariant: a future that is
//! dropped leaves the list, and takes no other with it, also where one task waits twice for one socket.
//!
//! The list tells its wakers apart by `will_wake`, and two futures of one task have the same waker. So each
//! future that must wait puts a waker of its own before the task's.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use real::io::Interest;
use real::task::coop;

use crate::stack::readiness::{self, interest_mask};
use crate::sys::op::Op;
use crate::sys::reactor::{self, Attempt, Registration, Try};
use crate::sys::{self, Told, Wait};

/// Waits until a socket is ready.
pub(crate) struct Readiness {
    on: Registration,
    interest: Interest,
    place: Option<Place>,
}

/// What is in the list.
struct Place {
    forward: Arc<Forward>,
    waker: Waker,
}

/// Wakes the task that polled last.
struct Forward {
    waker: Mutex<Waker>,
    called: AtomicBool,
}

impl Readiness {
    pub(crate) fn new(on: Registration, interest: Interest) -> Readiness {
        Readiness { on, interest, place: None }
    }
}

impl Future for Readiness {
    type Output = io::Result<Told>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Told>> {
        let (on, interest) = (self.on, self.interest);
        let place = match &mut self.place {
            Some(place) => {
                if place.forward.renew(cx.waker()) == Try::Woken {
                    // As with tokio: who was told of something is ready, also where another has cleared it since.
                    return Poll::Ready(reactor::told_in_time(on, interest));
                }
                place
            }
            empty => {
                let told = reactor::told(on, interest);
                if !told.ready.is_empty() && !told.is_shut_down {
                    return Poll::Ready(Ok(told));
                }
                empty.insert(Place::new(cx.waker()))
            }
        };
        reactor::poll_interest(on, interest, &mut Context::from_waker(&place.waker))
    }
}

impl Readiness {
    /// Makes a system call once the socket is ready for it, or waits: all in one entry into the world. A place
    /// whose waker was called serves again.
    pub(crate) fn poll_call<R>(&mut self, cx: &mut Context<'_>, op: &mut impl Op<R>) -> Poll<io::Result<R>> {
        let (on, mask) = (self.on, interest_mask(self.interest));
        loop {
            if !coop::has_budget_remaining() {
                // As with tokio, only what is ready takes from the budget, so only that gives way.
                ready!(Pin::new(&mut *self).poll(cx))?;
                drop(ready!(coop::poll_proceed(cx)));
            }
            let who = match &self.place {
                Some(place) => place.forward.renew(cx.waker()),
                None => Try::OrWait,
            };
            let place = &mut self.place;
            let leave = |own: &mut readiness::Registration, mask| {
                let place = place.get_or_insert_with(|| Place::new(cx.waker()));
                place.forward.called.store(false, Ordering::Relaxed);
                let displaced = own.wait(mask, Wait::List, &place.waker);
                debug_assert!(displaced.is_none(), "invariant: a list displaces nobody");
            };
            match reactor::attempt(on, (who, mask), op, |_| false, leave) {
                Attempt::Done(result) => {
                    if let Poll::Ready(budget) = coop::poll_proceed(cx) {
                        budget.made_progress();
                    }
                    return Poll::Ready(result);
                }
                Attempt::Refused(error) => return Poll::Ready(Err(error)),
                Attempt::Blocked { waits: false } => self.leave(),
                Attempt::Unready | Attempt::Blocked { waits: true } => {
                    reactor::note_wait(on, mask);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Leaves the list, unless the waker was called, which took it out.
    fn leave(&mut self) {
        if let Some(place) = self.place.take().filter(|place| !place.forward.called.load(Ordering::Relaxed)) {
            sys::forget(self.on.id, &place.waker);
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Place {
    fn new(waker: &Waker) -> Place {
        let forward = Arc::new(Forward { waker: Mutex::new(waker.clone()), called: AtomicBool::new(false) });
        Place { waker: Waker::from(Arc::clone(&forward)), forward }
    }
}

impl Forward {
    /// Wakes `waker` from now on; whether one was woken before.
    fn renew(&self, waker: &Waker) -> Try {
        let mut own = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        let old = if own.will_wake(waker) { None } else { Some(std::mem::replace(&mut *own, waker.clone())) };
        drop(own);
        drop(old);
        if self.called.load(Ordering::Relaxed) { Try::Woken } else { Try::OrWait }
    }
}

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.called.store(true, Ordering::Relaxed);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waker.wake();
    }
}
