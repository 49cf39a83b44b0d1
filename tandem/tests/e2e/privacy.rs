//! Sound that is encrypted where it lies: who has the disk hears nothing, who has the key everything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::destroyed::{Pieces, files, import, leave, noise};
use crate::kit::node::{Node, Said, tandem};
use crate::kit::sound::{from_ulaw, read_wav, to_ulaw};
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};
use crate::mailbox::{logged_in, messages, registered, sound_of, wait_messages};
use crate::retention::{MOMENT_DAYS, delete_by_phone, done, exported, names, path, wait_gone};
use crate::site::{first, joined, wait_whole, with_link};

/// A new key, and its name.
fn key(dir: &Path, name: &str) -> (PathBuf, String) {
    let file = dir.join(name);
    let said = tandem(&["storage", "key", path(&file)]);
    assert_eq!(said.code, 0, "{}", said.err);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    assert!(!said.out.contains(secret.trim()), "a key is not shown");
    let name = said.out.split(' ').nth(1).expect("its name").to_owned();
    (file, name)
}

fn with_key(key: &Path) -> String {
    format!("[storage]\nkey_file = \"{}\"\n", key.display())
}

fn heard_as(samples: &[i16]) -> Vec<i16> {
    samples.iter().map(|s| from_ulaw(to_ulaw(*s))).collect()
}

fn export(node: &Node, id: &str) -> Said {
    let file = node.data().with_extension("privacy.wav");
    node.cli(&["mailbox", "export", "102", id, path(&file), "--overwrite"])
}

/// Stops a node and starts it with this configuration.
fn restart(node: &mut Node, name: &str, config: &str) {
    node.ask_to_end();
    assert!(node.ended(SOON).success());
    with_link(node, name, config);
    node.start();
}

#[test]
fn what_is_said_lies_encrypted_at_both_nodes_and_in_the_backup_and_is_heard_with_the_key() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup");
    let (key, name) = key(dir.path(), "sound.key");
    let with_key = with_key(&key);
    let a = first(&with_key);
    let mut b = joined(&a, "b", &with_key);
    wait_whole(&[&a, &b]);
    let (spoken, brought, plain) = (noise(11, 24_000), noise(12, 40_000), noise(13, 24_000));
    leave(&a, 0, &spoken);
    let brought_id = import(&a, "102", &brought);
    wait_messages(&b, 2);
    wait_whole(&[&a, &b]);
    done(&a, &["backup", path(&place), "--verify"]);

    let found = |node: &Node, samples: &[i16]| Pieces::of(samples).in_files(&files(node.data()));
    for samples in [&spoken, &brought] {
        assert_eq!((found(&a, samples), found(&b, samples)), (0, 0));
        assert_eq!(Pieces::of(samples).in_files(&files(&place)), 0);
    }
    let all = messages(&b);
    for (node, message) in [&a, &b]
        .iter()
        .flat_map(|n| all.iter().map(move |m| (n, m)))
    {
        let sound = sound_of(node, message);
        match message["id"] == brought_id.as_str() {
            true => assert_eq!(sound, heard_as(&brought)),
            // A caller's first words may come before the beep is over.
            false => {
                let heard = heard_as(&spoken[4_000..20_000]);
                let is_there = sound.windows(heard.len()).any(|window| window == heard);
                assert!(is_there, "{} samples", sound.len());
            }
        }
        assert_eq!(message["incomplete"], false, "{message}");
    }
    let status = a.json(&["status"]);
    assert_eq!(status["log"]["encrypts_with"], name.as_str());
    let secret = fs::read_to_string(&key).unwrap();
    assert!(!a.log_text().contains(secret.trim()) && !status.to_string().contains(secret.trim()));

    // Without the key: clear words and no noise; messages come and are heard as ever.
    restart(&mut b, "b", "");
    wait_whole(&[&a, &b]);
    let id = all[0]["id"].as_str().unwrap();
    let said = export(&b, id);
    assert_eq!(said.code, 1);
    let told = format!("encrypted with key {name}, which this node does not have");
    assert!(said.err.contains(&told), "{}", said.err);
    let mut phone = registered(&b);
    let mut call = logged_in(&mut phone);
    call.media.wait_phrase(0, "vm/you-have", SOON);
    let from = call.media.mark();
    call.media.press("1");
    call.media.wait_phrase(from, "vm/message-locked", SOON);
    phone.hang_up(&mut call);
    assert!(b.metric("tandem_media_sounds_locked_total") >= 1.0);
    assert!(b.log_text().contains(&told), "a log line says so");
    assert_eq!(messages(&b)[0]["heard"], false);
    let plain_id = import(&b, "102", &plain);
    assert!(found(&b, &plain) >= 1_400, "the search finds what is there");
    assert_eq!(read_wav(&exported_file(&b, &plain_id)), heard_as(&plain));

    // With it again.
    restart(&mut b, "b", &with_key);
    wait_whole(&[&a, &b]);
    for node in [&a, &b] {
        assert_eq!(
            read_wav(&exported_file(node, &brought_id)),
            heard_as(&brought)
        );
        assert_eq!(read_wav(&exported_file(node, &plain_id)), heard_as(&plain));
    }
}

