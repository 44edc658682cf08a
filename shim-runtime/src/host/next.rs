//! libc's own definitions of symbols that this layer replaces, where no single system call does the same.
//!
//! Owns the look-ups. Must not be used where a raw system call serves. Invariant: a symbol is looked up
//! once, and its address never changes.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{c_int, c_long, c_void};

/// A symbol of the next library in the search order.
pub struct Next {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Next {
    /// The symbol called `name`.
    pub const fn new(name: &'static CStr) -> Next {
        Next { name, address: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Its address.
    ///
    /// # Panics
    /// Where no library has it.
    pub fn address(&self) -> *mut c_void {
        let known = self.address.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        // SAFETY: the name is a valid C string.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        assert!(!found.is_null(), "invariant: libc has {:?}", self.name);
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

/// libc's `sysconf`.
pub(crate) fn sysconf(name: c_int) -> c_long {
    static NEXT: Next = Next::new(c"sysconf");
    // SAFETY: libc's symbol has this type.
    let function: extern "C" fn(c_int) -> c_long = unsafe { std::mem::transmute(NEXT.address()) };
    function(name)
}
