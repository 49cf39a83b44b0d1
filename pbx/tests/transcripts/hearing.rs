//! Hearing messages.

use crate::{check, check_with};
use tandem_pbx::{KeyMap, PbxConfig};

#[test]
fn a_message_without_its_key_is_said_to_be_and_stays_new() {
    check(
        "
        > import 102 8000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':64000,'samples':64000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > played 1
        play 1: <sound of 8000 ms>
        > locked 1
        hush 1
        play 1: vm/message-locked vm/message-menu
        > ended 1 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn a_message_is_heard_and_the_lamp_follows() {
    check(
        "
        > import 102 4000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':32000,'samples':32000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > played 1
        play 1: <sound of 4000 ms>
        > wait 4000
        > played 1
        log set message/S1/heard = true
        play 1: vm/message-menu
        lamp 102: 0/1 (0/0)
        > keys 1 #
        hush 1
        play 1: vm/goodbye
        > played 1
        end 1: normal
        log call: 102 to *97, answered, normal
        > call 3 102 *97
        answer 3
        > confirmed 3
        play 3: vm/enter-pin
        > keys 3 1102#
        hush 3
        check pin 3: 1102 hash
        > pin 3 right
        play 3: vm/you-have digits/1 vm/old vm/message vm/main-menu
        > ended 3 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn urgent_ones_first_with_caller_and_time() {
    check(
        "
        > call 1 101 *102
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > keys 1 #
        play 1: <beep>
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > played 1
        record 1: S1 up to 180 s
        > speak 1 3000
        > ended 1 normal
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 102: 1/0 (0/0)
        log call: 101 to *102, answered, normal S1
        > call 3 ~+4144 *102
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > keys 3 #
        play 3: <beep>
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'+4144','name':'','user':null},'called':'*102'}
        > played 3
        record 3: S2 up to 180 s
        > speak 3 2000
        > keys 3 #41
        stop record 3
        play 3: vm/review
        hush 3
        play 3: vm/marked-urgent vm/review-urgent
        hush 3
        log seal S2: Whole {'urgent':true,'samples_speech':16000,'samples':16000}
        lamp 102: 2/0 (1/0)
        play 3: vm/message-saved vm/goodbye
        > ended 3 normal
        log call: +4144 to *102, answered, normal S2
        > wait 86400000
        > import 102 1000
        log begin S3: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S3
        log seal S3: Whole {'urgent':false,'samples_speech':8000,'samples':8000}
        lamp 102: 3/0 (1/0)
        reply: imported S3
        > call 5 102 *97
        answer 5
        > confirmed 5
        play 5: vm/enter-pin
        > keys 5 1102#
        hush 5
        check pin 5: 1102 hash
        > pin 5 right
        play 5: vm/you-have digits/1 vm/urgent vm/message vm/and digits/2 vm/new vm/messages vm/main-menu
        > keys 5 1
        hush 5
        play 5: vm/urgent-message vm/first vm/received time/yesterday-at digits/10 digits/oh digits/5 time/am vm/from-number digits/plus digits/4 digits/1 digits/4 digits/4
        > keys 5 6
        play 5: vm/message-number digits/2 vm/received time/yesterday-at digits/10 digits/oh digits/5 time/am vm/from-extension digits/1 digits/0 digits/1
        > keys 5 6
        play 5: vm/last vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > keys 5 6
        play 5: vm/no-more-messages vm/message-menu
        > keys 5 4
        hush 5
        play 5: vm/message-number digits/2 vm/received time/yesterday-at digits/10 digits/oh digits/5 time/am vm/from-extension digits/1 digits/0 digits/1
        > keys 5 4
        play 5: vm/urgent-message vm/first vm/received time/yesterday-at digits/10 digits/oh digits/5 time/am vm/from-number digits/plus digits/4 digits/1 digits/4 digits/4
        > keys 5 4
        play 5: vm/no-previous-message vm/message-menu
        > ended 5 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn delete_restore_and_delete_for_good() {
    check(
        "
        > import 102 4000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':32000,'samples':32000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 1 7
        hush 1
        play 1: vm/nothing-selected vm/main-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > keys 1 7
        log set message/S1/deleted = true
        hush 1
        lamp 102: 0/0 (0/0)
        play 1: vm/deleted vm/message-menu
        > keys 1 7
        hush 1
        log set message/S1/deleted = removed
        hush 1
        lamp 102: 1/0 (0/0)
        play 1: vm/undeleted vm/message-menu
        > log hold
        > keys 1 75
        hush 1
        log set message/S1/deleted = true
        hush 1
        > log go
        lamp 102: 0/0 (0/0)
        play 1: vm/deleted vm/message-menu
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > ended 1 normal
        log call: 102 to *97, answered, normal
        > list 102
        reply: []
        ",
    );
}

#[test]
fn save_to_folders_and_open_them() {
    check(
        "
        > import 102 4000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':32000,'samples':32000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 1 192
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        play 1: vm/save-to-folder
        hush 1
        log set message/S1/folder = 'work'
        log set message/S1/heard = true
        hush 1
        lamp 102: 0/0 (0/0)
        play 1: vm/saved-to vm/folder-work vm/message-menu
        > keys 1 91
        hush 1
        play 1: vm/save-to-folder
        hush 1
        log set message/S1/heard = true
        log set message/S1/folder = removed
        hush 1
        lamp 102: 0/1 (0/0)
        play 1: vm/saved-to vm/folder-old vm/message-menu
        > keys 1 90
        hush 1
        play 1: vm/save-to-folder
        hush 1
        log set message/S1/heard = removed
        log set message/S1/folder = removed
        hush 1
        lamp 102: 1/0 (0/0)
        play 1: vm/saved-to vm/folder-new vm/message-menu
        > keys 1 94
        hush 1
        play 1: vm/save-to-folder
        hush 1
        log set message/S1/folder = 'friends'
        log set message/S1/heard = true
        hush 1
        lamp 102: 0/0 (0/0)
        play 1: vm/saved-to vm/folder-friends vm/message-menu
        > keys 1 9#
        hush 1
        play 1: vm/save-to-folder
        hush 1
        play 1: vm/message-menu
        > keys 1 20
        hush 1
        play 1: vm/change-folder
        hush 1
        play 1: vm/folder-empty vm/main-menu
        > keys 1 24
        hush 1
        play 1: vm/change-folder
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > keys 1 28
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        play 1: vm/not-available-yet vm/message-menu
        > keys 1 2
        hush 1
        play 1: vm/change-folder
        > ended 1 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn forward_back_pause_and_restart_within_a_message() {
    check(
        "
        > import 102 10000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':80000,'samples':80000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > keys 1 #
        play 1: <sound of 10000 ms>
        > wait 1000
        > keys 1 #
        play 1: <sound of 10000 ms from 4000 ms>
        > wait 500
        > keys 1 *
        play 1: <sound of 10000 ms from 1500 ms>
        > wait 1000
        > keys 1 0
        hush 1
        > wait 60000
        > keys 1 0
        play 1: <sound of 10000 ms from 2500 ms>
        > keys 1 2
        play 1: <sound of 10000 ms>
        > wait 2000
        > keys 1 ##
        play 1: <sound of 10000 ms from 5000 ms>
        play 1: <sound of 10000 ms from 8000 ms>
        > keys 1 #
        log set message/S1/heard = true
        hush 1
        play 1: vm/message-menu
        lamp 102: 0/1 (0/0)
        > ended 1 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn a_message_barely_begun_stays_new() {
    check(
        "
        > import 102 10000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':80000,'samples':80000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > played 1
        play 1: <sound of 10000 ms>
        > wait 2900
        > keys 1 6
        play 1: vm/no-more-messages vm/message-menu
        > keys 1 5
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > played 1
        play 1: <sound of 10000 ms>
        > wait 9000
        > ended 1 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn a_message_left_after_three_seconds_is_heard() {
    check(
        "
        > import 102 10000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':80000,'samples':80000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > played 1
        play 1: <sound of 10000 ms>
        > wait 3000
        > keys 1 6
        log set message/S1/heard = true
        play 1: vm/no-more-messages vm/message-menu
        lamp 102: 0/1 (0/0)
        > ended 1 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn the_rest_of_the_menu() {
    check(
        "
        > import 102 4000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':32000,'samples':32000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 1 *
        hush 1
        play 1: vm/help-playing vm/main-menu
        > keys 1 5
        hush 1
        play 1: vm/nothing-selected vm/main-menu
        > keys 1 8
        hush 1
        play 1: vm/not-available-yet vm/main-menu
        > keys 1 3
        hush 1
        play 1: vm/advanced-menu
        > keys 1 1
        hush 1
        play 1: vm/not-available-yet vm/main-menu
        > keys 1 3
        hush 1
        play 1: vm/advanced-menu
        > keys 1 *
        hush 1
        play 1: vm/main-menu
        > keys 1 33
        hush 1
        play 1: vm/advanced-menu
        hush 1
        play 1: vm/nothing-selected vm/main-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > keys 1 33
        play 1: vm/advanced-menu
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown vm/message-menu
        > keys 1 A
        hush 1
        play 1: vm/invalid-choice vm/message-menu
        > keys 1 9
        hush 1
        play 1: vm/save-to-folder
        > keys 1 7
        hush 1
        play 1: vm/invalid-choice vm/message-menu
        > keys 1 #
        hush 1
        play 1: vm/goodbye
        > played 1
        end 1: normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn leaving_a_message_from_within() {
    check(
        "
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/no-messages vm/main-menu
        > keys 1 35
        hush 1
        play 1: vm/advanced-menu
        hush 1
        play 1: vm/enter-extension
        > keys 1 199#
        hush 1
        play 1: vm/no-such-mailbox vm/main-menu
        > keys 1 35
        hush 1
        play 1: vm/advanced-menu
        hush 1
        play 1: vm/enter-extension
        > keys 1 103#
        hush 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/3 vm/is-not-available vm/intro
        > keys 1 #
        play 1: <beep>
        log begin S1: {'kind':'message','mailbox':'103','from':{'number':'102','name':'','user':'102'},'called':'*97'}
        > played 1
        record 1: S1 up to 180 s
        > speak 1 3000
        > ended 1 normal
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 103: 1/0 (0/0)
        log call: 102 to *97, answered, normal S1
        ",
    );
}

#[test]
fn a_message_comes_while_its_owner_listens() {
    check(
        "
        > import 102 4000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':32000,'samples':32000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > import 102 5000
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S2
        log seal S2: Whole {'urgent':false,'samples_speech':40000,'samples':40000}
        lamp 102: 2/0 (0/0)
        reply: imported S2
        > keys 1 6
        play 1: vm/no-more-messages vm/message-menu
        > keys 1 1
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > keys 1 6
        play 1: vm/last vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > ended 1 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn one_cut_short_says_so() {
    check(
        "
        > call 1 101 *102
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > keys 1 #
        play 1: <beep>
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > played 1
        record 1: S1 up to 180 s
        > speak 1 3000
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 1/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > call 3 102 *97
        answer 3
        > confirmed 3
        play 3: vm/enter-pin
        > keys 3 1102#
        hush 3
        check pin 3: 1102 hash
        > pin 3 right
        play 3: vm/you-have digits/1 vm/new vm/message vm/main-menu
        > keys 3 1
        hush 3
        play 3: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-extension digits/1 digits/0 digits/1 vm/cut-short
        > ended 3 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn intuity_keys() {
    let config = PbxConfig {
        keys: KeyMap::Intuity,
        ..PbxConfig::default()
    };
    check_with(
        config,
        "
        > import 102 10000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':80000,'samples':80000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > call 1 102 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/you-have digits/1 vm/new vm/message vm/intuity-menu
        > keys 1 2
        hush 1
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown
        > keys 1 6
        play 1: <sound of 10000 ms>
        > wait 1000
        > keys 1 6
        play 1: <sound of 10000 ms from 4000 ms>
        > keys 1 2
        > wait 1500
        play 1: <sound of 10000 ms>
        > keys 1 23
        play 1: vm/first vm/received time/today-at digits/10 digits/oh digits/5 time/am vm/from-unknown vm/intuity-message-menu
        > keys 1 *3
        hush 1
        log set message/S1/deleted = true
        hush 1
        lamp 102: 0/0 (0/0)
        play 1: vm/deleted vm/intuity-message-menu
        > keys 1 *8
        hush 1
        log set message/S1/deleted = removed
        hush 1
        lamp 102: 1/0 (0/0)
        play 1: vm/undeleted vm/intuity-message-menu
        > keys 1 *
        hush 1
        > wait 1500
        play 1: vm/invalid-choice vm/intuity-message-menu
        > keys 1 **9
        hush 1
        play 1: vm/goodbye
        > played 1
        end 1: normal
        log call: 102 to *97, answered, normal
        ",
    );
}
