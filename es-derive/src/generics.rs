//! Which parameters a type may have.

use syn::{DeriveInput, GenericParam};

use crate::errors::Errors;

/// Refuses lifetimes, because what the framework keeps lives as long as it
/// wants.
pub(crate) fn refuse_lifetimes(input: &DeriveInput, what: &str, errors: &mut Errors) {
    for lifetime in input.generics.lifetimes() {
        let message = format!(
            "{what} owns its data and takes no lifetime: write `String` for `&str`, `Vec<T>` for `&[T]`"
        );
        errors.push(syn::Error::new_spanned(lifetime, message));
    }
}

/// Refuses lifetimes, and parameters for types and constants: a name in the
/// log stands for one shape.
pub(crate) fn refuse_all(input: &DeriveInput, what: &str, errors: &mut Errors) {
    refuse_lifetimes(input, what, errors);
    for parameter in &input.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            let message = format!("{what} has one shape and no parameters: write the type itself");
            errors.push(syn::Error::new_spanned(parameter, message));
        }
    }
}
