//! Nodes' own disks: what they share, what a crash and a loss of power leave, and faults.
//!
//! Owns scenarios in simulation alone. Must not know how disks are made. Invariant: each fault that is injected
//! is asserted to have happened.
#![cfg(sim)]

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sim::{self, DiskOp, Journal, PowerLoss};
use tokio::time::sleep;

/// A node called `name` that runs `work` and then waits.
fn worker(name: &'static str, work: fn() -> io::Result<()>) {
    sim::host(name, move || async move {
        tokio::task::spawn_blocking(work).await??;
        std::future::pending().await
    });
}

async fn settle() {
    sleep(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn nodes_do_not_see_each_others_files_nor_does_the_machine() {
    for name in ["a", "b"] {
        sim::host(name, move || async move {
            assert!(!tokio::fs::try_exists("shared.txt").await?);
            tokio::fs::write("shared.txt", name).await?;
            std::future::pending().await
        });
    }
    settle().await;
    assert_eq!(sim::disk("a").read("shared.txt").unwrap(), b"a");
    assert_eq!(sim::disk("b").read("shared.txt").unwrap(), b"b");
    assert!(!Path::new("shared.txt").exists());
}

/// tempfile opens its files by rustix, which calls libc where cargo sim builds it.
#[cfg(rustix_use_libc)]
#[tokio::test]
async fn what_rustix_opens_is_on_the_nodes_disk() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"own").expect("it is written");
    let path = file.path().to_owned();
    assert_eq!(sim::disk("test").read(&path).unwrap(), b"own");
    worker("other", || Ok(()));
    settle().await;
    assert!(sim::disk("other").read(&path).is_err(), "another machine has it: it is the real one's");
    drop(file);
    assert!(!path.exists());
}

#[tokio::test]
async fn the_image_is_read_and_never_changed() {
    let manifest = tokio::fs::read_to_string("Cargo.toml").await.unwrap();
    assert!(manifest.contains("compat-tests"));
    assert!(
        fs::metadata("Cargo.toml").unwrap().modified().unwrap().elapsed().is_ok(),
        "it is from the future"
    );
    fs::write("Cargo.toml", "gone").unwrap();
    assert_eq!(fs::read_to_string("Cargo.toml").unwrap(), "gone");
    fs::remove_file("Cargo.toml").unwrap();
    assert_eq!(fs::read("Cargo.toml").unwrap_err().kind(), io::ErrorKind::NotFound);
    let names: Vec<_> = fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name != "Cargo.toml") && names.iter().any(|name| name == "src"));
    assert!(names.is_sorted());
    fs::remove_dir_all("src").unwrap();
    assert!(!Path::new("src/lib.rs").exists());
    // Others have it still.
    sim::client("other", async move { assert_eq!(fs::read_to_string("Cargo.toml").unwrap(), manifest) })
        .await
        .unwrap();
}

#[tokio::test]
async fn power_takes_what_was_not_synced() {
    worker("db", || {
        fs::create_dir("data")?;
        let mut kept = fs::File::create("data/kept")?;
        kept.write_all(b"synced")?;
        kept.sync_all()?;
        kept.write_all(b" and not")?;
        fs::write("data/lost", "never synced")
    });
    settle().await;
    assert_eq!(sim::disk("db").read("data/kept").unwrap(), b"synced and not");
    sim::crash("db");
    assert_eq!(sim::disk("db").read("data/kept").unwrap(), b"synced and not", "a process's pages live on");
    assert!(sim::disk("db").read("data/lost").is_ok());
    sim::power_off("db");
    assert_eq!(sim::disk("db").read("data/kept").unwrap(), b"synced");
    assert_eq!(sim::disk("db").read("data/lost").unwrap_err().kind(), io::ErrorKind::NotFound);
    let stats = sim::disk("db").stats();
    assert_eq!((stats.power_losses, stats.names_lost), (1, 1));
    assert!(stats.bytes_lost > 0);
}

/// The pattern by which programs replace a file.
fn replace(sync_file: bool, sync_folder: bool) -> io::Result<()> {
    let mut new = fs::File::create("data/file.new")?;
    new.write_all(&[b'n'; 10_000])?;
    if sync_file {
        new.sync_all()?;
    }
    fs::rename("data/file.new", "data/file")?;
    if sync_folder {
        fs::File::open("data")?.sync_all()?;
    }
    Ok(())
}

async fn after_power_loss(how: PowerLoss, work: fn() -> io::Result<()>) -> Vec<u8> {
    worker("db", work);
    let disk = sim::disk("db").power_loss(how);
    disk.write("data/file", [b'o'; 10_000]).unwrap();
    settle().await;
    assert_eq!(disk.read("data/file").unwrap(), [b'n'; 10_000]);
    sim::power_off("db");
    disk.read("data/file").unwrap()
}

