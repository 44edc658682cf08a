//! Mirror of `JoinHandle`, `AbortHandle` and `JoinError`.
//!
//! Owns the cell through which a task's output reaches whoever joins it. Must not know the task table.
//! Invariant: the task's future is dropped before its joiner is woken.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Id;
use super::header::Header;
use crate::context::{self, Current, Shared, Wait, waits_for};

type Payload = Box<dyn Any + Send + 'static>;

/// tokio's error makes no promise of unwind safety.
type NotUnwindSafe = PhantomData<Box<dyn Send + Sync>>;

/// Why a task did not give its output.
pub struct JoinError {
    repr: Repr,
    id: Id,
}

enum Repr {
    Cancelled,
    /// The mutex makes the payload `Sync`, as tokio's wrapper does.
    Panic(Mutex<Payload>, NotUnwindSafe),
}

impl JoinError {
    pub(crate) fn cancelled(id: Id) -> JoinError {
        JoinError { repr: Repr::Cancelled, id }
    }

    pub(crate) fn panic(id: Id, payload: Payload) -> JoinError {
        JoinError { repr: Repr::Panic(Mutex::new(payload), PhantomData), id }
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.repr, Repr::Cancelled)
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.repr, Repr::Panic(..))
    }

    /// What the task panicked with.
    ///
    /// # Panics
    /// Where the task did not panic.
    #[track_caller]
    pub fn into_panic(self) -> Payload {
        self.try_into_panic().expect("`JoinError` reason is not a panic.")
    }

    /// What the task panicked with.
    ///
    /// # Errors
    /// `self`, where the task did not panic.
    pub fn try_into_panic(self) -> Result<Payload, JoinError> {
        match self.repr {
            Repr::Panic(payload, _) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            Repr::Cancelled => Err(self),
        }
    }

    /// The number of the task.
    pub fn id(&self) -> Id {
        self.id
    }

    fn message(&self) -> Option<Option<String>> {
        match &self.repr {
            Repr::Cancelled => None,
            Repr::Panic(payload, _) => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                Some(payload_text(&**payload))
            }
        }
    }
}

/// A panic's message, where it has one.
pub(crate) fn payload_text(payload: &(dyn Any + Send)) -> Option<String> {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&'static str>().map(|text| (*text).to_owned()))
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            None => write!(f, "task {} was cancelled", self.id),
            Some(Some(text)) => write!(f, "task {} panicked with message {text:?}", self.id),
            Some(None) => write!(f, "task {} panicked", self.id),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            None => write!(f, "JoinError::Cancelled({:?})", self.id),
            Some(Some(text)) => write!(f, "JoinError::Panic({:?}, {text:?}, ...)", self.id),
            Some(None) => write!(f, "JoinError::Panic({:?}, ...)", self.id),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(if error.is_cancelled() { "task was cancelled" } else { "task panicked" })
    }
}

/// What the scheduler may do to a task's output without knowing its type.
pub(crate) trait Completion {
    /// The task will not give an output.
    fn fail(&self, error: JoinError);
    /// The task is over and its future is dropped: wake the joiner.
    fn finish(&self);
}

enum Output<T> {
    Pending,
    Done(Result<T, JoinError>),
    Taken,
}

struct CellState<T> {
    output: Output<T>,
    finished: bool,
    detached: bool,
    waker: Option<Waker>,
}

/// Where a task puts its output.
pub(crate) struct JoinCell<T> {
    state: Mutex<CellState<T>>,
}

