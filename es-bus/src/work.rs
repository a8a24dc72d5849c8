use std::{any::Any, marker::PhantomData, panic::AssertUnwindSafe};

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
                Ok(received) => handled(&one.message, self.0.handle(received)).await,
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
            done.push(handled(message, self.0.handle(received)).await);
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
        let answers = AssertUnwindSafe(self.0.handle(&batch)).catch_unwind().await;
        let panic = answers.as_ref().err().map(|panic| said(&**panic));
        let mut answers = answers.unwrap_or_default().into_iter();
        let mut answer = || match (answers.next(), &panic) {
            (Some(Ok(())), _) => Done::Handled,
            (Some(Err(error)), _) => Done::Failed(error),
            (None, Some(panic)) => Done::Panicked(panic.clone()),
            (None, None) => Done::Failed(HandleError::transient("the handler did not say")),
        };
        done.into_iter().map(|done| done.unwrap_or_else(&mut answer)).collect()
    }
}

fn decode<E: Event>(given: &Given) -> Result<Received<E>, Done> {
    match given.message.decode::<E>() {
        Ok(Some(event)) => {
            let Given { to, message, attempt } = given.clone();
            Ok(Received::new(event, message, to, attempt))
        }
        Ok(None) => Err(Done::Passed),
        Err(error) => Err(Done::Undecodable(HandleError::from(error).to_string())),
    }
}

async fn handled(
    message: &Message,
    handling: impl Future<Output = Result<(), HandleError>>,
) -> Done {
    match AssertUnwindSafe(current::handling(message, handling)).catch_unwind().await {
        Ok(Ok(())) => Done::Handled,
        Ok(Err(error)) => Done::Failed(error),
        Err(panic) => Done::Panicked(said(&*panic)),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}
