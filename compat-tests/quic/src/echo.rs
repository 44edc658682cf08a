//! A server that sends back whatever comes: streams of both directions, streams of one, datagrams.
//!
//! Must not know who calls. Invariant: what is not finished by the caller is not finished by the server.

use quinn::{Connection, Endpoint, RecvStream, SendStream};

/// Serves every connection of `endpoint` until the endpoint is closed.
pub async fn serve(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Ok(connecting) = incoming.accept() {
                // 0.5-RTT for resumed connections, so that early data is answered early.
                match connecting.into_0rtt() {
                    Ok((connection, _)) => answer(connection).await,
                    Err(connecting) => {
                        if let Ok(connection) = connecting.await {
                            answer(connection).await;
                        }
                    }
                }
            }
        });
    }
}

/// Serves one connection until it ends.
pub async fn answer(connection: Connection) {
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok((sender, receiver)) => { tokio::spawn(echo(sender, receiver)); }
                Err(_) => return,
            },
            datagram = connection.read_datagram() => match datagram {
                // One that does not fit the path is lost, as datagrams are.
                Ok(datagram) => drop(connection.send_datagram(datagram)),
                Err(_) => return,
            },
        }
    }
}

async fn echo(mut sender: SendStream, mut receiver: RecvStream) {
    while let Ok(Some(chunk)) = receiver.read_chunk(64 * 1024, true).await {
        if sender.write_chunk(chunk.bytes).await.is_err() {
            return;
        }
    }
    // An error means that the peer has stopped the stream, or is gone.
    drop(sender.finish());
}

/// Says `text` on a stream of its own; what comes back.
///
/// # Errors
/// Where the connection ends, or the stream is stopped, before all of it came back.
pub async fn say(
    connection: &Connection,
    text: &[u8],
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, mut receiver) = connection.open_bi().await?;
    let sending = async {
        sender.write_all(text).await?;
        sender.finish()?;
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    };
    let receiving = async { Ok(receiver.read_to_end(text.len() + 1).await?) };
    let (_, answer) = tokio::try_join!(sending, receiving)?;
    Ok(answer)
}
