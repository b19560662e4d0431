//! HTTP around [`App`].

mod answer;
mod serve;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use protocol::{EventReport, Mac, one_line};
use serde::Deserialize;

use crate::{
    app::{App, AppError},
    render::{Asked, What},
};
use answer::{Client, echoed, script, status, text};

pub use serve::serve;

/// Bytes of a report at most.
const BODY: usize = 64 << 10;
/// Seconds that a request for events may wait for one at most.
const WAIT: u64 = 30;

type Shared = State<Arc<App>>;

/// What machines may ask for.
pub fn machines_router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/ipxe/boot.ipxe", get(boot_script))
        .route("/ipxe/{mac}", get(machine_script))
        .route("/plan/{mac}", get(plan))
        .route("/cloud-init/{mac}/{file}", get(cloud_init))
        .route("/events", post(report).get(events))
        .route("/machines", get(machines))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(app)
}

/// What the host may ask for besides.
pub fn admin_router(app: Arc<App>) -> Router {
    let admin = Router::new()
        .route("/machines/{mac}/reprovision", post(reprovision))
        .with_state(Arc::clone(&app));
    machines_router(app).merge(admin)
}

/// Runs what touches the disk where it may block.
async fn blocking<T: Send + 'static>(
    app: Arc<App>,
    work: impl FnOnce(&App) -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.map_err(|error| AppError::Internal(error.into()))?
}

async fn boot_script(State(app): Shared, headers: HeaderMap) -> Response {
    script(&Client::of(&headers), blocking(app, App::boot_script).await)
}

async fn machine_script(
    State(app): Shared,
    Path(mac): Path<String>,
    Query(asked): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let client = Client::of(&headers);
    let mac: Mac = match mac.parse() {
        Ok(mac) => mac,
        Err(error) => return client.problem(StatusCode::BAD_REQUEST, &format!("{error}")),
    };
    // the first of each counts: iPXE leaves an & in a product's name as it is
    let value = |name: &str| {
        let pair = asked.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| word(value)).unwrap_or_default()
    };
    let asked = Asked {
        uuid: value("uuid"),
        serial: value("serial"),
        product: value("product"),
    };
    script(
        &client,
        blocking(app, move |app| app.script(mac, asked)).await,
    )
}

/// What a machine says of itself, without anything that a script or YAML would take for its own.
fn word(text: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || " ._-+()/".contains(*c);
    one_line(&echoed(&text.chars().filter(fits).collect::<String>()), 64)
}

async fn plan(State(app): Shared, Path(mac): Path<String>) -> Response {
    match mac.parse() {
        Ok(mac) => json(blocking(app, move |app| app.plan(mac)).await),
        Err(error) => bad_request(&error),
    }
}

async fn cloud_init(State(app): Shared, Path((mac, file)): Path<(String, String)>) -> Response {
    let what = What::named(&file).filter(|what| !what.is_script());
    match (mac.parse(), what) {
        (Err(error), _) => bad_request(&error),
        (_, None) => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
        (Ok(mac), Some(what)) => text(blocking(app, move |app| app.cloud_init(mac, what)).await),
    }
}

async fn report(State(app): Shared, body: axum::body::Bytes) -> Response {
    let report: EventReport = match serde_json::from_slice(&body) {
        Ok(report) => report,
        Err(error) => return bad_request(&format_args!("not a report: {error}")),
    };
    match blocking(app, move |app| app.report(report)).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => problem(&error),
    }
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
    #[serde(default)]
    wait: u64,
}

async fn events(State(app): Shared, Query(query): Query<Since>) -> Response {
    let mut last = app.last_event();
    let newer = last.wait_for(|last| *last > query.since);
    // over or not, the answer is what there is now
    let _ = tokio::time::timeout(Duration::from_secs(query.wait.min(WAIT)), newer).await;
    json(blocking(app, move |app| Ok(app.events(query.since))).await)
}

async fn machines(State(app): Shared) -> Response {
    json(blocking(app, App::machines).await)
}

async fn reprovision(State(app): Shared, Path(mac): Path<String>) -> Response {
    let mac = match mac.parse() {
        Ok(mac) => mac,
        Err(error) => return bad_request(&error),
    };
    match blocking(app, move |app| app.reprovision(mac)).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => problem(&error),
    }
}

fn json<T: serde::Serialize>(result: Result<T, AppError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => problem(&error),
    }
}

fn problem(error: &AppError) -> Response {
    (status(error), format!("{error}\n")).into_response()
}

fn bad_request(error: &dyn std::fmt::Display) -> Response {
    (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
}
