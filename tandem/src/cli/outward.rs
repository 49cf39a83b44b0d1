//! `tandem trunk …` and `tandem route …`.

use clap::Subcommand;

use super::{Ask, WhichNode};

/// `tandem trunk …`
#[derive(Debug, Subcommand)]
pub(crate) enum Trunk {
    /// Make a trunk: a provider, or a gateway, that calls outside go through
    Add {
        /// What it is to be called: letters, digits, '-', '_' and '.'
        name: String,
        /// host=ADDRESS[:PORT], transport=udp|tcp, username=…, password=…, number=…, calls_max=N,
        /// numbers=NUMBER:EXT,NUMBER:EXT, otherwise=EXT
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Change a trunk: name=…, and what `add` takes
    Set {
        /// Which, by name
        name: String,
        /// What, and to what
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Remove a trunk that no route goes over
    Remove {
        /// Which, by name
        name: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// All trunks
    List(Ask),
}

/// `tandem route …`
#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    /// Make a route: numbers outside, and the trunks by which they are reached
    Add {
        /// Digits, *, # and + stand for themselves, X for any digit, a '.' at the end for what follows
        pattern: String,
        /// trunks=NAME,NAME, strip=N, prefix=…, kind=outward|international|emergency
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Change a route: pattern=…, and what `add` takes
    Set {
        /// Which, by pattern
        pattern: String,
        /// What, and to what
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Remove a route
    Remove {
        /// Which, by pattern
        pattern: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// All routes, in the order in which they are looked at
    List(Ask),
}
