//! The connections to the server, and how something gets there for sure.

use std::{sync::Arc, time::Duration};

use es_core::{Group, StoreError, StoreErrorKind, World};
use lapin::{
    Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind, PublisherConfirm,
    options::{
        BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions,
    },
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable, ShortString},
    uri::AMQPUri,
};
use tokio::sync::Mutex;

use crate::{
    RabbitOptions, envelope,
    error::{
        is, nacked, no_address, partitioned, silent, too_large, unavailable, unconfirmed,
        unpublished, unreachable,
    },
    names::Names,
};

/// How long the server may take to answer.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);
/// How it is said that something is closed because nobody needs it any more.
pub(crate) const FINE: u16 = 200;
/// How long it may take to confirm.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(30);
/// Most bytes that a dead letter has more in its headers than the message had.
const LETTER: usize = 16 * 1_024;
/// So often may a message come back because its process died: for ever. It is set so that
/// what comes back stands in front, as the order demands.
const RETURNS: i64 = i32::MAX as i64;
/// Most bytes of a message that the server of every version takes unless told otherwise.
pub(crate) const SURE_BYTES: usize = 16 * 1_024 * 1_024;

/// Two connections that are made again when they are needed: who publishes too fast is
/// slowed down by the server, and must not slow down who looks. Each group has one more for
/// each session, with which all goes that it has declared for itself.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) names: Names,
    pub(crate) world: World,
    publishing: Link,
    consuming: Link,
    publisher: Mutex<Option<Channel>>,
}

/// A connection that is made again when it is needed.
#[derive(Debug)]
struct Link {
    uri: AMQPUri,
    name: String,
    world: World,
    current: Mutex<Option<Arc<Connection>>>,
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) exchange: String,
    pub(crate) key: String,
    pub(crate) headers: FieldTable,
    pub(crate) properties: lapin::BasicProperties,
    pub(crate) payload: bytes::Bytes,
    /// Whether it has to arrive at a queue.
    pub(crate) must_arrive: bool,
}

impl Server {
    pub(crate) async fn connect(options: RabbitOptions) -> Result<Self, StoreError> {
        let mut uri: AMQPUri = options.url.parse().map_err(|why: String| no_address(&why))?;
        let seconds = u16::try_from(options.heartbeat.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat.get_or_insert(seconds);
        let link = |what: &str| Link {
            uri: uri.clone(),
            name: format!("gesta {}: {what}", options.prefix),
            world: options.world.clone(),
            current: Mutex::default(),
        };
        let server = Self {
            names: Names::new(options.prefix.clone(), options.partitions),
            publishing: link("publishes"),
            consuming: link("consumes"),
            publisher: Mutex::default(),
            world: options.world,
        };
        server.make_exchanges(&options.prefix).await?;
        Ok(server)
    }

    async fn make_exchanges(&self, prefix: &str) -> Result<(), StoreError> {
        let channel = self.channel().await?;
        let names = &self.names;
        let says = names.agreement();
        match declare(&channel, names.about(), ExchangeKind::Fanout, &says).await {
            Err(error) if is(&error, AMQPSoftError::PRECONDITIONFAILED) => {
                return Err(partitioned(prefix));
            }
            agreed => agreed.map_err(|error| unavailable("an exchange was not made", error))?,
        }
        self.make_routes(&channel).await
    }

    /// The exchanges through which messages go.
    async fn make_routes(&self, channel: &Channel) -> Result<(), StoreError> {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let routes = [
            (self.names.topics().to_owned(), ExchangeKind::Topic),
            (self.names.groups(), ExchangeKind::Direct),
        ];
        for (name, kind) in routes {
            let made = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
            made.await.map_err(|error| unavailable("an exchange was not made", error))?;
        }
        Ok(())
    }

    /// A connection of one's own, over which is consumed.
    pub(crate) async fn new_connection(&self) -> Result<Connection, StoreError> {
        self.consuming.connect().await
    }

    /// Closes it, with all that was declared over it. If it cannot be closed, it is gone.
    pub(crate) async fn close(&self, connection: Connection) {
        tokio::select! {
            _ = connection.close(FINE, name("it is over")) => {}
            () = self.world.sleep(WITHIN) => {}
        }
    }

    /// A channel of one's own, not that of the publishers.
    pub(crate) async fn channel(&self) -> Result<Channel, StoreError> {
        channel(&*self.consuming.connection().await?).await
    }

    /// The channel of all who publish.
    async fn publisher(&self) -> Result<Channel, StoreError> {
        let mut publisher = self.publisher.lock().await;
        if let Some(open) = publisher.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(open.clone());
        }
        let new = channel(&*self.publishing.connection().await?).await?;
        let confirms = new.confirm_select(ConfirmSelectOptions::default()).await;
        confirms.map_err(|error| unavailable("the server does not confirm", error))?;
        // Somebody may have removed them, which closes the channel.
        self.make_routes(&new).await?;
        Ok(publisher.insert(new).clone())
    }

    /// Sends it after all that this task has sent.
    pub(crate) async fn send(&self, parcel: &Parcel) -> Result<PublisherConfirm, StoreError> {
        self.in_time(async { parcel.send(&self.publisher().await?).await }).await
    }

    /// Waits until it is there for sure. `false` if it had to arrive somewhere, and there is
    /// no queue.
    pub(crate) async fn confirmed(&self, sent: PublisherConfirm) -> Result<bool, StoreError> {
        self.in_time(confirmed(sent)).await
    }

    /// Sends it, and waits until it is there.
    pub(crate) async fn put(&self, parcel: &Parcel) -> Result<bool, StoreError> {
        self.in_time(async { parcel.put(&self.publisher().await?).await }).await
    }

