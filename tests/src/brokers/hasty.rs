use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{Address, Message, Publisher, StoreError, World};
use tokio::sync::mpsc;

/// What may wait.
const QUEUE: usize = 1_000;
/// For how long.
const LATE: Duration = Duration::from_millis(20);

/// A bug for a control: says that the broker has what it is only going to have.
#[derive(Debug)]
pub struct Hasty(mpsc::Sender<Vec<(Address, Message)>>);

impl Hasty {
    /// In front of this one.
    pub fn new(publisher: impl Publisher) -> Self {
        let (later, mut waiting) = mpsc::channel(QUEUE);
        let publisher = Arc::new(publisher);
        World::real().detach(async move {
            while let Some(messages) = waiting.recv().await {
                World::real().sleep(LATE).await;
                // Nobody would hear of it.
                let _ = publisher.publish_all(messages).await;
            }
        });
        Self(later)
    }
}

#[async_trait]
impl Publisher for Hasty {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        self.publish_all(messages.into_iter().map(|message| (to.clone(), message)).collect()).await
    }

    async fn publish_all(&self, messages: Vec<(Address, Message)>) -> Result<(), StoreError> {
        self.0.send(messages).await.expect("the other end is open as long as the runtime");
        Ok(())
    }
}
