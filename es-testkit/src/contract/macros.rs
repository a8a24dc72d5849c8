//! One list of promises for each port. It says which functions there are, and
//! three things are made of it: the list that programs read, the tests of every
//! adapter, and, through `tests/lists.rs`, the proof that no promise was left
//! out.

/// Makes the list of promises of a suite, with their functions.
macro_rules! list {
    ([$port:ty] $($module:ident { $($name:ident $(: $($need:ident)+)?),* $(,)? })*) => {
        &[$($(
            $crate::contract::Promise::<$port> {
                module: stringify!($module),
                name: stringify!($name),
                needs: &[$($($crate::contract::Need::$need),+)?],
                run: |site| Box::pin($module::$name(site)),
            },
        )*)*]
    };
}
pub(super) use list;

/// Writes the tests of one suite for one adapter.
#[doc(hidden)]
#[macro_export]
macro_rules! __contract_tests {
    (
        [$suite:ident, $promises:expr, $adapter:expr, $harness:expr]
        $($module:ident { $($name:ident $(: $($need:ident)+)?),* $(,)? })*
    ) => {
        mod $suite {
            #[allow(unused_imports, reason = "the harness may be named in any way")]
            use super::*;

            $(mod $module {
                #[allow(unused_imports, reason = "the harness may be named in any way")]
                use super::*;

                $(#[test]
                fn $name() {
                    let (module, name) = (stringify!($module), stringify!($name));
                    $crate::contract::keep($harness, &*$promises, module, name);
                })*
            })*

            #[test]
            fn the_contract_is_counted() {
                let suite = stringify!($suite).replace('_', " ");
                let tally = $crate::contract::tally(&suite, $adapter, $harness, &*$promises);
                println!("{tally}");
                assert!(tally.run > 0, "a contract of which nothing runs");
            }
        }
    };
}

/// Tests an event store against its whole contract: one test for each promise.
///
/// It takes the adapter's name and an expression that makes a
/// [`Harness`](crate::contract::Harness) for `dyn EventStore`; see
/// [`adapters`](crate::adapters).
#[macro_export]
macro_rules! event_store_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__event_store_promises! {
            [$crate::__contract_tests]
            [event_store, $crate::contract::event_store_promises(), $adapter, $harness]
        }
    };
}

/// Tests a store that removes events against that contract; the harness opens
/// [`Retaining`](crate::contract::Retaining). See [`event_store_contract!`].
#[macro_export]
macro_rules! retention_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__retention_promises! {
            [$crate::__contract_tests]
            [retention, $crate::contract::retention_promises(), $adapter, $harness]
        }
    };
}

/// Tests how a store is copied, exported and imported; the harness opens
/// `dyn` [`Movable`](crate::contract::Movable). See [`event_store_contract!`].
#[macro_export]
macro_rules! moving_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__moving_promises! {
            [$crate::__contract_tests]
            [moving, $crate::contract::moving_promises(), $adapter, $harness]
        }
    };
}

/// Tests checkpoints against their contract; see [`event_store_contract!`].
#[macro_export]
macro_rules! checkpoints_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__checkpoint_promises! {
            [$crate::__contract_tests]
            [checkpoints, $crate::contract::checkpoint_promises(), $adapter, $harness]
        }
    };
}

/// Tests snapshots against their contract; see [`event_store_contract!`].
#[macro_export]
macro_rules! snapshots_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__snapshot_promises! {
            [$crate::__contract_tests]
            [snapshots, $crate::contract::snapshot_promises(), $adapter, $harness]
        }
    };
}

/// Tests a cache that processes share against its contract; see
/// [`event_store_contract!`].
#[macro_export]
macro_rules! shared_cache_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__shared_cache_promises! {
            [$crate::__contract_tests]
            [shared_cache, $crate::contract::shared_cache_promises(), $adapter, $harness]
        }
    };
}

/// Tests timers against their contract; see [`event_store_contract!`].
#[macro_export]
macro_rules! timers_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__timer_promises! {
            [$crate::__contract_tests]
            [timers, $crate::contract::timer_promises(), $adapter, $harness]
        }
    };
}

/// Tests read models against their contract; the harness opens
/// [`ReadModels`](crate::contract::ReadModels). See [`event_store_contract!`].
#[macro_export]
macro_rules! views_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__view_promises! {
            [$crate::__contract_tests]
            [views, $crate::contract::view_promises(), $adapter, $harness]
        }
    };
}

/// Tests read models that change with each append against their contract; the harness opens
/// [`InlineModels`](crate::contract::InlineModels). See [`event_store_contract!`].
#[macro_export]
macro_rules! inline_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__inline_promises! {
            [$crate::__contract_tests]
            [inline, $crate::contract::inline_promises(), $adapter, $harness]
        }
    };
}

/// Tests a broker against its contract; the harness opens a
/// [`Broker`](crate::contract::Broker). See [`event_store_contract!`].
#[macro_export]
macro_rules! broker_contract {
    ($adapter:expr, $harness:expr) => {
        $crate::__broker_promises! {
            [$crate::__contract_tests]
            [broker, $crate::contract::broker_promises(), $adapter, $harness]
        }
    };
}
