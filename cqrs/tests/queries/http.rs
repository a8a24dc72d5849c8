//! Tokens through a whole web service, with axum.

use axum::{
    Extension, Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, Request, StatusCode},
    response::IntoResponse,
    routing::get,
};
use cqrs::http::{ETag, ReadToken, TOKEN, Token, is_known};
use es_core::Position;
use futures_util::FutureExt;
use tower::ServiceExt;

use crate::world::{Scene, at, cached};

fn app(scene: &Scene) -> Router {
    let queries = scene.queries(cached());
    let number = async move |Path(place): Path<String>,
                             token: Option<Extension<Token>>,
                             asked: HeaderMap| {
        let token = token.map_or_else(Token::default, |Extension(token)| token);
        let number = queries.at_least(token).ask(at(&place)).await.unwrap();
        if is_known(&asked, number.as_of) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        let mut headers = HeaderMap::new();
        ETag::from(number.as_of).write(&mut headers);
        (headers, number.to_string()).into_response()
    };
    Router::new().route("/{place}", get(number)).layer(ReadToken)
}

fn ask(headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get("/a");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_token_in_a_header_waits_for_its_position() {
    let scene = Scene::new();
    let app = app(&scene);
    let mut asked = Box::pin(app.oneshot(ask(&[(TOKEN.as_str(), "3")])));
    assert!((&mut asked).now_or_never().is_none());
    scene.shelf.change("a", 7, 3);
    let answer = asked.await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["etag"]),
        (StatusCode::OK, &"\"3\"".parse().unwrap())
    );
}

#[tokio::test]
async fn what_is_no_token_is_a_bad_request() {
    let scene = Scene::new();
    for value in ["x", "-1", "", "7 8", "99999999999999999999"] {
        let answer = app(&scene).oneshot(ask(&[(TOKEN.as_str(), value)])).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{value:?}");
    }
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let scene = Scene::new();
    scene.shelf.change("a", 7, 3);
    let app = app(&scene);
    let again = app.clone().oneshot(ask(&[("if-none-match", "\"3\"")])).await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let new = app.oneshot(ask(&[("if-none-match", "\"2\"")])).await.unwrap();
    assert_eq!(new.status(), StatusCode::OK);
}

#[test]
fn of_several_tokens_the_latest_counts() {
    let mut headers = HeaderMap::new();
    headers.append(TOKEN, "3".parse().unwrap());
    headers.append(TOKEN, "5".parse().unwrap());
    headers.append(TOKEN, "4".parse().unwrap());
    assert_eq!(Token::read(&headers), Ok(Some(Token(Position::new(5)))));
}
