use super::*;

#[test]
fn uris_are_taken_apart() {
    let u = Uri::parse("sip:102:pw@10.0.0.1:5070;transport=tcp;lr?a=b").unwrap();
    assert_eq!((u.user, u.host, u.port), ("102", "10.0.0.1", Some(5070)));
    assert_eq!(
        (u.param("transport"), u.param("lr")),
        (Some("tcp"), Some(""))
    );
    assert_eq!(u.socket_addr(), Some("10.0.0.1:5070".parse().unwrap()));
    let u = Uri::parse("sip:[::1]:5062").unwrap();
    assert_eq!(u.socket_addr(), Some("[::1]:5062".parse().unwrap()));
    assert_eq!(
        Uri::parse("tel:+1-201-555;x=y").unwrap().number().unwrap(),
        "+1201555"
    );
    assert_eq!(Uri::parse("sip:%2A97@h").unwrap().number().unwrap(), "*97");
    assert_eq!(Uri::parse("sip:a%00@h").unwrap().number(), None);
    assert_eq!(Uri::parse("nobodyKnows:x").unwrap().scheme, Scheme::Other);
    for bad in [
        "",
        "sip:",
        "sip:a@",
        "sip:@h",
        "<sip:a@h>",
        "sip:a@h:x",
        "sip:a b@h",
        "tel:",
    ] {
        assert_eq!(Uri::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn name_addrs_come_in_two_forms() {
    let check = |text: &str, display: &str, uri: &str, tag: Option<&str>| {
        let n = NameAddr::parse(text).unwrap();
        assert_eq!((&*n.display, n.uri, n.tag()), (display, uri, tag), "{text}");
    };
    check(
        "\"A \\\"B\\\" \\\\\" <sip:a@b;x=y>;tag=1",
        "A \"B\" \\",
        "sip:a@b;x=y",
        Some("1"),
    );
    check("Anna <sip:a@b>", "Anna", "sip:a@b", None);
    check("sip:a@b;tag=7", "", "sip:a@b", Some("7"));
    check("<sip:a@b> ; tag = 7", "", "sip:a@b", Some("7"));
    for bad in [
        "",
        "\"open <sip:a@b>",
        "<sip:a@b",
        "\"A\" sip:a@b",
        "<sip:a@b> x",
    ] {
        assert_eq!(NameAddr::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn via_hops_are_taken_apart() {
    let v = Via::parse("SIP / 2.0 / UDP 10.0.0.1:5070 ;branch=z9hG4bKx;rport, SIP/2.0/TCP b");
    let v = v.unwrap();
    assert_eq!(
        (v.transport, v.host, v.port),
        ("UDP", "10.0.0.1", Some(5070))
    );
    assert_eq!(v.branch(), "z9hG4bKx");
    assert_eq!(param(v.params, "rport"), Some(""));
    assert!(Via::parse("SIP/7.0/UDP a;branch=x").is_some());
    assert_eq!(Via::parse("SIP/x/UDP a;branch=x"), None);
}

#[test]
fn lists_respect_quotes_and_brackets() {
    let items: Vec<_> = split_list("\"a, b\" <sip:x,y@h>;q=1, <sip:z>,, sip:w").collect();
    assert_eq!(items, ["\"a, b\" <sip:x,y@h>;q=1", "<sip:z>", "sip:w"]);
}
