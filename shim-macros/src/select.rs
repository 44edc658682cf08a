//! `select!`: syntax and expansion.
//!
//! Must not know where the first branch is drawn from. Invariant: branches, preconditions, patterns and
//! `else` mean what they mean with tokio; no `unsafe` is expanded.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::visit_mut::{self, VisitMut};
use syn::{Block, Error, Expr, Pat, PatIdent, Path, Result, Token, braced, token};

/// `path; [biased;] branches`.
pub(crate) struct Select {
    crate_path: Path,
    biased: bool,
    branches: Vec<Branch>,
    otherwise: Option<TokenStream>,
}

struct Branch {
    pattern: Pat,
    future: Expr,
    condition: Option<Expr>,
    handler: TokenStream,
}

const MAX_BRANCHES: usize = 64;

impl Parse for Select {
    fn parse(input: ParseStream<'_>) -> Result<Select> {
        let crate_path = input.call(Path::parse_mod_style)?;
        input.parse::<Token![;]>()?;
        let content;
        braced!(content in input);
        let biased = {
            let ahead = content.fork();
            let is_biased =
                ahead.parse::<Ident>().is_ok_and(|ident| ident == "biased") && ahead.peek(Token![;]);
            if is_biased {
                content.parse::<Ident>()?;
                content.parse::<Token![;]>()?;
            }
            is_biased
        };
        let mut select = Select { crate_path, biased, branches: Vec::new(), otherwise: None };
        while !content.is_empty() {
            if content.peek(Token![else]) {
                content.parse::<Token![else]>()?;
                content.parse::<Token![=>]>()?;
                select.otherwise = Some(handler(&content)?);
                if !content.is_empty() {
                    return Err(content.error("`else` must be the last branch of `select!`"));
                }
                break;
            }
            select.branches.push(content.parse()?);
        }
        if select.branches.is_empty() && select.otherwise.is_none() {
            return Err(Error::new(Span::call_site(), "select! requires at least one branch."));
        }
        if select.branches.len() > MAX_BRANCHES {
            return Err(Error::new(Span::call_site(), "up to 64 branches supported"));
        }
        Ok(select)
    }
}

impl Parse for Branch {
    fn parse(input: ParseStream<'_>) -> Result<Branch> {
        let pattern = Pat::parse_multi_with_leading_vert(input)?;
        input.parse::<Token![=]>()?;
        let future = input.parse()?;
        let condition = if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
            input.parse::<Token![if]>()?;
            Some(input.parse()?)
        } else {
            None
        };
        input.parse::<Token![=>]>()?;
        Ok(Branch { pattern, future, condition, handler: handler(input)? })
    }
}

