//! `/metrics`, `/health/live`, `/health/ready`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

#[derive(Clone)]
pub struct Health {
    pub metrics: PrometheusHandle,
    /// Whether statements are taken: set when the engine is open, unset when it stops.
    pub ready: Arc<AtomicBool>,
}

pub fn router(health: Health) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .with_state(health)
}

async fn metrics(State(health): State<Health>) -> ([(&'static str, &'static str); 1], String) {
    health.metrics.run_upkeep();
    ([("content-type", "text/plain; version=0.0.4")], health.metrics.render())
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Acquire) { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}
