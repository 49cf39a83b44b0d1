//! Calls that are made as soon as somebody is free.

use crate::check;

#[test]
fn who_was_busy_is_called_when_free() {
    check(
        "
        > call 1 103 102
        call 2: 102 from 103
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > call 3 101 102
        call 4: 102 from 101
        > ended 4 busy
        answer 3
        > ended 3 normal
        log call: 101 to 102, answered, normal
        > call 5 101 *66
        answer 5
        > confirmed 5
        play 5: codes/call-when-free vm/goodbye
        > ended 5 normal
        log call: 101 to *66, answered, normal
        > ended 2 normal
        end 1: normal
        call 6: 101 from 102
        log call: 103 to 102, answered, normal
        > answered 6
        call 8: 102 from 101
        > answered 8
        bridge 6 8
        > ended 6 normal
        end 8: normal
        ",
    );
}

#[test]
fn who_has_become_free_meanwhile_is_called_at_once() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ended 2 busy
        answer 1
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > call 3 101 *66
        answer 3
        > confirmed 3
        play 3: codes/call-when-free vm/goodbye
        > ended 3 normal
        call 4: 101 from 102
        log call: 101 to *66, answered, normal
        > wait 20000
        end 4: no_answer
        > call 5 102 *43
        answer 5
        > ended 5 normal
        log call: 102 to *43, answered, normal
        ",
    );
}

#[test]
fn who_did_not_answer_is_called_after_the_next_call_of_theirs() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ended 1 cancelled
        end 2: cancelled
        log call: 101 to 102, not answered, cancelled
        > call 3 101 *66
        answer 3
        > confirmed 3
        play 3: codes/call-when-free vm/goodbye
        > ended 3 normal
        log call: 101 to *66, answered, normal
        > call 5 102 *43
        answer 5
        > call 7 101 *60
        answer 7
        > ended 5 normal
        log call: 102 to *43, answered, normal
        > ended 7 normal
        call 4: 101 from 102
        log call: 101 to *60, answered, normal
        > ended 4 declined
        ",
    );
}

#[test]
fn it_is_no_longer_wanted_or_too_old_or_there_was_nobody() {
    check(
        "
        > call 1 101 *66
        answer 1
        > confirmed 1
        play 1: codes/unknown-number vm/goodbye
        > ended 1 normal
        log call: 101 to *66, answered, normal
        > call 3 101 102
        call 2: 102 from 101
        > ended 3 cancelled
        end 2: cancelled
        log call: 101 to 102, not answered, cancelled
        > call 5 101 *66
        answer 5
        > confirmed 5
        play 5: codes/call-when-free vm/goodbye
        > ended 5 normal
        log call: 101 to *66, answered, normal
        > call 7 101 *86
        answer 7
        > confirmed 7
        play 7: codes/call-when-free-off vm/goodbye
        > ended 7 normal
        log call: 101 to *86, answered, normal
        > call 9 102 *43
        answer 9
        > ended 9 normal
        log call: 102 to *43, answered, normal
        > call 11 101 *66
        answer 11
        > confirmed 11
        play 11: codes/call-when-free vm/goodbye
        > ended 11 normal
        log call: 101 to *66, answered, normal
        > wait 1800000
        > call 13 102 *43
        answer 13
        > ended 13 normal
        log call: 102 to *43, answered, normal
        > call 15 ~555 *66
        end 15: forbidden
        log call: 555 to *66, not answered, forbidden
        ",
    );
}

#[test]
fn who_called_last_from_outside_is_called_back_by_a_route() {
    check(
        "
        > trunk p host=192.0.2.1 otherwise=101
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':'101'}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route +. trunks=p
        log set route/S2 = {'pattern':'+.','strip':0,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > call 1 ~+49305 555 by p
        call 2: 101 from +49305
        > ended 1 cancelled
        end 2: cancelled
        log call: +49305 to 101, not answered, cancelled
        > call 3 101 *69
        call 4: +49305 at 192.0.2.1:5060 from 101
        > ended 4 busy
        end 3: busy
        log call: 101 to *69, not answered, busy
        > user 101 class=internal
        log set user/101/class = 'internal'
        reply: done
        > call 5 101 *69
        end 5: forbidden
        log call: 101 to *69, not answered, forbidden
        ",
    );
}
