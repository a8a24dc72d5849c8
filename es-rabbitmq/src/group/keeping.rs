//! Which partitions this process has, and how it shares them with others.

use std::{collections::HashSet, pin::pin, time::Duration};

use es_core::{Order, StoreError, StoreErrorKind};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::{
    Channel, Connection, Consumer,
    options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions},
    protocol::AMQPSoftError,
    types::FieldTable,
};
use tracing::warn;

use super::{Members, OPEN_WITHIN};
use crate::{
    error::{forgotten, illegible, is, unavailable},
    letters::{Keep, Reader},
    server::{FINE, channel, is_there, name},
};

/// How often it is looked who else is there.
const LOOK: Duration = Duration::from_millis(250);
/// The longest pause between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Most looks at who is there between two at what nobody has: each of those is an error of a
/// channel for every partition that somebody has.
const MOST_LOOKS: u32 = 16;

/// When it is looked again for what nobody has: ever more seldom while nothing is found.
#[derive(Default)]
struct Looks {
    processes: u32,
    left: u32,
    pause: u32,
}

/// What says that this process takes part, as long as its connection lasts.
struct Presence {
    channel: Channel,
    _counted: Consumer,
}

impl Members {
    /// Works for the members until there are none, or the group is forgotten.
    pub(crate) async fn work(&self) {
        let mut tries = 0;
        while !self.is_empty() && !self.is_closed() {
            let begun = self.server.world.now();
            let error = match self.session().await {
                Ok(()) => break,
                Err(error) => error,
            };
            if error.kind() == StoreErrorKind::Closed && self.is_forgotten().await {
                self.close(forgotten);
                break;
            }
            if error.kind() == StoreErrorKind::Corrupt {
                warn!(%error, group = %self.group, "the group cannot be served");
                self.close(illegible);
                break;
            }
            warn!(%error, group = %self.group, "the group is not served, it is tried again");
            let lasted = (self.server.world.now() - begun).to_std().unwrap_or_default();
            tries = if lasted > LONGEST_PAUSE { 0 } else { tries + 1 };
            let pause = Duration::from_millis(20 << u32::min(tries, 7)).min(LONGEST_PAUSE);
            self.server.world.sleep(pause).await;
        }
        self.queue.lock().begin_anew();
        self.changed.notify_waiters();
    }

    /// Whether the group is gone for sure: a server that comes up says of queues that they are
    /// not there.
    async fn is_forgotten(&self) -> bool {
        let charter = self.server.names.charter(&self.group);
        match self.server.channel().await {
            Ok(channel) => is_there(&channel, charter).await.is_ok_and(|is_there| !is_there),
            Err(_) => false,
        }
    }

    /// Works over a connection of its own, until there are no members. The partitions that it
    /// has are free when that is closed, however it ends.
    async fn session(&self) -> Result<(), StoreError> {
        let connection = self.server.new_connection().await?;
        self.queue.lock().begin_anew();
        let ended = self.work_over(&connection).await;
        self.queue.lock().begin_anew();
        self.let_go.notify_waiters();
        self.close_channels().await;
        self.server.close(connection).await;
        ended
    }

    async fn work_over(&self, connection: &Connection) -> Result<(), StoreError> {
        let channel = channel(connection).await?;
        let reader = Reader::open(&self.server, channel, &self.group, Keep::GivenBack).await?;
        let reader = reader.ok_or_else(|| forgotten(&self.group))?;
        let presence = self.be_counted(connection).await?;
        tokio::select! {
            ended = self.follow(reader) => ended?,
            ended = self.share(connection, &presence) => ended?,
        }
        let left = presence.channel.close(FINE, name("nobody is here")).await;
        left.map_err(|error| unavailable("this process is still counted", error))
    }

    async fn follow(&self, mut reader: Reader) -> Result<(), StoreError> {
        let partition_of = |message: &_| self.server.names.partition(message);
        loop {
            let entry = reader.next().await?;
            self.queue.lock().read(entry, partition_of);
            self.changed.notify_waiters();
        }
    }

    async fn be_counted(&self, connection: &Connection) -> Result<Presence, StoreError> {
        let failed = |error| unavailable("this process cannot be counted", error);
        let channel = channel(connection).await?;
        let processes = name(self.server.names.processes(&self.group));
        let options =
            QueueDeclareOptions { durable: true, auto_delete: true, ..Default::default() };
        let declared = channel.queue_declare(processes.clone(), options, FieldTable::default());
        declared.await.map_err(failed)?;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let counted = channel.basic_consume(processes, name(""), options, FieldTable::default());
        Ok(Presence { _counted: counted.await.map_err(failed)?, channel })
    }

    /// How many processes take part, this one among them.
    async fn processes(&self, presence: &Presence) -> Result<u32, StoreError> {
        let processes = name(self.server.names.processes(&self.group));
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let found = presence.channel.queue_declare(processes, options, FieldTable::default()).await;
        let found = found.map_err(|error| unavailable("the processes cannot be counted", error))?;
        Ok(found.consumer_count().max(1))
    }

