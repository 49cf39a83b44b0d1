//! What one can type. Each command is carried out in `commands`; what they print and how they end
//! is in `README.md`: 0 done, 1 could not, 2 wrong usage.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::admin::tokens::Role;
use crate::commands;
use crate::config::PortRange;

pub(crate) mod outward;
pub(crate) mod schedule;

/// A telephone system that does not stop.
#[derive(Debug, Parser)]
#[command(name = "tandem", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A whole PBX with a demo office, no configuration needed
    Demo(Demo),
    /// Run a node
    Run(ConfigFile),
    /// Is this configuration right?
    Check(ConfigFile),
    /// One screen: calls, phones, messages, the log
    Status(Ask),
    /// Who talks; and the log of calls that have ended
    Calls(Calls),
    /// What happens, as it happens: calls, phones, messages, settings, alarms
    Events(Ask),
    /// Who is registered where
    Phones(Ask),
    /// Users: add, set, remove, list
    #[command(subcommand)]
    User(User),
    /// Groups of users under one extension: add, set, remove, list
    #[command(subcommand)]
    Group(Group),
    /// Rooms in which people meet: add, set, remove, list
    #[command(subcommand)]
    Room(Room),
    /// Who is in which room
    Rooms(Ask),
    /// Lines to the world: add, set, remove, list
    #[command(subcommand)]
    Trunk(outward::Trunk),
    /// Which numbers go over which trunks: add, set, remove, list
    #[command(subcommand)]
    Route(outward::Route),
    /// When the office is open: add, set, remove, list
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    /// Numbers whose calls from outside are refused: add, remove, list
    #[command(subcommand)]
    Block(schedule::Block),
    /// Two digits that stand for a number: set, remove, list
    #[command(subcommand)]
    Speed(schedule::Speed),
    /// Codes to dial: list, set
    #[command(subcommand)]
    Code(Code),
    /// Tokens for the API, each with a role: add, list, remove
    #[command(subcommand)]
    Token(Token),
    /// Click to dial: rings a user's phones, then the number
    Dial(Dial),
    /// What lost when nodes that were apart met again
    Conflicts(Ask),
    /// Messages: list, export, import
    #[command(subcommand)]
    Mailbox(Mailbox),
    /// The log: is every record whole, what does it say
    #[command(subcommand)]
    Log(Log),
    /// Keys to encrypt sound with
    #[command(subcommand)]
    Storage(Storage),
    /// The PBX as one TOML file: export, apply
    #[command(subcommand)]
    Office(Office),
    /// Recordings of calls: list, show, verify, export, delete
    #[command(subcommand)]
    Recording(Recording),
    /// Back up a running node
    Backup(Backup),
    /// Restore a backup to an empty data directory, or one mailbox to a node
    Restore(Restore),
    /// The cluster's nodes: make a cluster, join it, list, remove
    #[command(subcommand)]
    Site(Site),
}

/// Where the demo lives and listens.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Kept between starts [default: tandem-demo in the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address phones and browsers reach it at
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,
    /// SIP port, UDP and TCP
    #[arg(long, value_name = "N", default_value_t = 5060)]
    pub(crate) sip_port: u16,
    /// Portal port
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) http_port: u16,
    /// Range of ports for sound
    #[arg(long, value_name = "A-B", default_value = "10000-20000")]
    pub(crate) rtp_ports: PortRange,
}

