//! The cluster's nodes: who they are, who is invited, who leaves, who keeps whose sound. What is set is
//! written to the log, as registers.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use tandem_storage::name::NodeName;
use tandem_storage::site::{backups_register_key, cert_register_key, value};
use tandem_storage::time::WallTime;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::{ErrorBody, Invitation, Keepers, Node};
use super::fault::{Fault, Json, Named};
use super::{Answerer, NO_CLUSTER, blocking};
use crate::control::Ask;

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_nodes))
        .routes(routes!(invite_node))
        .routes(routes!(remove_node))
        .routes(routes!(set_keepers))
}

/// The nodes, and how their copies stand
#[utoipa::path(
    get, path = "/nodes", tag = "nodes",
    responses(
        (status = 200, description = "Nodes", body = [Node]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_nodes(State(answerer): State<Answerer>) -> Result<Json<Vec<Node>>, Fault> {
    answerer.show(Ask::Nodes).await
}

/// Invite a machine
#[utoipa::path(
    post, path = "/nodes/{name}/token", tag = "nodes",
    params(("name" = String, Path, description = "What the new node is to be called")),
    responses(
        (status = 201, description = "What the machine joins with, once, within an hour", body = Invitation),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn invite_node(
    State(answerer): State<Answerer>,
    Named(name): Named<String>,
) -> Result<(StatusCode, Json<Invitation>), Fault> {
    let node = node_name(&name)?;
    let inviter = answerer.inviter.clone().ok_or(NO_CLUSTER)?;
    if node == inviter.site.node() {
        return Err(format!("{name} is this node; give the new one another name").into());
    }
    let replaces = known_node(&answerer, &name).await.is_ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = WallTime(now.unwrap_or_default().as_millis() as u64);
    let make = move || {
        inviter
            .site
            .invite(node, &inviter.address, rand::random(), now)
            .map_err(|e| e.to_string())
    };
    let token = blocking(make).await?.to_string();
    Ok((StatusCode::CREATED, Json(Invitation { token, replaces })))
}

/// Take a node out of the cluster
#[utoipa::path(
    delete, path = "/nodes/{name}", tag = "nodes",
    params(("name" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_node(
    State(answerer): State<Answerer>,
    Named(name): Named<String>,
) -> Result<StatusCode, Fault> {
    let node = known_node(&answerer, &name).await?;
    let is_own = |site: &tandem_storage::site::Site| site.node() == node;
    if answerer.inviter.as_ref().is_some_and(|i| is_own(&i.site)) {
        let error =
            format!("{name} is this node; remove it at another one, which goes on without it");
        return Err(Fault::new(StatusCode::CONFLICT, error));
    }
    write(&answerer, cert_register_key(node), None).await
}

/// Which nodes keep a copy of the sound a node records
#[utoipa::path(
    put, path = "/nodes/{name}/backups", tag = "nodes", request_body = Keepers,
    params(("name" = String, Path, description = "Whose sound")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_keepers(
    State(answerer): State<Answerer>,
    Named(name): Named<String>,
    Json(Keepers { backups }): Json<Keepers>,
) -> Result<StatusCode, Fault> {
    let node = known_node(&answerer, &name).await?;
    if backups.as_ref().is_some_and(Vec::is_empty) {
        return Err("name one node at least, or null for all".into());
    }
    for name in backups.iter().flatten() {
        known_node(&answerer, name).await?;
    }
    let names = backups.map(|names| value(&names.join(" ")));
    write(&answerer, backups_register_key(node), names).await
}

async fn write(
    answerer: &Answerer,
    key: String,
    value: Option<String>,
) -> Result<StatusCode, Fault> {
    let ask = Ask::Registers(vec![(key, value)]);
    answerer.ask(ask).await.map(|_| StatusCode::NO_CONTENT)
}

/// A node that belongs to the cluster.
async fn known_node(answerer: &Answerer, name: &str) -> Result<NodeName, Fault> {
    let Json(nodes) = answerer.show::<Vec<Node>>(Ask::Nodes).await?;
    if !nodes.iter().any(|node| node.name == name) {
        return Err(format!("there is no node {name}; tandem site list names them").into());
    }
    node_name(name)
}

fn node_name(name: &str) -> Result<NodeName, Fault> {
    name.parse()
        .map_err(|e| Fault::new(StatusCode::BAD_REQUEST, format!("'{name}': {e}")))
}
