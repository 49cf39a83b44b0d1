use tandem_storage::name::Ids;

use super::*;
use crate::office::new_user;
use crate::office::{Account, Office};

fn office(users: u64) -> (Office, Ids) {
    let mut office = Office::default();
    let mut ids = Ids::new("a".parse().unwrap(), 1);
    for number in 0..users {
        let account = Account {
            extension: (10_000 + number).to_string().into(),
            name: format!("User {number}").into(),
            ha1_md5: format!("m{number}").into(),
            ha1_sha256: format!("s{number}").into(),
        };
        for (key, value) in new_user(ids.next_id(), &account, "hash") {
            office.apply(&key, Some(&value));
        }
    }
    (office, ids)
}

/// The office with these registers applied.
fn applied(mut office: Office, told: &Comparison) -> Office {
    for (key, value) in &told.registers {
        office.apply(key, value.as_deref());
    }
    office
}

#[test]
fn what_was_exported_makes_no_difference() {
    let (office, mut ids) = office(5);
    let told = office.compare(&office.export(), &mut || ids.next_id());
    assert_eq!(told, Comparison::default());
}

#[test]
fn a_file_of_people_alone_is_enough() {
    let (office, mut ids) = office(2);
    let mut file = office.export();
    for user in &mut file.user {
        (user.id, user.ha1_md5, user.ha1_sha256, user.pin_hash) = (None, None, None, None);
    }
    assert_eq!(
        office.compare(&file, &mut || ids.next_id()).changes,
        Vec::<String>::new()
    );
    file.user[0].name = "Ann".into();
    file.user[1].forward = Some("10000".into());
    file.group.push(GroupEntry {
        extension: "600".into(),
        name: "All".into(),
        members: vec!["10000".into(), "10001".into()],
        ..GroupEntry::default()
    });
    let told = office.compare(&file, &mut || ids.next_id());
    let lines = [
        "~ user 10000: name User 0 -> Ann",
        "~ user 10001: forward none -> 10000",
        "+ group 600 All",
    ];
    assert_eq!(told.changes, lines);
    let office = applied(office, &told);
    assert_eq!(
        office.compare(&file, &mut || ids.next_id()).changes,
        Vec::<String>::new()
    );
    assert_eq!(office.groups().count(), 1);
}

#[test]
fn two_swap_their_extensions_by_their_ids_and_keep_their_mailboxes() {
    let (office, mut ids) = office(2);
    let before: Vec<Id> = office.users().collect();
    let mut file = office.export();
    for (user, to) in file.user.iter_mut().zip(["10001", "10000"]) {
        user.extension = to.into();
        user.ha1_md5 = Some(format!("new {to}").into());
    }
    let told = office.compare(&file, &mut || ids.next_id());
    assert_eq!(told.faults, []);
    assert_eq!(
        told.changes[0],
        "~ user 10001: extension 10000 -> 10001, password"
    );
    let office = applied(office, &told);
    assert_eq!(office.by_extension("10001"), Some(before[0]));
    assert_eq!(office.by_extension("10000"), Some(before[1]));
}

#[test]
fn fifty_faults_are_all_told() {
    let (office, mut ids) = office(60);
    let mut file = office.export();
    for user in file.user.iter_mut().take(50) {
        user.forward_busy = Some("nobody".into());
    }
    let told = office.compare(&file, &mut || ids.next_id());
    assert_eq!(told.faults.len(), 50);
    assert!(told.registers.is_empty() && told.changes.is_empty());
    let fault = &told.faults[49];
    assert_eq!((fault.index, &*fault.key), (49, "forward_busy"));
}

