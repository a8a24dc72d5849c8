//! What is a good name, and which name a Rust identifier gives.

use syn::{Ident, LitStr, ext::IdentExt};

/// Longest name of a type of event, a category or a tag, as in `es_core::limits`.
const NAME_BYTES: usize = 255;
/// A stream's name also holds a hyphen and at least one byte of an id.
const CATEGORY_BYTES: usize = NAME_BYTES - 2;

/// The identifier in snake_case; an acronym is one word.
pub(crate) fn snake_case(ident: &Ident) -> String {
    let letters: Vec<char> = ident.unraw().to_string().chars().collect();
    let mut snake = String::new();
    for (at, letter) in letters.iter().enumerate() {
        if starts_word(&letters, at) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

fn starts_word(letters: &[char], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| letters[before]) else {
        return false;
    };
    let ends_acronym = letters.get(at + 1).is_some_and(|after| after.is_lowercase());
    letters[at].is_uppercase() && before != '_' && (!before.is_uppercase() || ends_acronym)
}

/// `account.deposited`: two parts or more.
pub(crate) fn check_event(name: &str) -> Result<(), String> {
    check_stored(name)?;
    if name.contains('.') && is_dotted(name) {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name of an event: write lower case letters, digits and underscores, \
         with a dot between the parts, such as \"account.deposited\""
    ))
}

/// `account` or `account.deposit`: one part or more.
pub(crate) fn check_dotted(name: &str) -> Result<(), String> {
    check_stored(name)?;
    if is_dotted(name) {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no good name here: write lower case letters, digits and underscores, \
         and a dot between parts, such as \"account\" or \"account.deposit\""
    ))
}

/// Any name that a store holds and the framework has not reserved.
pub(crate) fn check_stored(name: &str) -> Result<(), String> {
    check_bytes(name, NAME_BYTES)?;
    if name.starts_with('$') {
        return Err(format!(
            "{name:?} begins with `$`, which is kept for the framework: write another name"
        ));
    }
    Ok(())
}

pub(crate) fn check_category(name: &str) -> Result<(), String> {
    check_bytes(name, CATEGORY_BYTES)?;
    if name.contains('-') {
        return Err(format!(
            "{name:?} holds a hyphen, which ends the category in a stream's name: write `_` for `-`"
        ));
    }
    Ok(())
}

pub(crate) fn check_tag_key(key: &str) -> Result<(), String> {
    check_bytes(key, NAME_BYTES)?;
    if key.contains(':') {
        return Err(format!(
            "{key:?} holds a colon, which ends the key in a tag: write a key without one"
        ));
    }
    Ok(())
}

fn check_bytes(name: &str, most: usize) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("the name is empty: write 1 to {most} bytes"));
    }
    if name.len() > most {
        return Err(format!("the name has {} bytes: write at most {most}", name.len()));
    }
    if name.contains(char::is_control) {
        return Err(format!("{name:?} holds a control character: write the name without it"));
    }
    Ok(())
}

fn is_dotted(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_part_of_name);
    name.split('.').all(is_part)
}

fn is_part_of_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

/// The text as it stands, if the check lets it pass.
pub(crate) fn checked(text: LitStr, check: fn(&str) -> Result<(), String>) -> syn::Result<LitStr> {
    match check(&text.value()) {
        Ok(()) => Ok(text),
        Err(message) => Err(syn::Error::new(text.span(), message)),
    }
}

/// The written name, or the identifier in snake_case.
pub(crate) fn written_or_snake_case(
    written: Option<LitStr>,
    ident: &Ident,
    check: fn(&str) -> Result<(), String>,
) -> syn::Result<LitStr> {
    let name = written.unwrap_or_else(|| LitStr::new(&snake_case(ident), ident.span()));
    checked(name, check)
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn snake(ident: &str) -> String {
        snake_case(&Ident::new(ident, Span::call_site()))
    }

    #[test]
    fn words_are_parted_by_underscores_and_an_acronym_is_one_word() {
        assert_eq!(snake("Deposited"), "deposited");
        assert_eq!(snake("StudentEnrolled"), "student_enrolled");
        assert_eq!(snake("HTTPRequested"), "http_requested");
        assert_eq!(snake("SentViaHTTP"), "sent_via_http");
        assert_eq!(snake("Step2Done"), "step2_done");
        assert_eq!(snake("Already_Snake"), "already_snake");
        assert_eq!(snake("A"), "a");
    }

    #[test]
    fn an_event_name_has_two_parts_in_lower_case() {
        for good in ["a.b", "account.deposited", "account.v2.paid_in"] {
            assert_eq!(check_event(good), Ok(()));
        }
        for bad in ["", "account", "Account.deposited", "a..b", ".a", "a.", "a-b.c", "$a.b", "ä.b"]
        {
            assert!(check_event(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_has_at_most_255_bytes() {
        assert_eq!(check_stored(&"x".repeat(255)), Ok(()));
        assert!(check_stored(&"x".repeat(256)).is_err());
    }

    #[test]
    fn a_category_leaves_room_for_an_id() {
        assert_eq!(check_category(&"x".repeat(253)), Ok(()));
        assert!(check_category(&"x".repeat(254)).is_err());
    }
}
