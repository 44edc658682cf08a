//! A capture of QUIC with its keys: Wireshark decrypts it.
//!
//! Owns the way of keys from rustls to the capture. Must not know the format. Invariant: a key is in the capture before the
//! first packet that needs it: so the server gives it, too, because Wireshark does not try again.
#![cfg(sim)]

#[path = "../../src/tshark.rs"]
#[expect(unreachable_pub, reason = "the file belongs to the helpers of another package")]
mod tshark;

use std::sync::Arc;
use std::time::Duration;

use compat_quic::echo::{say, serve};
use compat_quic::endpoints::{ALPN, client, server};
use compat_quic::identity::{Identity, NAME};
use rustls::KeyLog;
use tokio::sim;

/// Hands keys to the capture, in the form of `SSLKEYLOGFILE`.
#[derive(Debug)]
struct IntoCapture;

impl KeyLog for IntoCapture {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        sim::capture_secrets(&format!("{label} {} {}\n", hex(client_random), hex(secret)));
    }
}

async fn conversation() {
    let identity = Arc::new(Identity::new().with_key_log(Arc::new(IntoCapture)));
    let of_server = identity.clone();
    sim::host("server", move || {
        let config = of_server.server(&[ALPN]);
        async move {
            serve(server(config, "0.0.0.0:4433".parse()?)?).await;
            Ok(())
        }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let config = identity.client(&[ALPN]);
    let address = (sim::lookup("server"), 4433).into();
    let endpoint = client(config, address).expect("a free port");
    let connection = endpoint.connect(address, NAME).expect("a good name").await.expect("connects");
    assert_eq!(say(&connection, b"can you read this?").await.expect("an echo"), b"can you read this?");
    connection.close(7u32.into(), b"enough");
    endpoint.wait_idle().await;
}

#[test]
fn quic_is_decrypted() {
    let path = tshark::scratch("quic");
    if let Err(failure) = sim::Builder::new().seed(3).capture(&path).run(conversation) {
        panic!("{failure}");
    }
    let Some(judged) = tshark::Judged::new(&path) else { return };
    judged.assert_sound();
    assert!(judged.count("tls.handshake.type == 1") > 0, "the first packet needs no key");
    // "can you read this?", in a STREAM frame of each direction.
    let text = "quic.stream_data contains \"can you read this?\"";
    assert_eq!(judged.count(&format!("{text} && udp.dstport == 4433")), 1);
    assert_eq!(judged.count(&format!("{text} && udp.srcport == 4433")), 1);
    assert!(judged.count("quic.cc.reason_phrase == \"enough\"") > 0);
    judged.delete();
}
