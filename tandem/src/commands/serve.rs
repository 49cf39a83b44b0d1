//! `tandem demo | run | check`.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::cli::{ConfigFile, Demo};
use crate::commands::demo_data;
use crate::config::{Config, Fault, Node as NodeConfig, Portal, Rtp, Sip, TrustedPeer};
use crate::logging;
use crate::node::Node;
use crate::office::Office;

pub(crate) fn demo(args: &Demo) -> Result<(), String> {
    logging::start();
    let data: PathBuf = args.data.clone().unwrap_or_else(demo_data);
    let config = Config {
        node: NodeConfig {
            name: "demo".into(),
            data,
            ..NodeConfig::default()
        },
        sip: Sip {
            bind: args.bind,
            port: args.sip_port,
            trusted: vec![TrustedPeer::Address("127.0.0.1".into())],
            ..Sip::default()
        },
        rtp: Rtp {
            ports: args.rtp_ports,
            ..Rtp::default()
        },
        portal: Portal {
            bind: args.bind,
            port: args.http_port,
        },
        ..Config::default()
    };
    if let Some((key, what)) = config.wrong_values().first() {
        return Err(format!("{key}: {what}"));
    }
    let here = match args.bind {
        all if all.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        one => one,
    };
    let office = Office::demo(SocketAddr::new(here, args.sip_port));
    let node = Node::start(&config, None, Some(&office))?;
    print_demo(&config, &office, &node);
    serve(node)
}

pub(crate) fn run(file: &ConfigFile) -> Result<(), String> {
    logging::start();
    let config = told(Config::read(&file.config))?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for (key, what) in config.unwell() {
        tracing::warn!("{key}: {what}");
    }
    let node = Node::start(&config, Some(&file.config), None)?;
    serve(node)
}

pub(crate) fn check(file: &ConfigFile) -> Result<(), String> {
    let config = told(Config::check(&file.config))?;
    for warning in config.warnings() {
        eprintln!("warning: {warning}");
    }
    println!("{} is right", file.config.display());
    Ok(())
}

/// All faults but the last are printed.
fn told(read: Result<Config, Vec<Fault>>) -> Result<Config, String> {
    read.map_err(|faults| {
        let (last, others) = faults.split_last().expect("a refused file has a fault");
        others.iter().for_each(|fault| eprintln!("{fault}"));
        last.to_string()
    })
}

/// Says `ready`, to people and to systemd, and serves.
fn serve(node: Node) -> Result<(), String> {
    println!("ready");
    // Standard output may be closed; phones do not care.
    std::io::stdout().flush().ok();
    if let Err(e) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(error = %e, "the service manager could not be told");
    }
    node.run()
}

fn print_demo(config: &Config, office: &Office, node: &Node) {
    // With brackets, where it is an IPv6 address.
    let address = SocketAddr::new(config.advertised(), config.sip.port);
    println!(
        "Tandem demo office. Its data is kept in {}.\n",
        config.node.data.display()
    );
    println!("Register phones at {address}, UDP or TCP:");
    for user in &office.users {
        let (name, extension) = (&user.name, &user.extension);
        println!(
            "  {extension}  {name:<10}  password {:<9}  voicemail PIN {}",
            user.password, user.pin
        );
    }
    println!("\nDial:");
    for (number, what) in office.numbers {
        println!("  {number:<15} {what}");
    }
    println!("\nPortal: http://{}/", node.portal());
}
