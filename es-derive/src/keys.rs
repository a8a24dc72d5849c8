//! Reads the keys inside an attribute: `#[event(name = "…", version = 2)]`.

use syn::{Attribute, Ident, Lit, LitStr, Path, Token, Type, meta::ParseNestedMeta};

use crate::errors::Errors;

/// An attribute at one place, and the keys that it takes there.
pub(crate) struct Attr {
    pub(crate) name: &'static str,
    /// Where it stands: `a variant`.
    pub(crate) place: &'static str,
    pub(crate) keys: &'static [&'static str],
}

impl Attr {
    /// Reads on after an unknown key, so that one slip makes one error.
    pub(crate) fn read(&self, attrs: &[Attribute], errors: &mut Errors) -> Keys {
        let mut keys = Keys::default();
        for attr in on(attrs, self.name) {
            let parsed = attr.parse_nested_meta(|meta| {
                match self.known(&meta) {
                    Some(name) => keys.0.push(Key { name, value: value(&meta)? }),
                    None => {
                        errors.push(self.unknown(&meta));
                        value(&meta)?;
                    }
                }
                Ok(())
            });
            errors.check(parsed);
        }
        keys
    }

    fn known(&self, meta: &ParseNestedMeta<'_>) -> Option<Ident> {
        let name = meta.path.get_ident()?;
        self.keys.iter().any(|key| name == key).then(|| name.clone())
    }

    fn unknown(&self, meta: &ParseNestedMeta<'_>) -> syn::Error {
        let known: Vec<_> = self.keys.iter().map(|key| format!("`{key}`")).collect();
        meta.error(format!(
            "unknown key: on {} `#[{}(…)]` takes {}",
            self.place,
            self.name,
            known.join(", ")
        ))
    }
}

/// The attributes of this name.
pub(crate) fn on<'a>(
    attrs: &'a [Attribute],
    name: &'static str,
) -> impl Iterator<Item = &'a Attribute> {
    attrs.iter().filter(move |attr| attr.path().is_ident(name))
}

/// The keys that were written, in their order.
#[derive(Default)]
pub(crate) struct Keys(Vec<Key>);

struct Key {
    name: Ident,
    value: Value,
}

enum Value {
    None,
    Lit(Lit),
    Type(Type),
}

fn value(meta: &ParseNestedMeta<'_>) -> syn::Result<Value> {
    if !meta.input.peek(Token![=]) {
        return Ok(Value::None);
    }
    let input = meta.value()?;
    if input.peek(Lit) { input.parse().map(Value::Lit) } else { input.parse().map(Value::Type) }
}

impl Keys {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    pub(crate) fn flag(&self, name: &str, errors: &mut Errors) -> bool {
        let Some(key) = self.single(name, errors) else {
            return false;
        };
        if !matches!(key.value, Value::None) {
            errors.push(key.error(format!("`{name}` takes no value: write `{name}` alone")));
        }
        true
    }

    pub(crate) fn text(&self, name: &str, errors: &mut Errors) -> Option<LitStr> {
        self.single(name, errors).and_then(|key| errors.check(key.text()))
    }

    /// The texts of a key that may be written many times.
    pub(crate) fn texts(&self, name: &str, errors: &mut Errors) -> Vec<LitStr> {
        self.named(name).filter_map(|key| errors.check(key.text())).collect()
    }

    /// A whole number from 1.
    pub(crate) fn number(&self, name: &str, errors: &mut Errors) -> Option<u32> {
        self.single(name, errors).and_then(|key| errors.check(key.number()))
    }

    pub(crate) fn ty(&self, name: &str, errors: &mut Errors) -> Option<Type> {
        self.single(name, errors).and_then(|key| errors.check(key.ty()))
    }

    /// The value of `crate = "path"`.
    pub(crate) fn root(&self, errors: &mut Errors) -> Option<Path> {
        self.text("crate", errors)
            .and_then(|text| errors.check(text.parse_with(Path::parse_mod_style)))
    }

    fn single(&self, name: &str, errors: &mut Errors) -> Option<&Key> {
        let mut keys = self.named(name);
        let first = keys.next();
        for again in keys {
            errors.push(again.error(format!("`{name}` is written twice: keep one")));
        }
        first
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| key.name == name)
    }
}

impl Key {
    fn text(&self) -> syn::Result<LitStr> {
        match &self.value {
            Value::Lit(Lit::Str(text)) => Ok(text.clone()),
            _ => Err(self.wants("\"…\"")),
        }
    }

    fn number(&self) -> syn::Result<u32> {
        let Value::Lit(Lit::Int(number)) = &self.value else {
            return Err(self.wants("2"));
        };
        let number = number.base10_parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| {
            let (name, most) = (&self.name, u32::MAX);
            self.error(format!("`{name}` counts from 1: write a whole number up to {most}"))
        })
    }

    fn ty(&self) -> syn::Result<Type> {
        match &self.value {
            Value::Type(ty) => Ok(ty.clone()),
            _ => Err(self.wants("SomeType")),
        }
    }

    fn wants(&self, example: &str) -> syn::Error {
        let name = &self.name;
        self.error(format!("`{name}` needs a value of another kind: write `{name} = {example}`"))
    }

    fn error(&self, message: String) -> syn::Error {
        syn::Error::new(self.name.span(), message)
    }
}
