//! Errors are gathered, so that one build shows all of them.

use proc_macro2::TokenStream;
use syn::DeriveInput;

/// Expands the input with `with`, or turns what is wrong into compile errors.
pub(crate) fn expand(
    input: proc_macro::TokenStream,
    with: fn(&DeriveInput) -> syn::Result<TokenStream>,
) -> proc_macro::TokenStream {
    syn::parse(input)
        .and_then(|input| with(&input))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// What is wrong so far.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Keeps the value, or remembers the error.
    pub(crate) fn check<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(crate) fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
