//! The HTTP front: `LISTEN_ADDR` and `REDIS_URL` say where it listens and where the store is.

fn main() -> Result<(), inventory::BoxError> {
    inventory::front::main()
}
