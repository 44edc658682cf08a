//! A real server of one test: its files in a folder of their own, on a free port of loopback.
//!
//! Owns the program's start and end. Must not know tests. Invariant: the program ends with the value.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::Wishes;

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Its host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    password: Option<String>,
    folder: PathBuf,
    program: Child,
}

impl Server {
    /// What `psql` would be told.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}"));
        format!("postgres://postgres{password}@{}:{}/postgres", self.host, self.port)
    }

    pub(crate) async fn start(wishes: &Wishes) -> Option<Self> {
        let programs = programs()?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("compat-postgres-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the server");
        let data = folder.join("data");
        let mut init = as_postgres(&programs.join("initdb"));
        init.arg("-D").arg(&data).args(["-U", "postgres", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        match &wishes.password {
            Some(password) => {
                write(&folder.join("password"), password);
                init.arg("--auth=scram-sha-256").arg("--pwfile").arg(folder.join("password"));
            }
            None => drop(init.arg("--auth=trust")),
        }
        give_to_postgres(&folder);
        let made = init.output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port().await;
        let mut start = as_postgres(&programs.join("postgres"));
        start.arg("-D").arg(&data).arg("-k").arg(&folder).args(["-h", "localhost", "-p", &port.to_string()]);
        start.args(["-c", "fsync=off", "-c", "timezone=UTC", "-c", "log_timezone=UTC"]);
        if let Some(count) = wishes.max_connections {
            start.args(["-c", &format!("max_connections={count}"), "-c", "superuser_reserved_connections=0"]);
        }
        if let Some((chain, key)) = &wishes.tls {
            write(&folder.join("server.pem"), chain);
            write(&folder.join("server.key"), key);
            give_to_postgres(&folder);
            start.args(["-c", "ssl=on"]);
            start.arg("-c").arg(format!("ssl_cert_file={}", folder.join("server.pem").display()));
            start.arg("-c").arg(format!("ssl_key_file={}", folder.join("server.key").display()));
        }
        let program = start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres starts");
        let server =
            Self { host: "localhost".to_owned(), port, password: wishes.password.clone(), folder, program };
        server.wait_until_ready(&programs).await;
        Some(server)
    }

    async fn wait_until_ready(&self, programs: &Path) {
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                let mut ready = Command::new(programs.join("pg_isready"));
                ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
                if ready.status().is_ok_and(|status| status.success()) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("PostgreSQL did not begin to listen");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT ends it at once, with all of its processes.
        let _ = Command::new("kill").args(["-QUIT", &self.program.id().to_string()]).status();
        let _ = self.program.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where the programs of the newest PostgreSQL are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").exists() && bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// The program as the user `postgres`, since it refuses to be run by root.
fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn give_to_postgres(folder: &Path) {
    if is_root() {
        let given = Command::new("chown").arg("-R").arg("postgres:postgres").arg(folder).status();
        assert!(given.is_ok_and(|status| status.success()), "the folder cannot be given to postgres");
    }
}

fn write(path: &Path, text: &str) {
    let mut file = fs::File::create(path).expect("a file for the server");
    file.write_all(text.as_bytes()).expect("the file is written");
    file.set_permissions(fs::Permissions::from_mode(0o600)).expect("the file is private");
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("it has an address").port()
}
