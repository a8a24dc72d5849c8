//! Serde's attributes: which ones the log cannot live with.
//!
//! The codec strips the variant's name from what serde writes and reads an
//! event by the place of its variant, so serde must write an enum in its usual
//! form and count every variant.

use syn::{Attribute, Data, DeriveInput, Meta, Token, punctuated::Punctuated};

use crate::errors::Errors;

const NAMED_INSIDE: [&str; 2] = ["tag", "content"];
const CONVERTED: [&str; 5] = ["from", "try_from", "into", "variant_identifier", "field_identifier"];
const UNCOUNTED: [&str; 3] = ["skip", "skip_serializing", "skip_deserializing"];
const UNTAGGED: &str = "leaves the variant out of what serde writes";

/// What stands in all `#[serde(…)]`, one by one.
pub(super) fn read(attrs: &[Attribute]) -> Vec<Meta> {
    let parse = Punctuated::<Meta, Token![,]>::parse_terminated;
    let serde = attrs.iter().filter(|attr| attr.path().is_ident("serde"));
    // Serde itself reports what does not parse.
    serde.filter_map(|attr| attr.parse_args_with(parse).ok()).flatten().collect()
}

pub(super) fn refuse_other_forms(input: &DeriveInput, errors: &mut Errors) {
    for meta in read(&input.attrs) {
        errors.check(check_container(&meta, matches!(input.data, Data::Enum(_))));
    }
    if let Data::Enum(data) = &input.data {
        for meta in data.variants.iter().flat_map(|variant| read(&variant.attrs)) {
            errors.check(check_variant(&meta));
        }
    }
}

fn check_container(meta: &Meta, is_enum: bool) -> syn::Result<()> {
    if is_one_of(meta, &NAMED_INSIDE) {
        return Err(refused(meta, "writes the name into the payload, but the log keeps it beside"));
    }
    if is_one_of(meta, &["untagged"]) {
        return Err(refused(meta, UNTAGGED));
    }
    if is_enum && is_one_of(meta, &CONVERTED) {
        return Err(refused(meta, "writes something else than the enum and its variants"));
    }
    Ok(())
}

fn check_variant(meta: &Meta) -> syn::Result<()> {
    if is_one_of(meta, &UNCOUNTED) {
        return Err(refused(meta, "takes the variant out of the count"));
    }
    if is_one_of(meta, &["other"]) {
        return Err(refused(meta, "catches every name, but the log hands over known types only"));
    }
    if is_one_of(meta, &["untagged"]) {
        return Err(refused(meta, UNTAGGED));
    }
    Ok(())
}

fn is_one_of(meta: &Meta, names: &[&str]) -> bool {
    names.iter().any(|name| meta.path().is_ident(name))
}

fn refused(meta: &Meta, why: &str) -> syn::Error {
    let name = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
    let message = format!(
        "`#[serde({name})]` {why}: remove it; an event is read by its name in the log and the \
         place of its variant"
    );
    syn::Error::new_spanned(meta, message)
}
