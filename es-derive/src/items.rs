//! Fields whose type is an `Option` or a `Vec`: each item counts.

use std::iter;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{GenericArgument, Ident, PathArguments, Type, spanned::Spanned};

/// Does it with the value, or with each item in it. The variable `value` holds
/// a reference; `act` gets the place of the item's type, so that what the type
/// lacks is shown there.
pub(crate) fn each(ty: &Type, value: &Ident, act: impl Fn(Span) -> TokenStream) -> TokenStream {
    let wrappers = iter::successors(inside(ty), |item| inside(item));
    let item = wrappers.clone().last().unwrap_or(ty);
    wrappers.fold(act(item.span()), |acts, _| quote!(for #value in #value.iter() { #acts }))
}

/// The `T` of `Option<T>` and `Vec<T>`.
fn inside(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(item) if last.ident == "Option" || last.ident == "Vec" => Some(item),
        _ => None,
    }
}
