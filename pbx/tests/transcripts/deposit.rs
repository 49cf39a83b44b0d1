//! Leaving a message.

use crate::{check, check_with};
use tandem_pbx::PbxConfig;

#[test]
fn saved_is_said_when_it_is_durable_and_then_the_lamp_is_lit() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ended 2 busy
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-on-the-phone vm/intro
        > played 1
        play 1: <beep>
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'102'}
        > played 1
        record 1: S1 up to 180 s
        > speak 1 4000
        > keys 1 #
        stop record 1
        play 1: vm/review
        > log hold
        > keys 1 1
        hush 1
        log seal S1: Whole {'urgent':false,'samples_speech':32000,'samples':32000}
        > log go
        lamp 102: 1/0 (0/0)
        play 1: vm/message-saved vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to 102, answered, normal S1
        ",
    );
}

#[test]
fn hanging_up_keeps_what_was_said() {
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
        > log hold
        > ended 1 normal
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        > log go
        lamp 102: 1/0 (0/0)
        log call: 101 to *102, answered, normal S1
        ",
    );
}

#[test]
fn silence_ends_it_and_so_does_the_limit() {
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
        > recorded 1 silence
        play 1: vm/review
        > ended 1 normal
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 102: 1/0 (0/0)
        log call: 101 to *102, answered, normal S1
        > call 3 101 *102
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > keys 3 #
        play 3: <beep>
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > played 3
        record 3: S2 up to 180 s
        > speak 3 3000
        > recorded 3 limit
        play 3: vm/time-limit vm/review
        > ended 3 normal
        log seal S2: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 102: 2/0 (0/0)
        log call: 101 to *102, answered, normal S2
        ",
    );
}

#[test]
fn listen_again_urgent_keep() {
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
        > keys 1 #
        stop record 1
        play 1: vm/review
        > keys 1 2
        hush 1
        play 1: <sound of 3000 ms>
        > played 1
        play 1: vm/review
        > keys 1 9
        hush 1
        play 1: vm/invalid-choice vm/review
        > keys 1 3
        hush 1
        log seal S1: Discarded
        play 1: <beep>
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > played 1
        record 1: S2 up to 180 s
        > speak 1 5000
        > keys 1 #
        stop record 1
        play 1: vm/review
        > keys 1 4
        hush 1
        play 1: vm/marked-urgent vm/review-urgent
        > keys 1 4
        hush 1
        play 1: vm/marked-not-urgent vm/review
        > keys 1 4
        hush 1
        play 1: vm/marked-urgent vm/review-urgent
        > keys 1 2
        hush 1
        play 1: <sound of 5000 ms>
        > keys 1 1
        hush 1
        log seal S2: Whole {'urgent':true,'samples_speech':40000,'samples':40000}
        lamp 102: 1/0 (1/0)
        play 1: vm/message-saved vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *102, answered, normal S2
        ",
    );
}

#[test]
fn no_answer_to_the_menu_keeps_it() {
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
        > keys 1 #
        stop record 1
        play 1: vm/review
        > played 1
        > wait 7000
        play 1: vm/review
        > played 1
        > wait 7000
        play 1: vm/review
        > played 1
        > wait 7000
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 102: 1/0 (0/0)
        play 1: vm/message-saved vm/goodbye
        > ended 1 normal
        log call: 101 to *102, answered, normal S1
        ",
    );
}

#[test]
fn hardly_anything_is_dropped() {
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
        > speak 1 1500
        > keys 1 #
        stop record 1
        log seal S1: Discarded
        play 1: vm/too-short vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *102, answered, normal
        > call 3 101 *102
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > keys 3 #
        play 3: <beep>
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > played 3
        record 3: S2 up to 180 s
        > speak 3 1500
        > ended 3 normal
        log seal S2: Discarded
        log call: 101 to *102, answered, normal
        > call 5 101 *102
        answer 5
        > confirmed 5
        play 5: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > keys 5 #
        play 5: <beep>
        log begin S3: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > ended 5 normal
        log seal S3: Discarded
        log call: 101 to *102, answered, normal
        > call 7 101 *102
        answer 7
        > confirmed 7
        play 7: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 7 normal
        log call: 101 to *102, answered, normal
        ",
    );
}

#[test]
fn keys_typed_ahead_are_kept_for_the_menu() {
    check(
        "
        > call 1 101 *102
        answer 1
        > keys 1 #
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        play 1: <beep>
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > played 1
        record 1: S1 up to 180 s
        > speak 1 3000
        > keys 1 #41
        stop record 1
        play 1: vm/review
        hush 1
        play 1: vm/marked-urgent vm/review-urgent
        hush 1
        log seal S1: Whole {'urgent':true,'samples_speech':24000,'samples':24000}
        lamp 102: 1/0 (1/0)
        play 1: vm/message-saved vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *102, answered, normal S1
        ",
    );
}

