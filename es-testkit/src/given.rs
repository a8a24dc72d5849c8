use std::fmt::{Debug, Write};

use es_core::{Aggregate, Evolve};

/// Begins a test of an aggregate, with what has happened so far.
///
/// Nothing but the aggregate's own functions runs: no store, no clock, no
/// tasks.
///
/// ```
/// use es_testkit::{given, sample::{Account, AccountEvent::{Deposited, Withdrawn}, Overdrawn}};
///
/// given::<Account>([Deposited { amount: 7 }])
///     .when(|account| account.withdraw(5))
///     .then([Withdrawn { amount: 5 }]);
///
/// given::<Account>([])
///     .when(|account| account.withdraw(5))
///     .then_rejected(Overdrawn { balance: 0 });
/// ```
pub fn given<A: Evolve>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in events {
        evolve(&mut state, &event);
    }
    Given { state }
}

/// As a load does it.
fn evolve<A: Evolve>(state: &mut A, event: &A::Event) {
    if A::is_whole(event) {
        *state = A::default();
    }
    state.evolve(event);
}

/// An aggregate with a past; see [`given`].
///
/// ```
/// use es_testkit::{Given, given, sample::Account};
///
/// let nothing: Given<Account> = given([]);
/// nothing.then_state(|account| account.balance == 0);
/// ```
#[derive(Debug)]
pub struct Given<A> {
    state: A,
}

/// What an aggregate decided; see [`given`].
///
/// ```
/// use es_testkit::{Decided, given, sample::Account};
///
/// let decided: Decided<Account> = given([]).when(|_| Ok(vec![]));
/// decided.then_nothing();
/// ```
#[derive(Debug)]
#[must_use = "a test says what is due: then, then_rejected, then_nothing"]
pub struct Decided<A: Aggregate> {
    state: A,
    decision: Result<Vec<A::Event>, A::Error>,
}

impl<A: Evolve> Given<A> {
    /// Asserts something about the state.
    ///
    /// # Panics
    ///
    /// If it is not so.
    #[track_caller]
    pub fn then_state(self, is_so: impl FnOnce(&A) -> bool) -> Self {
        assert!(is_so(&self.state), "the state is not as it is due");
        self
    }

    /// Hands over the state.
    pub fn state(self) -> A {
        self.state
    }
}

impl<A: Aggregate> Given<A> {
    /// Lets the aggregate decide.
    pub fn when<F>(self, decide: F) -> Decided<A>
    where
        F: FnOnce(&A) -> Result<Vec<A::Event>, A::Error>,
    {
        let decision = decide(&self.state);
        Decided { state: self.state, decision }
    }
}

impl<A: Aggregate> Decided<A>
where
    A::Event: Debug,
    A::Error: Debug,
{
    /// Asserts that exactly these events were decided, in this order, and goes
    /// on with them as the past.
    ///
    /// # Panics
    ///
    /// If others were, or the command was rejected; the message sets both side
    /// by side.
    #[track_caller]
    pub fn then(self, due: impl IntoIterator<Item = A::Event>) -> Given<A>
    where
        A::Event: PartialEq,
    {
        let due: Vec<_> = due.into_iter().collect();
        match self.decision {
            Ok(events) if events == due => {
                let mut state = self.state;
                events.iter().for_each(|event| evolve(&mut state, event));
                Given { state }
            }
            Ok(events) => panic!("other events were due{}", difference(&due, &events)),
            Err(error) => panic!("events were due, but it was rejected: {error:?}"),
        }
    }

    /// Asserts that nothing was decided.
    ///
    /// # Panics
    ///
    /// If there are events, or the command was rejected.
    #[track_caller]
    pub fn then_nothing(self) -> Given<A> {
        match self.decision {
            Ok(events) if events.is_empty() => Given { state: self.state },
            Ok(events) => panic!("nothing was due, but these events came: {events:#?}"),
            Err(error) => panic!("nothing was due, but it was rejected: {error:?}"),
        }
    }

    /// Asserts that the command was rejected for this reason.
    ///
    /// # Panics
    ///
    /// If it was not, or for another reason.
    #[track_caller]
    pub fn then_rejected(self, due: A::Error) -> Given<A>
    where
        A::Error: PartialEq,
    {
        match self.decision {
            Err(error) if error == due => Given { state: self.state },
            Err(error) => panic!("another rejection was due\n  due:   {due:?}\n  found: {error:?}"),
            Ok(events) => {
                panic!("a rejection was due, {due:?}, but these events came: {events:#?}")
            }
        }
    }

    /// Asserts something about the state after what was decided.
    ///
    /// # Panics
    ///
    /// If it is not so, or the command was rejected.
    #[track_caller]
    pub fn then_state(self, is_so: impl FnOnce(&A) -> bool) -> Given<A> {
        let mut state = self.state;
        match self.decision {
            Ok(events) => events.iter().for_each(|event| evolve(&mut state, event)),
            Err(error) => panic!("events were due, but it was rejected: {error:?}"),
        }
        Given { state }.then_state(is_so)
    }
}

/// Both lists line by line: ` ` for what is the same, `-` for what is missing,
/// `+` for what should not be there.
fn difference<E: Debug>(due: &[E], found: &[E]) -> String {
    let lines =
        |events: &[E]| -> Vec<String> { events.iter().map(|event| format!("{event:?}")).collect() };
    let (due, found) = (lines(due), lines(found));
    let mut text = String::new();
    for at in 0..due.len().max(found.len()) {
        let _ = match (due.get(at), found.get(at)) {
            (Some(due), Some(found)) if due == found => write!(text, "\n    {due}"),
            (Some(due), Some(found)) => write!(text, "\n  - {due}\n  + {found}"),
            (Some(due), None) => write!(text, "\n  - {due}"),
            (None, found) => write!(text, "\n  + {}", found.map_or("", String::as_str)),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{
        Account,
        AccountEvent::{Deposited, Withdrawn},
        Overdrawn,
    };

    #[test]
    fn what_was_decided_is_the_past_of_the_next_decision() {
        given::<Account>([Deposited { amount: 7 }])
            .when(|account| account.withdraw(5))
            .then([Withdrawn { amount: 5 }])
            .then_state(|account| account.balance == 2)
            .when(|account| account.withdraw(5))
            .then_rejected(Overdrawn { balance: 2 });
    }

    #[test]
    #[should_panic(expected = "  - Withdrawn { amount: 4 }\n  + Withdrawn { amount: 5 }")]
    fn another_event_is_set_beside_the_one_that_is_due() {
        let _ = given::<Account>([Deposited { amount: 7 }])
            .when(|account| account.withdraw(5))
            .then([Withdrawn { amount: 4 }]);
    }

    #[test]
    #[should_panic(expected = "events were due, but it was rejected: Overdrawn { balance: 0 }")]
    fn a_rejection_where_events_are_due_fails() {
        let _ = given::<Account>([]).when(|account| account.withdraw(5)).then([]);
    }

    #[test]
    #[should_panic(expected = "a rejection was due")]
    fn events_where_a_rejection_is_due_fail() {
        let _ = given::<Account>([Deposited { amount: 7 }])
            .when(|account| account.withdraw(5))
            .then_rejected(Overdrawn { balance: 7 });
    }

    #[test]
    #[should_panic(expected = "nothing was due")]
    fn events_where_nothing_is_due_fail() {
        let _ = given::<Account>([Deposited { amount: 7 }])
            .when(|account| account.withdraw(5))
            .then_nothing();
    }
}
