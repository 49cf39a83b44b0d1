//! The node as a whole: administrators, phones, draining, stopping.

use crate::check;

#[test]
fn a_phone_that_comes_is_told_its_lamp() {
    check(
        "
        > phone 102
        lamp 102: 0/0 (0/0)
        > import 102 3000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > phone 102
        lamp 102: 1/0 (0/0)
        ",
    );
}

#[test]
fn an_import_is_answered_when_it_is_durable() {
    check(
        "
        > log hold
        > import 102 1200
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        > log go
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':9600,'samples':9600}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > list 102
        reply: [{'at':1795341900000,'cut_short':false,'folder':'new','from':{'name':'','number':''},'heard':false,'id':'S1','incomplete':false,'length_ms':1200,'urgent':false}]
        > import 199 1000
        reply: no, no user has the extension 199
        > import 102 0
        reply: no, there is no sound in it
        > import 102 180001
        reply: no, it is longer than a message may be (180 s)
        > disk full
        > import 102 1000
        reply: no, the disk is full; make room and try again
        ",
    );
}

#[test]
fn an_import_the_log_refuses_is_taken_back() {
    check(
        "
        > log hold
        > import 102 1000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        > log poison
        > log go
        reply: no, the log did not take it: the disk failed; the log is closed until restart
        > list 102
        reply: []
        ",
    );
}

#[test]
fn calls_are_listed() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > calls
        reply: [{'answered':null,'from':{'name':'','number':'101'},'held_by':null,'leg':'#1','legs':[{'direction':'in','holds':false,'leg':'#1','name':'','number':'101','place':'ringing','since':1795341900000,'state':'offered'},{'direction':'out','holds':false,'leg':'#2','name':'User 102','number':'102','place':'ringing','since':1795341900000,'state':'ringing'}],'phase':'ringing','place':'#1','started':1795341900000,'to':'102'}]
        > ended 1 cancelled
        end 2: cancelled
        log call: 101 to 102, not answered, cancelled
        > calls
        reply: []
        ",
    );
}

#[test]
fn draining_lets_calls_end() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > drain
        > call 3 101 102
        end 3: shutting_down
        > ended 1 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        > stop
        stopped
        ",
    );
}

#[test]
fn stopping_keeps_what_is_being_said() {
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
        > call 3 101 103
        call 2: 103 from 101
        > call 5 103 102
        call 4: 102 from 103
        > answered 4
        answer 5 like 4
        bridge 5 4
        > log hold
        > stop
        end 1: shutting_down
        end 3: shutting_down
        end 2: cancelled
        log call: 101 to 103, not answered, shutting_down
        end 5: shutting_down
        end 4: shutting_down
        log seal S1: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        log call: 103 to 102, answered, shutting_down
        > log go
        lamp 102: 1/0 (0/0)
        log call: 101 to *102, answered, shutting_down S1
        stopped
        > stop
        ",
    );
}
