//! Backups of a running node, and what is restored from them.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::kit::node::{Node, Said, tandem};
use crate::kit::{SOON, place, until};

/// A WAV file of a second and a half of something that is in no other.
fn wav(dir: &Path, seed: u32) -> PathBuf {
    let file = dir.join(format!("{seed}.wav"));
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut out = hound::WavWriter::create(&file, spec).unwrap();
    let mut noise = seed.wrapping_mul(0x9e37_79b9) | 1;
    for _ in 0..12_000 {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.write_sample((noise >> 18) as i16).unwrap();
    }
    out.finalize().unwrap();
    file
}

pub fn import(node: &Node, dir: &Path, seed: u32) -> String {
    let file = wav(dir, seed).display().to_string();
    let said = node.cli(&["mailbox", "import", "102", &file]);
    assert_eq!(said.code, 0, "{}", said.err);
    said.out.trim().to_owned()
}

/// Every message of 102: its entry in the list, and its sound.
pub fn mailbox(node: &Node, dir: &Path) -> Vec<(Value, Vec<u8>)> {
    let list = node.json(&["mailbox", "list", "102"]);
    let messages = list.as_array().unwrap().iter().map(|message| {
        let file = dir.join("export.wav");
        let id = message["id"].as_str().unwrap();
        let said = node.cli(&[
            "mailbox",
            "export",
            "102",
            id,
            file.to_str().unwrap(),
            "--overwrite",
        ]);
        assert_eq!(said.code, 0, "{}", said.err);
        (message.clone(), fs::read(file).unwrap())
    });
    messages.collect()
}

pub fn back_up(node: &Node, place: &str, more: &[&str]) -> Value {
    let mut args = vec!["backup", place];
    args.extend(more);
    node.json(&args)
}

pub fn restore(place: &str, data: &Path, more: &[&str]) -> Said {
    let mut args = vec!["restore", place, "--data", data.to_str().unwrap()];
    args.extend(more);
    tandem(&args)
}

/// The files of a kind in a backup.
fn files(place: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.join("demo").join(kind)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// A demo on this data directory.
fn started_on(data: &Path) -> Node {
    let mut node = Node::prepared();
    node.setup.data = data.to_owned();
    node.start();
    node
}

#[test]
fn a_bare_machine_has_every_message_again() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup");
    let at = place.to_str().unwrap();
    let mut node = Node::demo();
    import(&node, dir.path(), 1);
    import(&node, dir.path(), 2);
    let first = back_up(&node, at, &["--verify"]);
    import(&node, dir.path(), 3);
    let second = back_up(&node, at, &["--verify"]);
    let increment = second["records_new"].as_u64().unwrap();
    assert!(
        (1..first["records"].as_u64().unwrap()).contains(&increment),
        "{first} {second}"
    );
    let messages = mailbox(&node, dir.path());
    assert_eq!(messages.len(), 3);
    let old_ids: Vec<_> = messages.iter().map(|(m, _)| m["id"].clone()).collect();
    node.kill();

    let data = dir.path().join("bare");
    let said = restore(at, &data, &[]);
    assert_eq!(said.code, 0, "{}", said.err);
    let node = started_on(&data);
    assert_eq!(mailbox(&node, dir.path()), messages);
    // Nothing is named as anything was before.
    let new = import(&node, dir.path(), 4);
    assert!(!old_ids.contains(&Value::from(new.clone())));
    let epoch: u64 = new.split('.').nth(1).unwrap().parse().unwrap();
    assert!(epoch > 100_000_000, "{new}");
    assert!(node.cli(&["log", "verify"]).code == 0);
    // The restored node goes on with the same backups, and copies nothing again.
    let third = back_up(&node, at, &["--verify"]);
    assert_eq!(third["afresh"], Value::Null, "{third}");
    let copied = third["bytes_written"].as_u64().unwrap();
    let one_message = 6 * 4096 + 16 * 1024;
    assert!(copied < one_message, "{third}");
    assert_eq!(restore(at, &data, &[]).code, 1, "over a log that is there");
}

