use std::task::{Context, Poll};

use ::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use es_core::Position;
use futures_util::future::{Either, Ready, ready};
use tower::{Layer, Service};

use crate::Sent;

/// The header that carries a token, from the server and back to it.
pub const TOKEN: HeaderName = HeaderName::from_static("gesta-token");

/// The position that an asker has to be shown: that of what it has done last.
///
/// ```
/// use cqrs::http::{TOKEN, Token};
/// use es_core::Position;
/// use http::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// Token(Position::new(7)).write(&mut headers);
/// assert_eq!(headers[TOKEN], "7");
/// assert_eq!(Token::read(&headers), Ok(Some(Token(Position::new(7)))));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Token(pub Position);

impl Token {
    /// The token in these headers, if there is one; of several, the latest.
    ///
    /// # Errors
    ///
    /// [`StatusCode::BAD_REQUEST`] if one of them is no token.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, StatusCode> {
        let read = |value: &HeaderValue| {
            let position = value.to_str().ok().and_then(|value| value.trim().parse().ok());
            position.map(Self).ok_or(StatusCode::BAD_REQUEST)
        };
        let tokens: Result<Vec<_>, _> = headers.get_all(TOKEN).iter().map(read).collect();
        Ok(tokens?.into_iter().max())
    }

    /// Writes it into the headers of a response, in the place of any other.
    pub fn write(self, headers: &mut HeaderMap) {
        headers.insert(TOKEN, HeaderValue::from(self.0.get()));
    }
}

impl From<Sent> for Token {
    fn from(sent: Sent) -> Self {
        Self(sent.position)
    }
}

impl From<Token> for Position {
    fn from(token: Token) -> Self {
        token.0
    }
}

/// A layer that reads the [`Token`] of a request into its extensions. What is no
/// token is answered with 400: to pass over it would show the asker something older
/// than it asked for.
///
/// See [the module](crate::http) for an example.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadToken;

impl<S> Layer<S> for ReadToken {
    type Service = ReadsToken<S>;

    fn layer(&self, inner: S) -> ReadsToken<S> {
        ReadsToken { inner }
    }
}

/// The service of [`ReadToken`].
///
/// ```
/// use cqrs::http::{ReadToken, ReadsToken, Token};
/// use es_core::Position;
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let echo = service_fn(async |request: Request<()>| {
///     let token = request.extensions().get::<Token>().copied();
///     Ok::<_, std::convert::Infallible>(Response::new(token))
/// });
/// let service: ReadsToken<_> = ReadToken.layer(echo);
/// let response = service.oneshot(Request::builder().header("gesta-token", "7").body(())?).await?;
/// assert_eq!(*response.body(), Some(Token(Position::new(7))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ReadsToken<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for ReadsToken<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<R>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match Token::read(request.headers()) {
            Ok(token) => {
                token.map(|token| request.extensions_mut().insert(token));
                Either::Left(self.inner.call(request))
            }
            Err(status) => {
                let mut response = Response::new(R::default());
                *response.status_mut() = status;
                Either::Right(ready(Ok(response)))
            }
        }
    }
}
