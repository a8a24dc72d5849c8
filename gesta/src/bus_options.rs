#[cfg(any(feature = "redis", feature = "nats", feature = "rabbitmq"))]
use std::time::Duration;
use std::{fmt, str::FromStr};

use es_bus::{EventBus, RetryPolicy};
use es_core::{StoreError, StoreErrorKind, memory::MemoryBroker};
#[cfg(feature = "nats")]
use es_nats::NatsOptions;
#[cfg(feature = "rabbitmq")]
use es_rabbitmq::RabbitOptions;
#[cfg(feature = "redis")]
use es_redis_streams::RedisOptions;

/// Which broker a bus runs on, told by an address or by the environment: a program moves to
/// another one without a change of its code.
///
/// An address is `memory:`, `redis://…`, `nats://…` or `amqp://…`, and may end with parameters:
///
/// | parameter | of | what it sets |
/// |---|---|---|
/// | `history` | memory, redis | how many messages are kept for groups that begin with the earliest |
/// | `prefix` | redis, nats, rabbitmq | what keys, streams and subjects, or exchanges and queues begin with |
/// | `lease` | redis, nats | after how many seconds of silence others take over |
/// | `backlog`, `dead_letters` | redis | how many of them a group keeps |
/// | `partitions` | nats, rabbitmq | into how many parts keys are spread |
/// | `replicas` | nats | on how many servers streams are |
/// | `keep_for` | nats | for how many seconds messages are kept |
/// | `heartbeat` | rabbitmq | how many seconds pass between two signs of life |
///
/// ```
/// use gesta::bus::BusOptions;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), gesta::StoreError> {
/// let bus = BusOptions::from_url("memory:?history=100")?.connect().await?;
/// # drop(bus);
/// let error = BusOptions::from_url("pigeon://roof").unwrap_err();
/// assert!(error.to_string().contains("memory, redis, nats, rabbitmq"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BusOptions {
    broker: Broker,
    source: Option<String>,
    retry: Option<RetryPolicy>,
}

#[derive(Clone)]
enum Broker {
    Memory {
        history: usize,
    },
    #[cfg(feature = "redis")]
    Redis(RedisOptions),
    #[cfg(feature = "nats")]
    Nats(NatsOptions),
    #[cfg(feature = "rabbitmq")]
    Rabbit(RabbitOptions),
}

/// Brokers, and what their addresses begin with.
const BROKERS: [(&str, &[&str]); 4] = [
    ("memory", &["memory"]),
    ("redis", &["redis", "rediss"]),
    ("nats", &["nats", "tls"]),
    ("rabbitmq", &["amqp", "amqps"]),
];

/// All that are read.
const VARIABLES: [&str; 16] = [
    "EVENT_BUS_URL",
    "EVENT_BUS_ADAPTER",
    "EVENT_BUS_MEMORY_MAX_HISTORY",
    "EVENT_BUS_MEMORY_PERSIST",
    "EVENT_BUS_DEFAULT_MAX_RETRIES",
    "EVENT_BUS_DEFAULT_AUTO_ACK",
    "EVENT_BUS_DEFAULT_USE_DLQ",
    "SERVICE_NAME",
    "NATS_URL",
    "RABBITMQ_URL",
    "REDIS_URL",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_PASSWORD",
    "REDIS_DB",
    "REDIS_TLS",
];

