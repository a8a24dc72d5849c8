use es_core::Tenant;
use futures_util::stream::BoxStream;

/// Any error, as a layer or an answerer hands it over.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A question, with the type of its answer.
///
/// `#[derive(Query)]` writes the implementation.
///
/// ```
/// use cqrs::Query;
///
/// #[derive(Query)]
/// #[query(output = u64)]
/// struct BalanceOf { account: String }
///
/// assert_eq!(BalanceOf::NAME, "balance_of");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a query",
    note = "write `#[derive(Query)] #[query(output = …)]` above it"
)]
pub trait Query: Send + Sync + 'static {
    /// The answer; of a streamed query, one of its answers.
    type Output: Send + Sync + 'static;
    /// Its name, for logs, metrics and a shared cache: unique in the program.
    const NAME: &'static str;
}

/// Answers a question.
///
/// What it says may depend on the query and the tenant, and on nothing else, for
/// it may be handed to others who ask the same. Who may ask is decided in the
/// [layers](crate::QueriesBuilder::layer).
///
/// ```
/// use cqrs::{Answer, BoxError, Query};
/// use es_core::Tenant;
///
/// #[derive(Query)]
/// #[query(output = u64)]
/// struct Double(u64);
///
/// struct Calculator;
///
/// impl Answer<Double> for Calculator {
///     async fn answer(&self, query: &Double, _: &Tenant) -> Result<u64, BoxError> {
///         query.0.checked_mul(2).ok_or("it is too large".into())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// assert_eq!(Calculator.answer(&Double(21), &Tenant::default()).await?, 42);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer `{Q}`",
    note = "write `impl Answer<{Q}> for {Self}`"
)]
pub trait Answer<Q: Query>: Send + Sync + 'static {
    /// Answers.
    fn answer(
        &self,
        query: &Q,
        tenant: &Tenant,
    ) -> impl Future<Output = Result<Q::Output, BoxError>> + Send;
}

/// Answers a question bit by bit: each answer is made when it is asked for, so
/// that a slow reader holds back the source and not the memory.
///
/// ```
/// use cqrs::{AnswerStream, BoxError, Query};
/// use es_core::Tenant;
/// use futures_util::{StreamExt, stream::{self, BoxStream}};
///
/// #[derive(Query)]
/// #[query(output = u64)]
/// struct CountTo(u64);
///
/// struct Counter;
///
/// impl AnswerStream<CountTo> for Counter {
///     fn answer_stream(&self, query: &CountTo, _: &Tenant) -> BoxStream<'static, Result<u64, BoxError>> {
///         stream::iter(1..=query.0).map(Ok).boxed()
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let numbers = Counter.answer_stream(&CountTo(3), &Tenant::default());
/// assert_eq!(numbers.count().await, 3);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer `{Q}` bit by bit",
    note = "write `impl AnswerStream<{Q}> for {Self}`"
)]
pub trait AnswerStream<Q: Query>: Send + Sync + 'static {
    /// The answers; nothing happens until they are asked for.
    fn answer_stream(
        &self,
        query: &Q,
        tenant: &Tenant,
    ) -> BoxStream<'static, Result<Q::Output, BoxError>>;
}
