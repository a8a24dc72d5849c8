//! `#[tag]` on a field: the labels by which criteria find an event.

use std::slice;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Attribute, DeriveInput, Expr, ExprLit, Field, Ident, Lit, LitStr, Member, Meta, Type,
    ext::IdentExt, spanned::Spanned,
};

use super::EventType;
use crate::{
    errors::Errors,
    items,
    keys::{Attr, on},
    names::{check_tag_key, checked},
};

const ATTR: Attr = Attr { name: "tag", place: "a field", keys: &["key"] };

/// A field whose value makes tags.
pub(super) struct Tagged<'a> {
    member: Member,
    ty: &'a Type,
    keys: Vec<LitStr>,
}

/// The tagged fields of each type.
pub(super) fn read<'a>(types: &[EventType<'a>], errors: &mut Errors) -> Vec<Vec<Tagged<'a>>> {
    types.iter().map(|known| of_fields(known, errors)).collect()
}

fn of_fields<'a>(known: &EventType<'a>, errors: &mut Errors) -> Vec<Tagged<'a>> {
    let mut tagged = Vec::new();
    for (field, member) in known.fields.iter().zip(known.fields.members()) {
        let attrs = on(&field.attrs, "tag");
        let keys: Vec<_> = attrs.filter_map(|attr| key(attr, field, errors)).collect();
        if !keys.is_empty() {
            tagged.push(Tagged { member, ty: &field.ty, keys });
        }
    }
    tagged
}

fn key(attr: &Attribute, field: &Field, errors: &mut Errors) -> Option<LitStr> {
    if let Some(text) = text_without_key(attr) {
        let message = format!("the key needs its name: write `#[tag(key = {text:?})]`");
        errors.push(syn::Error::new_spanned(attr, message));
        return None;
    }
    let key = match (&attr.meta, &field.ident) {
        (Meta::Path(_), Some(name)) => LitStr::new(&name.unraw().to_string(), name.span()),
        (Meta::Path(_), None) => {
            let message = "a field of a tuple has no name: write `#[tag(key = \"…\")]`";
            errors.push(syn::Error::new_spanned(attr, message));
            return None;
        }
        _ => ATTR.read(slice::from_ref(attr), errors).text("key", errors)?,
    };
    errors.check(checked(key, check_tag_key))
}

fn text_without_key(attr: &Attribute) -> Option<String> {
    match &attr.meta {
        Meta::List(list) => list.parse_args::<LitStr>().ok().map(|text| text.value()),
        Meta::NameValue(meta) => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        Meta::Path(_) => None,
    }
}

/// Reports `#[tag]` where there is no value, and `#[event]` on a field.
pub(super) fn refuse_misplaced(input: &DeriveInput, types: &[EventType<'_>], errors: &mut Errors) {
    // The attributes of a struct are also those of its one type.
    let variants = types.iter().map(|known| known.attrs);
    let variants = variants.filter(|attrs| !std::ptr::eq(*attrs, &*input.attrs));
    for attr in on(&input.attrs, "tag").chain(variants.flat_map(|attrs| on(attrs, "tag"))) {
        let message = "`#[tag]` takes the value of a field: write it above the field";
        errors.push(syn::Error::new_spanned(attr, message));
    }
    let fields = types.iter().flat_map(|known| known.fields);
    for attr in fields.flat_map(|field| on(&field.attrs, "event")) {
        let message = "`#[event(…)]` is for a type of event: write it above the variant or struct";
        errors.push(syn::Error::new_spanned(attr, message));
    }
}

/// The method `tags`, unless the trait's own will do.
pub(super) fn expand(
    types: &[EventType<'_>],
    tagged: &[Vec<Tagged<'_>>],
    root: &TokenStream,
) -> Option<TokenStream> {
    let tagged = types.iter().zip(tagged).filter(|(_, fields)| !fields.is_empty());
    let arms: Vec<_> = tagged.map(|(known, fields)| arm(known, fields, root)).collect();
    let others = (arms.len() < types.len()).then(|| quote!(_ => {}));
    (!arms.is_empty()).then(|| {
        quote! {
            fn tags(&self) -> ::core::result::Result<::std::vec::Vec<#root::Tag>, #root::NameError> {
                let mut tags = ::std::vec::Vec::new();
                match self {
                    #(#arms)*
                    #others
                }
                ::core::result::Result::Ok(tags)
            }
        }
    })
}

fn arm(known: &EventType<'_>, tagged: &[Tagged<'_>], root: &TokenStream) -> TokenStream {
    let path = &known.path;
    let members = tagged.iter().map(|field| &field.member);
    let values: Vec<_> = tagged.iter().enumerate().map(value).collect();
    let pushes = tagged.iter().zip(&values).map(|(field, value)| pushes_of(field, value, root));
    quote! {
        #path { #(#members: #values,)* .. } => { #(#pushes)* }
    }
}

/// The variable that holds a field's value. It and what is done with it stand
/// at the type's place, so that a missing `Display` is shown there.
fn value((at, field): (usize, &Tagged<'_>)) -> Ident {
    format_ident!("value_{at}", span = field.ty.span())
}

fn pushes_of(field: &Tagged<'_>, value: &Ident, root: &TokenStream) -> TokenStream {
    let keys = &field.keys;
    items::each(
        field.ty,
        value,
        |place| quote_spanned!(place=> #(tags.push(#root::Tag::new(#keys, #value)?);)*),
    )
}
