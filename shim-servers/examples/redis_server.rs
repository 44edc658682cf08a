//! Our Redis on this machine, to be looked at with `redis-cli`: `cargo run -p shim-servers --example redis_server -- 7000 cluster`.
//!
//! Owns its arguments: a port, then `cluster`, or a folder for its data. Must not know commands. Invariant: it is the server
//! that simulations run.

use shim_servers::redis::Redis;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut server = Redis::new();
    let mut port = 6379;
    for argument in std::env::args().skip(1) {
        if let Ok(number) = argument.parse() {
            port = number;
        } else if argument == "cluster" {
            server = server.cluster().config("cluster-node-timeout", "1000");
        } else {
            server = server.data_dir(argument);
        }
    }
    server.serve(TcpListener::bind(("127.0.0.1", port)).await?).await
}
