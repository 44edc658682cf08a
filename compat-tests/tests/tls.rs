//! rustls under raw streams, hyper and tonic, with certificates made on the spot.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use compat_tests::certificate::Certificate;
use compat_tests::echo::echo_client::EchoClient;
use compat_tests::echo::{EchoRequest, EchoService};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate as Pem, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};

const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(
    certificate: &Certificate,
    alpn: &[&str],
    address: SocketAddr,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).expect("a host name");
    TlsConnector::from(certificate.client_config(alpn)).connect(name, stream).await
}

/// Sends back whatever comes, over TLS, on any number of connections.
async fn echo_server(certificate: &Certificate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let acceptor = TlsAcceptor::from(certificate.server_config(&[]));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await?;
                let (mut reader, mut writer) = tokio::io::split(stream);
                tokio::io::copy(&mut reader, &mut writer).await?;
                writer.shutdown().await
            });
        }
    });
    address
}

#[tokio::test]
async fn bytes_pass_and_the_end_is_announced() -> std::io::Result<()> {
    let certificate = Certificate::for_name("server.test");
    let address = echo_server(&certificate).await;
    let stream = connect(&certificate, &[], address, "server.test").await?;
    let (mut reader, mut writer) = tokio::io::split(stream);

    let sent: Vec<u8> = (0..500_000).map(|index| (index % 253) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    });
    let mut received = Vec::new();
    tokio::time::timeout(PATIENCE, reader.read_to_end(&mut received)).await.expect("in time")?;
    writing.await.expect("no panic")?;
    assert!(received == expected, "{} bytes came back changed", received.len());
    Ok(())
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let certificate = Certificate::for_name("server.test");
    let address = echo_server(&certificate).await;
    let error = connect(&certificate, &[], address, "other.test").await.expect_err("the name is wrong");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let certificate = Certificate::for_name("server.test");
    let address = echo_server(&certificate).await;
    let stranger = Certificate::for_name("server.test");
    let error = connect(&stranger, &[], address, "server.test").await.expect_err("nobody vouches");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_connection_cut_without_announcement_is_not_an_end() {
    let certificate = Certificate::for_name("server.test");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let acceptor = TlsAcceptor::from(certificate.server_config(&[]));
    let server = async {
        let (stream, _) = listener.accept().await.expect("accepts");
        let mut stream = acceptor.accept(stream).await.expect("a good handshake");
        stream.write_all(b"half a sen").await.expect("there is room");
        stream.flush().await.expect("there is room");
        drop(stream); // FIN, and no close_notify
    };
    let client = async {
        let mut stream = connect(&certificate, &[], address, "server.test").await.expect("connects");
        let mut received = Vec::new();
        let error = stream.read_to_end(&mut received).await.expect_err("truncated");
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
        assert_eq!(received, b"half a sen");
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn plain_text_is_not_a_handshake() {
    let certificate = Certificate::for_name("server.test");
    let address = echo_server(&certificate).await;
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: server.test\r\n\r\n").await.expect("there is room");
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it hangs up");
    // An alert (content type 21) if it was read before the reset, and nothing else.
    assert!(ended.is_err() || answer.is_empty() || answer[0] == 21, "{answer:?}");
}

#[tokio::test]
async fn hyper_speaks_what_was_negotiated() {
    let certificate = Certificate::for_name("server.test");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let acceptor = TlsAcceptor::from(certificate.server_config(&["h2", "http/1.1"]));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.expect("a good handshake");
                let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let answer = format!("{:?}", request.version());
                    Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::from(answer)))
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(stream), service).await
            });
        }
    });

    let request =
        || Request::get("https://server.test/").header("host", "server.test").body(Full::<Bytes>::default());
    let stream = connect(&certificate, &["h2"], address, "server.test").await.expect("connects");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("h2");
    tokio::spawn(connection);
    let response = sender.send_request(request().expect("valid")).await.expect("an answer");
    assert_eq!(response.collect().await.expect("a whole body").to_bytes(), "HTTP/2.0");

    let stream = connect(&certificate, &["http/1.1"], address, "server.test").await.expect("connects");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let response = sender.send_request(request().expect("valid")).await.expect("an answer");
    assert_eq!(response.collect().await.expect("a whole body").to_bytes(), "HTTP/1.1");
}

#[tokio::test]
async fn tonic_over_tls() {
    let certificate = Certificate::for_name("server.test");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let identity = Identity::from_pem(certificate.server_pem(), certificate.key_pem());
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))
        .expect("a good identity")
        .add_service(EchoService::named("secure"))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);

    let endpoint = |authority: &str| {
        let trust =
            ClientTlsConfig::new().ca_certificate(Pem::from_pem(authority)).domain_name("server.test");
        Endpoint::from_shared(format!("https://{address}"))
            .expect("a well-formed url")
            .tls_config(trust)
            .expect("a good certificate")
            .connect_timeout(PATIENCE)
    };
    let channel = endpoint(certificate.authority_pem()).connect().await.expect("connects");
    let request = EchoRequest { text: "psst".into(), count: 0, delay_ms: 0 };
    let reply = EchoClient::new(channel).unary(request).await.expect("an answer").into_inner();
    assert_eq!((reply.text.as_str(), reply.server.as_str()), ("psst", "secure"));

    let stranger = Certificate::for_name("server.test");
    assert!(endpoint(stranger.authority_pem()).connect().await.is_err(), "nobody vouches for this server");
}
