//! Redis of this machine, started for the tests of this process.
//!
//! Owns processes, which end with the tests, and their folders. Must not know clients. Invariant: where the program is not
//! installed, each test says that it is skipped.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

use shim_servers::redis::{Sentinel, create_cluster};

use crate::{DOWN_AFTER, FAILOVER_TIMEOUT, MASTER, NODE_TIMEOUT, Node, Options, Sentinels, wait};

/// A process that is started, killed, and started again.
pub(crate) struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    child: Mutex<Option<Child>>,
    // The files go with the last handle.
    _folder: tempfile::TempDir,
}

/// What the thread is asked for that all processes are children of.
type Order = (Command, mpsc::Sender<Result<Child, String>>);

impl Process {
    pub(crate) async fn kill(&self) {
        self.end();
    }

    pub(crate) async fn start(&self) {
        let mut command = Command::new("setpriv");
        // The server ends when the tests end, however they do: with the thread that started it, which never ends by itself.
        command.args(["--pdeathsig", "KILL"]).arg(&self.program).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (sender, started) = mpsc::channel();
        spawner().send((command, sender)).expect("the thread does not end");
        let child = started.recv().expect("the thread does not end").expect("the server starts");
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    fn end(&self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread that all servers are children of: they end when it does.
#[expect(clippy::disallowed_methods, reason = "processes of the machine need a thread of the machine")]
fn spawner() -> mpsc::Sender<Order> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let start = || {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn().map_err(|error| error.to_string()));
            }
        });
        sender
    };
    SPAWNER.get_or_init(start).clone()
}