impl<T> JoinCell<T> {
    pub(crate) fn new() -> Arc<JoinCell<T>> {
        let state = CellState { output: Output::Pending, finished: false, detached: false, waker: None };
        Arc::new(JoinCell { state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, CellState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `output` for the joiner; gives it back where nobody can join any more.
    fn put(&self, output: Result<T, JoinError>) -> Option<Result<T, JoinError>> {
        let mut state = self.lock();
        if state.detached {
            return Some(output);
        }
        if matches!(state.output, Output::Pending) {
            state.output = Output::Done(output);
            None
        } else {
            Some(output)
        }
    }

    pub(crate) fn store(&self, output: T) {
        drop(self.put(Ok(output)));
    }

    pub(crate) fn store_error(&self, error: JoinError) {
        drop(self.put(Err(error)));
    }

    pub(crate) fn set_finished(&self) {
        let waker = {
            let mut state = self.lock();
            state.finished = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Completion for JoinCell<T> {
    fn fail(&self, error: JoinError) {
        self.store_error(error);
    }

    fn finish(&self) {
        self.set_finished();
    }
}

/// What a handle may do to a task without knowing its output.
pub(crate) trait Control: Send + Sync {
    fn abort(&self);
    fn is_finished(&self) -> bool;
}

impl Control for Header {
    fn abort(&self) {
        Header::abort(self);
    }

    fn is_finished(&self) -> bool {
        Header::is_finished(self)
    }
}

/// Owns the right to await a task's end.
///
/// # Cancel safety
/// Dropping the handle detaches the task; a dropped `&mut handle` loses nothing.
pub struct JoinHandle<T> {
    cell: Arc<JoinCell<T>>,
    control: Arc<dyn Control>,
    id: Id,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(cell: Arc<JoinCell<T>>, control: Arc<dyn Control>, id: Id) -> JoinHandle<T> {
        JoinHandle { cell, control, id }
    }

    /// Asks for the task's end: it is dropped when the scheduler next picks it.
    pub fn abort(&self) {
        self.control.abort();
    }

    /// Whether the task is over.
    pub fn is_finished(&self) -> bool {
        self.control.is_finished()
    }

    /// The number of the task.
    pub fn id(&self) -> Id {
        self.id
    }

    /// A handle that can abort the task and nothing else.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { control: Arc::clone(&self.control), id: self.id }
    }

    pub(crate) fn set_join_waker(&mut self, waker: &Waker) {
        let mut state = self.cell.lock();
        if state.finished {
            drop(state);
            waker.wake_by_ref();
        } else {
            let old = state.waker.replace(waker.clone());
            drop(state);
            drop(old);
        }
    }
}

impl<T> Unpin for JoinHandle<T> {}
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let coop = std::task::ready!(real::task::coop::poll_proceed(cx));
        let mut state = self.cell.lock();
        if state.finished {
            return match std::mem::replace(&mut state.output, Output::Taken) {
                Output::Done(output) => {
                    coop.made_progress();
                    Poll::Ready(output)
                }
                Output::Taken => panic!("JoinHandle polled after completion"),
                Output::Pending => panic!("invariant: a finished task has an output"),
            };
        }
        // A waker that is dropped may run code of its own: not while the cell is locked.
        let old = match &mut state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            waker => waker.replace(cx.waker().clone()),
        };
        drop(state);
        drop(old);
        waits_for(Wait::Join(self.id.0));
        Poll::Pending
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let (output, waker) = {
            let mut state = self.cell.lock();
            state.detached = true;
            (std::mem::replace(&mut state.output, Output::Taken), state.waker.take())
        };
        drop(waker);
        // The output's destructor runs as part of the task, and its panic goes nowhere.
        let _as_task = AsTask::new(self.id);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(output)));
        if let Err(payload) = dropped {
            std::mem::forget(payload);
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id).finish()
    }
}

/// While it lives, code runs as part of a task that is over.
struct AsTask {
    before: Option<(Arc<Shared>, Option<u64>)>,
}

impl AsTask {
    fn new(id: Id) -> AsTask {
        let before = context::try_with_shared(|shared| {
            let current = shared.current.get();
            shared.current.set(Current { task_id: Some(id.0), ..current });
            (Arc::clone(shared), current.task_id)
        });
        AsTask { before }
    }
}

impl Drop for AsTask {
    fn drop(&mut self) {
        if let Some((shared, task_id)) = self.before.take() {
            shared.current.set(Current { task_id, ..shared.current.get() });
        }
    }
}

/// Aborts a task, without the right to await it.
#[derive(Clone)]
pub struct AbortHandle {
    control: Arc<dyn Control>,
    id: Id,
}

impl AbortHandle {
    /// Asks for the task's end: it is dropped when the scheduler next picks it.
    pub fn abort(&self) {
        self.control.abort();
    }

    /// Whether the task is over.
    pub fn is_finished(&self) -> bool {
        self.control.is_finished()
    }

    /// The number of the task.
    pub fn id(&self) -> Id {
        self.id
    }
}

impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("id", &self.id).finish()
    }
}
