//! Links as programs see them: rates, standing queues, outages, presets, losses in bursts.
//!
//! Owns what ordinary sockets measure over a link. Must not know how a link decides. Invariant: every test runs twice for
//! each seed with equal traces (`SIM_TWICE=1` in CI).
#![cfg(sim)]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use compat_tests::sockets::connect_when_up;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sim;
use tokio::sim::links::{Latency, Outages, Queue, Schedule, presets};
use tokio::time::{Instant, sleep, timeout};

const MEGABIT: u64 = 1_000_000;

/// Starts a machine that swallows what it is sent by TCP, and sends each datagram back.
fn start_server() {
    sim::host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:80").await?;
        let socket = UdpSocket::bind("0.0.0.0:7").await?;
        tokio::spawn(async move {
            let mut buffer = [0; 2000];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                drop(socket.send_to(&buffer[..len], from).await);
            }
        });
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
}

/// Sends by TCP for so long; how many bytes the peer's kernel has acknowledged, to within its send buffer.
async fn upload(length: Duration) -> io::Result<u64> {
    let mut stream = TcpStream::connect("server:80").await?;
    socket2::SockRef::from(&stream).set_send_buffer_size(512 * 1024)?;
    let end = Instant::now() + length;
    let (chunk, mut sent) = (vec![0; 16 * 1024], 0);
    while let Ok(result) = tokio::time::timeout_at(end, stream.write(&chunk)).await {
        sent += result? as u64;
    }
    Ok(sent)
}

/// The round trips of datagrams that are sent every 20 ms for so long, in milliseconds, in ascending order.
async fn pings(length: Duration) -> Vec<f64> {
    let socket = UdpSocket::bind("0.0.0.0:0").await.expect("bound");
    socket.connect((sim::lookup("server"), 7)).await.expect("a peer");
    let mut round_trips = Vec::new();
    let mut buffer = [0; 100];
    let end = Instant::now() + length;
    while Instant::now() < end {
        let sent = Instant::now();
        socket.send(b"ping").await.expect("sent");
        if let Ok(answer) = timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await {
            answer.expect("an answer");
            round_trips.push(sent.elapsed().as_secs_f64() * 1000.0);
        }
        sleep(Duration::from_millis(20)).await;
    }
    round_trips.sort_by(f64::total_cmp);
    round_trips
}

