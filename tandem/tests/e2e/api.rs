//! The HTTP API, as programs meet it: over the socket in the data directory, and on the portal's port with
//! the token. The command line is one of these programs, and is tested everywhere else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::kit::node::Node;
use crate::kit::{SOON, place};

/// A status, a head and a body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

fn exchange(mut stream: impl Read + Write, asked: &str, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!(
        "{asked} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let end = said
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a whole head");
    let body = said.split_off(end + 4);
    let head = String::from_utf8(said).unwrap();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: head.to_lowercase(),
        body,
    }
}

fn on_socket(node: &Node, asked: &str, body: &[u8]) -> Answer {
    let stream = UnixStream::connect(node.data().join("control.sock")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    exchange(stream, asked, "", body)
}

fn on_portal(node: &Node, asked: &str, headers: &str) -> Answer {
    let stream = TcpStream::connect(place::at(node.setup.ip, node.setup.http_port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    exchange(stream, asked, headers, b"")
}

#[test]
fn a_user_and_a_message_come_and_go_over_the_socket() {
    let node = Node::demo();
    let user = json!({ "extension": "150", "name": "Eve", "pin": "824193" });
    let made = on_socket(&node, "POST /api/v1/users", user.to_string().as_bytes());
    assert_eq!(made.status, 201, "{:?}", made.json());
    assert_eq!(made.json()["pin"], "824193");
    let again = on_socket(&node, "POST /api/v1/users", user.to_string().as_bytes());
    assert_eq!(again.status, 409);
    assert_eq!(again.json()["error"], "Eve has the extension 150 already");
    let changed = on_socket(
        &node,
        "PATCH /api/v1/users/150",
        br#"{"dnd":true,"forward":"101"}"#,
    );
    assert_eq!((changed.status, changed.body.len()), (204, 0));
    let users = on_socket(&node, "GET /api/v1/users", b"").json();
    let of_eve = |users: &Value| {
        users
            .as_array()
            .unwrap()
            .iter()
            .find(|u| u["extension"] == "150")
            .cloned()
    };
    let eve = of_eve(&users).expect("she is there");
    assert_eq!(
        (&eve["dnd"], &eve["forward"]),
        (&json!(true), &json!("101"))
    );
    assert_eq!(users, node.json(&["user", "list"]));

    let wav = node.data().join("eve.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&wav, spec).unwrap();
    for n in 0..16_000_i32 {
        writer.write_sample((n % 40 * 200) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let wav = std::fs::read(wav).unwrap();
    let left = on_socket(&node, "POST /api/v1/mailboxes/150/messages", &wav);
    assert_eq!(left.status, 201, "{:?}", left.json());
    let id = left.json()["id"].as_str().unwrap().to_owned();
    let path = format!("GET /api/v1/mailboxes/150/messages/{id}/sound");
    let sound = on_socket(&node, &path, b"");
    assert!(
        sound.head.contains("content-type: audio/wav"),
        "{}",
        sound.head
    );
    assert!(
        sound.head.contains("tandem-incomplete: false"),
        "{}",
        sound.head
    );
    assert_eq!(
        (&sound.body[..4], sound.body.len()),
        (&b"RIFF"[..], wav.len())
    );

    let nobody = on_socket(&node, "GET /api/v1/mailboxes/999/messages", b"");
    assert_eq!(nobody.status, 404);
    assert_eq!(nobody.json()["error"], "no user has the extension 999");
    assert_eq!(
        on_socket(&node, "DELETE /api/v1/users/150", b"").status,
        204
    );
    assert!(of_eve(&node.json(&["user", "list"])).is_none());
}

#[test]
fn on_the_portals_port_the_api_asks_for_the_token() {
    let node = Node::demo();
    let description = on_portal(&node, "GET /api/v1/openapi.json", "");
    assert_eq!(description.status, 200);
    assert_eq!(description.json()["info"]["title"], "Tandem");
    assert_eq!(
        on_socket(&node, "GET /api/v1/openapi.json", b"").body,
        description.body
    );
    assert_eq!(on_portal(&node, "GET /api/v1/users", "").status, 401);
    let wrong = format!("Authorization: Bearer {}\r\n", "0".repeat(64));
    assert_eq!(on_portal(&node, "GET /api/v1/users", &wrong).status, 401);
    let file = node.data().join("api.token");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(file).unwrap();
    let right = format!("Authorization: Bearer {}\r\n", token.trim());
    let users = on_portal(&node, "GET /api/v1/users", &right);
    assert_eq!(
        (users.status, users.json()),
        (200, node.json(&["user", "list"]))
    );
    assert_eq!(on_portal(&node, "GET /api/v1/nowhere", &right).status, 404);
}

#[test]
fn tokens_open_what_their_role_may_and_nothing_once_they_are_removed() {
    let mut node = Node::demo();
    let made = node.cli(&["token", "add", "crm", "--role", "read"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let bearer = |token: &str| format!("Authorization: Bearer {}\r\n", token.trim());
    let reads = bearer(&made.out);
    let operates = node.json(&["token", "add", "door", "--role", "operate"]);
    let operates = bearer(operates["token"].as_str().unwrap());
    let users = on_portal(&node, "GET /api/v1/users", &reads);
    assert_eq!(
        (users.status, users.json()),
        (200, node.json(&["user", "list"]))
    );
    let refused = on_portal(&node, "DELETE /api/v1/users/101", &operates);
    assert_eq!(refused.status, 403);
    let error = refused.json()["error"].as_str().unwrap().to_owned();
    assert_eq!(
        error,
        "this needs a token that may administer; the token door may only operate"
    );
    assert_eq!(on_portal(&node, "POST /api/v1/calls", &reads).status, 403);
    // Let in, and then there is no body.
    assert_eq!(
        on_portal(&node, "POST /api/v1/calls", &operates).status,
        400
    );
    let again = node.cli(&["token", "add", "crm", "--role", "administer"]);
    assert!(
        again.err.contains("there is a token crm already"),
        "{}",
        again.err
    );
    let listed = node.json(&["token", "list"]);
    let listed: Vec<(&str, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["name"].as_str().unwrap(), t["role"].as_str().unwrap()))
        .collect();
    assert_eq!(listed, [("crm", "read"), ("door", "operate")]);

    // They last, hashed: what opens is nowhere on the disk.
    node.kill();
    node.start();
    assert_eq!(on_portal(&node, "GET /api/v1/calls", &reads).status, 200);
    let log = std::fs::read_dir(node.data().join("log")).unwrap();
    let secret = made.out.trim().as_bytes();
    for file in log {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
    assert_eq!(node.cli(&["token", "remove", "crm"]).code, 0);
    assert_eq!(on_portal(&node, "GET /api/v1/calls", &reads).status, 401);
    let gone = node.cli(&["token", "remove", "crm"]);
    assert!(gone.err.contains("there is no token crm"), "{}", gone.err);
}
