//! `#[derive(Command)]`.

mod claims;
mod id;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, Ident, Type};

use crate::{
    errors::Errors,
    generics,
    keys::{Attr, Keys},
    names::{self, check_dotted},
    root,
};
use id::Id;

const ATTR: Attr =
    Attr { name: "command", place: "a command", keys: &["aggregate", "creates", "name", "crate"] };

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    let fields = fields(input)?;
    generics::refuse_lifetimes(input, "a command", &mut errors);
    let keys = ATTR.read(&input.attrs, &mut errors);
    let id = id::read(fields, &input.ident, &mut errors);
    let aggregate = aggregate(&keys, id.as_ref(), &input.ident, &mut errors);
    let name = keys.text("name", &mut errors);
    let name = errors.check(names::written_or_snake_case(name, &input.ident, check_dotted));
    let creates = keys.flag("creates", &mut errors);
    let chosen = keys.root(&mut errors);
    let claimed = claims::read(input, fields, &mut errors);
    errors.finish()?;

    let root = root::of_cqrs(chosen, ATTR.name)?;
    let claims = claims::expand(&claimed, &root);
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

            #claims
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

/// Who decides: it stands above the command or at its id.
fn aggregate(
    keys: &Keys,
    id: Option<&Id<'_>>,
    command: &Ident,
    errors: &mut Errors,
) -> Option<Type> {
    let at_id = match id.map_or(Ok(None), Id::aggregate) {
        Ok(at_id) => at_id,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    match (keys.has("aggregate"), at_id) {
        (true, None) => keys.ty("aggregate", errors),
        (false, Some(aggregate)) => Some(aggregate),
        (true, Some(aggregate)) => {
            let message = "the aggregate is written twice: keep it here or in `#[command(…)]`";
            errors.push(syn::Error::new_spanned(aggregate, message));
            None
        }
        (false, None) => {
            let message = "a command says who decides about it: write `#[id(SomeAggregate)]` at \
                           its id, or `#[command(aggregate = SomeAggregate)]` above it";
            errors.push(syn::Error::new(command.span(), message));
            None
        }
    }
}
