//! Web pages and HTTP API: health, readiness, metrics.
