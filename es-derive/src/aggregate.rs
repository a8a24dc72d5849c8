//! `#[derive(Aggregate)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, parse_quote};

use crate::{
    errors::Errors,
    fingerprint, generics,
    keys::Attr,
    names::{self, check_category},
    root,
};

const ATTR: Attr = Attr {
    name: "aggregate",
    place: "the state",
    keys: &["category", "id", "error", "revision", "crate"],
};

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    generics::refuse_lifetimes(input, "an aggregate", &mut errors);
    if let Data::Union(data) = &input.data {
        let message = "an aggregate is a struct or an enum: write `struct` for `union`";
        errors.push(syn::Error::new(data.union_token.span, message));
    }
    let keys = ATTR.read(&input.attrs, &mut errors);
    let category = keys.text("category", &mut errors);
    let category = names::written_or_snake_case(category, &input.ident, check_category);
    let category = errors.check(category);
    let id = keys.ty("id", &mut errors);
    let id = id.unwrap_or_else(|| parse_quote!(::std::string::String));
    let error = keys.ty("error", &mut errors);
    let revision = keys.number("revision", &mut errors).unwrap_or(1);
    let chosen = keys.root(&mut errors);
    errors.finish()?;

    let root = root::of_the_log(chosen, ATTR.name)?;
    let error = error.unwrap_or_else(|| parse_quote!(#root::Rejection));
    let fingerprint = fingerprint::of(input, revision);
    let name = &input.ident;
    let (parameters, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #parameters #root::Aggregate for #name #arguments #bounds {
            const CATEGORY: &'static str = #category;
            const FINGERPRINT: u64 = #fingerprint;
            type Id = #id;
            type Error = #error;
        }
    })
}