#[test]
fn what_is_wrong_is_said_at_its_key() {
    let (office, mut ids) = office(2);
    let mut file = office.export();
    file.user[0].extension = "10001".into();
    file.user[1].id = Some("b.7.7".into());
    file.user.push(UserEntry {
        extension: "10005".into(),
        name: "New".into(),
        ..UserEntry::default()
    });
    file.group.push(GroupEntry {
        extension: "600".into(),
        name: "G".into(),
        members: vec!["1".into()],
        strategy: "loudest".into(),
        ring_s: 0,
        overflow: "nowhere".into(),
        ..GroupEntry::default()
    });
    let told = office.compare(&file, &mut || ids.next_id());
    let keys: BTreeSet<(&str, usize, &str)> = told
        .faults
        .iter()
        .map(|fault| (&*fault.table, fault.index, &*fault.key))
        .collect();
    for expected in [
        ("user", 0, "extension"),
        ("user", 1, "id"),
        ("user", 1, "extension"),
        ("user", 2, "extension"),
        ("group", 0, "members"),
        ("group", 0, "strategy"),
        ("group", 0, "ring_s"),
        ("group", 0, "overflow"),
    ] {
        assert!(
            keys.contains(&expected),
            "{expected:?} is not among {keys:?}"
        );
    }
}

#[test]
fn ten_thousand_users_are_compared() {
    let (office, mut ids) = office(10_000);
    let mut file = office.export();
    for user in file.user.iter_mut().step_by(2) {
        user.name = format!("{} B", user.name).into();
    }
    let begun = std::time::Instant::now();
    let told = office.compare(&file, &mut || ids.next_id());
    println!("10,000 users compared in {:?}", begun.elapsed());
    assert_eq!((told.changes.len(), told.registers.len()), (5_000, 5_000));
}

#[test]
fn a_new_extension_without_a_password_is_a_fault_even_if_no_digest_is_given() {
    let (office, mut ids) = office(2);
    let mut file = office.export();
    let user = &mut file.user[0];
    (user.extension, user.ha1_md5, user.ha1_sha256) = ("10009".into(), None, None);
    let told = office.compare(&file, &mut || ids.next_id());
    assert_eq!(told.faults.len(), 1, "{:?}", told.faults);
    assert!(
        told.faults[0]
            .what
            .contains("a new extension needs a new password")
    );
}

#[test]
fn somebody_new_may_have_the_extension_that_another_leaves() {
    let (office, mut ids) = office(1);
    let mut file = office.export();
    file.user[0].extension = "10009".into();
    file.user[0].ha1_md5 = Some("new".into());
    file.user.push(UserEntry {
        extension: "10000".into(),
        name: "New".into(),
        ha1_md5: Some("m".into()),
        ha1_sha256: Some("s".into()),
        ..UserEntry::default()
    });
    let told = office.compare(&file, &mut || ids.next_id());
    assert_eq!(told.faults, []);
    assert!(
        told.changes.contains(&"+ user 10000 New".to_owned()),
        "{:?}",
        told.changes
    );
}

#[test]
fn who_is_in_conflict_is_in_the_file_and_not_removed_by_it() {
    let (mut office, mut ids) = office(1);
    let twin = Account {
        extension: "10000".into(),
        name: "Twin".into(),
        ha1_md5: "m".into(),
        ha1_sha256: "s".into(),
    };
    for (key, value) in new_user(ids.next_id(), &twin, "hash") {
        office.apply(&key, Some(&value));
    }
    let file = office.export();
    assert_eq!(file.user.len(), 2);
    let told = office.compare(&file, &mut || ids.next_id());
    assert!(
        told.faults[0].what.contains("is there twice"),
        "{:?}",
        told.faults
    );
}

fn outside_file() -> OfficeFile {
    let (office, _) = office(2);
    let mut file = office.export();
    file.trunk.push(TrunkEntry {
        name: "provider".into(),
        host: "192.0.2.1".into(),
        password: Some("secret".into()),
        numbers: BTreeMap::from([("+4930".into(), "10000".into())]),
        ..TrunkEntry::default()
    });
    file.route.push(RouteEntry {
        pattern: "9.".into(),
        strip: 1,
        trunks: vec!["provider".into()],
        ..RouteEntry::default()
    });
    file.user[0].class = Some("international".into());
    file.user[0].forward_outside = true;
    file.user[0].forward = Some("9123".into());
    file.user[1].rings_also = vec!["9456".into()];
    file
}

