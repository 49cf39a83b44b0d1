//! `tandem schedule …`, `tandem block …` and `tandem speed …`: when calls are taken and whose are not,
//! and whom the company calls often.

use clap::Subcommand;

use super::{Ask, WhichNode};

/// `tandem schedule …`
#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Make a schedule: when the office is open; without hours, always but on its holidays
    Add {
        /// What it is to be called: letters, digits, '-', '_' and '.'
        name: String,
        /// hours="mon-fri 09:00-12:00 13:00-17:00; sat 10:00-14:00", holidays=2026-12-24,12-25,
        /// time_zone=Europe/Zurich (or time_zone= for the node's), number=N (*28N switches it),
        /// override=open|closed|clock
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Change a schedule: name=…, and what `add` takes
    Set {
        /// Which, by name
        name: String,
        /// What, and to what
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Remove a schedule that no group goes by
    Remove {
        /// Which, by name
        name: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// All schedules, and whether each is open now
    List(Ask),
}

/// `tandem block …`
#[derive(Debug, Subcommand)]
pub(crate) enum Block {
    /// Refuse the calls of a number from outside
    Add {
        /// As it is shown when it calls
        number: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Refuse them no longer
    Remove {
        /// Which
        number: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// All of them
    List(Ask),
}

/// `tandem speed …`
#[derive(Debug, Subcommand)]
pub(crate) enum Speed {
    /// Set what two digits stand for, behind *0
    Set {
        /// 00 to 99
        code: String,
        /// An extension, or a number outside as it would be dialled
        number: String,
        /// Whose it is
        name: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Remove a speed dial
    Remove {
        /// Which, by its digits
        code: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// All of them
    List(Ask),
}
