//! No two types of event share a name, not even a former one.

use std::collections::HashMap;

use syn::Ident;

use super::EventType;
use crate::errors::Errors;

pub(super) fn check(types: &[EventType<'_>], errors: &mut Errors) {
    let mut owners: HashMap<String, &Ident> = HashMap::new();
    for known in types {
        for name in known.names() {
            if let Some(owner) = owners.get(&name.value()) {
                let message = taken(&name.value(), owner, known);
                errors.push(syn::Error::new(name.span(), message));
            }
            owners.entry(name.value()).or_insert(known.ident);
        }
    }
}

fn taken(name: &str, owner: &Ident, known: &EventType<'_>) -> String {
    if owner == known.ident {
        return format!("`{owner}` already goes by \"{name}\": drop the alias");
    }
    let is_alias = known.aliases.iter().any(|alias| alias.value() == name);
    let remedy =
        if is_alias { "drop the alias" } else { "write another `#[event(name = \"…\")]`" };
    format!("\"{name}\" already belongs to `{owner}`: {remedy} above `{}`", known.ident)
}
