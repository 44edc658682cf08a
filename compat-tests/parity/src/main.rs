//! Holds the drop-in against the real tokio.
mod ledger;

fn main() {
    ledger::dump();
}
