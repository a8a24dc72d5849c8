//! The fingerprint of a state: a hash of the shape that a snapshot depends on.
//!
//! The shape is written down as text, one word for each token, so that neither
//! whitespace nor the compiler's way of printing tokens can change it.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Data, DeriveInput, Fields};

/// The fingerprint of the type's shape at this revision.
pub(crate) fn of(input: &DeriveInput, revision: u32) -> u64 {
    let mut shape = Shape::default();
    shape.word(&revision.to_string());
    shape.serde(&input.attrs);
    match &input.data {
        Data::Struct(data) => shape.fields(&data.fields),
        Data::Enum(data) => {
            for variant in &data.variants {
                shape.serde(&variant.attrs);
                shape.word("|");
                shape.word(&variant.ident.to_string());
                shape.fields(&variant.fields);
            }
        }
        // Refused before it comes here.
        Data::Union(_) => {}
    }
    fnv1a(shape.0.as_bytes())
}

#[derive(Default)]
struct Shape(String);

impl Shape {
    fn word(&mut self, word: &str) {
        self.0.push_str(word);
        self.0.push(' ');
    }

    fn serde(&mut self, attrs: &[Attribute]) {
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
            self.tokens(attr.meta.to_token_stream());
        }
    }

    fn fields(&mut self, fields: &Fields) {
        self.word(match fields {
            Fields::Named(_) => "named",
            Fields::Unnamed(_) => "unnamed",
            Fields::Unit => "unit",
        });
        for field in fields {
            self.serde(&field.attrs);
            self.word(";");
            self.tokens(field.ident.to_token_stream());
            self.tokens(field.ty.to_token_stream());
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                // rustfmt adds and removes commas at the end.
                TokenTree::Punct(comma) if comma.as_char() == ',' && ends(tokens.peek()) => {}
                TokenTree::Group(group) => self.group(&group),
                token => self.word(&token.to_string()),
            }
        }
    }

    fn group(&mut self, group: &Group) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            // What a macro_rules variable leaves behind, invisible in the source.
            Delimiter::None => return self.tokens(group.stream()),
        };
        self.word(open);
        self.tokens(group.stream());
        self.word(close);
    }
}

fn ends(next: Option<&TokenTree>) -> bool {
    next.is_none_or(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '>'))
}

/// Fowler, Noll and Vo's hash 1a with 64 bits: it is the same on every machine
/// and in every version of Rust, which `DefaultHasher` does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    // From the authors' test vectors, http://www.isthe.com/chongo/tech/comp/fnv/
    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
