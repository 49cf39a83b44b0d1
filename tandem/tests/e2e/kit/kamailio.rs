//! Kamailio as a provider of lines: it asks whoever sends it calls for a password, passes them on to the
//! world, and what the world sends to its customer.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::node::Node;
use super::{SOON, place, until};

/// A provider that runs.
pub struct Kamailio {
    /// Where its SIP is.
    pub at: SocketAddr,
    child: Child,
    dir: TempDir,
}

/// What it knows its customer by.
pub const LOGIN: (&str, &str) = ("acme", "pepper");

impl Kamailio {
    /// A provider whose customer is the node; all numbers of the world are at `world`.
    pub fn provider(node: &Node, world: SocketAddr) -> Kamailio {
        let at = place::at(node.setup.ip, place::free_port(node.setup.ip));
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("kamailio.cfg");
        std::fs::write(&config, provider_config(at, node.sip(), world)).unwrap();
        let output = std::fs::File::create(dir.path().join("output.log")).unwrap();
        let here = dir.path().display().to_string();
        let child = Command::new("kamailio")
            .args(["-f", &config.display().to_string()])
            // In the foreground, with its output, in a directory of its own, small.
            .args(["-DD", "-E", "-Y", &here, "-w", &here])
            .args(["-P", &format!("{here}/pid")])
            .args(["-m", "32", "-M", "8"])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("kamailio is installed (make test installs it)");
        let mut provider = Kamailio { at, child, dir };
        provider.wait_listening();
        provider
    }

    fn wait_listening(&mut self) {
        let asker = std::net::UdpSocket::bind((self.at.ip(), 0)).unwrap();
        let wait = std::time::Duration::from_millis(200);
        asker.set_read_timeout(Some(wait)).unwrap();
        let from = asker.local_addr().unwrap();
        let ask = format!(
            "OPTIONS sip:ping@{} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKping\r\n\
             Max-Forwards: 1\r\nFrom: <sip:ping@{from}>;tag=1\r\nTo: <sip:ping@{}>\r\n\
             Call-ID: ping\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            self.at, self.at
        );
        until("Kamailio answers", SOON, || {
            assert!(
                matches!(self.child.try_wait(), Ok(None)),
                "Kamailio ended:\n{}",
                self.output()
            );
            asker.send_to(ask.as_bytes(), self.at).ok()?;
            asker.recv(&mut [0; 2000]).ok()
        });
    }

    /// What it printed.
    pub fn output(&self) -> String {
        let read = std::fs::read(self.dir.path().join("output.log"));
        String::from_utf8_lossy(&read.unwrap_or_default()).into_owned()
    }

    /// It is gone, as if its power had been cut.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        let _ = self.child.wait();
        until("nobody listens there", SOON, || {
            std::net::UdpSocket::bind(self.at).ok()
        });
    }

    /// To it and its children, who are one group.
    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args([signal, "--", &group]).status();
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("-KILL");
        }
        let _ = self.child.wait();
    }
}

fn provider_config(at: SocketAddr, node: SocketAddr, world: SocketAddr) -> String {
    let modules = [
        "tm", "sl", "rr", "pv", "auth", "maxfwd", "siputils", "textops",
    ];
    let modules: String = modules
        .iter()
        .map(|name| format!("loadmodule \"{name}.so\"\n"))
        .collect();
    let (ip, port) = (node.ip(), node.port());
    let password = LOGIN.1;
    format!(
        r#"
debug=1
log_stderror=yes
children=2
auto_aliases=no
disable_tcp=yes
listen=udp:{at}
{modules}
request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        # Telephones of the tests keep no route set: such a request goes where it says.
        if (!is_method("ACK") || !t_check_trans()) loose_route();
        t_relay();
        exit;
    }}
    if (!is_method("INVITE")) {{
        sl_send_reply("200", "OK");
        exit;
    }}
    t_check_trans();
    record_route();
    if ($si == "{ip}" && $sp == {port}) {{
        if (!pv_auth_check("carrier", "{password}", "0", "0")) {{
            auth_challenge("carrier", "1");
            exit;
        }}
        consume_credentials();
        $du = "sip:{world}";
    }} else {{
        $du = "sip:{node}";
    }}
    t_relay();
}}
"#
    )
}
