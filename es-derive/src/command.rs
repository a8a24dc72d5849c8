//! `#[derive(Command)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Attribute, Data, DeriveInput, Fields, Ident, Meta, spanned::Spanned};

use crate::{
    errors::Errors,
    generics,
    keys::Attr,
    names::{self, check_dotted},
    root,
};

const ATTR: Attr =
    Attr { name: "command", place: "a command", keys: &["aggregate", "creates", "name", "crate"] };

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    let fields = fields(input)?;
    generics::refuse_lifetimes(input, "a command", &mut errors);
    let keys = ATTR.read(&input.attrs, &mut errors);
    let aggregate = keys.ty("aggregate", &mut errors);
    if !keys.has("aggregate") {
        let message = "a command says who decides about it: \
                       write `#[command(aggregate = SomeAggregate)]` above it";
        errors.push(syn::Error::new(input.ident.span(), message));
    }
    let name = keys.text("name", &mut errors);
    let name = errors.check(names::written_or_snake_case(name, &input.ident, check_dotted));
    let creates = keys.flag("creates", &mut errors);
    let chosen = keys.root(&mut errors);
    let id = id(fields, &input.ident, &mut errors);
    errors.finish()?;

    let root = root::of_cqrs(chosen, ATTR.name)?;
    let command = &input.ident;
    let (parameters, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #parameters #root::Command for #command #arguments #bounds {
            type Aggregate = #aggregate;
            const NAME: &'static str = #name;
            const CREATES: bool = #creates;

            fn id(&self) -> &<Self::Aggregate as #root::Aggregate>::Id {
                #id
            }
        }
    })
}

fn fields(input: &DeriveInput) -> syn::Result<&Fields> {
    match &input.data {
        Data::Struct(data) => Ok(&data.fields),
        _ => Err(syn::Error::new(
            input.ident.span(),
            "a command is a struct: write one struct for each command",
        )),
    }
}

/// A reference to the one field that has `#[id]`.
fn id(fields: &Fields, command: &Ident, errors: &mut Errors) -> Option<TokenStream> {
    let mut id = None;
    for (field, member) in fields.iter().zip(fields.members()) {
        for attr in field.attrs.iter().filter(|attr| attr.path().is_ident("id")) {
            errors.check(alone(attr));
            if id.is_some() {
                let message = "a second `#[id]`: keep it on the one field that names the aggregate";
                errors.push(syn::Error::new_spanned(attr, message));
            }
            // At the field's place, so that a wrong type is shown there.
            id = Some(quote_spanned!(field.ty.span()=> &self.#member));
        }
    }
    if id.is_none() {
        let message = "no field has `#[id]`: write it above the field that says which aggregate \
                       the command is for";
        errors.push(syn::Error::new(command.span(), message));
    }
    id
}

fn alone(attr: &Attribute) -> syn::Result<()> {
    match attr.meta {
        Meta::Path(_) => Ok(()),
        _ => Err(syn::Error::new_spanned(attr, "`#[id]` takes nothing: write it alone")),
    }
}
