//! The arguments of `#[tokio::test]`: syntax, checks, and the words in which a wrong one is refused.
//!
//! Must not expand anything. Invariant: what tokio's macro accepts is accepted, and what it refuses is refused at
//! the same place with the same words.

use proc_macro2::{Span, TokenStream};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Lit, Meta, MetaNameValue, Path, Result, Token};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flavor {
    CurrentThread,
    MultiThread,
    Local,
}

/// What the arguments say.
pub(crate) struct Settings {
    pub(crate) flavor: Flavor,
    pub(crate) workers: Option<usize>,
    pub(crate) start_paused: bool,
    /// Whether a panic of a task shuts the runtime down, where the arguments say either.
    pub(crate) shuts_down_on_panic: Option<bool>,
    pub(crate) name: Option<String>,
    pub(crate) crate_path: Option<Path>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            flavor: Flavor::CurrentThread,
            workers: None,
            start_paused: false,
            shuts_down_on_panic: None,
            name: None,
            crate_path: None,
        }
    }
}

const NAMES: [&str; 6] = ["flavor", "worker_threads", "start_paused", "crate", "unhandled_panic", "name"];

impl Settings {
    /// Reads the arguments; `has_multi_thread` tells whether tokio's feature `rt-multi-thread` is enabled.
    pub(crate) fn parse(arguments: TokenStream, has_multi_thread: bool) -> Result<Settings> {
        let arguments = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(arguments)?;
        let mut settings = Settings::default();
        let mut seen: Vec<(String, Span)> = Vec::new();
        for argument in arguments {
            let argument = match argument {
                Meta::NameValue(argument) => argument,
                Meta::Path(path) => return Err(without_value(&path)),
                Meta::List(list) => {
                    return Err(Error::new_spanned(list, "Unknown attribute inside the macro"));
                }
            };
            let name = ident_of(&argument.path, &argument)?;
            let Expr::Lit(value) = &argument.value else {
                return Err(Error::new_spanned(&argument.value, "Must be a literal"));
            };
            if NAMES.contains(&name.as_str()) && seen.iter().any(|(known, _)| *known == name) {
                return Err(Error::new(value.lit.span(), format!("`{name}` set multiple times.")));
            }
            settings.set(&name, &value.lit, &argument)?;
            seen.push((name, value.lit.span()));
        }
        let place = |name: &str| seen.iter().find(|(known, _)| known == name).map(|(_, span)| *span);
        settings.check(place, has_multi_thread)?;
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &Lit, argument: &MetaNameValue) -> Result<()> {
        match name {
            "flavor" => self.flavor = flavor(&text(value, name)?, value.span())?,
            "worker_threads" => self.workers = Some(workers(value)?),
            "start_paused" => match value {
                Lit::Bool(flag) => self.start_paused = flag.value,
                other => return Err(unreadable(other, name, "bool")),
            },
            "crate" => self.crate_path = Some(path(value)?),
            "unhandled_panic" => {
                self.shuts_down_on_panic = Some(shuts_down(&text(value, name)?, value.span())?);
            }
            "name" => self.name = Some(text(value, name)?),
            "core_threads" => {
                let message = "Attribute `core_threads` is renamed to `worker_threads`";
                return Err(Error::new_spanned(argument, message));
            }
            other => return Err(Error::new_spanned(argument, unknown(other))),
        }
        Ok(())
    }

    fn check(&self, place: impl Fn(&str) -> Option<Span>, has_multi_thread: bool) -> Result<()> {
        let needs = |option: &str, flavor: &str| {
            format!(
                "The `{option}` option requires the `{flavor}` runtime flavor. Use `#[tokio::test(flavor = \"{flavor}\")]`"
            )
        };
        if self.flavor != Flavor::MultiThread {
            let wrong = place("worker_threads");
            return wrong
                .map_or(Ok(()), |span| Err(Error::new(span, needs("worker_threads", "multi_thread"))));
        }
        if !has_multi_thread {
            let message = "The runtime flavor `multi_thread` requires the `rt-multi-thread` feature.";
            return Err(Error::new(Span::call_site(), message));
        }
        for option in ["start_paused", "unhandled_panic"] {
            if let Some(span) = place(option) {
                return Err(Error::new(span, needs(option, "current_thread")));
            }
        }
        Ok(())
    }
}

fn ident_of(path: &Path, whole: &impl quote::ToTokens) -> Result<String> {
    match path.get_ident() {
        Some(ident) => Ok(ident.to_string().to_lowercase()),
        None => Err(Error::new_spanned(whole, "Must have specified ident")),
    }
}