    /// The same over a channel that is not that of the publishers.
    pub(crate) async fn put_over(
        &self,
        channel: &Channel,
        parcel: &Parcel,
    ) -> Result<bool, StoreError> {
        tokio::select! {
            put = parcel.put(channel) => put,
            () = self.world.sleep(CONFIRMED_WITHIN) => Err(unconfirmed(CONFIRMED_WITHIN, false)),
        }
    }

    /// Who is held back by the server cannot even send.
    async fn in_time<T>(
        &self,
        published: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            published = published => published,
            () = self.world.sleep(CONFIRMED_WITHIN) => Err(self.give_up().await),
        }
    }

    /// What was not confirmed shall not wait in this process any more.
    async fn give_up(&self) -> StoreError {
        *self.publisher.lock().await = None;
        let given_up = self.publishing.current.lock().await.take();
        let is_blocked = given_up.is_some_and(|connection| connection.status().blocked());
        unconfirmed(CONFIRMED_WITHIN, is_blocked)
    }

    /// Whether the server can take what is known of a message beside its payload.
    pub(crate) async fn check(&self, headers: &FieldTable) -> Result<(), StoreError> {
        let bytes = envelope::size(headers);
        if bytes < LETTER {
            return Ok(());
        }
        let most = self.publishing.connection().await?.configuration().frame_max();
        let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(LETTER);
        if bytes > most { Err(too_large(bytes, most)) } else { Ok(()) }
    }

    /// Makes the queues of a group, and lets each have what is addressed to it.
    pub(crate) async fn make_queues(
        &self,
        channel: &Channel,
        group: &Group,
    ) -> Result<(), lapin::Error> {
        let partitions = 0..self.names.partitions;
        let made = partitions.clone().map(|partition| {
            let name = self.names.queue(partition, group);
            channel.queue_declare(name.into(), lasting(), quorum())
        });
        futures_util::future::try_join_all(made).await?;
        let letters = self.names.letters(group);
        channel.queue_declare(letters.into(), lasting(), of_type("stream")).await?;
        Ok(())
    }
}

impl Parcel {
    /// Sends it over this channel.
    pub(crate) async fn send(&self, channel: &Channel) -> Result<PublisherConfirm, StoreError> {
        let options = BasicPublishOptions { mandatory: self.must_arrive, immediate: false };
        let properties = self.properties.clone().with_headers(self.headers.clone());
        let (exchange, key) = (self.exchange.as_str().into(), self.key.as_str().into());
        let sent = channel.basic_publish(exchange, key, options, &self.payload, properties);
        sent.await.map_err(unpublished)
    }

    async fn put(&self, channel: &Channel) -> Result<bool, StoreError> {
        confirmed(self.send(channel).await?).await
    }
}

async fn confirmed(sent: PublisherConfirm) -> Result<bool, StoreError> {
    match sent.await.map_err(unpublished)? {
        Confirmation::Ack(returned) => Ok(returned.is_none()),
        Confirmation::Nack(_) | Confirmation::NotRequested => Err(nacked()),
    }
}

impl Link {
    async fn connection(&self) -> Result<Arc<Connection>, StoreError> {
        let mut current = self.current.lock().await;
        if let Some(open) = current.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(Arc::clone(open));
        }
        Ok(Arc::clone(current.insert(Arc::new(self.connect().await?))))
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        let named = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let made = tokio::select! {
            made = Connection::connect_uri(self.uri.clone(), named) => made,
            () = self.world.sleep(WITHIN) => return Err(silent("the server did not answer", WITHIN)),
        };
        made.map_err(|error| match error.is_io_error() {
            true => unreachable(error),
            false => unavailable("the server does not let us in", error),
        })
    }
}

/// Whether there is an exchange of this name. If not, the channel is closed.
pub(crate) async fn is_there(channel: &Channel, exchange: String) -> Result<bool, StoreError> {
    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let kind = ExchangeKind::Fanout;
    let found = channel.exchange_declare(exchange.into(), kind, options, FieldTable::default());
    match found.await {
        Ok(()) => Ok(true),
        Err(error) if is(&error, AMQPSoftError::NOTFOUND) => Ok(false),
        Err(error) => Err(unavailable("a group cannot be looked for", error)),
    }
}

pub(crate) async fn channel(connection: &Connection) -> Result<Channel, StoreError> {
    let channel = connection.create_channel().await;
    channel.map_err(|error| unavailable("no channel was opened", error))
}

/// Declares an exchange that says something: whoever declares it to say something else is
/// refused. What it says is the name of an exchange for what is not routed, and nothing is.
pub(crate) async fn declare(
    channel: &Channel,
    name: String,
    kind: ExchangeKind,
    says: &str,
) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    arguments.insert("alternate-exchange".into(), AMQPValue::LongString(says.into()));
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(name.into(), kind, options, arguments).await
}

pub(crate) fn lasting() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..Default::default() }
}

fn of_type(name: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(name.into()));
    arguments
}

fn quorum() -> FieldTable {
    let mut arguments = of_type("quorum");
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(RETURNS));
    // Whoever comes next gets nothing before all is back that the one before had.
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    arguments
}

/// A name that was checked to be short enough.
pub(crate) fn name(text: impl Into<String>) -> ShortString {
    ShortString::from(text.into())
}

/// Whether a message that large may have been what the server minds.
pub(crate) fn blames(error: StoreError, largest: usize) -> StoreError {
    let is_refused = error.kind() == StoreErrorKind::Invalid;
    if is_refused && largest <= SURE_BYTES {
        let message = format!("another message was refused, publish again: {error}");
        return StoreError::new(StoreErrorKind::Unknown, message).because(error);
    }
    error
}
