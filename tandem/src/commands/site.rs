//! `tandem site`: makes a cluster of several nodes, and shows it.

use std::path::Path;

use axum::http::Method;
use serde_json::Value;
use tandem_storage::log_owner;
use tandem_storage::name::NodeName;
use tandem_storage::site::{Invitation, Joined, Site, SiteError, join};

use super::lists::{or_dash, print_table, show};
use crate::admin::bodies::{Invitation as Invited, Keepers, Node};
use crate::admin::{Client, socket_path};
use crate::cli::{Ask, Site as Command, SiteInit, SiteJoin, WhichNode};
use crate::out::say;

pub(crate) fn run(command: &Command) -> Result<(), String> {
    match command {
        Command::Init(init) => make(init),
        Command::Token { name, node } => token(name, node),
        Command::Join(with) => join_with(with),
        Command::List(how) => list(how),
        Command::Remove { name, node } => remove(name, node),
        Command::Keeps {
            name,
            backups,
            node,
        } => keeps(name, backups, node),
    }
}

fn make(init: &SiteInit) -> Result<(), String> {
    let data = init.node.data();
    refuse_running(&data)?;
    let owner = log_owner(&data.join("log"));
    let name = match (&init.name, owner) {
        (Some(name), _) => parse(name)?,
        (None, Some(owner)) => owner,
        (None, None) => parse("office")?,
    };
    refuse_other(owner, name)?;
    make_dir(&data)?;
    let site = Site::init(&data, name).map_err(|e| e.to_string())?;
    let folder = Site::folder(&data);
    say!("This machine is node {} of a new cluster.", site.node());
    say!(
        "Its certificates are in {}; keep a copy of them in a safe place.",
        folder.display()
    );
    say!("Start it, then invite another machine: tandem site token NAME");
    Ok(())
}

fn token(name: &str, node: &WhichNode) -> Result<(), String> {
    let name = parse(name)?.to_string();
    let path = ["nodes", &name, "token"];
    let Invited { token, replaces } = Client::of(node.data()).carry_out(Method::POST, &path)?;
    if replaces {
        eprintln!("{name} is a node already: the machine that joins with this takes its place.");
    }
    eprintln!("On the new machine, within an hour, once:");
    say!("tandem site join {token}");
    Ok(())
}

fn join_with(with: &SiteJoin) -> Result<(), String> {
    let data = with.node.data();
    refuse_running(&data)?;
    let invitation: Invitation = with.token.parse().map_err(str::to_owned)?;
    refuse_other(log_owner(&data.join("log")), invitation.node)?;
    make_dir(&data)?;
    let joined = join(&data, &invitation, with.again).map_err(|e| match e {
        SiteError::Network(address, why) => format!(
            "{address} cannot be reached: {why}; is the node running there, and the port open?"
        ),
        other => other.to_string(),
    })?;
    match joined {
        Joined::Node(site) => {
            say!("This machine is node {} now.", site.node());
            say!("Start it: what the cluster knows comes by itself.");
        }
        Joined::Met(node) => {
            say!("This machine is a node of that cluster already, and knows now where {node} is.");
            say!("Start it: the others are told where this one is by itself.");
        }
    }
    Ok(())
}

fn list(how: &Ask) -> Result<(), String> {
    show(how, &["nodes"], |nodes: Vec<Node>| {
        let rows = nodes.into_iter().map(|node| {
            let away_why = node.copies.as_ref().and_then(|c| c.away_why.as_ref());
            let state = match away_why {
                Some(why) => format!("away: {why}"),
                None => node.state.clone(),
            };
            let lacks = lacks(&node);
            vec![
                node.name,
                or_dash(node.address),
                state,
                lacks,
                node.sound_kept_by,
            ]
        });
        let header = [
            "NODE",
            "ADDRESS",
            "STATE",
            "LACKS OF OURS",
            "ITS SOUND KEPT BY",
        ];
        print_table(&header, rows, "no nodes");
    })
}

fn lacks(node: &Node) -> String {
    match (&*node.state, &node.copies) {
        ("this node", _) => "-".into(),
        (_, Some(copies)) => amount(copies.lacks_of_ours_bytes, copies.takes_s),
        (_, None) => amount(None, None),
    }
}

/// What is missing at which nodes, as `tandem status` has it, in words.
pub(super) fn missing(rows: &[Value]) -> String {
    let words = rows.iter().map(|row| {
        let at = row["at"].as_str().unwrap_or_default();
        format!(
            "{at}: {}",
            amount(row["bytes"].as_u64(), row["takes_s"].as_f64())
        )
    });
    let words: Vec<String> = words.collect();
    match &words[..] {
        [] => "nothing".into(),
        words => words.join("; "),
    }
}

fn amount(bytes: Option<u64>, seconds: Option<f64>) -> String {
    match (bytes, seconds) {
        (None, _) => "not known".into(),
        (Some(0), _) => "nothing".into(),
        (Some(bytes), None) => format!("{} KiB", bytes.div_ceil(1024)),
        (Some(bytes), Some(seconds)) => format!("{} KiB, {seconds} s", bytes.div_ceil(1024)),
    }
}

fn remove(name: &str, node: &WhichNode) -> Result<(), String> {
    let name = parse(name)?.to_string();
    Client::of(node.data()).carry_out::<()>(Method::DELETE, &["nodes", &name])?;
    say!("{name} is no longer a node of the cluster. What it said stays.");
    Ok(())
}

fn keeps(name: &str, backups: &str, node: &WhichNode) -> Result<(), String> {
    let name = parse(name)?.to_string();
    let backups = match backups {
        "all" => None,
        names => {
            let names: Result<Vec<NodeName>, String> = names.split(',').map(parse).collect();
            Some(names?.iter().map(NodeName::to_string).collect())
        }
    };
    let keepers = Keepers { backups };
    Client::of(node.data()).send::<()>(Method::PUT, &["nodes", &name, "backups"], &keepers)?;
    match keepers.backups {
        None => say!("All nodes keep the sound that {name} records."),
        Some(names) => say!(
            "The sound that {name} records is kept there and at: {}",
            names.join(" ")
        ),
    }
    Ok(())
}

fn parse(name: &str) -> Result<NodeName, String> {
    name.parse().map_err(|e| format!("'{name}': {e}"))
}

fn refuse_running(data: &Path) -> Result<(), String> {
    match std::os::unix::net::UnixStream::connect(socket_path(data)) {
        Ok(_) => Err(format!(
            "a node is running on {}; stop it first",
            data.display()
        )),
        Err(_) => Ok(()),
    }
}

fn refuse_other(owner: Option<NodeName>, name: NodeName) -> Result<(), String> {
    match owner {
        Some(owner) if owner != name => Err(format!(
            "the log in this data directory is that of node {owner}; {name} needs an empty one: \
             name it with --data"
        )),
        _ => Ok(()),
    }
}

fn make_dir(data: &Path) -> Result<(), String> {
    std::fs::create_dir_all(data)
        .map_err(|e| format!("cannot make the data directory {}: {e}", data.display()))
}