/// A name without a value: a flavor that was meant, or an argument that lacks its value.
fn without_value(path: &Path) -> Error {
    let name = match ident_of(path, path) {
        Ok(name) => name,
        Err(error) => return error,
    };
    let flavor = |flavor: &str| format!("Set the runtime flavor with #[tokio::test(flavor = \"{flavor}\")].");
    let message = match name.as_str() {
        "threaded_scheduler" | "multi_thread" => flavor("multi_thread"),
        "basic_scheduler" | "current_thread" | "single_threaded" => flavor("current_thread"),
        known if NAMES.contains(&known) => format!("The `{known}` attribute requires an argument."),
        other => unknown(other),
    };
    Error::new_spanned(path, message)
}

fn unknown(name: &str) -> String {
    format!(
        "Unknown attribute {name} is specified; expected one of: `flavor`, `worker_threads`, `start_paused`, `crate`, `unhandled_panic`, `name`."
    )
}

fn unreadable(value: &Lit, name: &str, kind: &str) -> Error {
    Error::new(value.span(), format!("Failed to parse value of `{name}` as {kind}."))
}

fn text(value: &Lit, name: &str) -> Result<String> {
    match value {
        Lit::Str(text) => Ok(text.value()),
        Lit::Verbatim(text) => Ok(text.to_string()),
        other => Err(unreadable(other, name, "string")),
    }
}

fn workers(value: &Lit) -> Result<usize> {
    let Lit::Int(number) = value else { return Err(unreadable(value, "worker_threads", "integer")) };
    let number: usize = number.base10_parse().map_err(|error| {
        Error::new(value.span(), format!("Failed to parse value of `worker_threads` as integer: {error}"))
    })?;
    if number == 0 {
        return Err(Error::new(value.span(), "`worker_threads` may not be 0."));
    }
    Ok(number)
}

fn path(value: &Lit) -> Result<Path> {
    let Lit::Str(text) = value else { return Err(unreadable(value, "crate", "path")) };
    text.parse().map_err(|_| {
        let message = format!("Failed to parse value of `crate` as path: \"{}\"", text.value());
        Error::new(value.span(), message)
    })
}

fn shuts_down(name: &str, span: Span) -> Result<bool> {
    match name {
        "ignore" => Ok(false),
        "shutdown_runtime" => Ok(true),
        other => {
            let message = format!(
                "No such unhandled panic behavior `{other}`. The unhandled panic behaviors are `ignore` and `shutdown_runtime`."
            );
            Err(Error::new(span, message))
        }
    }
}

fn flavor(name: &str, span: Span) -> Result<Flavor> {
    let renamed = |to: &str| format!("The `{name}` runtime flavor has been renamed to `{to}`.");
    let message = match name {
        "current_thread" => return Ok(Flavor::CurrentThread),
        "multi_thread" => return Ok(Flavor::MultiThread),
        "local" => return Ok(Flavor::Local),
        "single_thread" => "The single threaded runtime flavor is called `current_thread`.".to_owned(),
        "basic_scheduler" => renamed("current_thread"),
        "threaded_scheduler" => renamed("multi_thread"),
        other => format!(
            "No such runtime flavor `{other}`. The runtime flavors are `current_thread`, `local`, and `multi_thread`."
        ),
    };
    Err(Error::new(span, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn refusal(arguments: TokenStream) -> String {
        Settings::parse(arguments, true).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_argument_is_read() {
        let settings = Settings::parse(
            quote!(flavor = "multi_thread", worker_threads = 3, name = "n", crate = "a::b"),
            true,
        );
        let settings = settings.unwrap();
        assert!(settings.flavor == Flavor::MultiThread);
        assert_eq!((settings.workers, settings.name.as_deref()), (Some(3), Some("n")));
        let settings =
            Settings::parse(quote!(start_paused = true, unhandled_panic = "ignore"), true).unwrap();
        assert_eq!((settings.start_paused, settings.shuts_down_on_panic), (true, Some(false)));
    }

    #[test]
    fn wrong_ones_are_refused_in_tokios_words() {
        assert_eq!(refusal(quote!(worker_threads = 0)), "`worker_threads` may not be 0.");
        assert_eq!(refusal(quote!(name = "a", name = "b")), "`name` set multiple times.");
        assert_eq!(refusal(quote!(flavor)), "The `flavor` attribute requires an argument.");
        assert_eq!(refusal(quote!(foo)), unknown("foo"));
        assert_eq!(refusal(quote!(flavor = 1)), "Failed to parse value of `flavor` as string.");
        assert_eq!(refusal(quote!(crate = 1)), "Failed to parse value of `crate` as path.");
        assert_eq!(
            refusal(quote!(core_threads = 1)),
            "Attribute `core_threads` is renamed to `worker_threads`"
        );
        assert!(refusal(quote!(worker_threads = 2)).starts_with("The `worker_threads` option requires"));
        assert!(refusal(quote!(threaded_scheduler)).starts_with("Set the runtime flavor with"));
        let without = Settings::parse(quote!(flavor = "multi_thread"), false).err().unwrap().to_string();
        assert_eq!(without, "The runtime flavor `multi_thread` requires the `rt-multi-thread` feature.");
    }
}