/// A block, which needs no comma after it, or an expression, which does unless it is the last.
fn handler(input: ParseStream<'_>) -> Result<TokenStream> {
    if input.peek(token::Brace) {
        let block: Block = input.parse()?;
        if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
        }
        return Ok(quote!(#block));
    }
    let expression: Expr = input.parse()?;
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
    }
    Ok(quote!(#expression))
}

/// Makes a pattern bind nothing by value, so that it can be tried on a reference.
struct Clean;

impl VisitMut for Clean {
    fn visit_pat_ident_mut(&mut self, ident: &mut PatIdent) {
        ident.by_ref = None;
        ident.mutability = None;
        visit_mut::visit_pat_ident_mut(self, ident);
    }
}

impl Select {
    pub(crate) fn expand(self) -> TokenStream {
        let count = self.branches.len();
        let otherwise = self.otherwise.clone();
        if count == 0 {
            return quote!({ #otherwise });
        }
        let variants: Vec<Ident> = (0..count).map(|index| format_ident!("Branch{index}")).collect();
        let awaited = self.awaited(&variants);
        let arms = self.branches.iter().zip(&variants).map(|(branch, variant)| {
            let Branch { pattern, handler, .. } = branch;
            quote!(__SelectOutput::#variant(#pattern) => #handler,)
        });
        let otherwise = otherwise.unwrap_or_else(|| {
            quote!(::core::panic!("all branches are disabled and there is no else branch"))
        });
        quote! {{
            enum __SelectOutput<#(#variants),*> {
                #(#variants(#variants),)*
                Disabled,
            }
            #[allow(unreachable_patterns)]
            match #awaited {
                #(#arms)*
                __SelectOutput::Disabled => #otherwise,
                _ => ::core::unreachable!("failed to match bind"),
            }
        }}
    }

    /// The block that makes the futures and waits for the first that matches its pattern. The futures are gone
    /// before a handler runs, so that handlers may use what they borrowed.
    fn awaited(&self, variants: &[Ident]) -> TokenStream {
        let crate_path = &self.crate_path;
        let private = quote!(#crate_path::sim::__private);
        let futures: Vec<Ident> = (0..variants.len())
            .map(|index| Ident::new(&format!("__future{index}"), Span::mixed_site()))
            .collect();
        let mask_type = mask_type(variants.len());
        let conditions = self.branches.iter().enumerate().filter_map(|(index, branch)| {
            let (mask, condition) = (mask(index, &mask_type), branch.condition.as_ref()?);
            Some(quote!(if !(#condition) { __disabled |= #mask; }))
        });
        let expressions = self.branches.iter().map(|branch| &branch.future);
        let total = variants.len() as u32;
        let start = if self.biased { quote!(0u32) } else { quote!(#private::select_start(#total)) };
        let polls = self
            .branches
            .iter()
            .enumerate()
            .map(|(index, branch)| branch.polled(index, &private, &mask_type, &variants[index]));
        let chained = futures.iter().rev().fold(
            quote!(()),
            |rest, future| quote!(#private::Chain::new(#private::IntoFuture::into_future(#future), #rest)),
        );
        quote! {{
            let mut __disabled: #mask_type = 0;
            #(#conditions)*
            // In a `let` of their own, so that what they borrow of temporaries lives as long as they do.
            let __futures = (#(#expressions,)*);
            let (#(#futures,)*) = __futures;
            let mut __futures = #private::pin!(#chained);
            // It takes what it needs along, which is one word and the mask: as large as tokio's own.
            let __output = #private::poll_fn(move |__cx| {
                #private::ready!(#private::poll_budget_available(__cx));
                let mut __is_pending = false;
                let __start = #start;
                for __step in 0..#total {
                    match (__start + __step) % #total {
                        #(#polls)*
                        _ => ::core::unreachable!("a branch outside the select"),
                    }
                }
                if __is_pending {
                    #private::Poll::Pending
                } else {
                    #private::Poll::Ready(__SelectOutput::Disabled)
                }
            })
            .await;
            __output
        }}
    }
}

impl Branch {
    /// The arm that polls this branch, the `index`th.
    fn polled(&self, index: usize, private: &TokenStream, mask_type: &Ident, variant: &Ident) -> TokenStream {
        let (number, mask) = (index as u32, mask(index, mask_type));
        let rest = (0..index).map(|_| quote!(.rest()));
        let mut cleaned = self.pattern.clone();
        Clean.visit_pat_mut(&mut cleaned);
        quote! {
            #number => {
                if __disabled & #mask != 0 {
                    continue;
                }
                let __value = match #private::Future::poll(__futures.as_mut() #(#rest)* .first(), __cx) {
                    #private::Poll::Ready(__value) => __value,
                    #private::Poll::Pending => {
                        __is_pending = true;
                        continue;
                    }
                };
                __disabled |= #mask;
                #[allow(unused_variables, unused_mut, unreachable_patterns)]
                match &__value {
                    #cleaned => {}
                    _ => continue,
                }
                return #private::Poll::Ready(__SelectOutput::#variant(__value));
            }
        }
    }
}

/// The smallest number that has a bit for each of `count` branches.
fn mask_type(count: usize) -> Ident {
    let bits = [8, 16, 32].into_iter().find(|bits| count <= *bits).unwrap_or(64);
    format_ident!("u{bits}")
}

/// The bit of branch `index`.
fn mask(index: usize, mask_type: &Ident) -> TokenStream {
    let bit = proc_macro2::Literal::u64_unsuffixed(1 << index);
    quote!((#bit as #mask_type))
}