impl BusOptions {
    /// The broker at this address.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreErrorKind::Invalid) if there is no such broker or parameter;
    /// [`Unsupported`](StoreErrorKind::Unsupported) if this program was built without the
    /// broker's feature.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
        let scheme = address.split_once(':').map_or(address, |(scheme, _)| scheme);
        let mut broker = Broker::at(scheme, address)?;
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            broker = broker.set(name, value)?;
        }
        Ok(Self { broker, source: None, retry: None })
    }

    /// What the environment says:
    ///
    /// | variable | if it is not set |
    /// |---|---|
    /// | `EVENT_BUS_URL`, an [address](Self::from_url) that those after it do not change | they tell it |
    /// | `EVENT_BUS_ADAPTER`: `memory`, `redis`, `nats` or `rabbitmq` | `memory` |
    /// | `EVENT_BUS_MEMORY_MAX_HISTORY` | 1,000 |
    /// | `REDIS_URL`, or `REDIS_HOST`, `REDIS_PORT`, `REDIS_PASSWORD`, `REDIS_DB` | `127.0.0.1`, 6379, none, 0 |
    /// | `NATS_URL` | `nats://127.0.0.1:4222` |
    /// | `RABBITMQ_URL` | `amqp://127.0.0.1:5672/%2f` |
    /// | `EVENT_BUS_DEFAULT_MAX_RETRIES`, tries after the first | 4 |
    /// | `SERVICE_NAME`, the [source](EventBus::source) of messages | none |
    ///
    /// An empty one counts as not set.
    ///
    /// # Errors
    ///
    /// As of [`from_url`](Self::from_url); `Invalid` too for a value that cannot be read, and
    /// `Unsupported` for what a bus never does: `EVENT_BUS_DEFAULT_AUTO_ACK=false`, since a
    /// message is settled by what its handler returns; `EVENT_BUS_DEFAULT_USE_DLQ=false`, since
    /// what failed is kept; `EVENT_BUS_MEMORY_PERSIST=true`; `REDIS_TLS=true`.
    pub fn from_env() -> Result<Self, StoreError> {
        let is_unreadable =
            |name: &&&str| std::env::var_os(name).is_some_and(|value| value.to_str().is_none());
        match VARIABLES.iter().find(is_unreadable) {
            Some(name) => Err(invalid(format!("{name} cannot be read: it is no Unicode"))),
            None => Self::from_variables(|name| std::env::var(name).ok()),
        }
    }

    /// As [`from_env`](Self::from_env), of variables that come from elsewhere.
    ///
    /// # Errors
    ///
    /// As of [`from_env`](Self::from_env).
    pub fn from_variables(variables: impl Fn(&str) -> Option<String>) -> Result<Self, StoreError> {
        let get = |name: &str| variables(name).filter(|value| !value.is_empty());
        let url = get("EVENT_BUS_URL").map_or_else(|| address(&get), Ok)?;
        refuse_what_a_bus_never_does(&get, &url)?;
        let mut options = Self::from_url(&url)?;
        options.source = get("SERVICE_NAME");
        if let Some(retries) = get("EVENT_BUS_DEFAULT_MAX_RETRIES") {
            let retries: u32 = number("EVENT_BUS_DEFAULT_MAX_RETRIES", &retries)?;
            options.retry = Some(RetryPolicy::new(retries.saturating_add(1)));
        }
        Ok(options)
    }

    /// Connects to the broker.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be reached, or is not fit to be one.
    pub async fn connect(self) -> Result<EventBus, StoreError> {
        let mut bus = match self.broker {
            Broker::Memory { history } => EventBus::new(MemoryBroker::new().keeping(history)),
            #[cfg(feature = "redis")]
            Broker::Redis(options) => EventBus::new(options.broker().await?),
            #[cfg(feature = "nats")]
            Broker::Nats(options) => EventBus::new(options.connect().await?),
            #[cfg(feature = "rabbitmq")]
            Broker::Rabbit(options) => EventBus::new(options.connect().await?),
        };
        if let Some(source) = self.source {
            bus = bus.source(source);
        }
        if let Some(policy) = self.retry {
            bus = bus.retry(policy);
        }
        Ok(bus)
    }
}

impl Broker {
    fn at(scheme: &str, address: &str) -> Result<Self, StoreError> {
        match scheme {
            "memory" if ["memory:", "memory://"].contains(&address) => {
                Ok(Self::Memory { history: MemoryBroker::HISTORY })
            }
            "memory" => {
                Err(invalid("memory is no place, take memory: and nothing behind it".into()))
            }
            #[cfg(feature = "redis")]
            "redis" | "rediss" => Ok(Self::Redis(RedisOptions::new(address))),
            #[cfg(feature = "nats")]
            "nats" | "tls" => Ok(Self::Nats(NatsOptions::new(address))),
            #[cfg(feature = "rabbitmq")]
            "amqp" | "amqps" => Ok(Self::Rabbit(RabbitOptions::new(address))),
            other => Err(unknown(other)),
        }
    }

    fn set(self, name: &str, value: &str) -> Result<Self, StoreError> {
        Ok(match (self, name) {
            (Self::Memory { .. }, "history") => Self::Memory { history: number(name, value)? },
            #[cfg(feature = "redis")]
            (Self::Redis(options), _) => Self::Redis(match name {
                "prefix" => options.prefix(value),
                "lease" => options.lease(seconds(name, value)?),
                "history" => options.history(number(name, value)?),
                "backlog" => options.backlog(number(name, value)?),
                "dead_letters" => options.dead_letters(number(name, value)?),
                _ => return Err(no_parameter(name)),
            }),
            #[cfg(feature = "nats")]
            (Self::Nats(options), _) => Self::Nats(match name {
                "prefix" => options.prefix(value),
                "lease" => options.lease(seconds(name, value)?),
                "partitions" => options.partitions(number(name, value)?),
                "replicas" => options.replicas(number(name, value)?),
                "keep_for" => options.keep_for(seconds(name, value)?),
                _ => return Err(no_parameter(name)),
            }),
            #[cfg(feature = "rabbitmq")]
            (Self::Rabbit(options), _) => Self::Rabbit(match name {
                "prefix" => options.prefix(value),
                "partitions" => options.partitions(number(name, value)?),
                "heartbeat" => options.heartbeat(seconds(name, value)?),
                _ => return Err(no_parameter(name)),
            }),
            _ => return Err(no_parameter(name)),
        })
    }
}

