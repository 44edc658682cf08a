//! The link as the kernel's sockets meet it: two namespaces, and the emulator between them.
//!
//! Must not know what is sent. Invariant: when a run is over, nothing of it is left.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use compat_quic::identity::Identity;

use crate::emulator::carry;
use crate::host::{Namespaces, be_precise};
use crate::workload::{Case, PORT};
use crate::{Link, Outcome};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// One transfer of `bytes` over `link`; losses are those of the seed `run`.
pub(crate) fn measure(case: Case, link: Link, bytes: u64, run: u64) -> Outcome {
    let namespaces = Namespaces::new(link.mtu_bytes, run).expect("namespaces, which need root");
    let (identity, stop) = (Identity::new(), AtomicBool::new(false));
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let address = SocketAddr::from(([10, 77, 0, 2], PORT));
    std::thread::scope(|scope| {
        let link = scope.spawn(|| {
            be_precise();
            carry(namespaces.devices(), link, run, &stop).expect("devices")
        });
        scope.spawn(|| {
            namespaces.enter(1).expect("a namespace");
            runtime().block_on(async {
                tokio::select! {
                    ended = case.serve(&identity) => ended.expect("a receiver"),
                    _ = receiver => {}
                }
            });
        });
        let transfer = scope.spawn(|| {
            namespaces.enter(0).expect("a namespace");
            let outcome = runtime().block_on(async {
                // What a namespace does when its device comes up is over.
                tokio::time::sleep(Duration::from_millis(300)).await;
                case.transfer(&identity, address, bytes).await
            });
            drop(sender);
            outcome.expect("a transfer")
        });
        let (took, remark) = transfer.join().expect("no panic");
        stop.store(true, Ordering::Relaxed);
        let counts = link.join().expect("no panic").summary();
        Outcome { seconds: took.as_secs_f64(), remark: format!("{remark}; {counts}") }
    })
}
