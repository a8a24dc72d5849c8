//! `#[id]` on a field: which aggregate the command is for.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote_spanned};
use syn::{Attribute, Field, Fields, Ident, Member, Meta, Type, spanned::Spanned};

use crate::{errors::Errors, keys::on};

/// The field that says which aggregate.
pub(super) struct Id<'a> {
    attr: &'a Attribute,
    field: &'a Field,
    member: Member,
}

pub(super) fn read<'a>(fields: &'a Fields, command: &Ident, errors: &mut Errors) -> Option<Id<'a>> {
    let mut first = None;
    for (field, member) in fields.iter().zip(fields.members()) {
        for attr in on(&field.attrs, "id") {
            if first.is_some() {
                let message = "a second `#[id]`: keep it on the one field that names the aggregate";
                errors.push(syn::Error::new_spanned(attr, message));
            } else {
                first = Some(Id { attr, field, member: member.clone() });
            }
        }
    }
    if first.is_none() {
        let message = "no field has `#[id]`: write it above the field that says which aggregate \
                       the command is for";
        errors.push(syn::Error::new(command.span(), message));
    }
    first
}

impl Id<'_> {
    /// The `Account` of `#[id(Account)]`.
    pub(super) fn aggregate(&self) -> syn::Result<Option<Type>> {
        match &self.attr.meta {
            Meta::Path(_) => Ok(None),
            _ => self.attr.parse_args().map(Some).map_err(|_| {
                let message = "`#[id]` takes the aggregate's type and nothing else: \
                               write `#[id(SomeAggregate)]`, or `#[id]` alone";
                syn::Error::new_spanned(self.attr, message)
            }),
        }
    }
}

/// A reference to the field, at the field's place, so that a wrong type is
/// shown there.
impl ToTokens for Id<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let member = &self.member;
        tokens.extend(quote_spanned!(self.field.ty.span()=> &self.#member));
    }
}
