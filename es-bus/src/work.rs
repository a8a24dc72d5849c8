use std::{
    any::Any,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
};

use async_trait::async_trait;
use es_core::{Address, Event, Message};
use futures_util::FutureExt;

use crate::{Handle, HandleBatch, HandleError, Received, current};

/// A message that is to be handled.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) to: Address,
    pub(crate) message: Message,
    pub(crate) attempt: u32,
}

/// What became of it.
pub(crate) enum Done {
    Handled,
    /// It is of a type that the handler does not name.
    Passed,
    Undecodable(String),
    Panicked(String),
    Failed(HandleError),
}

/// A handler, whatever it handles.
#[async_trait]
pub(crate) trait Work: Send + Sync + 'static {
    /// What became of each, in their order.
    async fn work(&self, given: &[Given]) -> Vec<Done>;
}

/// One event at a time.
pub(crate) struct OfEvents<E, H>(H, PhantomData<fn(E)>);

/// One message at a time, as it is.
pub(crate) struct OfMessages<H>(H);

/// Several events at a time.
pub(crate) struct OfBatches<E, H>(H, PhantomData<fn(E)>);

impl<E, H> OfEvents<E, H> {
    pub(crate) fn new(handler: H) -> Self {
        Self(handler, PhantomData)
    }
}

impl<H> OfMessages<H> {
    pub(crate) fn new(handler: H) -> Self {
        Self(handler)
    }
}

impl<E, H> OfBatches<E, H> {
    pub(crate) fn new(handler: H) -> Self {
        Self(handler, PhantomData)
    }
}

#[async_trait]
impl<E: Event, H: Handle<E>> Work for OfEvents<E, H> {
    async fn work(&self, given: &[Given]) -> Vec<Done> {
        let mut done = Vec::with_capacity(given.len());
        for one in given {
            done.push(match decode::<E>(one) {
                Ok(received) => handled(&one.message, || self.0.handle(received)).await,
                Err(done) => done,
            });
        }
        done
    }
}

#[async_trait]
impl<H: Handle<()>> Work for OfMessages<H> {
    async fn work(&self, given: &[Given]) -> Vec<Done> {
        let mut done = Vec::with_capacity(given.len());
        for Given { to, message, attempt } in given {
            let received = Received::new((), message.clone(), to.clone(), *attempt);
            done.push(handled(message, || self.0.handle(received)).await);
        }
        done
    }
}

#[async_trait]
impl<E: Event + Sync, H: HandleBatch<E>> Work for OfBatches<E, H> {
    async fn work(&self, given: &[Given]) -> Vec<Done> {
        let (mut done, mut batch) = (Vec::with_capacity(given.len()), Vec::new());
        for one in given {
            done.push(decode::<E>(one).map(|received| batch.push(received)).err());
        }
        let mut answers = self.answers(&batch).await.into_iter();
        let silent = || Done::Failed(HandleError::transient("the handler did not say"));
        let mut answer = || answers.next().unwrap_or_else(silent);
        done.into_iter().map(|done| done.unwrap_or_else(&mut answer)).collect()
    }
}

impl<E: Event + Sync, H: HandleBatch<E>> OfBatches<E, H> {
    /// What became of each. One that panics must not cost the others their tries, so then each
    /// is given by itself.
    async fn answers(&self, batch: &[Received<E>]) -> Vec<Done> {
        let all = match batch {
            [] => return Vec::new(),
            all => self.together(all).await,
        };
        match all {
            Ok(done) => done,
            Err(panic) if batch.len() == 1 => vec![Done::Panicked(panic)],
            Err(_) => {
                let mut done = Vec::with_capacity(batch.len());
                for one in batch.chunks(1) {
                    let alone = self.together(one).await;
                    done.extend(alone.unwrap_or_else(|panic| vec![Done::Panicked(panic)]));
                }
                done
            }
        }
    }

    async fn together(&self, batch: &[Received<E>]) -> Result<Vec<Done>, String> {
        let handling = AssertUnwindSafe(async { self.0.handle(batch).await });
        let answers = handling.catch_unwind().await.map_err(|panic| said(&*panic))?;
        let done =
            |answer: Result<(), HandleError>| answer.map_or_else(Done::Failed, |()| Done::Handled);
        Ok(answers.into_iter().map(done).collect())
    }
}

fn decode<E: Event>(given: &Given) -> Result<Received<E>, Done> {
    let decoded = catch_unwind(AssertUnwindSafe(|| given.message.decode::<E>()));
    match decoded.map_err(|panic| Done::Panicked(said(&*panic)))? {
        Ok(Some(event)) => {
            let Given { to, message, attempt } = given.clone();
            Ok(Received::new(event, message, to, attempt))
        }
        Ok(None) => Err(Done::Passed),
        Err(error) => Err(Done::Undecodable(HandleError::from(error).to_string())),
    }
}

async fn handled<F>(message: &Message, handle: impl FnOnce() -> F) -> Done
where
    F: Future<Output = Result<(), HandleError>>,
{
    // A function may panic before it returns its future.
    let handling = current::handling(message, async { handle().await });
    match AssertUnwindSafe(handling).catch_unwind().await {
        Ok(Ok(())) => Done::Handled,
        Ok(Err(error)) => Done::Failed(error),
        Err(panic) => Done::Panicked(said(&*panic)),
    }
}

pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}
