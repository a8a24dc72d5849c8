//! `#[claim("user-name")]` on a field: a value that only one aggregate may have.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, DeriveInput, Fields, LitStr, Member, Type, spanned::Spanned};

use crate::{
    errors::Errors,
    items,
    keys::on,
    names::{check_stored, checked},
};

/// A field whose value is claimed.
pub(super) struct Claimed<'a> {
    member: Member,
    ty: &'a Type,
    scopes: Vec<LitStr>,
}

pub(super) fn read<'a>(
    input: &DeriveInput,
    fields: &'a Fields,
    errors: &mut Errors,
) -> Vec<Claimed<'a>> {
    for attr in on(&input.attrs, "claim") {
        let message = "`#[claim(…)]` takes the value of a field: write it above the field";
        errors.push(syn::Error::new_spanned(attr, message));
    }
    let mut claimed = Vec::new();
    for (field, member) in fields.iter().zip(fields.members()) {
        let scopes = on(&field.attrs, "claim").filter_map(|attr| errors.check(scope(attr)));
        claimed.push(Claimed { member, ty: &field.ty, scopes: scopes.collect() });
    }
    claimed.retain(|field| !field.scopes.is_empty());
    claimed
}

fn scope(attr: &Attribute) -> syn::Result<LitStr> {
    let scope = attr.parse_args().map_err(|_| {
        let message = "`#[claim]` takes the scope in which the value is unique: \
                       write `#[claim(\"user-name\")]`";
        syn::Error::new_spanned(attr, message)
    })?;
    checked(scope, check_stored)
}

/// The method `claims`, unless the trait's own will do.
pub(super) fn expand(claimed: &[Claimed<'_>], root: &TokenStream) -> Option<TokenStream> {
    let claims = claimed.iter().map(|field| claims_of(field, root));
    (!claimed.is_empty()).then(|| {
        quote! {
            fn claims(
                &self,
                stream: &#root::StreamId,
            ) -> ::core::result::Result<::std::vec::Vec<#root::Claim>, #root::NameError> {
                let mut claims = ::std::vec::Vec::new();
                #(#claims)*
                ::core::result::Result::Ok(claims)
            }
        }
    })
}

fn claims_of(field: &Claimed<'_>, root: &TokenStream) -> TokenStream {
    let Claimed { member, ty, scopes } = field;
    let value = format_ident!("value", span = ty.span());
    let claims = items::each(ty, &value, |place| {
        let key = quote_spanned!(place=> &::std::string::ToString::to_string(#value));
        quote!(#(claims.push(#root::Claim::take(#scopes, #key, stream.clone())?);)*)
    });
    quote! {
        let #value = &self.#member;
        #claims
    }
}
