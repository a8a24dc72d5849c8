//! Tokens and versions on their way through HTTP; for axum, hyper and whatever else
//! speaks the types of the crate `http`.
//!
//! A client that has changed something is handed a token, sends it along from then
//! on, and sees what it has done. A version is an `ETag`: with `If-None-Match` a
//! client is not sent again what it has, with `If-Match` it changes only what it has
//! seen.
//!
//! ```
//! use axum::{Extension, Router, body::Body, extract::Path, http::{HeaderMap, Request}, routing::post};
//! use cqrs::http::{ReadToken, Token, TOKEN};
//! # use cqrs::{Aggregate, Answer, BoxError, Command, Commands, Decide, Event, Evolve, Keys};
//! # use cqrs::{Projector, Queries, Query, QuerySettings, View};
//! # use es_core::{Recorded, Rejection, Tenant, memory::{MemoryStore, MemoryViews}};
//! # use serde::{Deserialize, Serialize};
//! # use tower::ServiceExt;
//! #
//! # #[derive(Serialize, Deserialize, Event)]
//! # #[event(name = "bell.rung")]
//! # struct Rung;
//! # #[derive(Default, Serialize, Deserialize, Aggregate)]
//! # struct Bell { times: u32 }
//! # impl Evolve for Bell { type Event = Rung; fn evolve(&mut self, _: &Rung) { self.times += 1; } }
//! # #[derive(Command)]
//! # struct Ring { #[id(Bell)] tower: String }
//! # impl Decide<Ring> for Bell {
//! #     fn decide(&self, _: &Ring) -> Result<Vec<Rung>, Rejection> { Ok(vec![Rung]) }
//! # }
//! # impl View for Bell {
//! #     const NAME: &'static str = "bells";
//! #     type Key = String;
//! #     fn keys(rung: Recorded<'_, Rung>) -> Keys<String> { Keys::One(rung.stream.id().to_owned()) }
//! # }
//! # #[derive(Query)]
//! # #[query(output = u32)]
//! # struct TimesRung { tower: String }
//! # struct Bells(Projector<MemoryViews>);
//! # impl Answer<TimesRung> for Bells {
//! #     async fn answer(&self, query: &TimesRung, tenant: &Tenant) -> Result<u32, BoxError> {
//! #         let bell = self.0.of(tenant.clone()).get::<Bell>(&query.tower).await?;
//! #         Ok(bell.map_or(0, |bell| bell.times))
//! #     }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! # let store = MemoryStore::new();
//! # let commands = Commands::new(store.clone());
//! # let projector = Projector::new(store, MemoryViews::new()).view::<Bell>();
//! # let queries = Queries::builder(projector.clone())
//! #     .answer(Bells(projector.clone()), QuerySettings::<TimesRung>::new())
//! #     .build();
//! # let projecting = projector.start();
//!
//! let ring = async move |Path(tower): Path<String>| {
//!     let sent = commands.send(Ring { tower }).await.expect("a bell can always be rung");
//!     let mut headers = HeaderMap::new();
//!     Token::from(sent).write(&mut headers);
//!     headers
//! };
//! let times = async move |Path(tower): Path<String>, token: Option<Extension<Token>>| {
//!     let token = token.map_or_else(Token::default, |Extension(token)| token);
//!     match queries.at_least(token).ask(TimesRung { tower }).await {
//!         Ok(times) => times.to_string(),
//!         Err(error) => error.to_string(),
//!     }
//! };
//! let app = Router::new().route("/bells/{tower}", post(ring).get(times)).layer(ReadToken);
//!
//! let rung = Request::post("/bells/ghent").body(Body::empty())?;
//! let token = app.clone().oneshot(rung).await?.headers()[TOKEN].clone();
//! let asked = Request::get("/bells/ghent").header(TOKEN, token).body(Body::empty())?;
//! let times = app.oneshot(asked).await?.into_body();
//! # use axum::body::HttpBody;
//! # let times = std::pin::pin!(times);
//! # let times = std::future::poll_fn({ let mut times = times; move |cx| times.as_mut().poll_frame(cx) }).await;
//! # let times = times.expect("a body")?.into_data().map_err(|_| "no data")?;
//! assert_eq!(times, "1");
//! # projecting.stop().await?;
//! # Ok(())
//! # }
//! ```

mod etag;
mod token;

pub use etag::{ETag, if_match, is_known};
pub use token::{ReadToken, ReadsToken, TOKEN, Token};