#[test]
fn a_backup_that_verify_finds_damaged_is_made_anew_and_one_by_hand_counts() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup");
    let at = place.to_str().unwrap();
    let node = Node::demo();
    import(&node, dir.path(), 1);
    back_up(&node, at, &["--verify"]);
    until("status knows of it", SOON, || {
        (node.json(&["status"])["backup"]["last_to"] == at).then_some(())
    });
    let pack = files(&place, "packs").pop().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let said = node.cli(&["backup", at, "--verify"]);
    assert!(
        said.code == 0 && said.err.contains("copied anew"),
        "{said:?}"
    );
    let whole = back_up(&node, at, &["--verify"]);
    assert_eq!(whole["afresh"], Value::Null, "{whole}");
}

#[test]
fn what_is_wrong_with_a_backup_is_said() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup");
    let at = place.to_str().unwrap();
    let node = Node::demo();
    import(&node, dir.path(), 1);
    back_up(&node, at, &[]);
    let refused = |words: &str| {
        let data = dir.path().join("bare");
        let said = restore(at, &data, &[]);
        assert_eq!(said.code, 1, "{}", said.out);
        assert!(said.err.contains(words), "{words:?}: {}", said.err);
        assert!(!data.join("log").exists() && !data.join("log.restoring").exists());
    };
    let with = |file: &Path, bytes: Option<Vec<u8>>, words: &str| {
        let whole = fs::read(file).unwrap();
        match bytes {
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
        refused(words);
        fs::write(file, whole).unwrap();
    };
    let pack = files(&place, "packs").pop().unwrap();
    let whole = fs::read(&pack).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let name = pack.file_name().unwrap().to_str().unwrap();
    with(&pack, Some(flipped), name);
    with(&pack, Some(whole[..whole.len() - 1].to_vec()), "cut off");
    with(&pack, None, "is missing");
    let manifest = files(&place, "backups").pop().unwrap();
    let whole = fs::read(&manifest).unwrap();
    with(
        &manifest,
        Some(whole[..whole.len() / 2].to_vec()),
        "cut off",
    );
    with(&manifest, None, "there is no backup in");
    assert!(
        restore("ftp://there", dir.path(), &[])
            .err
            .contains("not a place")
    );
    let nowhere = dir.path().join("nowhere");
    let said = restore(nowhere.to_str().unwrap(), &dir.path().join("bare"), &[]);
    assert!(said.err.contains("there is no directory"), "{}", said.err);

    // A damaged pack does not go on into the next backup: what it held is copied again.
    fs::remove_file(&pack).unwrap();
    let mended = back_up(&node, at, &["--verify"]);
    assert!(
        mended["afresh"].as_str().unwrap().contains("is missing"),
        "{mended}"
    );
    let data = dir.path().join("bare");
    assert_eq!(restore(at, &data, &[]).code, 0);
}

#[test]
fn another_log_of_the_same_name_is_not_mixed_in() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup");
    let at = place.to_str().unwrap();
    let node = Node::demo();
    import(&node, dir.path(), 1);
    back_up(&node, at, &[]);
    let other = Node::demo();
    (2..6).for_each(|seed| drop(import(&other, dir.path(), seed)));
    let said = other.cli(&["backup", at]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("another destination"), "{}", said.err);
}

#[test]
fn only_so_many_are_kept_and_each_of_them_is_whole() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup");
    let at = place.to_str().unwrap();
    let node = Node::demo();
    for seed in 1..=4 {
        import(&node, dir.path(), seed);
        back_up(&node, at, &["--keep", "2"]);
    }
    assert_eq!(files(&place, "backups").len(), 2);
    assert_eq!(files(&place, "catalogs").len(), 2);
    for (number, messages) in [("3", 3), ("4", 4)] {
        let data = dir.path().join(number);
        let said = restore(at, &data, &["--number", number]);
        assert_eq!(said.code, 0, "{}", said.err);
        assert_eq!(mailbox(&started_on(&data), dir.path()).len(), messages);
    }
    let said = restore(at, &dir.path().join("gone"), &["--number", "1"]);
    assert!(said.err.contains("there is no backup"), "{}", said.err);
}

