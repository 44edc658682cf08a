//! `#[tokio::test]`: arguments, checks, expansion.
//!
//! Must not know how seeds are run. Invariant: the test that libtest sees has the same name and the same
//! attributes; only its return type is gone, because the run's result is told by panicking.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, ItemFn, Lit, Meta, MetaNameValue, Path, Result, Token};

#[derive(Clone, Copy, PartialEq)]
enum Flavor {
    CurrentThread,
    MultiThread,
    Local,
}

struct Settings {
    flavor: Flavor,
    worker_threads: Option<(usize, Span)>,
    start_paused: Option<(bool, Span)>,
    unhandled_panic: Option<Span>,
    crate_path: Path,
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        // So that an editor still sees the function, as tokio's macro does.
        Err(error) => {
            let error = error.into_compile_error();
            return Ok(quote!(#item #error));
        }
    };
    let settings = Settings::parse(arguments)?;
    check(&function)?;
    Ok(settings.expand(function))
}

fn check(function: &ItemFn) -> Result<()> {
    if function.sig.asyncness.is_none() {
        let message = "the `async` keyword is missing from the function declaration";
        return Err(Error::new_spanned(function.sig.fn_token, message));
    }
    if !function.sig.inputs.is_empty() {
        return Err(Error::new_spanned(&function.sig.inputs, "the test function cannot accept arguments"));
    }
    let is_test = |path: &Path| {
        path.is_ident("test") || path.to_token_stream().to_string().ends_with("prelude :: v1 :: test")
    };
    if let Some(attribute) = function.attrs.iter().find(|attribute| is_test(attribute.path())) {
        let message = "second test attribute is supplied, consider removing or changing the order of your test attributes";
        return Err(Error::new_spanned(attribute, message));
    }
    Ok(())
}

impl Settings {
    fn parse(arguments: TokenStream) -> Result<Settings> {
        let mut settings = Settings {
            flavor: Flavor::CurrentThread,
            worker_threads: None,
            start_paused: None,
            unhandled_panic: None,
            crate_path: syn::parse_quote!(::tokio),
        };
        let arguments = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(arguments)?;
        let mut seen: Vec<String> = Vec::new();
        for argument in arguments {
            let Meta::NameValue(argument) = argument else {
                let name = argument.path().to_token_stream().to_string();
                return Err(Error::new_spanned(&argument, unknown(&name)));
            };
            let name = argument.path.get_ident().map(ToString::to_string).unwrap_or_default();
            if seen.contains(&name) {
                return Err(Error::new_spanned(&argument, format!("`{name}` set multiple times.")));
            }
            settings.set(&name, &argument)?;
            seen.push(name);
        }
        settings.check()?;
        Ok(settings)
    }

    fn set(&mut self, name: &str, argument: &MetaNameValue) -> Result<()> {
        let literal = match &argument.value {
            syn::Expr::Lit(literal) => &literal.lit,
            other => return Err(Error::new_spanned(other, "Must be a literal")),
        };
        match name {
            "flavor" => self.flavor = flavor(&text(literal, name)?, literal.span())?,
            "worker_threads" | "core_threads" => match literal {
                Lit::Int(number) => self.worker_threads = Some((number.base10_parse()?, literal.span())),
                other => {
                    return Err(Error::new_spanned(
                        other,
                        "Failed to parse value of `worker_threads` as integer.",
                    ));
                }
            },
            "start_paused" => match literal {
                Lit::Bool(flag) => self.start_paused = Some((flag.value, literal.span())),
                other => {
                    return Err(Error::new_spanned(
                        other,
                        "Failed to parse value of `start_paused` as bool.",
                    ));
                }
            },
            "crate" => {
                let path = text(literal, name)?;
                self.crate_path = syn::parse_str(&path).map_err(|_| {
                    Error::new_spanned(
                        literal,
                        format!("Failed to parse value of `crate` as path: \"{path}\""),
                    )
                })?;
            }
            "unhandled_panic" => match text(literal, name)?.as_str() {
                "ignore" | "shutdown_runtime" => self.unhandled_panic = Some(literal.span()),
                other => {
                    let message = format!(
                        "No such unhandled panic behavior `{other}`. The unhandled panic behaviors are `ignore` and `shutdown_runtime`."
                    );
                    return Err(Error::new_spanned(literal, message));
                }
            },
            "name" => {
                text(literal, name)?;
            }
            other => return Err(Error::new_spanned(argument, unknown(other))),
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if let (Some((_, span)), true) = (self.worker_threads, self.flavor != Flavor::MultiThread) {
            let message = "The `worker_threads` option requires the `multi_thread` runtime flavor. Use `#[tokio::test(flavor = \"multi_thread\")]`";
            return Err(Error::new(span, message));
        }
        if let (Some((_, span)), true) = (self.start_paused, self.flavor == Flavor::MultiThread) {
            let message = "The `start_paused` option requires the `current_thread` runtime flavor. Use `#[tokio::test(flavor = \"current_thread\")]`";
            return Err(Error::new(span, message));
        }
        if let (Some(span), true) = (self.unhandled_panic, self.flavor == Flavor::MultiThread) {
            let message = "The `unhandled_panic` option requires the `current_thread` runtime flavor. Use `#[tokio::test(flavor = \"current_thread\")]`";
            return Err(Error::new(span, message));
        }
        Ok(())
    }

    fn expand(&self, mut function: ItemFn) -> TokenStream {
        let Settings { crate_path, .. } = self;
        let workers = match (self.flavor, self.worker_threads) {
            (Flavor::MultiThread, Some((workers, _))) => quote!(::core::option::Option::Some(#workers)),
            (Flavor::MultiThread, None) => quote!(::core::option::Option::Some(0)),
            _ => quote!(::core::option::Option::None),
        };
        let start_paused = self.start_paused.is_some_and(|(paused, _)| paused);
        let local = self.flavor == Flavor::Local;
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
                #crate_path::sim::__private::test(
                    #crate_path::sim::__private::TestSettings {
                        workers: #workers,
                        start_paused: #start_paused,
                        local: #local,
                        should_panic: #should_panic,
                    },
                    ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)),
                    #name,
                )
            }
        }
    }
}

fn unknown(name: &str) -> String {
    format!(
        "Unknown attribute {name} is specified; expected one of: `flavor`, `worker_threads`, `start_paused`, `crate`, `unhandled_panic`, `name`."
    )
}

fn text(literal: &Lit, name: &str) -> Result<String> {
    match literal {
        Lit::Str(text) => Ok(text.value()),
        other => Err(Error::new_spanned(other, format!("Failed to parse value of `{name}` as string."))),
    }
}

fn flavor(name: &str, span: Span) -> Result<Flavor> {
    match name {
        "current_thread" => Ok(Flavor::CurrentThread),
        "multi_thread" => Ok(Flavor::MultiThread),
        "local" => Ok(Flavor::Local),
        "single_thread" => {
            Err(Error::new(span, "The single threaded runtime flavor is called `current_thread`."))
        }
        "basic_scheduler" => Err(Error::new(
            span,
            "The `basic_scheduler` runtime flavor has been renamed to `current_thread`.",
        )),
        "threaded_scheduler" => Err(Error::new(
            span,
            "The `threaded_scheduler` runtime flavor has been renamed to `multi_thread`.",
        )),
        other => Err(Error::new(
            span,
            format!(
                "No such runtime flavor `{other}`. The runtime flavors are `current_thread`, `local`, and `multi_thread`."
            ),
        )),
    }
}
