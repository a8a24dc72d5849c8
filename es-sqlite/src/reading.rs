//! Reads by the page, one page ahead of whoever consumes them.

use std::sync::Arc;

use es_core::{Page, Position, Read, StoreError};
use tokio::sync::oneshot;

use crate::{
    append::head,
    error::closed,
    page::{Query, Window, window_of_append},
    readers::{Reader, Readers},
};

/// One request on its way through the log.
pub(crate) struct Reading {
    readers: Readers,
    read: Read,
    left: u64,
    next: Next,
}

enum Next {
    First,
    Rest(Arc<Query>, Window),
    Ahead(Arc<Query>, oneshot::Receiver<Result<(Page, Window), StoreError>>),
    Over,
}

impl Reading {
    pub(crate) fn new(readers: Readers, read: Read) -> Self {
        Self { readers, left: read.limit.unwrap_or(u64::MAX), read, next: Next::First }
    }

    /// The next page; `None` at the end, and after an error.
    pub(crate) async fn page(&mut self) -> Option<Result<Page, StoreError>> {
        let wanted = self.wanted();
        let read = match std::mem::replace(&mut self.next, Next::Over) {
            Next::Over => return None,
            Next::First => self.first(wanted).await,
            Next::Rest(query, window) => self.rest(query, window, wanted).await,
            Next::Ahead(query, page) => match page.await {
                Ok(page) => page.map(|(page, window)| (query, page, window)),
                Err(_) => Err(closed()),
            },
        };
        Some(read.map(|(query, page, window)| self.hand_over(query, page, window)))
    }

    async fn first(&self, wanted: usize) -> Result<(Arc<Query>, Page, Window), StoreError> {
        let read = self.read.clone();
        self.readers.run(move |reader| first_page(reader, read, wanted)).await
    }

    async fn rest(
        &self,
        query: Arc<Query>,
        window: Window,
        wanted: usize,
    ) -> Result<(Arc<Query>, Page, Window), StoreError> {
        let job = next_page(Arc::clone(&query), window, wanted);
        let (page, window) = self.readers.run(job).await?;
        Ok((query, page, window))
    }

    fn hand_over(&mut self, query: Arc<Query>, page: Page, window: Window) -> Page {
        self.left = self.left.saturating_sub(page.events.len() as u64);
        if self.left == 0 || window.is_read() {
            return page;
        }
        let job = next_page(Arc::clone(&query), window, self.wanted());
        self.next = match self.readers.ahead(job) {
            Some(ahead) => Next::Ahead(query, ahead),
            None => Next::Rest(query, window),
        };
        page
    }

    fn wanted(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }
}

fn first_page(
    reader: &mut Reader,
    read: Read,
    wanted: usize,
) -> Result<(Arc<Query>, Page, Window), StoreError> {
    let head = head(&reader.connection)?;
    let up_to = read.up_to.map_or(head, |up_to: Position| up_to.min(head));
    let window = Window { after: read.after, up_to, after_version: read.after_version };
    let window = window_of_append(&reader.connection, &read, window)?;
    let after = read.after;
    let query = Query::resolve(&reader.connection, read)?;
    if window.is_read() {
        return Ok((Arc::new(query), Page { events: Vec::new(), through: after }, window));
    }
    let (page, window) = query.page(&reader.connection, &mut reader.names, window, wanted)?;
    Ok((Arc::new(query), page, window))
}

fn next_page(
    query: Arc<Query>,
    window: Window,
    wanted: usize,
) -> impl FnOnce(&mut Reader) -> Result<(Page, Window), StoreError> + Send {
    move |reader| query.page(&reader.connection, &mut reader.names, window, wanted)
}
