use es_core::{Aggregate, Event, Evolve, Rejection};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "state.changed")]
pub(crate) struct Changed;

macro_rules! evolve {
    ($($state:ty),*) => {
        $(impl Evolve for $state {
            type Event = Changed;
            fn evolve(&mut self, _: &Changed) {}
        })*
    };
}

/// A module for each state, because all of them have one name.
macro_rules! states {
    ($($module:ident: $state:item)*) => {
        $(mod $module {
            use es_core::{Aggregate, Evolve};
            use serde::{Deserialize, Serialize};

            use super::Changed;

            $state

            evolve!(State);
            pub(super) const FINGERPRINT: u64 = State::FINGERPRINT;
        })*
    };
}

#[derive(Default, Aggregate)]
struct BankAccount;

enum Refusal {}

#[derive(Default, Aggregate)]
#[aggregate(category = "tür", id = u32, error = Refusal, revision = 2, crate = "es_core")]
enum Door {
    #[default]
    Closed,
}

#[derive(Default, Aggregate)]
struct Keeper<T: Default + Send + Sync + 'static> {
    kept: Vec<T>,
}

impl<T: Default + Send + Sync + 'static> Evolve for Keeper<T> {
    type Event = Changed;
    fn evolve(&mut self, _: &Changed) {
        self.kept.push(T::default());
    }
}

evolve!(BankAccount, Door);

fn types_of<A: Aggregate<Id = I, Error = E>, I, E>() -> &'static str {
    A::CATEGORY
}

#[test]
fn the_defaults_are_the_name_in_snake_case_a_string_and_a_rejection() {
    assert_eq!(types_of::<BankAccount, String, Rejection>(), "bank_account");
}

#[test]
fn category_id_and_error_are_as_written() {
    assert_eq!(types_of::<Door, u32, Refusal>(), "tür");
}

#[test]
fn a_state_may_have_parameters() {
    assert_eq!(Keeper::<u8>::CATEGORY, "keeper");
}

states! {
    plain:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        struct State { balance: u64, owners: std::collections::BTreeMap<String, u8> }
    dressed:
        /// Comments, visibility, whitespace, other attributes and trailing
        /// commas do not count.
        #[derive(Debug, Clone, Default, Serialize, Deserialize, Aggregate)]
        #[aggregate(category = "other", id = u8, revision = 1)]
        pub(crate) struct State {
            /// In cents.
            pub(crate) balance: u64,
            owners: std :: collections::BTreeMap<
                String,
                u8,
            >,
        }
    revised:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        #[aggregate(revision = 2)]
        struct State { balance: u64, owners: std::collections::BTreeMap<String, u8> }
    renamed:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        struct State { amount: u64, owners: std::collections::BTreeMap<String, u8> }
    retyped:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        struct State { balance: i64, owners: std::collections::BTreeMap<String, u8> }
    reordered:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        struct State { owners: std::collections::BTreeMap<String, u8>, balance: u64 }
    renamed_by_serde:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        struct State {
            #[serde(rename = "b")]
            balance: u64,
            owners: std::collections::BTreeMap<String, u8>,
        }
    recased_by_serde:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        #[serde(rename_all = "UPPERCASE")]
        struct State { balance: u64, owners: std::collections::BTreeMap<String, u8> }
    two_variants:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        enum State { #[default] Closed, Open { balance: u64 } }
    other_variants:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        enum State { #[default] Closed, Opened { balance: u64 } }
    three_variants:
        #[derive(Default, Serialize, Deserialize, Aggregate)]
        enum State { #[default] Closed, Open { balance: u64 }, Frozen }
}

#[test]
fn what_a_snapshot_does_not_hold_leaves_the_fingerprint_alone() {
    assert_eq!(plain::FINGERPRINT, dressed::FINGERPRINT);
}

#[test]
fn what_a_snapshot_depends_on_changes_the_fingerprint() {
    let fingerprints = [
        plain::FINGERPRINT,
        revised::FINGERPRINT,
        renamed::FINGERPRINT,
        retyped::FINGERPRINT,
        reordered::FINGERPRINT,
        renamed_by_serde::FINGERPRINT,
        recased_by_serde::FINGERPRINT,
        two_variants::FINGERPRINT,
        other_variants::FINGERPRINT,
        three_variants::FINGERPRINT,
    ];
    for (at, fingerprint) in fingerprints.iter().enumerate() {
        assert!(!fingerprints[..at].contains(fingerprint), "number {at} is there twice");
    }
}

/// If this fails, every stored snapshot of every program is read anew from its
/// events after an upgrade: do that on purpose only.
#[test]
fn the_fingerprint_of_a_shape_never_changes() {
    assert_eq!(plain::FINGERPRINT, 0x706b_43ce_4b02_aacc);
}
