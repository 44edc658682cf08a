//! The link as the simulation has it.
//!
//! Must not know what is sent. Invariant: a run is its seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use compat_quic::identity::Identity;
use tokio::sim;

use crate::workload::{Case, PORT};
use crate::{Link, Outcome};

/// One transfer of `bytes` over `link`, under the seed `run`.
pub(crate) fn measure(case: Case, link: Link, bytes: u64, run: u64) -> Outcome {
    let mut builder = sim::Builder::new();
    builder.seed(run);
    let report = builder.run(move || async move {
        let identity = Arc::new(Identity::new());
        let host_identity = identity.clone();
        sim::host("server", move || {
            let identity = host_identity.clone();
            async move { Ok(case.serve(&identity).await?) }
        });
        sim::link("test", "server")
            .latency(Duration::from_millis(link.delay_ms), Duration::from_millis(link.delay_ms))
            .loss(link.loss)
            .bandwidth_bits_per_sec(link.rate_bps)
            .update(|config| {
                config.queue_limit_bytes = link.queue_bytes;
                config.mtu_bytes = Some(link.mtu_bytes);
            });
        let address = SocketAddr::new(sim::lookup("server"), PORT);
        case.transfer(&identity, address, bytes).await.expect("a transfer")
    });
    match report {
        Ok(report) => {
            let (took, remark) = report.output;
            Outcome { seconds: took.as_secs_f64(), remark }
        }
        Err(failure) => panic!("{failure}"),
    }
}