#[test]
fn a_full_disk_takes_no_message_and_calls_go_on() {
    check(
        "
        > disk full
        > call 1 101 *102
        answer 1
        > confirmed 1
        play 1: vm/cannot-take-message vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *102, answered, normal
        > call 3 101 102
        call 2: 102 from 101
        > answered 2
        answer 3 like 2
        bridge 3 2
        > ended 3 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        > disk ok
        > call 5 101 *102
        answer 5
        > confirmed 5
        play 5: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 5 normal
        log call: 101 to *102, answered, normal
        ",
    );
}

#[test]
fn the_disk_fills_up_at_the_beep_or_while_speaking() {
    check(
        "
        > call 1 101 *102
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > disk full
        > keys 1 #
        play 1: <beep>
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        hush 1
        play 1: vm/cannot-take-message vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *102, answered, normal
        > disk ok
        > call 3 101 *102
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > keys 3 #
        play 3: <beep>
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > played 3
        record 3: S2 up to 180 s
        > speak 3 3000
        > disk full
        > speak 3 1000
        log seal S2: CutShort {'urgent':false,'samples_speech':28000,'samples':28000}
        lamp 102: 1/0 (0/0)
        play 3: vm/cannot-take-message vm/goodbye
        > played 3
        end 3: normal
        log call: 101 to *102, answered, normal S2
        ",
    );
}

#[test]
fn a_failed_disk_is_admitted() {
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
        > keys 1 #
        stop record 1
        play 1: vm/review
        > log poison
        > keys 1 1
        hush 1
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        play 1: vm/message-not-saved vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *102, answered, normal
        ",
    );
}

#[test]
fn two_callers_at_once_leave_two_messages() {
    check(
        "
        > call 1 101 *102
        answer 1
        > call 3 103 *102
        answer 3
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > keys 1 #
        play 1: <beep>
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > keys 3 #
        play 3: <beep>
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'103','name':'','user':'103'},'called':'*102'}
        > played 1
        record 1: S1 up to 180 s
        > played 3
        record 3: S2 up to 180 s
        > speak 1 2000
        > speak 3 2500
        > ended 3 normal
        log seal S2: Whole {'urgent':false,'samples_speech':20000,'samples':20000}
        lamp 102: 1/0 (0/0)
        log call: 103 to *102, answered, normal S2
        > ended 1 normal
        log seal S1: Whole {'urgent':false,'samples_speech':16000,'samples':16000}
        lamp 102: 2/0 (0/0)
        log call: 101 to *102, answered, normal S1
        > list 102
        reply: [{'at':1795341900000,'cut_short':false,'folder':'new','from':{'name':'','number':'101'},'heard':false,'id':'S1','incomplete':false,'length_ms':2000,'urgent':false},{'at':1795341900000,'cut_short':false,'folder':'new','from':{'name':'','number':'103'},'heard':false,'id':'S2','incomplete':false,'length_ms':2500,'urgent':false}]
        ",
    );
}

#[test]
fn a_full_mailbox_says_so() {
    let config = PbxConfig {
        messages_max: 1,
        ..PbxConfig::default()
    };
    check_with(
        config,
        "
        > import 102 3000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 102: 1/0 (0/0)
        log mail: mailbox nearly full 102 100
        log set mailbox/102/nearly_full = true
        reply: imported S1
        > call 1 101 *102
        answer 1
        > confirmed 1
        play 1: vm/mailbox-full vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *102, answered, normal
        ",
    );
}

#[test]
fn the_power_fails_while_a_message_is_spoken() {
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
        > list 102
        reply: [{'at':1795341900000,'cut_short':true,'folder':'new','from':{'name':'','number':'101'},'heard':false,'id':'S1','incomplete':false,'length_ms':3000,'urgent':false}]
        ",
    );
}

#[test]
fn the_power_fails_before_there_was_a_message() {
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
        > speak 1 1500
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > list 102
        reply: []
        ",
    );
}

#[test]
fn who_falls_silent_has_left_a_message_too() {
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
        > vanish 1
        end 1: vanished
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 102: 1/0 (0/0)
        log call: 101 to *102, answered, vanished S1
        ",
    );
}

#[test]
fn the_engine_never_tells_the_end() {
    check(
        "
        > call 1 101 *102
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > wait 3600000
        play 1: <beep>
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'101','name':'','user':'101'},'called':'*102'}
        > wait 30000
        log seal S1: Discarded
        play 1: vm/too-short vm/goodbye
        ",
    );
}

#[test]
fn the_news_of_the_end_may_come_in_either_order() {
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
        > cut 1 normal
        play 1: vm/review
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 102: 1/0 (0/0)
        log call: 101 to *102, answered, normal S1
        ",
    );
}
