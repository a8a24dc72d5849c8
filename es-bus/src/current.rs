use es_core::{Message, Metadata};
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static CURRENT: Metadata;
}

/// What a message that is published while this one is handled says of where it came from.
fn following(message: &Message) -> Metadata {
    let fields = message.metadata.fields();
    let correlation = fields.correlation_id.as_deref().unwrap_or(&message.id);
    let mut next = Metadata::new().correlation_id(correlation).causation_id(&message.id);
    if let Some(traceparent) = &fields.traceparent {
        next = next.traceparent(traceparent);
    }
    next
}

/// Handles the message in the light of what it says of itself.
pub(crate) fn handling<F: Future>(message: &Message, work: F) -> TaskLocalFuture<Metadata, F> {
    CURRENT.scope(following(message), work)
}

/// What is known of the message that is handled here, if one is.
pub(crate) fn metadata() -> Metadata {
    CURRENT.try_with(Metadata::clone).unwrap_or_default()
}
