//! What runs, and in which order it starts and stops.
//!
//! Start: log (takes the data directory's lock, recovers) → SIP and HTTP sockets → media workers →
//! link to the other nodes → call control → command socket. Whatever cannot start says what, where and what to do, and
//! nothing is left behind. Stop is the same backwards, and the log is last: what is recorded when
//! the order comes is sealed first.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tandem_engine::Engine;
use tandem_engine::seam::{EngineConfig, OpusConfig};
use tandem_node::{Input, NodeConfig, SHELL_REGISTERS};
use tandem_portal::Portal;
use tandem_sip_shim::{ShimConfig, SipShell, SipShellConfig};
use tandem_storage::compaction::ask::Question;
use tandem_storage::compaction::{CompactionConfig, Input as CompactionInput};
use tandem_storage::gate::GateConfig;
use tandem_storage::link::Position;
use tandem_storage::name::{Id, NodeName};
use tandem_storage::recovery::Ending;
use tandem_storage::site::{Linker, Linking};
use tandem_storage::{
    Compaction, CompactionHelp, CompactionStart, Log, LogConfig, Opened, RecoveryReport,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::admin::{self, AdminServer, Answerer, Token, TokensKeeper};
use crate::backups::Backups;
use crate::cluster::write_self;
use crate::config::Config;
use crate::control::{self, Answer, Ask, Clock, Control, ControlHandle, LogEvents, Parts};
use crate::encryption_keys;
use crate::events;
use crate::membership::{LinkStart, Membership};
use crate::metrics::Metrics;
use crate::office::{self, Office};
use crate::pins::Pins;
use crate::secrets::Keeper;
use crate::signals::{self, Source};

/// How long the portal waits for the control thread before it calls the node unwell.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A node that serves.
pub(crate) struct Node {
    runtime: Runtime,
    control: JoinHandle<Parts>,
    portal: Portal,
    admin: AdminServer,
    linking: Option<Linking>,
}

impl Node {
    /// Starts everything. `first_office` is written if the log knows no user yet; `file` is read
    /// again at SIGHUP.
    pub(crate) fn start(
        config: &Config,
        file: Option<&Path>,
        first_office: Option<&Office>,
    ) -> Result<Node, String> {
        let clock = Clock::start();
        let (handle, events, queues) = control::queues();
        let membership = Membership::read(config)?;
        let mut opened = open_log(config, events, &membership)?;
        tell_found(&opened.report);
        let log = opened.log.clone();
        let runtime = runtime()?;
        // Before the pbx is given the names to hand out: it goes on behind the office's. A node that
        // has others gets the cluster's office from them.
        let is_empty = office::is_empty(&opened);
        if is_empty && first_office.is_none() && membership.is_alone() {
            let data = config.node.data.display();
            tracing::info!(
                "there are no users yet: tandem user add EXT NAME --data {data} makes one"
            );
        }
        let office = first_office.filter(|_| is_empty && membership.is_alone());
        let keeper = Keeper {
            realm: config.sip.realm.clone(),
            keyring: log.keyring().clone(),
        };
        let registers = office.map(|o| o.registers(&keeper, &mut opened.ids));
        let registers = registers.transpose()?;
        let address = config.link_address();
        let said = crate::cluster::address_in(&opened.view, membership.node);
        let (node, epoch) = (membership.node, opened.ids.epoch());
        match start_on(config, file, clock, &handle, opened, membership, &runtime) {
            Ok((parts, portal, admin, linking)) => {
                let control = Control::new(parts, &handle, queues);
                let control = std::thread::Builder::new()
                    .name("control".into())
                    .spawn(move || control.run())
                    .map_err(|e| format!("cannot start a thread: {e}"))?;
                if let Some(registers) = registers {
                    runtime.block_on(write_office(&handle, registers))?;
                }
                if linking.is_some() {
                    let write = write_self(said, node, epoch, &address, &handle);
                    runtime.block_on(write)?;
                }
                Ok(Node {
                    runtime,
                    control,
                    portal,
                    admin,
                    linking,
                })
            }
            Err(e) => {
                log.close();
                Err(e)
            }
        }
    }

    /// Where the portal is.
    pub(crate) fn portal(&self) -> SocketAddr {
        self.portal.local()
    }

    /// Serves until told to stop, then puts everything away.
    pub(crate) fn run(self) -> Result<(), String> {
        let parts = self
            .control
            .join()
            .map_err(|_| "call control died; see the log lines")?;
        self.admin.close();
        self.runtime.block_on(async {
            parts.sip.close().await;
            self.portal.close();
        });
        parts.backups.close();
        parts.engine.stop();
        parts.compaction.stop();
        if let Some(linking) = self.linking {
            linking.stop();
        }
        parts.log.close();
        tracing::info!("stopped");
        Ok(())
    }
}

type Started = (Parts, Portal, AdminServer, Option<Linking>);

fn start_on(
    config: &Config,
    file: Option<&Path>,
    clock: Clock,
    handle: &ControlHandle,
    opened: Opened,
    membership: Membership,
    runtime: &Runtime,
) -> Result<Started, String> {
    let (sip, http) = runtime.block_on(bind(config, file, handle))?;
    let engine = start_engine(config, &opened.log, handle)?;
    let Opened {
        log,
        view,
        ids,
        report,
        compaction,
        found,
        snapshots,
    } = opened;
    let pins_done = handle.clone();
    let epoch = ids.epoch();
    let start = LinkStart {
        config,
        log: &log,
        view: &view,
        epoch,
        found,
    };
    let name = membership.node;
    let linker = membership
        .joined
        .as_ref()
        .map(|joined| joined.linker.clone());
    let (members, cluster, inviter, linking) = match membership.joined {
        Some(joined) => {
            let (members, cluster, inviter, linking) =
                runtime.block_on(start.start(joined, handle, runtime))?;
            (Some(members), Some(cluster), Some(inviter), Some(linking))
        }
        None => (None, None, None, None),
    };
    let node = NodeConfig {
        pbx: config.pbx(),
        shim: shim_config(config)?,
        seed: rand::random(),
        gate: GateConfig {
            node: name,
            waits: members.is_some() && config.storage.copies > 1,
            deadline: Duration::from_millis(config.storage.copy_within_ms),
        },
        members,
        keys: log.keyring().clone(),
        stop_grace: config.stop_grace(),
    };
    let _inside = runtime.enter();
    let (events, events_door) = events::start(name, epoch, handle.clone());
    let parts = Parts {
        tokens: TokensKeeper::new(view.registers(SHELL_REGISTERS)),
        events,
        node: tandem_node::Node::new(node, view, ids, clock.now()),
        engine,
        log: log.clone(),
        log_found: report.ending,
        snapshots,
        sip,
        pins: Pins::start(log.keyring().clone(), move |input| pins_done.node(input))
            .map_err(|e| e.to_string())?,
        backups: Backups::start(config).map_err(|e| format!("cannot start a thread: {e}"))?,
        compaction: start_compaction(config, &log, name, compaction, handle, linker)?,
        cluster,
        board: Arc::default(),
        clock,
        name: name.to_string(),
    };
    let asked = Asked {
        metrics: Metrics::of(&parts, handle),
        control: handle.clone(),
    };
    let answerer = Answerer {
        control: handle.clone(),
        reader: log.reader(),
        events: events_door,
        tokens: parts.tokens.tokens(),
        inviter,
        keeper: Keeper {
            realm: config.sip.realm.clone(),
            keyring: log.keyring().clone(),
        },
    };
    let api = admin::behind_token(answerer.clone(), Token::of(&config.node.data));
    let portal = Portal::serve(http, Arc::new(asked), api).map_err(|e| e.to_string())?;
    let admin = AdminServer::start(&config.node.data, answerer)
        .map_err(|e| format!("cannot open the command socket: {e}"))?;
    let source = Source {
        file: file.map(Path::to_owned),
        config: config.clone(),
    };
    signals::watch(handle.clone(), source).map_err(|e| e.to_string())?;
    Ok((parts, portal, admin, linking))
}

fn open_log(config: &Config, events: LogEvents, membership: &Membership) -> Result<Opened, String> {
    let data = &config.node.data;
    make_dir(data)?;
    let mut log = LogConfig::new(data.join("log"), membership.node);
    log.segment_bytes = config.storage.segment_mib << 20;
    log.reserve_bytes = config.storage.reserve_mib << 20;
    log.keyring = encryption_keys::keyring(&config.storage)?;
    if let Some(key) = log.keyring.writes_with() {
        tracing::info!(%key, "new sound is encrypted");
    }
    let Some(joined) = &membership.joined else {
        return tandem_storage::open(log, move |event| events.put(event))
            .map_err(|e| e.to_string());
    };
    log.tap = Some(joined.tap.clone());
    log.epoch_min = joined.epoch_min();
    let linker = joined.linker.clone();
    let tell = move |event| {
        if !linker.on_log(&event) {
            events.put(event);
        }
    };
    tandem_storage::open(log, tell).map_err(|e| e.to_string())
}

fn start_compaction(
    config: &Config,
    log: &Log,
    node: NodeName,
    start: CompactionStart,
    handle: &ControlHandle,
    linker: Option<Linker>,
) -> Result<Compaction, String> {
    let mut settings = CompactionConfig::new(node);
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    settings.hidden_for = Duration::from_secs_f64(config.storage.destroy_within_h * 3600.0);
    settings.scrub_every = hours(24 * config.storage.scrub_every_days);
    settings.entries_for = hours(24 * config.storage.entries_days);
    let help = Help {
        control: handle.clone(),
        linker,
    };
    log.compact(settings, start, help)
        .map_err(|e| format!("cannot start a thread: {e}"))
}

/// Who helps the log's compaction.
struct Help {
    control: ControlHandle,
    linker: Option<Linker>,
}

impl CompactionHelp for Help {
    fn ask(&mut self, question: Question) -> Option<CompactionInput> {
        self.control.ask_view(question)
    }

    fn has_mended(&mut self) -> bool {
        let linker = self.linker.as_ref();
        linker.is_some_and(|linker| !linker.is_mending())
    }

    fn missing(&mut self, sound: Id, index: u32) {
        tracing::error!(%sound, index, "a piece of a sound cannot be read any more");
        if let Some(linker) = &self.linker {
            // However much of it is known to be held: it is wanted again.
            linker.want(sound, Position::NEVER, 0);
        }
    }
}

/// What the log was like when it was opened.
fn tell_found(report: &RecoveryReport) {
    let Ending {
        records,
        records_lost,
        torn,
        damages,
        ..
    } = report.ending;
    let (segments, cut_short) = (report.segments, report.cut_short);
    let from = report.read_from;
    tracing::info!(records, segments, from, cut_short, torn, "the log was read");
    for damage in &report.damages {
        tracing::error!(%damage, "the log is damaged here; the rest is whole");
    }
    if damages > 0 {
        tracing::error!(damages, records_lost, "the log is damaged");
    }
}

/// Phones may register as soon as `ready` is said, so the users must be there by then.
async fn write_office(
    handle: &ControlHandle,
    registers: Vec<(String, String)>,
) -> Result<(), String> {
    let registers = registers.into_iter().map(|(key, value)| (key, Some(value)));
    match handle.ask(Ask::Registers(registers.collect())).await {
        Ok(written) => written
            .map(drop)
            .map_err(|e| format!("cannot write the office: {e}")),
        Err(_) => Err("call control died; see the log lines".into()),
    }
}

fn make_dir(dir: &Path) -> Result<(), String> {
    let mut private = std::fs::DirBuilder::new();
    private
        .mode(0o700)
        .recursive(true)
        .create(dir)
        .map_err(|e| {
            format!(
                "cannot make the data directory {}: {e}; name another with --data",
                dir.display()
            )
        })
}

fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("net")
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start network threads: {e}"))
}

