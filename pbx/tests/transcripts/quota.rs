//! A mailbox that fills up.

use std::time::Duration;

use crate::check_with;
use tandem_pbx::PbxConfig;

#[test]
fn a_nearly_full_mailbox_warns_its_owner_at_login_and_once_by_mail() {
    let config = PbxConfig {
        messages_max: 3,
        quota: Duration::from_secs(10),
        ..PbxConfig::default()
    };
    check_with(
        config,
        "
        > import 102 4000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':32000,'samples':32000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > import 102 4000
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S2
        log seal S2: Whole {'urgent':false,'samples_speech':32000,'samples':32000}
        lamp 102: 2/0 (0/0)
        log mail: mailbox nearly full 102 80
        log set mailbox/102/nearly_full = true
        reply: imported S2
        > call 7 102 *97
        answer 7
        > confirmed 7
        play 7: vm/enter-pin
        > keys 7 1102#
        hush 7
        check pin 7: 1102 hash
        > pin 7 right
        play 7: vm/own-mailbox-nearly-full vm/you-have digits/2 vm/new vm/messages vm/main-menu
        > ended 7 normal
        log call: 102 to *97, answered, normal
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 2/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > import 102 1000
        log begin S3: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S3
        log seal S3: Whole {'urgent':false,'samples_speech':8000,'samples':8000}
        lamp 102: 3/0 (0/0)
        reply: imported S3
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/own-mailbox-full vm/you-have digits/3 vm/new vm/messages vm/main-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > keys 1 7
        log set message/S1/deleted = true
        hush 1
        lamp 102: 2/0 (0/0)
        log set mailbox/102/nearly_full = removed
        play 1: vm/deleted vm/message-menu
        > ended 1 normal
        log call: 102 to *97, answered, normal
        > call 3 101 *102
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 3 normal
        log call: 101 to *102, answered, normal
        > call 5 102 *97
        answer 5
        > confirmed 5
        play 5: vm/enter-pin
        > keys 5 1102#
        hush 5
        check pin 5: 1102 hash
        > pin 5 right
        play 5: vm/you-have digits/2 vm/new vm/messages vm/main-menu
        > ended 5 normal
        log call: 102 to *97, answered, normal
        > import 102 4000
        log begin S4: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S4
        log seal S4: Whole {'urgent':false,'samples_speech':32000,'samples':32000}
        lamp 102: 3/0 (0/0)
        log mail: mailbox nearly full 102 100
        log set mailbox/102/nearly_full = true
        reply: imported S4
        ",
    );
}