fn exported_file(node: &Node, id: &str) -> PathBuf {
    let file = node.data().with_extension("privacy.wav");
    fs::write(&file, exported(node, "102", id)).unwrap();
    file
}

#[test]
fn a_new_key_is_written_with_and_an_old_one_read_with_and_a_backup_is_opened_with_it() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup");
    let (old, old_name) = key(dir.path(), "old.key");
    let (new, new_name) = key(dir.path(), "new.key");
    let short = format!("[voicemail]\nundelete_days = {MOMENT_DAYS}\n");
    let mut node = Node::demo();
    node.configure(&format!("{}{short}", with_key(&old)));
    let (one, two) = (noise(21, 24_000), noise(22, 24_000));
    let first = import(&node, "102", &one);
    done(&node, &["backup", path(&place), "--verify"]);

    let both = format!(
        "{}old_key_files = [\"{}\"]\n{short}",
        with_key(&new),
        old.display()
    );
    node.configure(&both);
    let second = import(&node, "102", &two);
    assert_eq!(read_wav(&exported_file(&node, &first)), heard_as(&one));
    assert_eq!(read_wav(&exported_file(&node, &second)), heard_as(&two));
    assert_eq!(
        node.json(&["status"])["log"]["encrypts_with"],
        new_name.as_str()
    );

    node.configure(&format!("{}{short}", with_key(&new)));
    assert_eq!(read_wav(&exported_file(&node, &second)), heard_as(&two));
    let said = export(&node, &first);
    assert!(said.code == 1 && said.err.contains(&old_name), "{said:?}");

    // One mailbox, out of a backup that is under the old key, into a node under the new one.
    node.configure(&both);
    delete_by_phone(&node, "102");
    wait_gone(&node, "deleted", "102");
    assert_eq!(names(&node, "list", "102"), std::slice::from_ref(&second));
    let restore = ["restore", path(&place), "--mailbox", "102"];
    let said = node.cli(&restore);
    let wanted = format!("encrypted with key {old_name}; name its file with --key-file");
    assert!(said.code == 1 && said.err.contains(&wanted), "{said:?}");
    let with_key = [&restore[..], &["--key-file", path(&old)]].concat();
    assert_eq!(node.cli(&with_key).code, 0);
    let ids = names(&node, "list", "102");
    let back = ids.iter().find(|id| **id != second).expect("it is back");
    assert_eq!(read_wav(&exported_file(&node, back)), heard_as(&one));
    let log = files(&node.data().join("log"));
    assert_eq!(Pieces::of(&one).in_files(&log), 0, "encrypted anew");
}

