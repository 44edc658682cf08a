//! `#[tokio::test]`: checks of the function, and expansion.
//!
//! Must not know how seeds are run. Invariant: the test that libtest sees has the same name and the same
//! attributes; only its return type is gone, because the run's result is told by panicking.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Error, ItemFn, Path, Result};

use crate::settings::{Flavor, Settings};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream, has_multi_thread: bool) -> TokenStream {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        // So that an editor still sees the function, as tokio's macro does.
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#item #error);
        }
    };
    match check(&function).and_then(|()| Settings::parse(arguments, has_multi_thread)) {
        Ok(settings) => expand_function(&settings, function),
        Err(error) => {
            let error = error.into_compile_error();
            let function = function.sig.asyncness.is_some().then_some(function);
            quote!(#function #error)
        }
    }
}

fn check(function: &ItemFn) -> Result<()> {
    let is_test = |path: &Path| {
        path.is_ident("test") || path.to_token_stream().to_string().ends_with("prelude :: v1 :: test")
    };
    if let Some(attribute) = function.attrs.iter().find(|attribute| is_test(attribute.path())) {
        let message = "second test attribute is supplied, consider removing or changing the order of your test attributes";
        return Err(Error::new_spanned(attribute, message));
    }
    if function.sig.asyncness.is_none() {
        let message = "the `async` keyword is missing from the function declaration";
        return Err(Error::new_spanned(function.sig.fn_token, message));
    }
    if !function.sig.inputs.is_empty() {
        return Err(Error::new_spanned(&function.sig.inputs, "the test function cannot accept arguments"));
    }
    Ok(())
}

fn expand_function(settings: &Settings, mut function: ItemFn) -> TokenStream {
    let crate_path = settings.crate_path.clone().unwrap_or_else(|| syn::parse_quote!(::tokio));
    let workers = match (settings.flavor, settings.workers) {
        (Flavor::MultiThread, Some(workers)) => quote!(::core::option::Option::Some(#workers)),
        (Flavor::MultiThread, None) => quote!(::core::option::Option::Some(0)),
        _ => quote!(::core::option::Option::None),
    };
    let runtime_name = match &settings.name {
        Some(name) => quote!(::core::option::Option::Some(#name)),
        None => quote!(::core::option::Option::None),
    };
    // As tokio's: the name exists only where `tokio_unstable` is set.
    let unhandled_panic = settings.shuts_down_on_panic.map(|shuts_down| {
        let variant = if shuts_down { quote!(ShutdownRuntime) } else { quote!(Ignore) };
        quote!(let _ = #crate_path::runtime::UnhandledPanic::#variant;)
    });
    let shuts_down_on_panic = settings.shuts_down_on_panic.unwrap_or(false);
    let start_paused = settings.start_paused;
    let local = settings.flavor == Flavor::Local;
    let should_panic = function.attrs.iter().any(|attribute| attribute.path().is_ident("should_panic"));
    let attributes = std::mem::take(&mut function.attrs);
    let (documents, attributes): (Vec<_>, Vec<_>) = attributes
        .into_iter()
        .partition(|attribute| attribute.path().is_ident("allow") || attribute.path().is_ident("expect"));
    let name = function.sig.ident.clone();
    let visibility = std::mem::replace(&mut function.vis, syn::Visibility::Inherited);
    quote! {
        #[::core::prelude::v1::test]
        #(#attributes)*
        #(#documents)*
        #visibility fn #name() {
            #(#documents)*
            #function
            #unhandled_panic
            #crate_path::sim::__private::test(
                #crate_path::sim::__private::TestSettings {
                    workers: #workers,
                    start_paused: #start_paused,
                    local: #local,
                    should_panic: #should_panic,
                    shuts_down_on_panic: #shuts_down_on_panic,
                    name: #runtime_name,
                },
                ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)),
                #name,
            )
        }
    }
}
