use std::sync::Arc;

use es_core::Invalidation;
use futures_util::{Stream, StreamExt, future::join3, stream::BoxStream};

use super::{
    shared::Shared,
    tags::{Tags, invalidation},
};
use crate::Change;

/// Hears what changes, in this process and in the others, until it is dropped.
pub(super) async fn listen(
    changes: BoxStream<'static, Change>,
    tags: Arc<Tags>,
    shared: Option<Arc<Shared>>,
) {
    let changes = changes.map(invalidation).inspect(|own| tags.apply(own));
    let Some(shared) = shared else { return ended(changes).await };
    let own = changes.inspect(|own| shared.tell(own.clone()));
    let heard = shared.hear().inspect(|heard| tags.apply(heard));
    join3(ended(own), ended(heard), shared.telling()).await;
}

async fn ended(mut stream: impl Stream<Item = Invalidation> + Unpin) {
    while stream.next().await.is_some() {}
}