/// The address that the variables tell together.
fn address(get: &impl Fn(&str) -> Option<String>) -> Result<String, StoreError> {
    let or = |name: &str, default: &str| get(name).unwrap_or_else(|| default.to_owned());
    Ok(match or("EVENT_BUS_ADAPTER", "memory").as_str() {
        "memory" => match get("EVENT_BUS_MEMORY_MAX_HISTORY") {
            Some(history) => format!("memory:?history={history}"),
            None => "memory:".into(),
        },
        "redis" => match get("REDIS_URL") {
            Some(url) => url,
            None => {
                let password = get("REDIS_PASSWORD");
                let user = password.map(|password| format!(":{}@", in_url(&password)));
                let host = or("REDIS_HOST", "127.0.0.1");
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                let port: u16 = number("REDIS_PORT", &or("REDIS_PORT", "6379"))?;
                let database: u32 = number("REDIS_DB", &or("REDIS_DB", "0"))?;
                format!("redis://{}{host}:{port}/{database}", user.unwrap_or_default())
            }
        },
        "nats" => match or("NATS_URL", "nats://127.0.0.1:4222") {
            url if url.contains("://") => url,
            host => format!("nats://{host}"),
        },
        "rabbitmq" => or("RABBITMQ_URL", "amqp://127.0.0.1:5672/%2f"),
        other => return Err(unknown(other)),
    })
}

fn refuse_what_a_bus_never_does(
    get: &impl Fn(&str) -> Option<String>,
    url: &str,
) -> Result<(), StoreError> {
    // What it concerns, what it cannot be, and why.
    const NEVER: [(&str, &str, bool, &str); 4] = [
        (
            "",
            "EVENT_BUS_DEFAULT_AUTO_ACK",
            false,
            "a message is settled by what its handler returns",
        ),
        (
            "",
            "EVENT_BUS_DEFAULT_USE_DLQ",
            false,
            "what cannot be handled is kept, discard it by hand",
        ),
        ("memory", "EVENT_BUS_MEMORY_PERSIST", true, "memory is not kept, take another broker"),
        ("redis", "REDIS_TLS", true, "the connection is not encrypted, take a tunnel"),
    ];
    for (_, name, never, why) in NEVER.iter().filter(|one| url.starts_with(one.0)) {
        let Some(value) = get(name) else { continue };
        let is_on = match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => return Err(invalid(format!("{name} is true or false, not {value:?}"))),
        };
        if is_on == *never {
            let message = format!("{name}={value} cannot be: {why}");
            return Err(StoreError::new(StoreErrorKind::Unsupported, message));
        }
    }
    Ok(())
}

fn invalid(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, message)
}

/// Anything else may be a part of a password.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn malformed() -> StoreError {
    invalid("the address is malformed, write ? # @ : / in a password as %3F %23 %40 %3A %2F".into())
}

fn unknown(scheme: &str) -> StoreError {
    if !is_word(scheme) {
        return malformed();
    }
    match BROKERS.iter().find(|(_, schemes)| schemes.contains(&scheme)) {
        Some((name, _)) => {
            let message = format!("this program was built without the feature {name} of gesta");
            StoreError::new(StoreErrorKind::Unsupported, message)
        }
        None => {
            let known = BROKERS.map(|(name, _)| name).join(", ");
            invalid(format!("there is no broker {scheme:?}, take one of {known}"))
        }
    }
}

fn no_parameter(name: &str) -> StoreError {
    if !is_word(name) {
        return malformed();
    }
    invalid(format!("{name:?} is no parameter of this broker, see gesta::bus::BusOptions"))
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, StoreError> {
    value.parse().map_err(|_| invalid(format!("{name} is a number, and is set to something else")))
}

#[cfg(any(feature = "redis", feature = "nats", feature = "rabbitmq"))]
fn seconds(name: &str, value: &str) -> Result<Duration, StoreError> {
    let seconds: f64 = number(name, value)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| invalid(format!("{name} is a number of seconds, from 0 on")))
}

/// With what means something in an address written as its bytes.
fn in_url(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

/// Without the address, which may hold a password.
impl fmt::Debug for BusOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker, source, retry } = self;
        let mut options = f.debug_struct("BusOptions");
        match broker {
            Broker::Memory { history } => options.field("memory", history),
            #[cfg(feature = "redis")]
            Broker::Redis(redis) => options.field("redis", redis),
            #[cfg(feature = "nats")]
            Broker::Nats(nats) => options.field("nats", nats),
            #[cfg(feature = "rabbitmq")]
            Broker::Rabbit(rabbit) => options.field("rabbitmq", rabbit),
        };
        options.field("source", source).field("retry", retry).finish()
    }
}
