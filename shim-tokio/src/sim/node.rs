//! Nodes: making them, taking them down, and naming sets of them.
//!
//! Must not know packets. Invariant: a name that no node has is refused with that name.

use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shim_fs::control::Image;
use shim_runtime::NodeId;
use shim_runtime::node::{self, Crash, NodeMain};

use shim_runtime::task::JoinHandle;

/// How a host's future ends.
pub(super) type HostResult = Result<(), Box<dyn Error>>;

/// Names one node or several.
#[derive(Clone, Debug)]
pub struct NodeSet {
    names: Vec<String>,
}

impl From<&str> for NodeSet {
    fn from(name: &str) -> NodeSet {
        NodeSet { names: vec![name.to_owned()] }
    }
}

impl From<&String> for NodeSet {
    fn from(name: &String) -> NodeSet {
        NodeSet { names: vec![name.clone()] }
    }
}

impl From<String> for NodeSet {
    fn from(name: String) -> NodeSet {
        NodeSet { names: vec![name] }
    }
}

impl<const N: usize> From<[&str; N]> for NodeSet {
    fn from(names: [&str; N]) -> NodeSet {
        NodeSet { names: names.iter().map(|name| (*name).to_owned()).collect() }
    }
}

impl From<&[&str]> for NodeSet {
    fn from(names: &[&str]) -> NodeSet {
        NodeSet { names: names.iter().map(|name| (*name).to_owned()).collect() }
    }
}

impl From<Vec<String>> for NodeSet {
    fn from(names: Vec<String>) -> NodeSet {
        NodeSet { names }
    }
}

impl NodeSet {
    /// The numbers of the nodes.
    #[track_caller]
    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.names.iter().map(|name| id(name)).collect()
    }

    /// The numbers in the network of the nodes, routers and switches.
    #[track_caller]
    pub(crate) fn elements(&self) -> Vec<NodeId> {
        self.names.iter().map(|name| super::topology::element(name)).collect()
    }
}

#[track_caller]
pub(crate) fn id(name: &str) -> NodeId {
    match node::find(name) {
        Some(id) => id,
        None => {
            panic!("simulation: there is no node called {name:?}; there are {}", node::names().join(", "))
        }
    }
}

/// A node that is about to be made.
#[must_use = "a node is made by `main`, `host` or `client`"]
#[derive(Debug)]
pub struct NodeBuilder {
    name: String,
    addresses: Vec<IpAddr>,
    image: Option<Image>,
    pass_through: Vec<PathBuf>,
    switches: Vec<String>,
}

/// Begins a node called `name`; the name resolves to its addresses.
pub fn node(name: impl Into<String>) -> NodeBuilder {
    NodeBuilder {
        name: name.into(),
        addresses: Vec::new(),
        image: None,
        pass_through: Vec::new(),
        switches: Vec::new(),
    }
}

impl NodeBuilder {
    /// Gives the node an address, beside or instead of those that it would be given.
    pub fn ip(mut self, address: IpAddr) -> NodeBuilder {
        self.addresses.push(address);
        self
    }

    /// Plugs the node into this switch, instead of the internet. The first one named is the default route.
    pub fn switch(mut self, switch: impl Into<String>) -> NodeBuilder {
        self.switches.push(switch.into());
        self
    }

    /// What the node's files are laid over.
    pub fn disk_image(mut self, image: Image) -> NodeBuilder {
        self.image = Some(image);
        self
    }

    /// Lets the files below `path` be the machine's own on this node.
    pub fn pass_through(mut self, path: impl Into<PathBuf>) -> NodeBuilder {
        self.pass_through.push(path.into());
        self
    }

    #[track_caller]
    fn make(self, main: NodeMain) -> NodeId {
        // The node is entered into the network before its main function runs: it starts when it is polled.
        let id = node::spawn_node(&self.name, main);
        super::topology::place(id, &self.switches);
        if !self.addresses.is_empty() {
            shim_net::control::set_addresses(id, self.addresses);
        }
        if let Some(image) = self.image {
            shim_fs::control::set_image(id, image);
        }
        for path in &self.pass_through {
            shim_fs::control::pass_through(id, path.as_os_str().as_bytes());
        }
        id
    }