#[test]
fn trunks_and_routes_come_and_go_with_a_file_and_the_password_stays_inside() {
    let (office, mut ids) = office(2);
    let mut file = outside_file();
    let told = office.compare(&file, &mut || ids.next_id());
    let lines = [
        "~ user 10000: forward none -> 9123, class default -> international, forward_outside on",
        "~ user 10001: numbers that ring also",
        "+ trunk provider 192.0.2.1",
        "+ route 9. provider",
    ];
    assert_eq!(
        (told.faults.len(), told.changes.as_slice()),
        (0, &lines.map(str::to_owned)[..])
    );
    let office = applied(office, &told);
    let exported = office.export();
    assert_eq!(exported.trunk[0].password, None);
    let told = office.compare(&exported, &mut || ids.next_id());
    assert_eq!(told, Comparison::default());
    // Without a password it keeps the one it has.
    file = exported;
    file.trunk[0].host = "192.0.2.2".into();
    file.route[0].kind = "international".into();
    let told = office.compare(&file, &mut || ids.next_id());
    let lines = [
        "~ trunk provider: host 192.0.2.1 -> 192.0.2.2",
        "~ route 9.: kind outward -> international",
    ];
    assert_eq!(told.changes, lines);
    let office = applied(office, &told);
    let trunk = office.outside.trunk_named("provider").unwrap();
    assert_eq!(office.outside.password(trunk).map(|p| &**p), Some("secret"));
    (file.trunk, file.route) = (Vec::new(), Vec::new());
    (file.user[0].forward, file.user[1].rings_also) = (None, Vec::new());
    let told = office.compare(&file, &mut || ids.next_id());
    assert_eq!(told.changes[2..], ["- trunk provider", "- route 9."]);
    let office = applied(office, &told);
    assert_eq!(
        office.outside.trunks().count() + office.outside.routes().len(),
        0
    );
}

#[test]
fn faults_of_trunks_and_routes_are_told_where_they_are() {
    let (office, mut ids) = office(2);
    let mut faulty = |change: fn(&mut OfficeFile)| {
        let mut file = outside_file();
        change(&mut file);
        let told = office.compare(&file, &mut || ids.next_id());
        let fault = told.faults.first().expect("a fault");
        format!("{}.{}: {}", fault.table, fault.key, fault.what)
    };
    let host = faulty(|file| file.trunk[0].host = "sip.example.com".into());
    assert!(
        host.starts_with("trunk.host: 'sip.example.com' is not an IP address"),
        "{host}"
    );
    assert_eq!(
        faulty(|file| file.trunk[0].otherwise = Some("199".into())),
        "trunk.otherwise: nobody has the extension 199"
    );
    assert_eq!(
        faulty(|file| file.route[0].trunks.push("other".into())),
        "route.trunks: no trunk is called other"
    );
    assert_eq!(
        faulty(|file| file.route[0].strip = 2),
        "route.strip: strip takes off more than 9. begins with"
    );
    assert_eq!(
        faulty(|file| file.user[1].rings_also = vec!["10000".into()]),
        "user.rings_also: 10000 is an extension, and not outside"
    );
    assert_eq!(
        faulty(|file| file.user[1].works_at = Some("8123".into())),
        "user.works_at: no route of the file leads to 8123"
    );
    let not_outside = faulty(|file| file.user[0].forward_outside = false);
    assert!(
        not_outside.starts_with("user.forward: calls of this user may not"),
        "{not_outside}"
    );
}

fn scheduled_file() -> OfficeFile {
    let (office, _) = office(2);
    let mut file = office.export();
    for (name, number) in [("day", None), ("shop", Some(1))] {
        file.schedule.push(ScheduleEntry {
            name: name.into(),
            number,
            hours: vec!["mon-fri 09:00-17:00".into()],
            ..ScheduleEntry::default()
        });
    }
    file
}

