//! Where the generated code finds the traits.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::Path;

/// A package, and the name of its library.
type Package = (&'static str, &'static str);

const GESTA: Package = ("gesta", "gesta");

/// The crate that has `Event` and `Aggregate`.
pub(crate) fn of_the_log(chosen: Option<Path>, attribute: &str) -> syn::Result<TokenStream> {
    find(chosen, attribute, &[GESTA, ("es-core", "es_core")])
}

/// The crate that has `Command` and `Query`.
pub(crate) fn of_cqrs(chosen: Option<Path>, attribute: &str) -> syn::Result<TokenStream> {
    find(chosen, attribute, &[GESTA, ("gesta-cqrs", "cqrs")])
}

fn find(chosen: Option<Path>, attribute: &str, packages: &[Package]) -> syn::Result<TokenStream> {
    if let Some(path) = chosen {
        return Ok(quote!(#path));
    }
    let found = packages.iter().find_map(|package| dependency(*package));
    found.ok_or_else(|| missing(attribute, packages))
}

fn dependency((package, library): Package) -> Option<TokenStream> {
    let name = match crate_name(package).ok()? {
        // The crate's own tests and examples see it from outside, and inside
        // it declares `extern crate self as …`.
        FoundCrate::Itself => format_ident!("{library}"),
        // Not renamed, so it goes by its library's name.
        FoundCrate::Name(name) if name == package.replace('-', "_") => format_ident!("{library}"),
        FoundCrate::Name(name) => format_ident!("{name}"),
    };
    Some(quote!(::#name))
}

fn missing(attribute: &str, packages: &[Package]) -> syn::Error {
    let names: Vec<_> = packages.iter().map(|(package, _)| format!("`{package}`")).collect();
    let message = format!(
        "{} is not among the dependencies: add one to Cargo.toml, \
         or write `#[{attribute}(crate = \"path::to::it\")]`",
        names.join(" or ")
    );
    syn::Error::new(Span::call_site(), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_the_crates_is_told_what_to_add() {
        let nowhere = [("gesta", "gesta"), ("es-nowhere", "es_nowhere")];
        let error = find(None, "event", &nowhere).unwrap_err().to_string();
        assert!(error.starts_with("`gesta` or `es-nowhere` is not among the dependencies"));
        assert!(error.contains("#[event(crate = \"path::to::it\")]"));
    }

    #[test]
    fn a_chosen_path_wins() {
        let path = of_the_log(syn::parse_str("crate::log").ok(), "event");
        assert_eq!(path.map(|path| path.to_string()).ok().as_deref(), Some("crate :: log"));
    }
}
