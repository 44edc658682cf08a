//! tokio-stream: wrappers around tokio's channels, timers and sockets, and what combines them.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, interval, sleep};
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{
    BroadcastStream, IntervalStream, LinesStream, ReceiverStream, TcpListenerStream, UnboundedReceiverStream,
    WatchStream,
};
use tokio_stream::{StreamExt, StreamMap, iter, pending};

#[tokio::test]
async fn connections_are_a_stream() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let clients = tokio::spawn(async move {
        let mut local = Vec::new();
        for index in 0..3 {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(format!("client {index}\nis here\n").as_bytes()).await?;
            local.push(stream.local_addr()?);
        }
        io::Result::Ok(local)
    });
    let mut connections = TcpListenerStream::new(listener).take(3);
    let mut peers = Vec::new();
    let mut index = 0;
    while let Some(stream) = connections.next().await {
        let stream = stream?;
        peers.push(stream.peer_addr()?);
        let lines: Vec<String> =
            LinesStream::new(BufReader::new(stream).lines()).collect::<Result<_, _>>().await?;
        assert_eq!(lines, [format!("client {index}"), "is here".into()]);
        index += 1;
    }
    assert_eq!(clients.await.expect("no panic")?, peers);
    Ok(())
}

#[tokio::test]
async fn channels_are_streams() {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for number in 0..5 {
            sender.send(number).await.expect("somebody receives");
        }
    });
    let even: Vec<i32> = ReceiverStream::new(receiver).filter(|number| number % 2 == 0).collect().await;
    assert_eq!(even, [0, 2, 4]);

    let (sender, receiver) = mpsc::unbounded_channel();
    for number in 0..5 {
        sender.send(number).expect("somebody receives");
    }
    drop(sender);
    assert_eq!(UnboundedReceiverStream::new(receiver).fold(0, |sum, number| sum + number).await, 10);
}

#[tokio::test]
async fn a_slow_listener_learns_how_much_it_missed() {
    let (sender, receiver) = broadcast::channel(2);
    let mut stream = BroadcastStream::new(receiver);
    for number in 0..5 {
        sender.send(number).expect("somebody receives");
    }
    drop(sender);
    assert_eq!(stream.next().await, Some(Err(BroadcastStreamRecvError::Lagged(3))));
    assert_eq!(stream.next().await, Some(Ok(3)));
    assert_eq!(stream.next().await, Some(Ok(4)));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_watch_shows_the_latest_only() {
    let (sender, receiver) = watch::channel("first");
    let mut seen = WatchStream::new(receiver);
    assert_eq!(seen.next().await, Some("first"));
    sender.send("skipped").expect("somebody watches");
    sender.send("second").expect("somebody watches");
    assert_eq!(seen.next().await, Some("second"));
    drop(sender);
    assert_eq!(seen.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_interval_ticks_by_the_clock() {
    let started = Instant::now();
    let ticks: Vec<Duration> = IntervalStream::new(interval(Duration::from_secs(60)))
        .take(4)
        .map(|tick| tick - started)
        .collect()
        .await;
    assert_eq!(ticks, [0, 60, 120, 180].map(Duration::from_secs));
    assert_eq!(started.elapsed(), Duration::from_secs(180));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_stream_keeps_its_distance() {
    let started = Instant::now();
    let throttled = iter(0..4).throttle(Duration::from_millis(250));
    let seen: Vec<(i32, u128)> = throttled.map(|item| (item, started.elapsed().as_millis())).collect().await;
    assert_eq!(seen, [(0, 0), (1, 250), (2, 500), (3, 750)]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_a_stream_is_an_error_and_not_its_end() {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for (item, delay_ms) in [("quick", 10), ("slow", 250), ("quick again", 10)] {
            sleep(Duration::from_millis(delay_ms)).await;
            sender.send(item).await.expect("somebody receives");
        }
    });
    let stream = ReceiverStream::new(receiver).timeout(Duration::from_millis(100));
    let seen: Vec<Option<&str>> = stream.map(Result::ok).collect().await;
    assert_eq!(seen, [Some("quick"), None, Some("slow"), Some("quick again")]);

    // The repeating form reports each gap.
    let started = Instant::now();
    let repeating = pending::<()>().timeout_repeating(interval(Duration::from_millis(100)));
    let gaps = repeating.take(3).filter(Result::is_err).fold(0, |count, _| count + 1).await;
    assert_eq!(gaps, 3);
    assert!(started.elapsed() <= Duration::from_millis(300), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn chunks_end_by_size_or_by_time() {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        for number in 0..7 {
            if number == 5 {
                sleep(Duration::from_secs(10)).await;
            }
            sender.send(number).await.expect("somebody receives");
        }
    });
    let chunks = ReceiverStream::new(receiver).chunks_timeout(3, Duration::from_secs(1));
    let chunks: Vec<Vec<i32>> = chunks.collect().await;
    assert_eq!(chunks, [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
}

#[tokio::test]
async fn a_map_of_streams_yields_from_all_of_them() {
    let mut map = StreamMap::new();
    for name in ["a", "b", "c"] {
        map.insert(name, Box::pin(iter(0..10)));
    }
    assert!(map.remove("c").is_some());
    let (mut a, mut b) = (Vec::new(), Vec::new());
    while let Some((name, item)) = map.next().await {
        match name {
            "a" => a.push(item),
            "b" => b.push(item),
            other => panic!("{other} was removed"),
        }
    }
    let expected: Vec<i32> = (0..10).collect();
    assert_eq!((&a, &b), (&expected, &expected));
    assert!(map.is_empty());
}

#[tokio::test]
async fn merged_streams_starve_nobody() {
    let (left_sender, left) = mpsc::channel(1);
    let (right_sender, right) = mpsc::channel(1);
    for (sender, name) in [(left_sender, "left"), (right_sender, "right")] {
        tokio::spawn(async move {
            for _ in 0..50 {
                sender.send(name).await.expect("somebody receives");
            }
        });
    }
    let merged: Vec<&str> = ReceiverStream::new(left).merge(ReceiverStream::new(right)).collect().await;
    assert_eq!(merged.len(), 100);
    let first_half = merged[..50].iter().filter(|name| **name == "left").count();
    assert!((10..=40).contains(&first_half), "{first_half} of the first 50 came from the left");
}
