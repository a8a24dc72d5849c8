use std::borrow::Cow;

use thiserror::Error;

/// The plain reason why an aggregate refuses: a text.
///
/// It is what an aggregate refuses with unless it says otherwise. If a program
/// shall tell one reason from another, give the aggregate an error of its own.
///
/// ```
/// use es_core::Rejection;
///
/// fn withdraw(balance: u64, amount: u64) -> Result<u64, Rejection> {
///     if amount > 500 {
///         return Err("at most 500 a day".into());
///     }
///     balance.checked_sub(amount).ok_or(format!("there are only {balance}").into())
/// }
///
/// assert_eq!(withdraw(50, 30), Ok(20));
/// assert_eq!(withdraw(50, 501), Err(Rejection::from("at most 500 a day")));
/// assert_eq!(withdraw(50, 70).unwrap_err().to_string(), "there are only 50");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Rejection(Cow<'static, str>);

impl From<&'static str> for Rejection {
    fn from(reason: &'static str) -> Self {
        Self(reason.into())
    }
}

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Self(reason.into())
    }
}