#[test]
fn schedules_come_and_go_with_a_file_and_have_numbers_of_their_own() {
    let (office, mut ids) = office(2);
    let file = scheduled_file();
    let told = office.compare(&file, &mut || ids.next_id());
    let lines = [
        "+ schedule day mon-fri 09:00-17:00",
        "+ schedule shop mon-fri 09:00-17:00",
    ];
    assert_eq!(
        (told.faults.len(), told.changes.as_slice()),
        (0, &lines.map(str::to_owned)[..])
    );
    let office = applied(office, &told);
    let mut exported = office.export();
    assert_eq!(exported.schedule[0].number, Some(2));
    let told = office.compare(&exported, &mut || ids.next_id());
    assert_eq!(told, Comparison::default());
    // Who does not say a number keeps it.
    exported.schedule[0].number = None;
    exported.schedule[0].hours = vec!["daily 08:00-18:00".into()];
    exported.schedule[0].switched = "closed".into();
    exported.schedule[1].holidays = vec!["12-25".into()];
    let told = office.compare(&exported, &mut || ids.next_id());
    let lines = [
        "~ schedule day: hours mon-fri 09:00-17:00 -> daily 08:00-18:00, override clock -> closed",
        "~ schedule shop: holidays",
    ];
    assert_eq!(told.changes, lines);
    let office = applied(office, &told);
    assert_eq!(office.export().schedule[0].number, Some(2));
    exported.schedule.clear();
    let told = office.compare(&exported, &mut || ids.next_id());
    assert_eq!(told.changes, ["- schedule day", "- schedule shop"]);
    let office = applied(office, &told);
    assert!(office.export().schedule.is_empty());
}

#[test]
fn faults_of_schedules_are_told_where_they_are() {
    let (office, mut ids) = office(2);
    let mut faulty = |change: fn(&mut ScheduleEntry)| {
        let mut file = scheduled_file();
        change(&mut file.schedule[0]);
        let told = office.compare(&file, &mut || ids.next_id());
        let fault = told.faults.first().expect("a fault");
        assert_eq!(fault.table, "schedule");
        format!("{}: {}", fault.key, fault.what)
    };
    assert_eq!(
        faulty(|day| day.name = "shop".into()),
        "name: the schedule shop is there twice"
    );
    assert_eq!(
        faulty(|day| day.number = Some(1)),
        "number: two schedules have the number 1"
    );
    assert_eq!(
        faulty(|day| day.switched = "night".into()),
        "override: 'night' is none of open, closed, clock"
    );
    let hours = faulty(|day| day.hours = vec!["mon 9".into()]);
    assert!(hours.starts_with("hours: 'mon 9' are no hours"), "{hours}");
}

#[test]
fn a_group_goes_by_a_schedule_of_the_file() {
    let (office, mut ids) = office(2);
    let mut file = scheduled_file();
    file.group.push(GroupEntry {
        extension: "600".into(),
        name: "G".into(),
        schedule: Some("night".into()),
        night: "nowhere".into(),
        ..GroupEntry::default()
    });
    let told = office.compare(&file, &mut || ids.next_id());
    let faults: Vec<&str> = told.faults.iter().map(|fault| &*fault.what).collect();
    assert_eq!(
        faults,
        [
            "'nowhere' is not mailbox, busy, or an extension of the file",
            "no schedule is called night",
        ]
    );
    (file.group[0].schedule, file.group[0].night) = (Some("shop".into()), "10000".into());
    let told = office.compare(&file, &mut || ids.next_id());
    assert_eq!(told.faults, []);
    let office = applied(office, &told);
    let mut exported = office.export();
    let told = office.compare(&exported, &mut || ids.next_id());
    assert_eq!(told, Comparison::default());
    assert_eq!(exported.group[0].schedule.as_deref(), Some("shop"));
    exported.group[0].schedule = None;
    exported.group[0].night = "busy".into();
    let told = office.compare(&exported, &mut || ids.next_id());
    assert_eq!(
        told.changes,
        ["~ group 600: schedule shop -> none, night 10000 -> busy"]
    );
}

#[test]
fn a_group_of_an_earlier_release_has_no_schedule() {
    let mut office = Office::default();
    let text = r#"{"extension":"600","name":"G","members":[],"strategy":"all","ring_s":20,"overflow":"busy"}"#;
    office.apply("group/a.1.9", Some(text));
    let (_, group) = office.groups().next().unwrap();
    assert_eq!((group.schedule, &group.night), (None, &Overflow::Mailbox));
}

