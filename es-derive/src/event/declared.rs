//! The types of event that an enum or a struct declares.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Data, DataEnum, DataStruct, DeriveInput, Fields, Ident, LitStr, Path, Variant,
};

use crate::{
    errors::Errors,
    keys::{Attr, Keys},
    names::{check_dotted, check_event, check_stored, checked, snake_case},
};

const ENUM: Attr = Attr { name: "event", place: "an enum", keys: &["prefix", "crate"] };
const VARIANT: Attr =
    Attr { name: "event", place: "a variant", keys: &["name", "version", "alias"] };
const STRUCT: Attr =
    Attr { name: "event", place: "a struct", keys: &["name", "version", "alias", "crate"] };

#[derive(Default)]
pub(super) struct Declared<'a> {
    /// In the variants' order.
    pub(super) types: Vec<EventType<'a>>,
    /// What `crate = "…"` says.
    pub(super) root: Option<Path>,
}

pub(super) struct EventType<'a> {
    pub(super) ident: &'a Ident,
    pub(super) attrs: &'a [Attribute],
    pub(super) fields: &'a Fields,
    /// `Self::Opened`, or `Self` for a struct.
    pub(super) path: TokenStream,
    /// `None` only if an error says why.
    pub(super) name: Option<LitStr>,
    pub(super) version: u32,
    pub(super) aliases: Vec<LitStr>,
}

impl EventType<'_> {
    /// Its name and its former names.
    pub(super) fn names(&self) -> impl Iterator<Item = &LitStr> {
        self.name.iter().chain(&self.aliases)
    }
}

pub(super) fn read<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Declared<'a> {
    match &input.data {
        Data::Struct(data) => read_struct(input, data, errors),
        Data::Enum(data) => read_enum(input, data, errors),
        Data::Union(data) => {
            let message = "an event is an enum or a struct: write `enum` for `union`";
            errors.push(syn::Error::new(data.union_token.span, message));
            Declared::default()
        }
    }
}

fn read_struct<'a>(
    input: &'a DeriveInput,
    data: &'a DataStruct,
    errors: &mut Errors,
) -> Declared<'a> {
    let keys = STRUCT.read(&input.attrs, errors);
    let mut known = event_type(&input.ident, &input.attrs, &data.fields, &keys, errors);
    known.path = quote!(Self);
    if !keys.has("name") {
        let message = format!(
            "an event has a name: write `#[event(name = \"entity.{}\")]` above the struct",
            snake_case(&input.ident)
        );
        errors.push(syn::Error::new(input.ident.span(), message));
    }
    Declared { types: vec![known], root: keys.root(errors) }
}

fn read_enum<'a>(input: &'a DeriveInput, data: &'a DataEnum, errors: &mut Errors) -> Declared<'a> {
    if data.variants.is_empty() {
        let message = "an event needs a variant: write one for each type of event";
        errors.push(syn::Error::new(input.ident.span(), message));
    }
    let keys = ENUM.read(&input.attrs, errors);
    let prefix = keys.text("prefix", errors);
    let prefix = prefix.and_then(|prefix| errors.check(checked(prefix, check_dotted)));
    let mut lacks_prefix = false;
    let mut types = Vec::with_capacity(data.variants.len());
    for variant in &data.variants {
        let keys = VARIANT.read(&variant.attrs, errors);
        let mut known = event_type(&variant.ident, &variant.attrs, &variant.fields, &keys, errors);
        match &prefix {
            _ if keys.has("name") => {}
            Some(prefix) => known.name = errors.check(default_name(prefix, variant)),
            None => lacks_prefix = true,
        }
        types.push(known);
    }
    if lacks_prefix && !keys.has("prefix") {
        errors.push(missing_prefix(&input.ident));
    }
    Declared { types, root: keys.root(errors) }
}

fn event_type<'a>(
    ident: &'a Ident,
    attrs: &'a [Attribute],
    fields: &'a Fields,
    keys: &Keys,
    errors: &mut Errors,
) -> EventType<'a> {
    let name = keys.text("name", errors);
    let name = name.and_then(|name| errors.check(checked(name, check_event)));
    let aliases = keys.texts("alias", errors).into_iter();
    // An earlier program may have had other habits, so any stored name goes.
    let aliases = aliases.filter_map(|alias| errors.check(checked(alias, check_stored))).collect();
    let version = keys.number("version", errors).unwrap_or(1);
    EventType { ident, attrs, fields, path: quote!(Self::#ident), name, version, aliases }
}

fn default_name(prefix: &LitStr, variant: &Variant) -> syn::Result<LitStr> {
    let name = format!("{}.{}", prefix.value(), snake_case(&variant.ident));
    checked(LitStr::new(&name, variant.ident.span()), check_event).map_err(|error| {
        let message = format!("{error}, in `#[event(name = \"…\")]` above the variant");
        syn::Error::new(error.span(), message)
    })
}

fn missing_prefix(event: &Ident) -> syn::Error {
    let name = snake_case(event);
    let prefix = name.strip_suffix("_event").unwrap_or(&name);
    let message = format!(
        "the events' names lack their first part: write `#[event(prefix = \"{prefix}\")]` above \
         the enum, or `#[event(name = \"…\")]` above every variant"
    );
    syn::Error::new(event.span(), message)
}