    /// Takes its share of the partitions and hands over the rest, again and again.
    async fn share(&self, connection: &Connection, presence: &Presence) -> Result<(), StoreError> {
        let mut work = FuturesUnordered::new();
        let mut ours = HashSet::new();
        let begun = self.server.world.now();
        let mut is_opening = false;
        let mut looks = Looks::default();
        loop {
            let processes = self.processes(presence).await?;
            let (kept, most) = if self.is_empty() { (0, 0) } else { self.most(processes) };
            self.leave_all_but(kept);
            if most == 0 && ours.is_empty() {
                return Ok(());
            }
            let mut taken = Vec::new();
            if most > ours.len() && looks.is_due(processes) {
                taken = self.take_up_to(most, connection, &ours).await?;
                looks.note(taken.len());
            }
            if !is_opening {
                is_opening = true;
                self.queue.lock().open(taken.iter().map(|(unit, _)| *unit));
                self.changed.notify_waiters();
            } else if (self.server.world.now() - begun).to_std().is_ok_and(|it| it > OPEN_WITHIN) {
                self.queue.lock().open([]);
            }
            for (unit, channel) in taken {
                ours.insert(unit);
                work.push(async move { (unit, self.hand_out(unit, channel).await) });
            }
            let mut look = pin!(self.server.world.sleep(LOOK));
            loop {
                tokio::select! {
                    Some((unit, ended)) = work.next() => {
                        ours.remove(&unit);
                        looks = Looks::default();
                        self.give_away(unit, presence).await?;
                        self.note(ended)?;
                    }
                    () = self.keep.notified() => break,
                    () = &mut look => break,
                }
                if self.is_empty() {
                    break;
                }
            }
        }
    }

    /// One partition may be lost alone, and is taken again.
    fn note(&self, ended: Result<(), StoreError>) -> Result<(), StoreError> {
        match ended {
            Err(error) if error.kind() == StoreErrorKind::Closed => Err(error),
            Err(error) => {
                warn!(%error, group = %self.group, "a partition was lost, it is taken again");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// How many partitions this process keeps at most, and up to how many it takes. Where
    /// all wait for each other, one process has all of them: whoever has the first.
    fn most(&self, processes: u32) -> (usize, usize) {
        let all = usize::try_from(self.server.names.partitions).unwrap_or(usize::MAX);
        let queue = self.queue.lock();
        match queue.order {
            Order::Whole if queue.staying().contains(&0) => (all, all),
            Order::Whole => (0, 1),
            Order::None | Order::Key => {
                let share = all.div_ceil(usize::try_from(processes).unwrap_or(usize::MAX));
                (share, share)
            }
        }
    }

    fn leave_all_but(&self, most: usize) {
        let mut queue = self.queue.lock();
        for unit in queue.staying().into_iter().skip(most) {
            queue.leave(unit);
        }
        drop(queue);
        self.let_go.notify_waiters();
    }

    /// Takes partitions that nobody has, until it has so many.
    async fn take_up_to(
        &self,
        most: usize,
        connection: &Connection,
        ours: &HashSet<u32>,
    ) -> Result<Vec<(u32, Channel)>, StoreError> {
        let mut taken = Vec::new();
        for unit in self.in_some_order(most).filter(|unit| !ours.contains(unit)) {
            if ours.len() + taken.len() >= most {
                break;
            }
            if let Some(channel) = self.own(unit, connection).await? {
                taken.push((unit, channel));
            }
        }
        Ok(taken)
    }

    /// Not all processes begin with the same one, but where one has to have all of them.
    fn in_some_order(&self, most: usize) -> impl Iterator<Item = u32> + use<> {
        let partitions = self.server.names.partitions;
        let is_whole = self.queue.lock().order == Order::Whole;
        let chance = self.server.world.random_u64() % u64::from(partitions);
        let start = if is_whole { 0 } else { u32::try_from(chance).unwrap_or_default() };
        let tried = if is_whole && most == 1 { 1 } else { partitions };
        (0..tried).map(move |at| (start + at) % partitions)
    }

    /// Takes a partition unless another process has it: a queue that only one connection may
    /// use says so, and is gone when its connection is.
    async fn own(&self, unit: u32, connection: &Connection) -> Result<Option<Channel>, StoreError> {
        let channel = channel(connection).await?;
        let owner = name(self.server.names.owner(unit, &self.group));
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        match channel.queue_declare(owner, options, FieldTable::default()).await {
            Ok(_) => Ok(Some(channel)),
            Err(error) if is(&error, AMQPSoftError::RESOURCELOCKED) => Ok(None),
            Err(error) => Err(unavailable("a partition cannot be taken", error)),
        }
    }

    /// Lets others take it.
    async fn give_away(&self, unit: u32, presence: &Presence) -> Result<(), StoreError> {
        let owner = name(self.server.names.owner(unit, &self.group));
        let given = presence.channel.queue_delete(owner, QueueDeleteOptions::default()).await;
        given.map(drop).map_err(|error| unavailable("a partition was not given away", error))
    }
}

impl Looks {
    fn is_due(&mut self, processes: u32) -> bool {
        if self.processes != processes {
            *self = Self { processes, ..Self::default() };
        }
        let is_due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_due
    }

    fn note(&mut self, found: usize) {
        self.left = if found == 0 { self.pause } else { 0 };
        self.pause = if found == 0 { (2 * self.pause + 1).min(MOST_LOOKS - 1) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_ever_more_seldom_until_somebody_comes_or_goes() {
        let mut looks = Looks::default();
        let mut due = |processes, count| {
            let is_due = |_: &i32| {
                let is_due = looks.is_due(processes);
                if is_due {
                    looks.note(0);
                }
                is_due
            };
            (0..count).filter(is_due).collect::<Vec<_>>()
        };
        assert_eq!(due(3, 48), [0, 1, 3, 7, 15, 31, 47]);
        assert_eq!(due(2, 5), [0, 1, 3]);
    }
}