#[test]
fn a_backup_is_made_by_itself_and_told() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup");
    let mut node = Node::demo();
    import(&node, dir.path(), 1);
    let status = node.json(&["status"]);
    assert_eq!(status["backup"]["last"], "never", "{status}");
    node.configure(&format!(
        "[backup]\nto = \"{}\"\nat = \"02:30\"\nkeep = 3\n",
        place.display()
    ));
    // None was ever made: one is due at once.
    until("a backup is made", SOON, || {
        let status = node.json(&["status"]);
        status["backup"]["last_to"].is_string().then_some(())
    });
    assert_eq!(files(&place, "backups").len(), 1);
    assert_eq!(node.metric("tandem_backup_failed"), 0.0);
    assert!(node.metric("tandem_backup_age_seconds") < 60.0);
    assert!(node.metric("tandem_backup_bytes") > 12_000.0);

    // A place that cannot be: told, too.
    fs::write(dir.path().join("file"), "").unwrap();
    node.configure(&format!(
        "[backup]\nto = \"{}\"\n",
        dir.path().join("file/below").display()
    ));
    until("the failure is told", SOON, || {
        (node.metric("tandem_backup_failed") == 1.0).then_some(())
    });
    let status = node.json(&["status"]);
    assert!(status["backup"]["failed"].is_string(), "{status}");
}

/// An S3 server of somebody else's, with a bucket in it.
struct S3 {
    server: Child,
    ip: Ipv4Addr,
    port: u16,
}

impl S3 {
    /// `None`: there is none on this machine. moto's is looked for (`pip install 'moto[s3,server]'`).
    fn start() -> Option<S3> {
        let program = std::env::var("MOTO_SERVER").unwrap_or_else(|_| "moto_server".into());
        let ip = place::loopback();
        let port = place::free_port(ip);
        let server = Command::new(&program)
            .args(["-H", &ip.to_string(), "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = server.ok()?;
        let s3 = S3 { server, ip, port };
        until("the S3 server answers", 2 * SOON, || {
            s3.http("PUT", "/backups")
        });
        Some(s3)
    }

    /// Asks without a signature, which this server does not mind; gives the body of a good answer.
    fn http(&self, method: &str, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect((self.ip, self.port)).ok()?;
        let head = format!("{method} {path} HTTP/1.0\r\nHost: s3\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    fn tandem(&self, args: &[&str]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_tandem"))
            .args(args)
            .env(
                "AWS_ENDPOINT_URL",
                format!("http://{}:{}", self.ip, self.port),
            )
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

#[test]
fn an_s3_bucket_holds_backups_as_a_directory_does() {
    let Some(s3) = S3::start() else {
        eprintln!(
            "skipped: no S3 server here; pip install 'moto[s3,server]', or name one in MOTO_SERVER"
        );
        return;
    };
    let dir = TempDir::new().unwrap();
    let node = Node::demo();
    let data = node.data().to_str().unwrap();
    let at = "s3://backups/tandem/of-this";
    for seed in 1..=3 {
        import(&node, dir.path(), seed);
        let said = s3.tandem(&["backup", at, "--keep", "2", "--verify", "--data", data]);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    let list = s3.http("GET", "/backups?list-type=2").unwrap();
    assert_eq!(list.matches("/demo/backups/").count(), 2, "{list}");
    let messages = mailbox(&node, dir.path());
    let bare = dir.path().join("bare");
    let said = s3.tandem(&["restore", at, "--data", bare.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(mailbox(&started_on(&bare), dir.path()), messages);
    let said = s3.tandem(&["backup", "s3://nobody/here", "--data", data]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("s3://nobody/here"), "{}", said.err);
}
