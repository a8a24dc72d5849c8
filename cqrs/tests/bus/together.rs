//! Decisions about several aggregates at once.

use cqrs::{Commands, DecideTogether, SendError};
use es_core::{AggregateStoreExt, EventStore, Metadata, Tenant, Version, memory::MemoryStore};
use es_sqlite::SqliteStore;

use crate::{
    bank::{Account, AccountEvent, Refusal, assert_never_below_zero, balance, deposit, history},
    faulty::Faulty,
};

type Two = (Vec<AccountEvent>, Vec<AccountEvent>);

#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) amount: i64,
}

impl DecideTogether for Transfer {
    type Aggregates = (Account, Account);
    type Error = Refusal;

    fn ids(&self) -> (String, String) {
        (self.from.clone(), self.to.clone())
    }

    fn decide(&self, (from, _): (&Account, &Account)) -> Result<Two, Refusal> {
        if from.balance < self.amount {
            return Err(Refusal { balance: from.balance });
        }
        let Self { amount, .. } = *self;
        Ok((vec![AccountEvent::Withdrawn { amount }], vec![AccountEvent::Deposited { amount }]))
    }
}

/// Pays in what another account holds, which is only looked at.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    pub(crate) account: String,
    pub(crate) guard: String,
}

impl DecideTogether for Guarded {
    type Aggregates = (Account, Account);
    type Error = Refusal;

    fn ids(&self) -> (String, String) {
        (self.account.clone(), self.guard.clone())
    }

    fn decide(&self, (_, guard): (&Account, &Account)) -> Result<Two, Refusal> {
        Ok((vec![AccountEvent::Deposited { amount: guard.balance }], Vec::new()))
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may start tasks as it likes")]
async fn transfers_keep_the_sum(store: impl EventStore + Clone, each: usize) {
    let commands = Commands::new(store.clone());
    for account in 0..8 {
        commands.send(deposit(&account.to_string(), 20)).await.unwrap();
    }
    let tasks: Vec<_> = (0..16_usize)
        .map(|task| {
            let commands = Commands::new(store.clone());
            tokio::spawn(async move {
                for n in 0..each {
                    let from = (task * 5 + n * 3) % 8;
                    let to = (from + 1 + (task + n) % 7) % 8;
                    let amount = ((task + n) % 9) as i64 + 1;
                    let (from, to) = (from.to_string(), to.to_string());
                    match commands.send_together(Transfer { from, to, amount }).await {
                        Ok(_) | Err(SendError::Rejected(_) | SendError::Contended { .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut sum = 0;
    for account in 0..8 {
        assert_never_below_zero(&store, &account.to_string()).await;
        sum += balance(&store, &account.to_string()).await;
    }
    assert_eq!(sum, 160);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transfers_among_eight_accounts_by_sixteen_tasks_keep_the_sum_in_memory() {
    transfers_keep_the_sum(MemoryStore::new(), 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transfers_among_eight_accounts_by_sixteen_tasks_keep_the_sum_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    transfers_keep_the_sum(store, 20).await;
}

/// The account is charged while the transfer is under way.
#[tokio::test]
async fn a_transfer_from_an_account_that_has_moved_is_decided_again() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    let racer = store.inner.clone();
    store.race(async move {
        let one = [AccountEvent::Withdrawn { amount: 1 }];
        racer.commit::<Account>(&"ada".to_owned(), Version::new(1), &one).await.unwrap();
    });
    let all = Transfer { from: "ada".into(), to: "bob".into(), amount: 5 };
    let answer = commands.send_together(all).await;
    let rejected = matches!(answer, Err(SendError::Rejected(Refusal { balance: 4 })));
    assert!(rejected, "{answer:?}");
    assert!(history(&store.inner, "bob").await.is_empty());
}

#[tokio::test]
async fn a_guard_that_has_moved_makes_the_decision_again() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(deposit("rate", 3)).await.unwrap();
    let racer = store.inner.clone();
    store.race(async move {
        let more = [AccountEvent::Deposited { amount: 4 }];
        racer.commit::<Account>(&"rate".to_owned(), Version::new(1), &more).await.unwrap();
    });
    let guarded = Guarded { account: "ada".into(), guard: "rate".into() };
    commands.send_together(guarded).await.unwrap();
    assert_eq!(balance(&store.inner, "ada").await, 7);
}

#[tokio::test]
async fn metadata_and_tenant_reach_every_event_of_a_decision_together() {
    let store = MemoryStore::new();
    let acme = Tenant::new("acme").unwrap();
    let theirs = Commands::new(store.clone()).of(acme.clone());
    theirs.send(deposit("ada", 5)).await.unwrap();
    let by_ada = theirs.with(Metadata::new().user_id("ada"));
    let all = Transfer { from: "ada".into(), to: "bob".into(), amount: 5 };
    by_ada.send_together(all).await.unwrap();
    use es_core::EventStoreExt;
    let events = store.events(es_core::Read::all().of(acme)).await.unwrap();
    let users: Vec<_> = events.iter().map(|e| e.metadata.fields().user_id.as_deref()).collect();
    assert_eq!(users, [None, Some("ada"), Some("ada")]);
    assert!(history(&store, "ada").await.is_empty());
}

/// Documented as a mistake; it must be told apart from contention, which a
/// caller tries again for ever.
#[tokio::test]
async fn a_transfer_to_oneself_is_not_told_to_try_later() {
    let commands = Commands::new(MemoryStore::new());
    commands.send(deposit("ada", 5)).await.unwrap();
    let to_self = Transfer { from: "ada".into(), to: "ada".into(), amount: 1 };
    let answer = commands.send_together(to_self).await;
    assert!(!matches!(answer, Err(SendError::Contended { .. })), "{answer:?}");
}