#[test]
fn whose_calls_are_wanted_comes_and_goes_with_a_file() {
    let (office, mut ids) = office(2);
    let mut file = office.export();
    file.blocked = vec!["+4930".into(), "5".into()];
    file.user[0].dnd_except = vec!["10001".into()];
    file.user[0].blocked_to_mailbox = true;
    let told = office.compare(&file, &mut || ids.next_id());
    let lines = [
        "~ user 10000: exceptions from dnd, blocked_to_mailbox on",
        "+ blocked +4930",
        "+ blocked 5",
    ];
    assert_eq!(told.changes, lines);
    let office = applied(office, &told);
    let mut exported = office.export();
    let told = office.compare(&exported, &mut || ids.next_id());
    assert_eq!(told, Comparison::default());
    exported.blocked = vec!["5".into(), "x".into(), "5".into()];
    exported.user[1].dnd_except = vec!["".into()];
    let told = office.compare(&exported, &mut || ids.next_id());
    let places = told.faults.iter().map(|f| (&*f.table, f.index, &*f.key));
    let places: Vec<(&str, usize, &str)> = places.collect();
    assert_eq!(
        places,
        [
            ("user", 1, "dnd_except"),
            ("blocked", 1, ""),
            ("blocked", 2, "")
        ]
    );
}

#[test]
fn speed_dials_come_and_go_with_a_file() {
    let (office, mut ids) = office(1);
    let mut file = office.export();
    let dial = |code: &str, number: &str| SpeedDialEntry {
        code: code.into(),
        number: number.into(),
        name: "Shop".into(),
    };
    file.speed_dial = vec![dial("01", "+4930"), dial("02", "10000")];
    let told = office.compare(&file, &mut || ids.next_id());
    assert_eq!(
        told.changes,
        ["+ speed dial 01 +4930", "+ speed dial 02 10000"]
    );
    let office = applied(office, &told);
    let mut exported = office.export();
    let told = office.compare(&exported, &mut || ids.next_id());
    assert_eq!(told, Comparison::default());
    exported.speed_dial = vec![dial("01", "+4931")];
    let told = office.compare(&exported, &mut || ids.next_id());
    assert_eq!(
        told.changes,
        ["~ speed dial 01: number +4930 -> +4931", "- speed dial 02"]
    );
    exported.speed_dial = vec![dial("1", "5"), dial("02", "*97"), dial("02", "x")];
    let told = office.compare(&exported, &mut || ids.next_id());
    let places = told.faults.iter().map(|f| (f.index, &*f.key));
    let places: Vec<(usize, &str)> = places.collect();
    assert_eq!(
        places,
        [(0, "code"), (1, "number"), (2, "code"), (2, "number")]
    );
}

#[test]
fn codes_of_a_file_are_others_than_people_know_and_nobody_elses() {
    let (office, mut ids) = office(1);
    let mut file = office.export();
    let code = |name: &str, code: &str| CodeEntry {
        name: name.into(),
        code: code.into(),
    };
    file.code = vec![code("park", "70"), code("echo", "")];
    let told = office.compare(&file, &mut || ids.next_id());
    let lines = [
        "~ code park: dialled as known -> 70",
        "~ code echo: dialled as known -> ",
    ];
    assert_eq!(
        (told.faults.len(), &told.changes[..]),
        (0, &lines.map(str::to_owned)[..])
    );
    let office = applied(office, &told);
    let exported = office.export();
    assert_eq!(exported.code, [code("echo", ""), code("park", "70")]);
    assert_eq!(
        office.compare(&exported, &mut || ids.next_id()),
        Comparison::default()
    );
    let mut fault = |entries: &[(&str, &str)]| {
        let mut file = exported.clone();
        file.code = entries.iter().map(|(name, to)| code(name, to)).collect();
        let told = office.compare(&file, &mut || ids.next_id());
        told.faults.first().expect("a fault").what.clone()
    };
    assert_eq!(fault(&[("park", "*43")]), "*43 is the code of echo already");
    assert_eq!(fault(&[("park", "10000")]), "10000 is an extension");
    assert!(fault(&[("park", "x")]).starts_with("'x' is not a code"));
    assert!(fault(&[("dance", "1")]).starts_with("no code is called dance"));
    file = exported.clone();
    file.code.clear();
    let told = office.compare(&file, &mut || ids.next_id());
    assert_eq!(told.changes, ["- code echo", "- code park"]);
}
