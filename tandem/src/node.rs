//! What runs, and in which order it starts and stops.
//!
//! Start: log (takes the data directory's lock, recovers) → media workers → SIP and HTTP sockets →
//! call control → command socket. Whatever cannot start says what, where and what to do, and
//! nothing is left behind. Stop is the same backwards, and the log is last: what is recorded when
//! the order comes is sealed first.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tandem_engine::Engine;
use tandem_engine::seam::EngineConfig;
use tandem_pbx::Pbx;
use tandem_pbx::seam::Input;
use tandem_portal::Portal;
use tandem_sip_shim::{Net, Shim, ShimConfig, SipShell, SipShellConfig};
use tandem_storage::clean::ask::Question;
use tandem_storage::clean::{CleanerConfig, Input as CleanerInput};
use tandem_storage::name::Id;
use tandem_storage::recovery::Ending;
use tandem_storage::{CleanerHelp, CleanerSeat, Cleaning, Log, LogConfig, Opened, RecoveryReport};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::admin::AdminServer;
use crate::backups::Backups;
use crate::config::Config;
use crate::control::{self, Answer, Ask, Clock, Control, ControlHandle, Parts};
use crate::office::{self, Office};
use crate::pins::Pins;
use crate::signals::{self, Source};

/// How long the portal waits for the control thread before it calls the node unwell.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A node that serves.
pub(crate) struct Node {
    runtime: Runtime,
    control: JoinHandle<Parts>,
    portal: Portal,
    admin: AdminServer,
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
        let (handle, queue) = control::queue();
        let mut opened = open_log(config, &handle)?;
        tell_found(&opened.report);
        let log = opened.log.clone();
        let runtime = runtime()?;
        // Before the pbx is given the names to hand out: it goes on behind the office's.
        let office = first_office.filter(|_| office::is_empty(&opened));
        let registers = office.map(|o| o.registers(&config.sip.realm, &mut opened.ids));
        let registers = registers.transpose()?;
        match start_on(config, file, clock, &handle, opened, &runtime) {
            Ok((parts, portal, admin)) => {
                let control = Control::new(parts, &handle, queue);
                let control = std::thread::Builder::new()
                    .name("control".into())
                    .spawn(move || control.run())
                    .map_err(|e| format!("cannot start a thread: {e}"))?;
                if let Some(registers) = registers {
                    runtime.block_on(write_office(&handle, registers))?;
                }
                Ok(Node {
                    runtime,
                    control,
                    portal,
                    admin,
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
            self.portal.close().await;
        });
        parts.backups.close();
        parts.engine.stop();
        parts.cleaning.stop();
        parts.log.close();
        tracing::info!("stopped");
        Ok(())
    }
}

type Started = (Parts, Portal, AdminServer);

fn start_on(
    config: &Config,
    file: Option<&Path>,
    clock: Clock,
    handle: &ControlHandle,
    opened: Opened,
    runtime: &Runtime,
) -> Result<Started, String> {
    let (sip, http) = runtime.block_on(bind(config, handle))?;
    let engine = start_engine(config, &opened.log, handle)?;
    let seed = rand::random();
    let Opened {
        log,
        view,
        ids,
        report,
        cleaner,
        ..
    } = opened;
    let pins_done = handle.clone();
    let parts = Parts {
        shim: Shim::new(shim_config(config)?, seed),
        pbx: Pbx::new(config.pbx(), view, ids, clock.now()),
        engine,
        log: log.clone(),
        log_found: report.ending,
        sip,
        pins: Pins::start(move |input| pins_done.pbx(input)).map_err(|e| e.to_string())?,
        backups: Backups::start(config).map_err(|e| format!("cannot start a thread: {e}"))?,
        cleaning: start_cleaning(config, &log, cleaner, handle)?,
        clock,
        stop_grace: config.stop_grace(),
        node: config.node.name.clone(),
    };
    let _inside = runtime.enter();
    let asked = handle.clone();
    let portal = Portal::serve(http, Arc::new(Asked(asked))).map_err(|e| e.to_string())?;
    let admin = AdminServer::start(&config.node.data, handle.clone(), log.reader())
        .map_err(|e| format!("cannot open the command socket: {e}"))?;
    let source = Source {
        file: file.map(Path::to_owned),
        config: config.clone(),
    };
    signals::watch(handle.clone(), source).map_err(|e| e.to_string())?;
    Ok((parts, portal, admin))
}

fn open_log(config: &Config, handle: &ControlHandle) -> Result<Opened, String> {
    let data = &config.node.data;
    make_dir(data)?;
    let node = config
        .node
        .name
        .parse()
        .map_err(|e| format!("node.name: {e}"))?;
    let mut log = LogConfig::new(data.join("log"), node);
    log.segment_bytes = config.storage.segment_mib << 20;
    log.reserve_bytes = config.storage.reserve_mib << 20;
    let events = handle.clone();
    tandem_storage::open(log, move |event| events.pbx(Input::Log(event))).map_err(|e| e.to_string())
}

fn start_cleaning(
    config: &Config,
    log: &Log,
    seat: CleanerSeat,
    handle: &ControlHandle,
) -> Result<Cleaning, String> {
    let node = config.node.name.parse();
    let mut cleaner = CleanerConfig::new(node.map_err(|e| format!("node.name: {e}"))?);
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    cleaner.hidden_for = Duration::from_secs_f64(config.storage.destroy_within_h * 3600.0);
    cleaner.scrub_every = hours(24 * config.storage.scrub_every_days);
    cleaner.entries_for = hours(24 * config.storage.entries_days);
    log.clean(cleaner, seat, Help(handle.clone()))
        .map_err(|e| format!("cannot start a thread: {e}"))
}

/// Who helps the log's cleaner.
struct Help(ControlHandle);

impl CleanerHelp for Help {
    fn ask(&mut self, question: Question) -> Option<CleanerInput> {
        self.0.clean(question)
    }

