//! What the members write into the log of dead letters, and read again before they go on.

use std::time::Duration;

use chrono::SubsecRound;
use es_core::{Fault, Message, Order, StoreError};
use tokio::sync::oneshot;

use super::{Members, Origin, Unsettled};
use crate::{
    envelope::Uid,
    error::{forgotten, unheard},
    letters::{self, Change, Known, REASON, Record},
};

/// How long a record may take until it is read here.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// The pause before it is tried again to read all that was written.
const CATCH_UP_AGAIN: Duration = Duration::from_millis(250);

impl Members {
    /// Writes that the message is a dead letter, and waits until all here know.
    pub(super) async fn keep_apart(
        &self,
        unsettled: &Unsettled,
        mut fault: Fault,
    ) -> Result<(), StoreError> {
        if let Some((end, _)) = fault.reason.char_indices().nth(REASON) {
            fault.reason.truncate(end);
        }
        let order = self.queue.lock().order;
        let known = Known {
            uid: unsettled.uid,
            to: unsettled.to.clone(),
            fault,
            attempts: unsettled.attempt,
            at: self.server.world.now().trunc_subsecs(6),
            is_whole: order == Order::Whole,
            has_lane: order != Order::None,
        };
        let number = (unsettled.origin == Origin::Letter).then_some(unsettled.number);
        let record = Record::Buried { number, known };
        self.append(&record, Some(&unsettled.message)).await.map(drop)
    }

    /// Waits until all is read that was written before.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        self.append(&Record::Looked, None).await.map(drop)
    }

    /// The same, again and again, as long as this process has the message.
    pub(super) async fn catch_up_with(&self, unsettled: &Unsettled) {
        while !self.is_closed() && self.queue.lock().channel(unsettled).is_some() {
            match self.catch_up().await {
                Ok(()) => return,
                Err(_) => self.server.world.sleep(CATCH_UP_AGAIN).await,
            }
        }
    }

    /// Writes a record, and waits until it is read here.
    pub(super) async fn append(
        &self,
        record: &Record,
        message: Option<&Message>,
    ) -> Result<Change, StoreError> {
        let uid = Uid::new(&self.server.world);
        let read = self.when_read(uid);
        if !letters::append(&self.server, &self.group, uid, record, message).await? {
            return Err(forgotten(&self.group));
        }
        tokio::select! {
            read = read => read.map_err(|_| unheard(&self.group, READ_WITHIN)),
            () = self.server.world.sleep(READ_WITHIN) => Err(unheard(&self.group, READ_WITHIN)),
        }
    }

    /// Tells of the record with this number when it is read here.
    pub(crate) fn when_read(&self, uid: Uid) -> oneshot::Receiver<Change> {
        self.queue.lock().when_read(uid)
    }
}
