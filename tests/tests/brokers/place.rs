//! A broker, the file in which everything heard is entered, and programs that hear.

use std::{fs::OpenOptions, path::PathBuf, process::Stdio, sync::Arc};

use es_bus::EventBus;
use es_core::World;
use es_testkit::mutants::BrokerBug;
use tests::brokers::{Entry, Inbox, bus, ears};
use tokio::{process::Command, sync::watch};

use crate::{
    LONG, LOOK,
    ringing::{BELLS, Ring},
    server::Server,
    truth::{Verdict, check},
};

pub(crate) const WORKER: &str = env!("CARGO_BIN_EXE_broker_worker");

pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) bus: EventBus,
    folder: tempfile::TempDir,
    flags: &'static [&'static str],
}

impl Place {
    /// Where every program has these bugs, one of which may be the broker's.
    pub(crate) async fn new(
        server: Server,
        flags: &'static [&'static str],
        bug: Option<BrokerBug>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(&folder.path().join("inbox.db"), Entry::Asked).unwrap();
        let (inbox, bus) = (Arc::new(inbox), bus(&server.url(), bug).await.unwrap());
        // From now on it gets what is published.
        let founded = bus.subscribe(ears(&inbox)).await.unwrap();
        assert!(founded.drain().await.is_clean());
        Self { server, inbox, bus, folder, flags }
    }

    /// A program that hears, and tells of its failure in a file of this place.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(WORKER);
        command.arg("hear").arg(self.server.url()).arg(self.file("inbox.db")).args(self.flags);
        let told = OpenOptions::new().create(true).append(true).open(self.file("told")).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(told).kill_on_drop(true);
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the programs have told of.
    pub(crate) fn told(&self) -> String {
        std::fs::read_to_string(self.file("told")).unwrap_or_default()
    }

    /// Tells who rings how many were heard, for ever.
    pub(crate) async fn listen(&self, ring: &watch::Sender<Ring>) {
        loop {
            ring.send_replace(Ring::Heard(self.count()));
            World::real().sleep(LOOK).await;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        tokio::task::block_in_place(|| self.inbox.count()).unwrap()
    }

    /// Waits until so many more were heard.
    pub(crate) async fn hears(&self, more: u64) {
        let due = self.count() + more;
        let heard = async {
            while self.count() < due {
                World::real().sleep(LOOK).await;
            }
        };
        tokio::time::timeout(LONG, heard).await.expect("messages are heard");
    }

    /// Hears what is left, and says how it all went: the last of each bell comes behind all
    /// the others of it.
    pub(crate) async fn settle(&self, rounds: u64) -> Verdict {
        let running = self.bus.subscribe(ears(&self.inbox)).await.unwrap();
        let last = async {
            while self.inbox.heard(rounds).unwrap() < BELLS {
                World::real().sleep(LOOK).await;
            }
        };
        tokio::time::timeout(LONG, last).await.expect("the last of each bell comes");
        assert!(running.drain().await.is_clean());
        check(&self.inbox.effects().unwrap(), BELLS, rounds)
    }
}