async fn bind(
    config: &Config,
    file: Option<&Path>,
    handle: &ControlHandle,
) -> Result<(SipShell, TcpListener), String> {
    let sip = SocketAddr::new(config.sip.bind, config.sip.port);
    let wire = handle.clone();
    let shell = SipShellConfig::new(sip, Some(sip));
    let shell = SipShell::bind(shell, move |message| wire.wire(message))
        .await
        .map_err(|e| format!("{e}; {}", mend(&e, file, ("--sip-port", "[sip] port"))))?;
    let portal = SocketAddr::new(config.portal.bind, config.portal.port);
    let http = TcpListener::bind(portal).await.map_err(|e| {
        let mend = mend(&e, file, ("--http-port", "[portal] port"));
        format!("the portal cannot listen on {portal}: {e}; {mend}")
    })?;
    Ok((shell, http))
}

/// What to do about an address that cannot be had: with an option, or in the file there is.
fn mend(
    error: &(dyn std::error::Error + 'static),
    file: Option<&Path>,
    (option, key): (&str, &str),
) -> String {
    let port = match file {
        Some(file) => format!("{key} in {}", file.display()),
        None => option.to_owned(),
    };
    let cause = std::iter::successors(Some(error), |e| e.source())
        .find_map(|e| e.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind);
    match cause {
        Some(ErrorKind::AddrNotAvailable) => {
            "this machine does not have that address: bind to one of its own".into()
        }
        Some(ErrorKind::PermissionDenied) => {
            format!("ports below 1024 need a right: choose another with {port}")
        }
        _ => format!("is another PBX running? choose another port with {port}"),
    }
}

fn start_engine(config: &Config, log: &Log, handle: &ControlHandle) -> Result<Engine, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let engine = EngineConfig {
        bind: config.sip.bind,
        ports: (config.rtp.ports.first, config.rtp.ports.last),
        workers: if config.rtp.workers == 0 {
            cores
        } else {
            config.rtp.workers
        },
        prompts_dir: config.prompts(),
        media_timeout: Duration::from_secs(config.rtp.timeout_s),
        dscp: 46,
        opus: OpusConfig {
            bitrate_bps: config.media.opus_bitrate_bps as u32,
            complexity: config.media.opus_complexity as u8,
            fec: config.media.opus_fec,
            dtx: config.media.opus_dtx,
        },
    };
    let events = handle.clone();
    Engine::start(engine, log.clone(), move |event| {
        events.node(Input::Media(event))
    })
    .map_err(|e| e.to_string())
}

