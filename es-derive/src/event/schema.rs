//! The feature `schema`: a JSON Schema for each payload.
//!
//! A payload holds the fields of one variant, so each variant gets a struct
//! with the same fields, hidden inside the function, that derives
//! `schemars::JsonSchema`.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{Attribute, Data, DeriveInput, Field, Fields, Ident, Meta};

use super::{EventType, serde_attrs};

pub(super) fn expand(
    input: &DeriveInput,
    types: &[EventType<'_>],
    root: &TokenStream,
) -> TokenStream {
    let event = &input.ident;
    let schemars = quote!(#root::__private::schemars);
    let idents: Vec<_> = (0..types.len()).map(|at| format_ident!("__Payload{at}")).collect();
    let payloads = types.iter().zip(&idents).map(|(known, ident)| {
        let serde = container_attrs(input, known);
        payload(known, ident, &serde, &schemars)
    });
    let indexes = 0..types.len();
    quote! {
        #[automatically_derived]
        impl #root::EventSchemas for #event {
            fn schemas() -> ::std::vec::Vec<#root::EventSchema> {
                #(#payloads)*
                ::std::vec![#(
                    #root::EventSchema::new(
                        &<Self as #root::Event>::TYPES[#indexes],
                        #schemars::SchemaGenerator::default().into_root_schema_for::<#idents>(),
                    )
                ),*]
            }
        }
    }
}

fn payload(
    known: &EventType<'_>,
    ident: &Ident,
    serde: &[TokenStream],
    schemars: &TokenStream,
) -> TokenStream {
    let schemars_path = schemars.to_string();
    let name = &known.name;
    let attrs = kept(known.attrs, &["doc", "schemars"]);
    let fields = known.fields.iter().map(field);
    let body = match known.fields {
        Fields::Unnamed(_) => quote!((#(#fields),*);),
        // The codec writes a variant without fields as an empty object.
        Fields::Named(_) | Fields::Unit => quote!({ #(#fields),* }),
    };
    quote! {
        #[derive(#schemars::JsonSchema)]
        #[schemars(crate = #schemars_path)]
        #[serde(rename = #name, #(#serde),*)]
        #(#attrs)*
        #[allow(dead_code)]
        struct #ident #body
    }
}

fn field(field: &Field) -> TokenStream {
    let attrs = kept(&field.attrs, &["doc", "serde", "schemars"]);
    let Field { ident, colon_token, ty, .. } = field;
    quote!(#(#attrs)* #ident #colon_token #ty)
}

fn kept<'a>(attrs: &'a [Attribute], names: &'a [&str]) -> impl Iterator<Item = &'a Attribute> {
    attrs.iter().filter(|attr| names.iter().any(|name| attr.path().is_ident(name)))
}

/// What serde's attributes on the type mean for the fields of one payload.
fn container_attrs(input: &DeriveInput, known: &EventType<'_>) -> Vec<TokenStream> {
    let container = serde_attrs::read(&input.attrs);
    if matches!(input.data, Data::Enum(_)) {
        return of_variant(&container, &serde_attrs::read(known.attrs));
    }
    let event = &input.ident;
    let on_struct = container.iter().filter(|meta| !meta.path().is_ident("rename"));
    let on_struct = on_struct.map(|meta| match meta {
        // The payload's struct has no default of its own.
        Meta::Path(path) if path.is_ident("default") => {
            let default = quote!(<#event as ::core::default::Default>::default).to_string();
            quote!(default = #default)
        }
        meta => meta.to_token_stream(),
    });
    on_struct.collect()
}

fn of_variant(container: &[Meta], variant: &[Meta]) -> Vec<TokenStream> {
    let find = |metas: &[Meta], name| metas.iter().find(|meta| meta.path().is_ident(name)).cloned();
    let own = find(variant, "rename_all").map(|meta| meta.to_token_stream());
    let shared = || find(container, "rename_all_fields").map(as_rename_all);
    let strict = find(container, "deny_unknown_fields").map(|meta| meta.to_token_stream());
    own.or_else(shared).into_iter().chain(strict).collect()
}

fn as_rename_all(rename_all_fields: Meta) -> TokenStream {
    match rename_all_fields {
        Meta::NameValue(meta) => {
            let value = meta.value;
            quote!(rename_all = #value)
        }
        Meta::List(meta) => {
            let value = meta.tokens;
            quote!(rename_all(#value))
        }
        Meta::Path(path) => path.to_token_stream(),
    }
}
