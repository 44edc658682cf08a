//! A MariaDB of this machine, started for the tests of this process.
//!
//! Owns its folder and process, which end with the tests. Must not know clients. Invariant: where the program is not
//! installed, each test says that it is skipped.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// When a statement that makes 160,000 rows has begun and is not done.
pub const MEANWHILE: Duration = Duration::from_millis(50);

/// A server that was started, or why none was.
type Started = Result<Server, String>;

struct Server {
    port: u16,
    client: PathBuf,
}

/// The address of an empty database.
///
/// # Panics
/// Where the server does not make one.
pub async fn database() -> Option<String> {
    static SERVER: OnceLock<Started> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let started =
        tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await.expect("the server is started");
    let server = match started {
        Ok(server) => server,
        Err(reason) => {
            // Not by `eprintln!`, which the test harness would keep to itself.
            let _ = writeln!(std::io::stderr(), "skipped: no MariaDB on this machine ({reason})");
            return None;
        }
    };
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let made = server.run(&format!("CREATE DATABASE {name}"));
    assert!(made, "the server makes a database");
    Some(format!("mysql://root@127.0.0.1:{}/{name}", server.port))
}

impl Server {
    fn run(&self, sql: &str) -> bool {
        let port = self.port.to_string();
        let mut client = Command::new(&self.client);
        client.args([
            "--no-defaults",
            "--protocol=tcp",
            "--host=127.0.0.1",
            "--user=root",
            "--port",
            &port,
            "-e",
            sql,
        ]);
        client.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    folders.push(PathBuf::from("/usr/sbin"));
    let all = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    all.into_iter().find(|path| path.is_file())
}

#[expect(clippy::disallowed_methods, reason = "it waits for a process of the machine")]
fn start() -> Started {
    let missing = |name: &str| format!("{name} is not installed");
    let server = find(&["mariadbd", "mysqld"]).ok_or_else(|| missing("mariadbd"))?;
    let install = find(&["mariadb-install-db"]).ok_or_else(|| missing("mariadb-install-db"))?;
    let client = find(&["mariadb", "mysql"]).ok_or_else(|| missing("mariadb"))?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?.keep();
    let data = folder.join("data");
    let user = format!("--user={}", if is_root() { "root" } else { "" });
    let user: &[&str] = if is_root() { &[user.as_str()] } else { &[] };
    let made = Command::new(install)
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .arg(format!("--datadir={}", data.display()))
        .args(user)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return Err("its folder could not be made".to_owned());
    }
    let port = free_port().map_err(|error| error.to_string())?;
    // The server ends when the tests end, however they do: with the thread that started it, which never ends by itself.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(server).args(["--no-defaults", "--bind-address=127.0.0.1"]);
    command.args([format!("--datadir={}", data.display()), format!("--port={port}")]);
    command.arg(format!("--socket={}", socket(&folder).display())).args(user);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (sender, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let spawned = command.spawn().map(drop).map_err(|error| error.to_string());
        let _ = sender.send(spawned);
        loop {
            std::thread::park();
        }
    });
    started.recv().map_err(|error| error.to_string())??;
    let server = Server { port, client };
    for _ in 0..300 {
        if server.run("SELECT 1") {
            return Ok(server);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err("it does not answer".to_owned())
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
