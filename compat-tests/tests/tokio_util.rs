//! tokio-util: framing over sockets, cancellation, delays and task tracking.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{
    BytesCodec, Decoder, Encoder, Framed, FramedRead, FramedWrite, LengthDelimitedCodec, LinesCodec,
    LinesCodecError,
};
use tokio_util::io::{ReaderStream, StreamReader};
use tokio_util::sync::{CancellationToken, PollSender};
use tokio_util::task::TaskTracker;
use tokio_util::time::DelayQueue;
use tokio_util::udp::UdpFramed;

const PATIENCE: Duration = Duration::from_secs(20);

async fn pair() -> (TcpStream, TcpStream) {
    compat_tests::sockets::pair().await
}

#[tokio::test]
async fn frames_with_a_length_survive_any_cut() -> io::Result<()> {
    let (client, server) = pair().await;
    let mut sender = LengthDelimitedCodec::builder().length_field_type::<u16>().new_write(client);
    let mut receiver = LengthDelimitedCodec::builder().length_field_type::<u16>().new_read(server);
    let sizes = [0, 1, 2, 1000, 65_535, 3];
    let sending = tokio::spawn(async move {
        for size in sizes {
            sender.send(Bytes::from(vec![size as u8; size])).await?;
        }
        io::Result::Ok(())
    });
    for size in sizes {
        let frame = receiver.next().await.expect("more to come")?;
        assert_eq!(frame.len(), size);
        assert!(frame.iter().all(|byte| *byte == size as u8));
    }
    sending.await.expect("no panic")?;
    assert!(receiver.next().await.is_none());
    Ok(())
}

#[tokio::test]
async fn a_frame_that_is_too_long_is_refused() -> io::Result<()> {
    let (mut client, server) = pair().await;
    let mut receiver = LengthDelimitedCodec::builder().max_frame_length(1024).new_read(server);
    client.write_u32(1_000_000).await?;
    let error = receiver.next().await.expect("an answer").expect_err("too long");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    Ok(())
}

#[tokio::test]
async fn lines_in_both_directions() -> Result<(), LinesCodecError> {
    let (client, server) = pair().await;
    tokio::spawn(async move {
        let mut lines = Framed::new(server, LinesCodec::new_with_max_length(32));
        while let Some(line) = lines.next().await {
            let answer = match line {
                Ok(line) => line.chars().rev().collect(),
                Err(LinesCodecError::MaxLineLengthExceeded) => "too long".to_owned(),
                Err(error) => panic!("{error}"),
            };
            lines.send(answer).await.expect("the client reads");
        }
        // After an error of its codec a `Framed` ends.
    });
    let mut client = Framed::new(client, LinesCodec::new());
    for (line, answer) in [("abc", "cba"), ("", ""), ("grün", "nürg")] {
        client.send(line).await?;
        assert_eq!(client.next().await.expect("an answer")?, answer);
    }
    client.send("x".repeat(100)).await?;
    assert_eq!(client.next().await.expect("an answer")?, "too long");
    assert!(client.next().await.is_none());
    Ok(())
}

/// Numbers as text, ended by a semicolon.
struct Numbers;