fn shim_config(config: &Config) -> Result<ShimConfig, String> {
    let trusted: Result<Vec<_>, _> = config.sip.trusted.iter().map(|t| t.trusted()).collect();
    Ok(ShimConfig {
        advertise: config.advertised(),
        sip_port: config.sip.port,
        codecs: config.media.codecs()?.into(),
        realm: config.sip.realm.clone(),
        trusted: trusted.map_err(|e| format!("sip.trusted: {e}"))?,
        transactions_max: config.sip.transactions_max,
        ..ShimConfig::default()
    })
}

/// The node, as the portal sees it.
struct Asked {
    control: ControlHandle,
    metrics: Metrics,
}

impl Asked {
    fn ask(&self, ask: Ask) -> Result<Answer, String> {
        let answer = self.control.ask(ask);
        let within = async { tokio::time::timeout(ANSWER_WITHIN, answer).await };
        match tokio::runtime::Handle::current().block_on(within) {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the node has stopped".into()),
            Err(_) => Err("call control does not answer".into()),
        }
    }
}

impl tandem_portal::Source for Asked {
    fn ready(&self) -> Result<(), String> {
        match self.ask(Ask::Status)? {
            Answer::Json(status) => match status["not_ready"].as_str() {
                None => Ok(()),
                Some(missing) => Err(missing.into()),
            },
            _ => Err("call control gave no status".into()),
        }
    }

    fn metrics(&self, refused: u64) -> Result<String, String> {
        self.metrics.scrape(refused)
    }
}
