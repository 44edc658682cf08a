//! The store: a redis server that listens at `STORE_ADDR`.

fn main() -> Result<(), inventory::BoxError> {
    inventory::store::main()
}