fn at_share(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

#[tokio::test]
async fn a_flood_gets_exactly_the_rate() {
    const DATAGRAM_BYTES: usize = 972;
    for rate in [MEGABIT, 8 * MEGABIT] {
        let name = format!("sink-{rate}");
        sim::host(&name, std::future::pending);
        sim::link("test", &name).bandwidth_bits_per_sec(rate).queue_limit_bytes(40_000);
        let to: SocketAddr = (sim::lookup(&name), 9).into();
        let source = UdpSocket::bind("0.0.0.0:0").await.expect("bound");
        let before = sim::network_stats();
        // Half as much again as the rate, for ten seconds, in steps of a millisecond.
        let each = rate as f64 * 1.5 / 8000.0 / 1000.0;
        let (mut owed, start) = (0.0, Instant::now());
        for step in 1..=10_000u32 {
            owed += each;
            while owed >= 1.0 {
                owed -= 1.0;
                source.send_to(&[0; DATAGRAM_BYTES], to).await.expect("sent");
            }
            tokio::time::sleep_until(start + step * Duration::from_millis(1)).await;
        }
        let after = sim::network_stats();
        let delivered = (after.sent - before.sent) - (after.queue_full - before.queue_full);
        // Less what was answered by ICMP, and what still waits.
        let answered = after.delivered - before.delivered;
        assert!(answered > 0, "the datagrams have arrived, at nobody");
        let bits = (delivered - answered / 2) * 8000 - 40_000 * 8;
        let wrong = bits as f64 / (rate * 10) as f64 - 1.0;
        assert!(wrong.abs() < 0.01, "{rate}: {bits} bits, {wrong}");
        assert!(after.queue_full > before.queue_full);
    }
}

#[tokio::test]
async fn controlled_delay_keeps_a_full_link_usable() {
    start_server();
    drop(connect_when_up("server:80").await);
    let mut seen = Vec::new();
    for queue in [Queue::TailDrop, Queue::codel(), Queue::fq_codel()] {
        sim::link("test", "server")
            .latency_distribution(Latency::Fixed(Duration::from_millis(10)))
            .bandwidth_bits_per_sec(10 * MEGABIT)
            .queue_limit_bytes(1 << 20)
            .queue(queue);
        let length = Duration::from_secs(6);
        let (sent, pings) = tokio::join!(upload(length), pings(length));
        let sent = sent.expect("the connection lives");
        // Whatever the queue, TCP fills the link: nine tenths of its rate, less headers.
        assert!(sent > 10 * MEGABIT / 8 * 6 * 9 / 10 * 146 / 150, "{sent}");
        seen.push(at_share(&pings, 0.5));
        sleep(Duration::from_secs(5)).await;
    }
    let [tail, codel, fair] = seen[..] else { panic!("three queues") };
    // A buffer of half a mebibyte in the queue is 400 ms; the round trip of an empty link is 20 ms, and a packet of TCP
    // takes 1.2 ms.
    assert!(tail > 100.0, "{seen:?}");
    assert!(codel * 4.0 < tail && fair < 25.0, "{seen:?}");
    assert!(sim::network_stats().queue_early > 0);
}

#[tokio::test]
async fn connections_outlive_a_link_that_flaps() {
    start_server();
    drop(connect_when_up("server:80").await);
    sim::link("test", "server")
        .bandwidth_bits_per_sec(8 * MEGABIT)
        .flap(Duration::from_secs(3), Duration::from_millis(700));
    let sent = upload(Duration::from_secs(10)).await.expect("the connection lives");
    assert!(sent > MEGABIT / 2, "{sent}");
    let stats = sim::network_stats();
    assert!(stats.down > 0, "{stats:?}");
    sim::link("test", "server").outages(Outages::None);
}

#[tokio::test]
async fn a_schedule_of_rates_is_followed() {
    let start = Instant::now();
    start_server();
    drop(connect_when_up("server:80").await);
    let second = Duration::from_secs(1);
    // A mobile that goes through a tunnel every ten seconds.
    let schedule =
        Schedule::rates([(Duration::ZERO, 20 * MEGABIT), (6 * second, 0), (7 * second, 2 * MEGABIT)]);
    let link = sim::link("test", "server");
    link.latency_ms(10..=10).schedule(schedule.repeated_every(10 * second)).queue_limit_bytes(200_000);
    // To the beginning of the next period.
    tokio::time::sleep_until(start + 10 * second).await;
    let sent = upload(20 * second).await.expect("the connection lives");
    // Twice 6 s at 20 Mbit/s and 3 s at 2 Mbit/s are 31.5 MB at most, and what is in the buffer.
    assert!((15_000_000..32_100_000).contains(&sent), "{sent}");
}

#[tokio::test]
async fn presets_have_the_round_trips_that_they_cite() {
    start_server();
    drop(connect_when_up("server:80").await);
    for (preset, least_ms, most_ms) in [
        (presets::lan(), 0.1, 0.6),
        (presets::us_europe(), 83.0, 86.0),
        (presets::lte(), 60.0, 80.0),
        // Neighbours are correlated: eight seconds are not all of its distribution, which is 20 to 120 ms.
        (presets::low_orbit(), 20.0, 120.0),
        (presets::geostationary(), 610.0, 690.0),
    ] {
        sim::link("test", "server").preset(preset);
        let median = at_share(&pings(Duration::from_secs(8)).await, 0.5);
        assert!((least_ms..most_ms).contains(&median), "{median}, not {least_ms} to {most_ms}");
    }
}

#[tokio::test]
async fn losses_in_bursts_hurt_neighbours() {
    start_server();
    drop(connect_when_up("server:80").await);
    sim::link_oneway("test", "server").loss_bursts(0.1, 20.0);
    let socket = UdpSocket::bind("0.0.0.0:0").await.expect("bound");
    socket.connect((sim::lookup("server"), 7)).await.expect("a peer");
    let count = 5_000u32;
    let before = sim::network_stats().lost;
    let mut arrived = vec![false; count as usize];
    let mut buffer = [0; 100];
    for number in 0..count {
        socket.send(&number.to_be_bytes()).await.expect("sent");
        sleep(Duration::from_millis(4)).await;
        while let Ok(len) = socket.try_recv(&mut buffer) {
            let number: [u8; 4] = buffer[..len].try_into().expect("a number");
            arrived[u32::from_be_bytes(number) as usize] = true;
        }
    }
    let lost = sim::network_stats().lost - before;
    assert_eq!(lost, arrived.iter().filter(|arrived| !**arrived).count() as u64);
    // A share of 10 % with a deviation of 2.5 %, as bursts have it: sqrt(0.09 / 5,000 · (2 − p − r) / (p + r)).
    assert!((50..1100).contains(&lost), "{lost}");
    let bursts = arrived.chunk_by(|a, b| a == b).filter(|run| !run[0]).count() as f64;
    // 25 bursts of 20 are expected: their mean has a deviation of 4.
    let mean = lost as f64 / bursts;
    assert!((5.0..45.0).contains(&mean), "{mean}");
}

#[tokio::test]
async fn what_is_too_big_is_told_through_a_nat() {
    sim::switch("home").subnet("192.168.7.0/24").make();
    sim::router("box").lan("home").nat(sim::NatConfig::port_restricted_cone()).make();
    start_server();
    let client = sim::node("client").switch("home").client(async {
        drop(connect_when_up("server:80").await);
        // Beyond the router, where the client is known by another address.
        sim::link("box", "server").mtu_bytes(1280).clamp_mss(false);
        let mut stream = TcpStream::connect("server:80").await?;
        stream.write_all(&[1; 100_000]).await?;
        stream.shutdown().await?;
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await?;
        assert!(sim::network_stats().too_big > 0, "the first segments were too big");
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        socket.connect((sim::lookup("server"), 7)).await?;
        // Fragments both ways: of the client's kernel, which has learned, and of the router's.
        let mut buffer = [0; 2000];
        for len in [1400, 100] {
            socket.send(&vec![1; len]).await?;
            assert_eq!(timeout(Duration::from_secs(1), socket.recv(&mut buffer)).await??, len);
        }
        Ok::<_, io::Error>(())
    });
    client.await.expect("it ends").expect("everything arrives");
}