#[tokio::test]
async fn a_file_that_was_replaced_with_all_syncs_is_the_new_one() {
    let how = if sim::seed().is_multiple_of(2) { PowerLoss::Unsynced } else { PowerLoss::Torn };
    assert_eq!(after_power_loss(how, || replace(true, true)).await, [b'n'; 10_000]);
}

#[tokio::test]
async fn a_file_that_was_replaced_without_a_folders_sync_is_old_or_new() {
    let found = after_power_loss(PowerLoss::Torn, || replace(true, false)).await;
    assert!(found == [b'n'; 10_000] || found == [b'o'; 10_000]);
}

#[tokio::test]
async fn a_file_that_was_replaced_without_its_sync_can_be_torn() {
    let mut torn = 0;
    for seed in 0..40 {
        let run = sim::Builder::new()
            .seed(seed)
            .run(move || async { after_power_loss(PowerLoss::Torn, || replace(false, true)).await });
        let found = run.unwrap().output;
        torn += u32::from(found != [b'n'; 10_000] && found != [b'o'; 10_000]);
    }
    assert!(torn > 5, "{torn}");
}

#[tokio::test]
async fn journals_differ_in_what_a_files_sync_does_to_names() {
    for (journal, is_kept) in [(Journal::Ordered, true), (Journal::PerFolder, false)] {
        let run = sim::Builder::new().run(move || async move {
            worker("db", || {
                let mut file = fs::File::create("new")?;
                file.write_all(b"x")?;
                file.sync_all()
            });
            sim::disk("db").journal(journal);
            settle().await;
            sim::power_off("db");
            sim::disk("db").read("new").is_ok()
        });
        assert_eq!(run.unwrap().output, is_kept, "{journal:?}");
    }
}

#[tokio::test]
async fn a_node_that_starts_again_sees_its_files() {
    sim::host("counter", || async {
        let count = match tokio::fs::read_to_string("var/count").await {
            Ok(text) => text.parse::<u32>()? + 1,
            Err(_) => 1,
        };
        tokio::fs::create_dir_all("var").await?;
        let mut file = tokio::fs::File::create("var/count").await?;
        file.write_all(count.to_string().as_bytes()).await?;
        file.sync_all().await?;
        std::future::pending().await
    });
    for _ in 0..3 {
        settle().await;
        sim::bounce("counter");
    }
    settle().await;
    sim::power_off("counter");
    sim::start("counter");
    settle().await;
    assert_eq!(sim::disk("counter").read("var/count").unwrap(), b"5");
}

#[tokio::test]
async fn what_a_dead_process_still_does_has_no_effect() {
    struct WritesOnDrop(fs::File);
    impl Drop for WritesOnDrop {
        fn drop(&mut self) {
            assert_eq!(self.0.write(b"late").unwrap_err().raw_os_error(), Some(5));
            assert!(fs::write("late", "late").is_err());
        }
    }
    sim::host("a", || async {
        let _file = WritesOnDrop(fs::File::create("file")?);
        std::future::pending().await
    });
    settle().await;
    sim::crash("a");
    assert_eq!(sim::disk("a").read("file").unwrap(), b"");
    assert!(sim::disk("a").read("late").is_err());
}

