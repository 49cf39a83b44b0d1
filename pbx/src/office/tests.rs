use super::*;

fn id(number: u64) -> Id {
    format!("a.1.{number}").parse().unwrap()
}

fn account(extension: &str) -> Account {
    Account {
        extension: extension.into(),
        name: "N".into(),
        ha1_md5: "m".into(),
        ha1_sha256: "s".into(),
    }
}

fn add(office: &mut Office, number: u64, extension: &str) {
    for (key, value) in new_user(id(number), &account(extension), "hash") {
        office.apply(&key, Some(&value));
    }
}

#[test]
fn a_new_user_is_found_by_extension_and_gone_when_removed() {
    let mut office = Office::default();
    add(&mut office, 1, "101");
    assert_eq!(office.by_extension("101"), Some(id(1)));
    assert_eq!(office.settings(id(1)).pin.as_deref(), Some("hash"));
    assert_eq!(office.apply("user/a.1.1", None), Some(id(1)));
    assert_eq!(office.by_extension("101"), None);
}

#[test]
fn an_extension_claimed_twice_stays_with_the_first() {
    let mut office = Office::default();
    add(&mut office, 2, "150");
    add(&mut office, 1, "150");
    assert_eq!(office.by_extension("150"), Some(id(1)));
    assert!(office.in_conflict(id(2)) && office.sip_user(id(2)).is_none());
    office.apply(&account_key(id(1)), Some(&json(&account("151"))));
    assert!(!office.in_conflict(id(2)));
}

#[test]
fn settings_are_read_one_by_one() {
    let mut office = Office::default();
    office.apply(&dnd_key(id(1)), Some("true"));
    office.apply(&forward_key(id(1)), Some("\"102\""));
    office.apply(&greeting_key(id(1), Greeting::Busy), Some("\"a.1.9\""));
    let settings = office.settings(id(1));
    assert!(settings.dnd);
    assert_eq!(settings.forward.as_deref(), Some("102"));
    assert_eq!(settings.greetings.get(&Greeting::Busy), Some(&id(9)));
    office.apply(&dnd_key(id(1)), None);
    office.apply(&greeting_key(id(1), Greeting::Busy), None);
    let settings = office.settings(id(1));
    assert!(!settings.dnd && settings.greetings.is_empty());
}

#[test]
fn what_cannot_be_read_is_counted_and_changes_nothing() {
    let mut office = Office::default();
    add(&mut office, 1, "101");
    for (key, value) in [
        ("user/x", "1"),
        ("user/a.1.1", "{}"),
        ("user/a.1.1/pin", "7"),
        ("user/a.1.1/greeting/loud", "\"a.1.2\""),
        ("user/a.1.1/unheard-of", "1"),
    ] {
        assert_eq!(office.apply(key, Some(value)), None, "{key}");
    }
    assert_eq!(office.unreadable, 5);
    assert_eq!(office.by_extension("101"), Some(id(1)));
    assert_eq!(office.settings(id(1)).pin.as_deref(), Some("hash"));
}