#[test]
fn the_same_words_are_the_same_key_on_every_node() {
    let dir = TempDir::new().unwrap();
    let words = dir.path().join("words");
    fs::write(&words, "abacus walnut ferry octave lemon drum\n").unwrap();
    fs::set_permissions(&words, fs::Permissions::from_mode(0o600)).unwrap();
    let made = dir.path().join("made.key");
    let said = tandem(&[
        "storage",
        "key",
        path(&made),
        "--passphrase-file",
        path(&words),
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    let a = first(&format!(
        "[storage]\npassphrase_file = \"{}\"\n",
        words.display()
    ));
    let b = joined(&a, "b", &with_key(&made));
    wait_whole(&[&a, &b]);
    let spoken = noise(31, 24_000);
    let id = import(&a, "102", &spoken);
    until("B has it", SOON, || (messages(&b).len() == 1).then_some(()));
    wait_whole(&[&a, &b]);
    assert_eq!(read_wav(&exported_file(&b, &id)), heard_as(&spoken));
    assert_eq!(Pieces::of(&spoken).in_files(&files(b.data())), 0);
}

#[test]
fn a_key_file_that_cannot_be_one_is_told_with_its_line_and_a_mend() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("key");
    let (good, _) = key(dir.path(), "good.key");
    let mut node = Node::prepared();
    let mut refused = |config: &str, words: &str| {
        node.write_config("a", config);
        let check = tandem(&[
            "check",
            "--config",
            path(node.setup.config.as_ref().unwrap()),
        ]);
        assert_eq!(check.code, 1, "{config}");
        assert!(check.err.contains(words), "{words}: {}", check.err);
        assert!(check.err.contains("tandem.toml:"), "{}", check.err);
        let said = node.try_start().expect_err("it does not start");
        assert!(said.err.contains(words), "{words}: {}", said.err);
    };
    let config = with_key(&file);
    refused(&config, "cannot be read: No such file");
    let write = |text: &str, mode: u32| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    write(&"ab".repeat(31), 0o600);
    refused(&config, "it has 62 characters, not 64 hexadecimal digits");
    write(&"xy".repeat(32), 0o600);
    refused(&config, "not 64 hexadecimal digits");
    write(&"ab".repeat(32), 0o644);
    refused(
        &config,
        "can be read by everybody on this machine (mode 644); chmod 600",
    );
    write("short words", 0o600);
    let words = format!("[storage]\npassphrase_file = \"{}\"\n", file.display());
    refused(&words, "it takes 24 or more");
    let both = format!(
        "{}passphrase_file = \"{}\"\n",
        with_key(&good),
        file.display()
    );
    refused(&both, "there is a key_file already");
    let old = format!("[storage]\nold_key_files = [\"{}\"]\n", file.display());
    refused(&old, "is not a key");

    let again = tandem(&["storage", "key", path(&good)]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("exists"), "{}", again.err);
}

#[test]
fn what_passwords_and_pins_are_checked_with_is_locked_as_well() {
    let dir = TempDir::new().unwrap();
    let (key, _) = key(dir.path(), "sound.key");
    let mut node = Node::prepared();
    node.write_config("office", &with_key(&key));
    node.start();
    let add = [
        "user",
        "add",
        "102",
        "Anna",
        "--password",
        "demo-102",
        "--pin",
        "1102",
    ];
    assert_eq!(node.cli(&add).code, 0);
    let shown = node.cli(&["log", "show"]).out;
    assert!(shown.contains("\"extension\":\"102\""), "{shown}");
    assert!(
        !shown.contains("$argon2id$"),
        "a PIN's hash can be guessed from"
    );
    assert_eq!(shown.matches("locked:").count(), 3, "{shown}");
    // They are of use all the same, also after a start.
    node.ask_to_end();
    assert!(node.ended(SOON).success());
    node.start();
    let mut phone = registered(&node);
    let mut call = logged_in(&mut phone);
    call.media.wait_phrase(0, "vm/no-messages", SOON);
    phone.hang_up(&mut call);
    // Without the key nobody gets in, and that is said.
    node.ask_to_end();
    assert!(node.ended(SOON).success());
    node.write_config("office", "");
    node.start();
    assert_ne!(Ua::of(&node, "102").register_for(60).status(), Some(200));
    let status = node.json(&["status"]);
    assert!(
        status["alarms"][0]
            .as_str()
            .unwrap()
            .contains("locked with a key"),
        "{status}"
    );
}
