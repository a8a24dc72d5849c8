//! `#[derive(Query)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::{
    errors::Errors,
    generics,
    keys::Attr,
    names::{self, check_dotted},
    root,
};

const ATTR: Attr = Attr { name: "query", place: "a query", keys: &["output", "name", "crate"] };

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    generics::refuse_lifetimes(input, "a query", &mut errors);
    let keys = ATTR.read(&input.attrs, &mut errors);
    let output = keys.ty("output", &mut errors);
    let name = keys.text("name", &mut errors);
    let name = errors.check(names::written_or_snake_case(name, &input.ident, check_dotted));
    let chosen = keys.root(&mut errors);
    if !keys.has("output") {
        let message = "a query says what answers it: write `#[query(output = SomeType)]` above it";
        errors.push(syn::Error::new(input.ident.span(), message));
    }
    errors.finish()?;

    let root = root::of_cqrs(chosen, ATTR.name)?;
    let query = &input.ident;
    let (parameters, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #parameters #root::Query for #query #arguments #bounds {
            type Output = #output;
            const NAME: &'static str = #name;
        }
    })
}