impl Decoder for Numbers {
    type Item = u64;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<u64>> {
        let Some(end) = source.iter().position(|byte| *byte == b';') else { return Ok(None) };
        let text = source.split_to(end);
        source.advance(1);
        let text = std::str::from_utf8(&text).map_err(io::Error::other)?;
        text.parse().map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl Encoder<u64> for Numbers {
    type Error = io::Error;

    fn encode(&mut self, number: u64, target: &mut BytesMut) -> io::Result<()> {
        target.put_slice(format!("{number};").as_bytes());
        Ok(())
    }
}

#[tokio::test]
async fn a_codec_of_ones_own_over_halves() -> io::Result<()> {
    let (client, server) = pair().await;
    let (reader, writer) = client.into_split();
    let mut sender = FramedWrite::new(writer, Numbers);
    let mut receiver = FramedRead::new(reader, Numbers);
    let doubling = tokio::spawn(async move {
        let mut numbers = Framed::new(server, Numbers);
        while let Some(number) = numbers.next().await {
            numbers.send(number? * 2).await?;
        }
        io::Result::Ok(())
    });
    for number in 0..200 {
        sender.feed(number).await?; // many frames in one write
    }
    sender.flush().await?;
    for number in 0..200 {
        assert_eq!(receiver.next().await.expect("more to come")?, number * 2);
    }
    sender.into_inner().write_all(b"12x;").await?;
    let error = doubling.await.expect("no panic").expect_err("not a number");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    Ok(())
}

#[tokio::test]
async fn frames_in_datagrams() -> io::Result<()> {
    let mut first = UdpFramed::new(UdpSocket::bind("127.0.0.1:0").await?, BytesCodec::new());
    let mut second = UdpFramed::new(UdpSocket::bind("127.0.0.1:0").await?, LinesCodec::new());
    let (first_address, second_address) = (first.get_ref().local_addr()?, second.get_ref().local_addr()?);
    first.send((Bytes::from("one\ntwo\n"), second_address)).await?;
    for line in ["one", "two"] {
        let received = second.next().await.expect("a socket never ends").expect("a line");
        assert_eq!(received, (line.to_owned(), first_address));
    }
    Ok(())
}

#[tokio::test]
async fn readers_become_streams_and_streams_become_readers() -> io::Result<()> {
    let (mut client, server) = pair().await;
    client.write_all(b"first line\nsecond line\n").await?;
    client.shutdown().await?;
    let chunks = ReaderStream::with_capacity(server, 7);
    let mut lines = BufReader::new(StreamReader::new(chunks)).lines();
    assert_eq!(lines.next_line().await?.as_deref(), Some("first line"));
    assert_eq!(lines.next_line().await?.as_deref(), Some("second line"));
    assert_eq!(lines.next_line().await?, None);
    Ok(())
}

#[tokio::test]
async fn cancelling_reaches_the_children_only() {
    let parent = CancellationToken::new();
    let child = parent.child_token();
    let other = parent.child_token();
    let waiting = tokio::spawn({
        let child = child.clone();
        async move { child.run_until_cancelled(sleep(PATIENCE)).await }
    });
    child.cancel();
    assert_eq!(waiting.await.expect("no panic"), None, "the sleep was cut short");
    assert!(!parent.is_cancelled() && !other.is_cancelled());

    let guard = parent.clone().drop_guard();
    drop(guard);
    timeout(PATIENCE, other.cancelled()).await.expect("cancelled with its parent");
}

#[tokio::test]
async fn a_server_stops_with_its_tracker() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    tracker.spawn({
        let (tracker, stop) = (tracker.clone(), stop.clone());
        async move {
            while let Some(Ok((mut stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let stop = stop.clone();
                tracker.spawn(async move {
                    stop.cancelled().await;
                    stream.write_all(b"bye").await
                });
            }
        }
    });
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(TcpStream::connect(address).await?);
    }
    while tracker.len() < 6 {
        sleep(Duration::from_millis(1)).await;
    }
    tracker.close();
    assert!(timeout(Duration::from_millis(20), tracker.wait()).await.is_err(), "all of them still wait");
    stop.cancel();
    timeout(PATIENCE, tracker.wait()).await.expect("all of them end");
    for mut client in clients {
        let mut last = String::new();
        client.read_to_string(&mut last).await?;
        assert_eq!(last, "bye");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delay_queue_yields_in_order_of_time() {
    let started = Instant::now();
    let mut queue = DelayQueue::new();
    queue.insert("third", Duration::from_millis(300));
    queue.insert("first", Duration::from_millis(100));
    let moved = queue.insert("last", Duration::from_millis(50));
    let removed = queue.insert("never", Duration::from_millis(150));
    queue.insert("second", Duration::from_millis(200));
    queue.reset(&moved, Duration::from_secs(3600));
    assert_eq!(queue.remove(&removed).into_inner(), "never");

    let mut seen = Vec::new();
    while let Some(expired) = queue.next().await {
        seen.push((expired.into_inner(), started.elapsed().as_millis()));
    }
    // The wheel of the queue turns by milliseconds, and may be one late.
    let names: Vec<_> = seen.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["first", "second", "third", "last"]);
    for ((name, at), expected) in seen.into_iter().zip([100, 200, 300, 3_600_000]) {
        assert!((expected..=expected + 2).contains(&at), "{name} at {at} ms");
    }
}

#[tokio::test]
async fn a_channel_is_a_sink() {
    let (sender, mut receiver) = mpsc::channel(2);
    let mut sink = PollSender::new(sender);
    let sending = tokio::spawn(async move {
        for number in 0..10 {
            sink.send(number).await.expect("somebody receives");
        }
    });
    for number in 0..10 {
        assert_eq!(receiver.recv().await, Some(number));
    }
    assert_eq!(receiver.recv().await, None);
    sending.await.expect("no panic");
}
