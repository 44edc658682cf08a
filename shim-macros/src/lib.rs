//! The procedural macros of the drop-in under `cfg(sim)`.
//!
//! * [`macro@test`] is `#[tokio::test]`: the body runs once for each seed, each run isolated from the others;
//! * [`select_with`] is what `tokio::select!` expands to: the first branch is drawn from the run's own stream.
//!
//! Owns parsing and expansion. Must not know the engine: what is expanded calls `tokio::sim::__private`.
//! Invariant: every argument that tokio accepts is accepted, and a wrong one is refused as tokio refuses it.

mod select;
mod settings;
mod test;

use proc_macro::TokenStream;

/// `#[tokio::test]` for simulation: runs the body once for each seed.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    test::expand(arguments.into(), item.into(), true).into()
}

/// [`macro@test`] where tokio's feature `rt-multi-thread` is not enabled.
#[proc_macro_attribute]
pub fn test_rt(arguments: TokenStream, item: TokenStream) -> TokenStream {
    test::expand(arguments.into(), item.into(), false).into()
}

/// The body of `tokio::select!`; the first tokens are the path of the crate.
#[proc_macro]
pub fn select_with(input: TokenStream) -> TokenStream {
    match syn::parse::<select::Select>(input) {
        Ok(select) => select.expand().into(),
        Err(error) => error.into_compile_error().into(),
    }
}
