//! Bells that are rung in turns, not too far ahead of those who hear them.

use std::{ops::Range, time::Duration};

use es_bus::EventBus;
use es_core::{Topic, World};
use tests::brokers::Rung;
use tokio::sync::watch;

use crate::LONG;

/// How many there are.
pub(crate) const BELLS: u64 = 48;
/// Messages that may wait to be heard.
const AHEAD: u64 = 400;
/// What is lost is not waited for longer.
const PATIENCE: Duration = Duration::from_millis(300);
/// What is sent while the server is away is confirmed when it is up again, which may take long.
const OVER_A_RESTART: Duration = LONG.saturating_mul(4);
/// The pause before what was not confirmed is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// So many were heard by now.
    Heard(u64),
    /// It is enough.
    Enough,
}

/// Rings some of the bells.
pub(crate) struct Ringer {
    bus: EventBus,
    bells: Range<u64>,
    round: u64,
}

impl Ringer {
    pub(crate) fn new(bus: EventBus, bells: Range<u64>) -> Self {
        Self { bus, bells, round: 0 }
    }

    /// Rings until it is enough, and returns itself.
    pub(crate) async fn run(mut self, mut ring: watch::Receiver<Ring>) -> Self {
        while *ring.borrow_and_update() != Ring::Enough {
            self.ring().await;
            let rung = self.round * BELLS;
            let ready = |ring: &Ring| match ring {
                Ring::Heard(heard) => rung < heard + AHEAD,
                Ring::Enough => true,
            };
            // Whether it was waited for in vain does not matter.
            let _ = tokio::time::timeout(PATIENCE, ring.wait_for(ready)).await;
        }
        self
    }

    /// Goes on until as many rounds are rung.
    pub(crate) async fn catch_up(&mut self, round: u64) {
        while self.round < round {
            self.ring().await;
        }
    }

    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// Sends the next round, again and again until it is confirmed. A bell is in it once: of a
    /// batch, not every broker has all or nothing.
    pub(crate) async fn ring(&mut self) {
        let number = self.round + 1;
        let rung = self.bells.clone().map(|bell| Rung { bell, number });
        let message = |rung: Rung| {
            let message = self.bus.message(&rung).unwrap();
            message.with_key(rung.bell.to_string())
        };
        let messages: Vec<_> = rung.map(message).collect();
        let topic = Topic::new("bell.rung").unwrap();
        let sent = async {
            while self.bus.send(topic.clone(), messages.clone()).await.is_err() {
                World::real().sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(OVER_A_RESTART, sent).await.expect("a broker that confirms");
        self.round = number;
    }
}