#[tokio::test]
async fn a_full_disk_takes_what_fits() {
    let disk = sim::disk("test").capacity_bytes(10_000);
    let mut file = fs::File::create("a").unwrap();
    assert_eq!(file.write(&[1; 8_000]).unwrap(), 8_000);
    assert_eq!(file.write(&[1; 8_000]).unwrap(), 2_000);
    assert_eq!(file.write(&[1; 1]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(tokio::fs::write("b", "x").await.unwrap_err().kind(), io::ErrorKind::StorageFull);
    // What is there can be written over.
    file.write_at(&[2; 5_000], 0).unwrap();
    fs::remove_file("a").unwrap();
    drop(file);
    fs::write("b", "x").unwrap();
    assert_eq!((disk.used_bytes(), disk.stats().full), (1, 3));
    disk.unbounded();
    fs::write("b", [0; 20_000]).unwrap();
}

#[tokio::test]
async fn errors_come_as_they_were_asked_for() {
    let disk = sim::disk("test").fail_next(DiskOp::Sync, libc::EIO).fail_next(DiskOp::Write, libc::EDQUOT);
    let mut file = tokio::fs::File::create("a").await.unwrap();
    file.write_all(b"x").await.unwrap();
    assert_eq!(file.flush().await.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    assert_eq!(file.sync_all().await.unwrap_err().raw_os_error(), Some(libc::EIO));
    file.write_all(b"x").await.unwrap();
    file.sync_all().await.unwrap();
    disk.fail_rate(DiskOp::Open, libc::EMFILE, 0.5);
    let failed = (0..200).filter(|_| fs::File::open("a").is_err()).count();
    assert!((50..150).contains(&failed), "{failed}");
    assert_eq!(disk.stats().errors, 2 + failed as u64);
    disk.fail_rate(DiskOp::Open, libc::EMFILE, 0.0);
    disk.read_only(true);
    assert_eq!(fs::write("b", "").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::remove_file("a").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read("a").unwrap(), b"x");
}

#[tokio::test]
async fn a_slow_disk_takes_virtual_time_and_others_go_on() {
    let disk = sim::disk("test").latency(Duration::from_millis(10), Duration::from_millis(20));
    let others = tokio::spawn(async {
        for _ in 0..30 {
            sleep(Duration::from_millis(1)).await;
        }
        sim::elapsed()
    });
    let before = sim::elapsed();
    tokio::fs::write("a", "text").await.unwrap();
    let took = sim::elapsed() - before;
    assert!(took >= Duration::from_millis(20) && took < Duration::from_millis(80), "{took:?}");
    assert!(others.await.unwrap() < Duration::from_millis(100));
    assert!(disk.stats().slow >= 2);
}

#[tokio::test]
async fn times_are_the_nodes_clock() {
    fs::write("a", "1").unwrap();
    let first = fs::metadata("a").unwrap();
    sleep(Duration::from_secs(10)).await;
    fs::write("a", "2").unwrap();
    let second = fs::metadata("a").unwrap();
    let passed = second.modified().unwrap().duration_since(first.modified().unwrap()).unwrap();
    assert!(passed >= Duration::from_secs(10) && passed < Duration::from_secs(11), "{passed:?}");
    assert_eq!(first.created().unwrap(), second.created().unwrap());
    assert_eq!(first.ino(), second.ino());
}

#[tokio::test]
async fn paths_may_be_the_machines_own() {
    let folder = std::env::temp_dir().join(format!("sim-pass-{}", sim::random_u64()));
    sim::disk("test").pass_through(&folder);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a"), "real").unwrap();
    fs::write("own", "own").unwrap();
    assert_eq!(fs::rename("own", folder.join("b")).unwrap_err().kind(), io::ErrorKind::CrossesDevices);
    assert_eq!(fs::copy("own", folder.join("b")).unwrap(), 3);
    sim::client("other", {
        let folder = folder.clone();
        async move { assert_eq!(fs::read(folder.join("a")).unwrap(), b"real") }
    })
    .await
    .unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn an_empty_image_has_nothing() {
    sim::node("bare")
        .disk_image(sim::Image::Empty)
        .client(async {
            assert!(!Path::new("/etc/passwd").exists());
            assert_eq!(fs::read_dir(".").unwrap().count(), 0);
            fs::write("here", "x").unwrap();
            assert_eq!(fs::read(std::env::temp_dir()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
            fs::read("/proc/self/stat").unwrap();
            fs::write("/dev/null", "x").unwrap();
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn locks_belong_to_descriptions() {
    let first = fs::File::create("lock").unwrap();
    let second = fs::File::open("lock").unwrap();
    first.lock().unwrap();
    assert!(matches!(second.try_lock(), Err(fs::TryLockError::WouldBlock)));
    let waiter = tokio::task::spawn_blocking(move || {
        second.lock().unwrap();
        sim::elapsed()
    });
    sleep(Duration::from_secs(1)).await;
    drop(first);
    assert!(waiter.await.unwrap() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_file_goes_on_without_its_name() {
    let mut file = fs::File::options().read(true).write(true).create_new(true).open("a").unwrap();
    fs::remove_file("a").unwrap();
    file.write_all(b"text").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), file.metadata().unwrap().nlink()), ("text", 0));
}

#[tokio::test]
async fn standard_streams_are_the_nodes() {
    sim::host("cat", || async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut out = tokio::io::stdout();
        while let Some(line) = lines.next_line().await? {
            out.write_all(format!("got {line}\n").as_bytes()).await?;
            out.flush().await?;
        }
        Ok(())
    });
    sim::capture_stdout("cat");
    sim::feed_stdin("cat", "one\ntw");
    settle().await;
    assert_eq!(sim::captured_stdout("cat"), b"got one\n");
    sim::feed_stdin("cat", "o\n");
    sim::close_stdin("cat");
    settle().await;
    assert_eq!(sim::captured_stdout("cat"), b"got two\n");
    assert!(!sim::is_running("cat"));
    let mut rest = Vec::new();
    assert_eq!(tokio::io::stdin().read_to_end(&mut rest).await.unwrap(), 0);
}

#[tokio::test]
async fn three_thousand_files_need_no_three_thousand_descriptors() {
    fs::create_dir("many").unwrap();
    for number in 0..3_000 {
        fs::write(format!("many/{number:05}"), number.to_string()).unwrap();
    }
    assert!(fs::read_dir("/proc/self/fd").unwrap().count() < 200);
    let names: Vec<_> = fs::read_dir("many").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names.len(), names.is_sorted()), (3_000, true));
    assert_eq!(fs::read_to_string("many/00042").unwrap(), "42");
    fs::remove_dir_all("many").unwrap();
}
