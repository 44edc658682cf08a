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
use std::task::{Context, Poll, Wake, Waker};

use real::io::Interest;

use crate::sys::reactor::{self, Registration};
use crate::sys::{self, Told};

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
                if place.forward.called.load(Ordering::Relaxed) {
                    // As with tokio: who was told of something is ready, also where another has cleared it since.
                    return Poll::Ready(reactor::told_in_time(on, interest));
                }
                place.forward.renew(cx.waker());
                place
            }
            empty => {
                let told = reactor::told(on, interest);
                if !told.ready.is_empty() && !told.is_shut_down {
                    return Poll::Ready(Ok(told));
                }
                let forward = Arc::new(Forward {
                    waker: Mutex::new(cx.waker().clone()),
                    called: AtomicBool::new(false),
                });
                empty.insert(Place { waker: Waker::from(Arc::clone(&forward)), forward })
            }
        };
        reactor::poll_interest(on, interest, &mut Context::from_waker(&place.waker))
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            sys::forget(self.on.id, &place.waker);
        }
    }
}

impl Forward {
    fn renew(&self, waker: &Waker) {
        let mut own = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        let old = if own.will_wake(waker) { None } else { Some(std::mem::replace(&mut *own, waker.clone())) };
        drop(own);
        drop(old);
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