fn find(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    folders.push(PathBuf::from("/usr/sbin"));
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The server's program, or a visible line that says why tests are skipped.
fn program() -> Option<PathBuf> {
    let found = find("redis-server");
    if found.is_none() {
        // Not by `eprintln!`, which the test harness would keep to itself.
        let _ =
            writeln!(std::io::stderr(), "skipped: no Redis on this machine (redis-server is not installed)");
    }
    found
}

/// A port that is free, as is that of the cluster's bus, ten thousand above.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() * 97 % 12_000) as u16;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

async fn start(arguments: impl FnOnce(&Path, u16) -> Vec<String>, password: Option<String>) -> Option<Node> {
    let program = program()?;
    let folder = tempfile::Builder::new().prefix("compat-redis").tempdir().expect("a folder");
    let port = free_port();
    let arguments = arguments(folder.path(), port);
    let process = Process { program, arguments, child: Mutex::new(None), _folder: folder };
    let node = Node { host: "127.0.0.1".to_owned(), port, password, process: Arc::new(process) };
    node.start().await;
    Some(node)
}

/// What each server is started with: a folder of its own, and no waiting that only saves work. A cluster names a replica once its
/// master has sent it something, if only a ping.
fn arguments_of(options: &Options, folder: &Path, port: u16) -> Vec<String> {
    let folder = folder.display().to_string();
    let port = port.to_string();
    let mut all = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", &folder, "--save", ""];
    all.extend(["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]);
    if options.append_only {
        all.extend(["--appendonly", "yes", "--appendfsync", "always"]);
    }
    let max_clients = options.max_clients.map(|most| most.to_string());
    if let Some(most) = &max_clients {
        all.extend(["--maxclients", most]);
    }
    if let Some(password) = &options.password {
        all.extend(["--requirepass", password, "--masterauth", password]);
    }
    all.into_iter().map(str::to_owned).collect()
}

/// A server.
pub async fn server_with(options: Options) -> Option<Node> {
    start(|folder, port| arguments_of(&options, folder, port), options.password.clone()).await
}

/// A master and `count` replicas that follow it.
pub async fn replicated(options: Options, count: usize) -> Option<Vec<Node>> {
    let master = server_with(options.clone()).await?;
    let mut all = vec![master.clone()];
    for _ in 0..count {
        let with_master = |folder: &Path, port: u16| {
            let mut arguments = arguments_of(&options, folder, port);
            arguments.extend(["--replicaof".to_owned(), "127.0.0.1".to_owned(), master.port.to_string()]);
            arguments
        };
        all.push(start(with_master, options.password.clone()).await?);
    }
    wait::until_replicas_are_online(&master, count).await;
    Some(all)
}

/// A cluster of three masters and a replica for each.
///
/// # Panics
/// Where it does not come together.
pub async fn cluster() -> Option<Vec<Node>> {
    let node_timeout_ms = NODE_TIMEOUT.as_millis().to_string();
    let mut nodes = Vec::new();
    for _ in 0..6 {
        let clustered = |folder: &Path, port: u16| {
            let mut arguments = arguments_of(&Options::default(), folder, port);
            let more = ["--cluster-enabled", "yes", "--cluster-node-timeout", &node_timeout_ms];
            arguments.extend(more.map(str::to_owned));
            arguments
        };
        nodes.push(start(clustered, None).await?);
    }
    let addresses: Vec<(&str, u16)> = nodes.iter().map(|node| (node.host.as_str(), node.port)).collect();
    create_cluster(&addresses, 1).await.expect("the cluster comes together");
    wait::until_cluster_is_ok(&nodes).await;
    Some(nodes)
}

/// A master with two replicas and three sentinels, which know of each other.
pub async fn sentinels_of(options: Options) -> Option<Sentinels> {
    mixed_sentinels_of(options, 0).await
}

/// The same, where the last `ours` of the three sentinels are those of `shim-servers`, in this process.
pub async fn mixed_sentinels_of(options: Options, ours: usize) -> Option<Sentinels> {
    let servers = replicated(options.clone(), 2).await?;
    let mut sentinels = Vec::new();
    for number in 0..3 {
        let sentinel = match number + ours < 3 {
            true => sentinel(&servers[0], &options).await?,
            false => our_sentinel(&servers[0], &options).await,
        };
        sentinels.push(sentinel);
    }
    let all = Sentinels { servers, sentinels };
    wait::until_sentinels_agree(&all).await;
    Some(all)
}

/// One sentinel, which finds the others by the master.
async fn sentinel(master: &Node, options: &Options) -> Option<Node> {
    let port_of_master = master.port;
    let configured = |folder: &Path, port: u16| {
        let path = folder.join("sentinel.conf");
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", folder.display()),
            format!("sentinel monitor {MASTER} 127.0.0.1 {port_of_master} 2"),
            format!("sentinel down-after-milliseconds {MASTER} {}", DOWN_AFTER.as_millis()),
            format!("sentinel failover-timeout {MASTER} {}", FAILOVER_TIMEOUT.as_millis()),
        ];
        if let Some(password) = &options.password {
            lines.push(format!("sentinel auth-pass {MASTER} {password}"));
        }
        std::fs::write(&path, lines.join("\n") + "\n").expect("the file is written");
        vec![path.display().to_string(), "--sentinel".to_owned()]
    };
    start(configured, None).await
}

/// One sentinel of ours, which ends with the test's runtime.
async fn our_sentinel(master: &Node, options: &Options) -> Node {
    let port = free_port();
    let folder = tempfile::Builder::new().prefix("compat-redis").tempdir().expect("a folder");
    let mut sentinel = Sentinel::new()
        .monitor(MASTER, "127.0.0.1", master.port, 2)
        .down_after(DOWN_AFTER)
        .failover_timeout(FAILOVER_TIMEOUT)
        .data_dir(folder.path());
    if let Some(password) = &options.password {
        sentinel = sentinel.password(password);
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    tokio::spawn(async move { sentinel.serve(listener).await.expect("it serves") });
    let process =
        Process { program: PathBuf::new(), arguments: Vec::new(), child: Mutex::new(None), _folder: folder };
    Node { host: "127.0.0.1".to_owned(), port, password: None, process: Arc::new(process) }
}
