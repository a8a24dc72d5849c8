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
    /// The answer.
    type Output: Send + 'static;
    /// Its name, for logs and metrics.
    const NAME: &'static str;
}

/// Answers a question.
///
/// ```
/// use cqrs::{Answer, Query};
///
/// #[derive(Query)]
/// #[query(output = u64)]
/// struct Double(u64);
///
/// struct Calculator;
///
/// impl Answer<Double> for Calculator {
///     async fn answer(&self, query: Double) -> u64 { query.0 * 2 }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(Calculator.answer(Double(21)).await, 42);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer `{Q}`",
    note = "write `impl Answer<{Q}> for {Self}`"
)]
pub trait Answer<Q: Query>: Send + Sync {
    /// Answers.
    fn answer(&self, query: Q) -> impl Future<Output = Q::Output> + Send;
}
