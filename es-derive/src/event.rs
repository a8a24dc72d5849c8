//! `#[derive(Event)]`.

mod declared;
mod schema;
mod serde_attrs;
mod tags;
mod unique;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr};

use crate::{errors::Errors, generics, root};
use declared::{Declared, EventType};

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    generics::refuse_all(input, "an event", &mut errors);
    serde_attrs::refuse_other_forms(input, &mut errors);
    let Declared { types, root } = declared::read(input, &mut errors);
    unique::check(&types, &mut errors);
    tags::refuse_misplaced(input, &types, &mut errors);
    let tagged = tags::read(&types, &mut errors);
    errors.finish()?;

    let root = root::of_the_log(root, "event")?;
    let schemas = cfg!(feature = "schema").then(|| schema::expand(input, &types, &root));
    let tags = tags::expand(&types, &tagged, &root);
    let event = &input.ident;
    let entries = types.iter().map(|known| entry(known, &root));
    let (index, index_of) = (index(&types), index_of(&types));
    Ok(quote! {
        #[automatically_derived]
        impl #root::Event for #event {
            const TYPES: &'static [#root::EventType] = &[#(#entries),*];
            #index
            #index_of
            #tags
        }
        #schemas
    })
}

fn entry(known: &EventType<'_>, root: &TokenStream) -> TokenStream {
    let EventType { name, version, aliases, .. } = known;
    quote!(#root::EventType::new(#name).version(#version).aliases(&[#(#aliases),*]))
}

fn index(types: &[EventType<'_>]) -> TokenStream {
    let indexes = 0..types.len();
    let paths = types.iter().map(|known| &known.path);
    quote! {
        fn index(&self) -> usize {
            match self {
                #(#paths { .. } => #indexes,)*
            }
        }
    }
}

/// Spares each event that is read the search through `TYPES` and aliases.
fn index_of(types: &[EventType<'_>]) -> TokenStream {
    let indexes = 0..types.len();
    let names = types.iter().map(|known| known.names().collect::<Vec<&LitStr>>());
    let names = names.map(|names| quote!(#(#names)|*));
    quote! {
        fn index_of(name: &str) -> ::core::option::Option<usize> {
            match name {
                #(#names => ::core::option::Option::Some(#indexes),)*
                _ => ::core::option::Option::None,
            }
        }
    }
}
