//! Whoever follows the log in PostgreSQL is offered every event once and in
//! order, whatever else happens at the same time.
//!
//! Each schedule is forced step by step: sessions are known to wait, nobody
//! sleeps. Beside ours a reader or a server with the bug in question runs through
//! the same steps, and has to be caught: see `naive` and `Log::broken`.
//!
//! | room | what is tried |
//! |---|---|
//! | `order` | commits out of order, snapshots that are older than locks |
//! | `interleavings` | all orders of the steps of two appends and a reader |
//! | `stalls` | appends that never end well, strangers, restores |
//! | `retries` | appends that were done already |
//! | `conditions` | appends that depend on what others append |
//! | `conflicts` | streams that have grown meanwhile |
//! | `transactions` | snapshots and deadlocks of the caller's making |
//! | `waiting` | appends that wait for a stream |
//! | `builds`, `leases` | read models that are written to, changed and taken at once |
//! | `inline` | read models that appends begin to change |
//! | `loading` | streams that are loaded at once |
//! | `late` | changes of read models that come late, or wait |
//! | `soak` | all at once |
//! | `log`, `models`, `naive`, `ours` | a log for a test, read models in it, and who reads it |

mod builds;
mod conditions;
mod conflicts;
mod inline;
#[path = "../inlined/mod.rs"]
mod inlined;
mod interleavings;
mod late;
mod leases;
mod loading;
mod log;
mod models;
mod naive;
mod order;
mod ours;
mod retries;
mod soak;
mod stalls;
mod transactions;
mod waiting;
