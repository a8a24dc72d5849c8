//! New: a read model with a mistake is mended by folding history again, while the old rows
//! answer.

use examples::{AccountEvent, Deposit, Withdraw};
use gesta::{Commands, Evolve, Keys, Projector, Recorded, View, sqlite::SqliteStore};
use serde::{Deserialize, Serialize};

/// How much money goes through an account, as it was written at first.
#[derive(Default, Serialize, Deserialize)]
struct Turnover {
    total: u64,
}

impl Evolve for Turnover {
    type Event = AccountEvent;
    fn evolve(&mut self, event: &AccountEvent) {
        // The mistake: withdrawals are forgotten.
        if let AccountEvent::Deposited { amount } = event {
            self.total += amount;
        }
    }
}

impl View for Turnover {
    const NAME: &'static str = "turnover";
    type Key = String;
    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

/// The same model, mended; under the same name it takes over the same rows.
#[derive(Default, Serialize, Deserialize)]
struct Mended {
    total: u64,
}

impl Evolve for Mended {
    type Event = AccountEvent;
    fn evolve(&mut self, event: &AccountEvent) {
        let (AccountEvent::Deposited { amount } | AccountEvent::Withdrawn { amount }) = event;
        self.total += amount;
    }
}

impl View for Mended {
    const NAME: &'static str = Turnover::NAME;
    // Rows of an older revision are not touched by this code, but built anew.
    const REVISION: u64 = 1;
    type Key = String;
    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Turnover::keys(event)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("bank.db")).await?;
    let commands = Commands::new(store.clone());
    commands.send(Deposit::new("ada", 50)).await?;
    commands.send(Withdraw::new("ada", 20)).await?;

    // The rows and the checkpoint live in the file of the events.
    let first = Projector::new(store.clone(), store.clone()).view::<Turnover>();
    first.catch_up().await?;
    let wrong = first.get::<Turnover>(&"ada".into()).await?.ok_or("a row for ada")?;
    assert_eq!(wrong.total, 50);

    // The old rows answer until the new ones are whole.
    let mended = Projector::new(store.clone(), store.clone()).view::<Mended>();
    let old = mended.get::<Mended>(&"ada".into()).await?.ok_or("a row for ada")?;
    assert_eq!(old.total, 50);
    let progress = mended.catch_up().await?;
    let right = mended.get::<Mended>(&"ada".into()).await?.ok_or("a row for ada")?;
    assert_eq!(right.total, 70);
    println!(
        "{} was wrong, {} is right, from {} events",
        wrong.total, right.total, progress.events
    );
    store.close().await;
    Ok(())
}
