use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use es_core::{
    Address, Consumer, DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Deliveries, Group,
    Message, Publisher, StoreError, Subscription,
};
use parking_lot::Mutex;

mod bell;
mod letters;
mod link;
mod member;
mod members;
mod publishing;
mod pump;
mod routes;
mod turn;
mod wire;

pub(crate) use link::Limits;
use link::{Link, Terms};
use members::Members;
use pump::Pump;
use routes::Routes;

use crate::{connection::Connection, keys::Keys};

/// A broker in a Redis server; clones share it.
#[derive(Debug, Clone)]
pub struct RedisBroker {
    link: Arc<Link>,
    routes: Arc<Routes>,
    groups: Arc<Mutex<HashMap<Group, Weak<Members>>>>,
}

impl RedisBroker {
    pub(crate) fn new(connection: Arc<Connection>, keys: Arc<Keys>, limits: Limits) -> Self {
        let link = Arc::new(Link { connection, keys, limits });
        Self { link, routes: Arc::default(), groups: Arc::default() }
    }

    /// Joins those who are here already.
    fn member(&self, subscription: &Subscription) -> Deliveries {
        let mut groups = self.groups.lock();
        let known = groups.get(&subscription.group).and_then(Weak::upgrade);
        if let Some(deliveries) = known.and_then(|members| members.join(subscription)) {
            return deliveries;
        }
        groups.retain(|_, members| members.strong_count() > 0);
        let members = Arc::new(Members::new(subscription));
        let deliveries = members.join(subscription).expect("nothing has ended yet");
        groups.insert(subscription.group.clone(), Arc::downgrade(&members));
        let pump = Pump::new(members, Arc::clone(&self.link));
        self.link.connection.world.detach(pump.run());
        deliveries
    }
}

#[async_trait]
impl Publisher for RedisBroker {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        for part in publishing::parts(to, &messages)? {
            publishing::publish(&self.link, &self.routes, to, &part).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Consumer for RedisBroker {
    async fn consume(&self, subscription: Subscription) -> Result<Deliveries, StoreError> {
        let terms = Terms { order: subscription.order, parks: subscription.parks };
        let Subscription { group, begin, patterns, .. } = &subscription;
        self.link.join(group, terms, *begin, patterns).await?;
        Ok(self.member(&subscription))
    }

    async fn forget(&self, group: &Group) -> Result<(), StoreError> {
        self.link.forget(group).await
    }
}

#[async_trait]
impl DeadLetters for RedisBroker {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        letters::list(&self.link, &query).await
    }

    async fn give_back(
        &self,
        group: &Group,
        id: DeadLetterId,
        edited: Option<Message>,
    ) -> Result<bool, StoreError> {
        letters::give_back(&self.link, group, id, edited).await
    }

    async fn discard(&self, group: &Group, id: DeadLetterId) -> Result<bool, StoreError> {
        letters::exhume(&self.link, group, id, None).await
    }
}
