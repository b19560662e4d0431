//! Connections, with limits on what each may take.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, body::Body, http::Request, response::IntoResponse};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

/// Connections at once.
const CONNECTIONS: usize = 256;
/// Bytes of a request's line and headers.
const HEADERS: usize = 16 << 10;
/// How long headers may take.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// How long a request may take, one that waits for events included.
const REQUEST_TIME: Duration = Duration::from_secs(40);

/// Answers what comes in, until the process ends.
pub async fn serve(listener: TcpListener, router: Router) -> anyhow::Result<Infallible> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&permits)
            .acquire_owned()
            .await
            .context("no more connections")?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // out of descriptors, or the other side went away: not a reason to end
                eprintln!("bootd: can't accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(router.clone(), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            // a client that went away or spoke nonsense is no one's trouble but its own
            let _ = connection.await;
            drop(permit);
        });
    }
}

async fn answer(
    mut router: Router,
    request: Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    use axum::{http::StatusCode, routing::future::RouteFuture};
    let line = format!("{} {}", request.method(), request.uri().path());
    let future: RouteFuture<Infallible> =
        tower_service::Service::call(&mut router, request.map(Body::new));
    let response = match timeout(REQUEST_TIME, future).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "too slow\n").into_response(),
    };
    if response.status().is_server_error() {
        eprintln!("bootd: {line}: {}", response.status());
    }
    Ok(response)
}