/// Which configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// A TOML file; what can be in it is in README.md
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// Which node, and how to print.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) node: WhichNode,
}

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct WhichNode {
    /// The node's data directory [default: the demo's, or /var/lib/tandem]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// `tandem calls`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Calls {
    #[command(subcommand)]
    pub(crate) which: Option<CallsOf>,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// `tandem calls …`
#[derive(Debug, Subcommand)]
pub(crate) enum CallsOf {
    /// Calls that have ended, newest first: a record for each leg
    Log(CallLog),
}

/// `tandem calls log`
#[derive(Debug, Args)]
pub(crate) struct CallLog {
    /// Of one user's lines
    #[arg(long, value_name = "EXT")]
    pub(crate) user: Option<String>,
    /// That ended since then: 2026-11-22, "2026-11-22 14:00", or so long ago: 90m, 8h, 7d
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<jiff::Timestamp>,
    /// So many at most [default: 50; with --csv or --json all that the node has in memory]
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) limit: Option<usize>,
    /// As a table for programs (RFC 4180)
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// `tandem user …`
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Make a user: somebody with an extension, phones and a mailbox
    Add {
        /// What one dials: 2 to 10 digits
        extension: String,
        /// For displays
        name: String,
        /// Of its phones [default: one is made and printed]
        #[arg(long, value_name = "P")]
        password: Option<String>,
        /// Of its mailbox [default: one is made and printed]
        #[arg(long, value_name = "N")]
        pin: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Change a user: name=…, extension=…, password=…, pin=…, dnd=on|off, dnd_except=NUMBER,NUMBER,
    /// forward=EXT (or forward= for no longer; likewise forward_busy, forward_no_answer,
    /// forward_unreachable), reject_anonymous=on|off, blocked=NUMBER,NUMBER,
    /// blocked_to_mailbox=on|off, class=internal|outward|international, forward_outside=on|off,
    /// rings_also=NUMBER,NUMBER, works_at=NUMBER, caller_id=NUMBER,
    /// record=never|on-demand|always
    Set {
        /// Whom, by extension
        extension: String,
        /// What, and to what
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Remove a user; its messages are in nobody's mailbox then
    Remove {
        /// Whom, by extension
        extension: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// All users
    List(Ask),
}

/// `tandem group …`
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// Make a group: users who are rung under one extension
    Add {
        /// What one dials: 2 to 10 digits
        extension: String,
        /// For displays
        name: String,
        /// members=EXT,EXT, strategy=all|in_order|rotating|longest_idle|page|page_two_way, ring_s=N, overflow=mailbox|busy|EXT,
        /// schedule=NAME (or schedule= for always open), night=mailbox|busy|EXT (while it is closed), pin=N
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Change a group: name=…, extension=…, and what `add` takes
    Set {
        /// Which, by extension
        extension: String,
        /// What, and to what
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Remove a group; its messages are in nobody's mailbox then
    Remove {
        /// Which, by extension
        extension: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// All groups
    List(Ask),
}

/// `tandem room …`
#[derive(Debug, Subcommand)]
pub(crate) enum Room {
    /// Make a room: one extension at which people meet
    Add {
        /// What one dials: 2 to 10 digits
        extension: String,
        /// For displays
        name: String,
        /// members_max=N, lecture=true|false, pin=N, host_pin=N
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Change a room: name=…, extension=…, and what `add` takes
    Set {
        /// Which, by extension
        extension: String,
        /// What, and to what
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Remove a room
    Remove {
        /// Which, by extension
        extension: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// All rooms
    List(Ask),
}

/// `tandem code …`
#[derive(Debug, Subcommand)]
pub(crate) enum Code {
    /// Change what is dialled: NAME=CODE; NAME= for nothing, NAME=default for what people know
    Set {
        /// What, and how it is dialled
        #[arg(value_name = "NAME=CODE", required = true)]
        codes: Vec<String>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// All codes
    List(Ask),
}

/// `tandem token …`
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token: prints it, once
    Add {
        /// What it is for: 1 to 32 characters of a-z, 0-9 and -
        name: String,
        /// What it may do
        #[arg(long, value_name = "R")]
        role: Role,
        #[command(flatten)]
        ask: Ask,
    },
    /// The tokens there are, without what they open with
    List(Ask),
    /// Remove a token; it opens nothing any more
    Remove {
        /// Which
        name: String,
        #[command(flatten)]
        node: WhichNode,
    },
}

/// `tandem office …`
#[derive(Debug, Subcommand)]
pub(crate) enum Office {
    /// Write the whole office to a file: users, groups, rooms, trunks, routes, schedules, speed dials, codes
    Export {
        /// Where to [default: standard output]
        file: Option<PathBuf>,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Make the office what a file says; who is not in it is removed
    Apply {
        /// As `export` writes it
        file: PathBuf,
        /// Show what would be different, and change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        node: WhichNode,
    },
}

/// `tandem dial`
#[derive(Debug, Args)]
pub(crate) struct Dial {
    /// Whose phones ring first
    pub(crate) extension: String,
    /// Who is called when they are answered
    pub(crate) number: String,
    #[command(flatten)]
    pub(crate) node: WhichNode,
}

/// `tandem mailbox …`
#[derive(Debug, Subcommand)]
pub(crate) enum Mailbox {
    /// The messages of a mailbox
    List {
        /// Whose, by extension
        extension: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Deleted messages that can still be had back
    Deleted {
        /// Whose, by extension
        extension: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Have a deleted message back
    Undelete {
        /// Whose, by extension
        extension: String,
        /// Which, from the list of deleted ones
        id: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Legal hold: nothing of a mailbox is destroyed while it is on
    Hold {
        /// Whose, by extension
        extension: String,
        /// on or off
        #[arg(value_parser = ["on", "off"])]
        state: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Delete heard messages after so many days
    KeepHeard {
        /// Whose, by extension
        extension: String,
        /// Days, fractions count; 0: for ever
        #[arg(value_parser = days)]
        days: f64,
        #[command(flatten)]
        node: WhichNode,
    },
    /// How much a mailbox holds and may hold; or set it
    Quota {
        /// Whose, by extension
        extension: String,
        /// Minutes it may hold; 0: as the configuration says
        #[arg(long, value_name = "N")]
        minutes: Option<u32>,
        /// Messages it may hold; 0: as the configuration says
        #[arg(long, value_name = "N")]
        messages: Option<u32>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Write a message to a WAV file
    Export {
        /// Whose, by extension
        extension: String,
        /// Which, from the list
        id: String,
        /// Where to
        file: PathBuf,
        /// Even if there is such a file already
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Put a WAV file into a mailbox as a new message
    Import {
        /// Whose, by extension
        extension: String,
        /// PCM of 8 to 32 bits, floating point, A-law or mu-law
        file: PathBuf,
        #[command(flatten)]
        node: WhichNode,
    },
}

/// `tandem recording …`
#[derive(Debug, Subcommand)]
pub(crate) enum Recording {
    /// All recordings, the newest first
    List(Ask),
    /// One recording: its parties, and what was counted of their packets
    Show {
        /// Which, from the list
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Reads all of it: says whole, or names each gap and why; exit 1 if it is not whole
    Verify {
        /// Which, from the list
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Write a recording to a WAV file, the parties left and right
    Export {
        /// Which, from the list
        id: String,
        /// Where to
        file: PathBuf,
        /// A file for each party: of call.wav, call-1.wav and so on
        #[arg(long)]
        tracks: bool,
        /// Even if there is such a file already
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Delete a recording
    Delete {
        /// Which, from the list
        id: String,
        #[command(flatten)]
        node: WhichNode,
    },
}

/// `tandem log …`
#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Reads every record and its checksum; exit 1 if one is damaged
    Verify(Ask),
    /// Prints the records
    Show(Ask),
}

/// `tandem storage …`
#[derive(Debug, Subcommand)]
pub(crate) enum Storage {
    /// Makes a key, for [storage] key_file of every node
    Key {
        /// A new file, for its owner's eyes only
        file: PathBuf,
        /// Not by chance but from these words: the same words, the same key
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

/// `tandem backup`
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// A directory, or s3://BUCKET/PREFIX (keys and endpoint from AWS_… in the environment)
    #[arg(value_name = "DEST")]
    pub(crate) to: String,
    /// Delete all but the newest N backups there
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) keep: Option<usize>,
    /// Read everything back and compare
    #[arg(long)]
    pub(crate) verify: bool,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) node: WhichNode,
}

/// `tandem restore`
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A directory, or s3://BUCKET/PREFIX
    #[arg(value_name = "SOURCE")]
    pub(crate) from: String,
    /// The new node's data directory; with --mailbox, that of the node to put it back into
    #[arg(long, value_name = "DIR", required_unless_present = "mailbox")]
    pub(crate) data: Option<PathBuf>,
    /// Put back what is gone of one mailbox, named by its extension
    #[arg(long, value_name = "EXT")]
    pub(crate) mailbox: Option<String>,
    /// Whose backup, if there are several nodes' in SOURCE
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Which backup, by its number [default: the newest]
    #[arg(long, value_name = "N", conflicts_with = "as_of")]
    pub(crate) number: Option<u64>,
    /// The newest made by then: 2026-11-22, or "2026-11-22 14:00"
    #[arg(long, value_name = "TIME", value_parser = by_then)]
    pub(crate) as_of: Option<jiff::Timestamp>,
    /// With --mailbox: what the sound in the backup is encrypted with; may be given again. Written is with
    /// the first
    #[arg(long, value_name = "FILE", requires = "mailbox")]
    pub(crate) key_file: Vec<PathBuf>,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// `tandem site …`
#[derive(Debug, Subcommand)]
pub(crate) enum Site {
    /// Make this machine the first node of a cluster
    Init(SiteInit),
    /// Invite a machine: prints what to type there
    Token {
        /// What the new node is to be called: 1 to 16 characters of a-z, 0-9 and -
        name: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Make this machine a node of a cluster, with a token from one of its nodes
    Join(SiteJoin),
    /// The nodes, and how their copies stand
    List(Ask),
    /// Take a node out of the cluster
    Remove {
        /// Which
        name: String,
        #[command(flatten)]
        node: WhichNode,
    },
    /// Which nodes keep a copy of the sound a node records
    Keeps {
        /// Whose sound
        name: String,
        /// all, or names with commas between
        backups: String,
        #[command(flatten)]
        node: WhichNode,
    },
}

/// `tandem site init`
#[derive(Debug, Args)]
pub(crate) struct SiteInit {
    /// What the node is called [default: as its log says, or office]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) node: WhichNode,
}

/// `tandem site join`
#[derive(Debug, Args)]
pub(crate) struct SiteJoin {
    /// As `tandem site token` printed it
    pub(crate) token: String,
    /// Though it is a node already: it was removed, or is to join another cluster
    #[arg(long)]
    pub(crate) again: bool,
    #[command(flatten)]
    pub(crate) node: WhichNode,
}

/// Reads the command line and carries it out.
pub(crate) fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(demo) => commands::serve::demo(&demo),
        Command::Run(file) => commands::serve::run(&file),
        Command::Check(file) => commands::serve::check(&file),
        Command::Status(ask) => commands::lists::status(&ask),
        Command::Calls(calls) => commands::calls::run(&calls),
        Command::Events(ask) => commands::events::run(&ask),
        Command::Phones(ask) => commands::lists::phones(&ask),
        Command::User(user) => commands::user::run(&user),
        Command::Group(group) => commands::group::run(&group),
        Command::Room(room) => commands::room::run(&room),
        Command::Rooms(ask) => commands::room::members(&ask),
        Command::Trunk(trunk) => commands::trunk::run(&trunk),
        Command::Route(route) => commands::trunk::run_route(&route),
        Command::Schedule(schedule) => commands::schedule::run(&schedule),
        Command::Block(block) => commands::schedule::block(&block),
        Command::Speed(speed) => commands::schedule::speed(&speed),
        Command::Code(code) => commands::code::run(&code),
        Command::Token(token) => commands::token::run(&token),
        Command::Dial(dial) => commands::group::dial(&dial),
        Command::Conflicts(ask) => commands::lists::conflicts(&ask),
        Command::Mailbox(mailbox) => commands::mailbox::run(&mailbox),
        Command::Log(log) => commands::log::run(&log),
        Command::Storage(storage) => commands::storage::run(&storage),
        Command::Office(office) => commands::office::run(&office),
        Command::Recording(recording) => commands::recording::run(&recording),
        Command::Backup(backup) => commands::backup::run(&backup),
        Command::Restore(restore) => commands::restore::run(&restore),
        Command::Site(site) => commands::site::run(&site),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tandem: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A time in days that a mailbox can be told.
fn days(text: &str) -> Result<f64, String> {
    let days: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let is_possible = (0.0..=tandem_pbx::DAYS_MAX).contains(&days);
    is_possible
        .then_some(days)
        .ok_or_else(|| format!("must be 0 to {}", tandem_pbx::DAYS_MAX))
}

/// A time of this machine's clock; a day is meant to its end.
fn by_then(text: &str) -> Result<jiff::Timestamp, String> {
    let wrong = || "not a time, as in 2026-11-22 or \"2026-11-22 14:00\"".to_owned();
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at);
    }
    let civil = match text.parse::<jiff::civil::Date>() {
        Ok(day) if text.len() <= "2026-11-22".len() => day.at(23, 59, 59, 999_000_000),
        _ => text.parse::<jiff::civil::DateTime>().map_err(|_| wrong())?,
    };
    let zoned = civil.to_zoned(jiff::tz::TimeZone::system());
    zoned.map(|at| at.timestamp()).map_err(|_| wrong())
}

/// A time of this machine's clock, a day from its beginning; or how long ago.
fn since(text: &str) -> Result<jiff::Timestamp, String> {
    let wrong = || "not a time, as in 2026-11-22, \"2026-11-22 14:00\", 90m, 8h or 7d".to_owned();
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at);
    }
    let unit_s = match text.bytes().last() {
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 24 * 3600,
        _ => 0,
    };
    if unit_s > 0 {
        let number = text[..text.len() - 1].parse::<u32>();
        let ago = number.map_err(|_| wrong())?;
        let ago = jiff::SignedDuration::from_secs(i64::from(ago) * unit_s);
        return jiff::Timestamp::now().checked_sub(ago).map_err(|_| wrong());
    }
    // A date alone is midnight.
    let civil = text.parse::<jiff::civil::DateTime>().map_err(|_| wrong())?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::system());
    zoned.map(|at| at.timestamp()).map_err(|_| wrong())
}