    /// Makes the node run an application's own `fn main()`, on a thread of its own; a panic fails the run.
    ///
    /// # Panics
    /// Where a node has that name.
    #[track_caller]
    pub fn main<T: 'static>(self, main: fn() -> T) {
        self.make(NodeMain::Function(Arc::new(move || {
            let _ = main();
        })));
    }

    /// Makes the node run `host`'s future; each start of the node makes it anew.
    ///
    /// # Panics
    /// Where a node has that name.
    #[track_caller]
    pub fn host<F, Fut>(self, mut host: F)
    where
        F: FnMut() -> Fut + 'static,
        Fut: Future<Output = HostResult> + 'static,
    {
        self.make(NodeMain::Future(Box::new(move || Box::pin(host()))));
    }

    /// Makes the node run `client` once.
    ///
    /// # Panics
    /// Where a node has that name.
    #[track_caller]
    pub fn client<F>(self, client: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let id = self.make(NodeMain::Nothing);
        node::spawn_on_node(id, client)
    }
}

/// Makes a node that runs `host`'s future, which each start of the node makes anew. When it returns, the
/// node's process exits; where it returns an error or panics, the run fails.
///
/// # Panics
/// Where a node has that name.
#[track_caller]
pub fn host<F, Fut>(name: impl Into<String>, host: F)
where
    F: FnMut() -> Fut + 'static,
    Fut: Future<Output = HostResult> + 'static,
{
    node(name).host(host);
}

/// Makes a node that runs `client` once; its output is the handle's.
///
/// # Panics
/// Where a node has that name.
#[track_caller]
pub fn client<F>(name: impl Into<String>, client: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    node(name).client(client)
}

/// Ends the processes of `nodes` at once: their kernels close what they had open, with FIN or RST.
///
/// # Panics
/// Where there is no such node, or it is the test's own.
#[track_caller]
pub fn crash(nodes: impl Into<NodeSet>) {
    nodes.into().ids().into_iter().for_each(|id| node::crash(id, Crash::Process));
}

/// Takes the power of `nodes`: silence, and resets once they are up again.
///
/// # Panics
/// Where there is no such node, or it is the test's own.
#[track_caller]
pub fn power_off(nodes: impl Into<NodeSet>) {
    nodes.into().ids().into_iter().for_each(|id| node::crash(id, Crash::Machine));
}

/// Starts `nodes` that are down; does nothing to those that run.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn start(nodes: impl Into<NodeSet>) {
    nodes.into().ids().into_iter().for_each(node::start);
}

/// [`crash`], then [`start`].
///
/// # Panics
/// As these.
#[track_caller]
pub fn bounce(nodes: impl Into<NodeSet>) {
    for id in nodes.into().ids() {
        node::crash(id, Crash::Process);
        node::start(id);
    }
}

/// Freezes the processes of `nodes`; their kernels and everybody's clocks go on.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn pause(nodes: impl Into<NodeSet>) {
    nodes.into().ids().into_iter().for_each(node::pause);
}

/// Ends [`pause`].
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn resume(nodes: impl Into<NodeSet>) {
    nodes.into().ids().into_iter().for_each(node::resume);
}

/// Whether the process of the node called `name` is alive.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn is_running(name: &str) -> bool {
    node::is_alive(id(name))
}

/// Sends `signal` (a number of `signal(7)`) to the process of the node called `name`. Where it never listened
/// for the signal, the process dies.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn kill(name: &str, signal: i32) {
    node::signal::send(id(name), signal);
}

/// Moves the wall clock of the node called `name` forward by `offset`, or back where `back` is true.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn set_wall_clock_offset(name: &str, offset: Duration, back: bool) {
    let nanos = i64::try_from(offset.as_nanos()).unwrap_or(i64::MAX);
    node::set_wall_offset_ns(id(name), if back { -nanos } else { nanos });
}
