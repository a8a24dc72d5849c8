use std::fmt;

use ::http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ETAG, IF_MATCH, IF_NONE_MATCH},
};
use es_core::{Expected, Position, Version};

/// A number that changes whenever what is shown does: the version of an aggregate,
/// or the position as of which a model was read. Strong, as RFC 9110 calls it.
///
/// ```
/// use cqrs::http::ETag;
/// use es_core::Version;
///
/// assert_eq!(ETag::from(Version::new(3)).to_string(), r#""3""#);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ETag(u64);

impl ETag {
    /// Writes it into the headers of a response.
    pub fn write(self, headers: &mut HeaderMap) {
        let value = HeaderValue::from_str(&self.to_string());
        headers.insert(ETAG, value.expect("digits and quotes may stand in a header"));
    }

    /// Reads one tag; `weak` ones are for comparing what is shown, not what is changed.
    fn parse(text: &str, weak: Weak) -> Option<Self> {
        let text = text.trim();
        let text = match weak {
            Weak::Allowed => text.strip_prefix("W/").unwrap_or(text),
            Weak::Refused => text,
        };
        text.strip_prefix('"')?.strip_suffix('"')?.parse().ok().map(Self)
    }
}

#[derive(Debug, Clone, Copy)]
enum Weak {
    Allowed,
    Refused,
}

impl From<Version> for ETag {
    fn from(version: Version) -> Self {
        Self(version.get())
    }
}

impl From<Position> for ETag {
    fn from(position: Position) -> Self {
        Self(position.get())
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Whether the client that asks has this already, by `If-None-Match`: answer 304 then.
///
/// ```
/// use cqrs::http::is_known;
/// use es_core::Version;
/// use http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(IF_NONE_MATCH, HeaderValue::from_static(r#""2", W/"3""#));
/// assert!(is_known(&headers, Version::new(3)));
/// assert!(!is_known(&headers, Version::new(4)));
/// ```
pub fn is_known(headers: &HeaderMap, now: impl Into<ETag>) -> bool {
    let now = now.into();
    let known = |tag: &str| tag == "*" || ETag::parse(tag, Weak::Allowed) == Some(now);
    tags(headers.get_all(IF_NONE_MATCH).iter()).any(known)
}

/// What a stream must look like for the client's change, by `If-Match`. Without one,
/// anything.
///
/// ```
/// use cqrs::http::if_match;
/// use es_core::{Expected, Version};
/// use http::{HeaderMap, HeaderValue, header::IF_MATCH};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(if_match(&headers), Ok(Expected::Any));
/// headers.insert(IF_MATCH, HeaderValue::from_static(r#""3""#));
/// assert_eq!(if_match(&headers), Ok(Expected::Exact(Version::new(3))));
/// ```
///
/// # Errors
///
/// [`StatusCode::PRECONDITION_FAILED`] if nothing that we have handed out can match:
/// a weak tag, or one of another server. [`StatusCode::BAD_REQUEST`] if there are
/// several: a stream has one version.
pub fn if_match(headers: &HeaderMap) -> Result<Expected, StatusCode> {
    let all: Vec<_> = tags(headers.get_all(IF_MATCH).iter()).collect();
    match all[..] {
        [] => Ok(Expected::Any),
        ["*"] => Ok(Expected::Exists),
        [tag] => match ETag::parse(tag, Weak::Refused) {
            Some(ETag(version)) => Ok(Expected::Exact(Version::new(version))),
            None => Err(StatusCode::PRECONDITION_FAILED),
        },
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

/// What cannot be read stands for a tag that is none of ours.
fn tags<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a str> {
    values.flat_map(|value| value.to_str().unwrap_or("\"?\"").split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: ::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_client_has_what_its_tags_say() {
        let three = Version::new(3);
        for (value, known) in [
            (r#""3""#, true),
            (r#"W/"3""#, true),
            (r#""1","3" , "4""#, true),
            ("*", true),
            (r#""33""#, false),
            ("3", false),
            (r#""x""#, false),
            ("", false),
        ] {
            assert_eq!(is_known(&headers(IF_NONE_MATCH, value), three), known, "{value}");
        }
        assert!(!is_known(&HeaderMap::new(), three));
    }

    #[test]
    fn a_change_expects_what_its_tag_says() {
        for (value, expected) in [
            (r#""3""#, Ok(Expected::Exact(Version::new(3)))),
            ("*", Ok(Expected::Exists)),
            (r#"W/"3""#, Err(StatusCode::PRECONDITION_FAILED)),
            (r#""of another""#, Err(StatusCode::PRECONDITION_FAILED)),
            ("", Err(StatusCode::PRECONDITION_FAILED)),
            (r#""3", "4""#, Err(StatusCode::BAD_REQUEST)),
        ] {
            assert_eq!(if_match(&headers(IF_MATCH, value)), expected, "{value}");
        }
    }
}