    fn missing(&mut self, _sound: Id, _index: u32) {}
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
    tracing::info!(records, segments, cut_short, torn, "the log was read");
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
    match handle.ask(Ask::Registers(registers)).await {
        Ok(written) => written
            .map(drop)
            .map_err(|e| format!("cannot write the office: {e}")),
        Err(_) => Err("call control died; see the log lines".into()),
    }
}

fn make_dir(dir: &Path) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|e| {
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

async fn bind(config: &Config, handle: &ControlHandle) -> Result<(SipShell, TcpListener), String> {
    let sip = SocketAddr::new(config.sip.bind, config.sip.port);
    let wire = handle.clone();
    let shell = SipShellConfig::new(sip, Some(sip));
    let shell = SipShell::bind(shell, move |message| wire.wire(message))
        .await
        .map_err(|e| format!("{e}; {}", mend(&e, "--sip-port")))?;
    let portal = SocketAddr::new(config.portal.bind, config.portal.port);
    let http = TcpListener::bind(portal).await.map_err(|e| {
        let mend = mend(&e, "--http-port");
        format!("the portal cannot listen on {portal}: {e}; {mend}")
    })?;
    Ok((shell, http))
}

/// What to do about an address that cannot be had.
fn mend(error: &(dyn std::error::Error + 'static), port: &str) -> String {
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
    };
    let events = handle.clone();
    Engine::start(engine, log.clone(), move |event| {
        events.pbx(Input::Media(event))
    })
    .map_err(|e| e.to_string())
}

fn shim_config(config: &Config) -> Result<ShimConfig, String> {
    let trusted: Result<Vec<Net>, _> = config.sip.trusted.iter().map(|n| n.parse()).collect();
    Ok(ShimConfig {
        advertise: config.advertised(),
        sip_port: config.sip.port,
        realm: config.sip.realm.clone(),
        trusted: trusted.map_err(|e| format!("sip.trusted: {e}"))?,
        transactions_max: config.sip.transactions_max,
        ..ShimConfig::default()
    })
}

/// The node, as the portal sees it.
struct Asked(ControlHandle);

impl Asked {
    fn ask(&self, ask: Ask) -> Result<Answer, String> {
        let answer = self.0.ask(ask);
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

    fn metrics(&self) -> Result<String, String> {
        match self.ask(Ask::Metrics)? {
            Answer::Text(text) => Ok(text),
            _ => Err("call control gave no figures".into()),
        }
    }
}
