//! A ladder of small programs, each with one new idea; they stand beside this
//! folder. `cargo run -p examples --bin 01-first-account` runs the first.
//!
//! The first two write down an account; the later ones find it here.

mod account;

pub use account::{Account, AccountEvent, Deposit, Overdrawn, Withdraw};
