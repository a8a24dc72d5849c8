//! The cache that processes share: what it leaves in its tables, what it tells, and what
//! is left of it after a crash.

#![cfg(unix)]

mod crashing;
mod growing;
mod hearing;
mod scene;
