//! The call log: one record for each leg, newest first, and what joins those of one call.
//!
//! `in 1 of 1 [101] 101 to 102: answered (normal), dial 102, talking 102 PCMA 100 packets`: leg 1 of
//! call 1 came in, on the line of 101, who called 102; what became of it, what it went through, its codec
//! and what the engine counted.

use crate::check;

#[test]
fn both_legs_of_a_call_leave_a_record() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > ended 2 normal
        end 1: normal
        log call: 101 to 102, answered, normal
        > records
        reply: in 1 of 1 [101] 101 to 102: answered (normal), dial 102, talking 102 PCMA 100 packets | out 2 of 1 [102] 101 to 102: answered (normal), talking 101 PCMA 100 packets
        ",
    );
}

#[test]
fn the_legs_of_a_blind_transfer_are_one_call() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > refer 2 103
        unbridge 1
        call 4: 103 from 101, referred by 102
        > answered 4
        bridge 1 4
        refer result 2: done
        > ended 2 normal
        > ended 4 normal
        end 1: normal
        log call: 101 to 103, answered, normal
        > records
        reply: in 1 of 1 [101] 101 to 103: answered (normal), dial 102, talking 102, transferred 102, dial 103, talking 103 PCMA 100 packets | out 4 of 1 [103] 101 to 103: answered (normal), talking 101 PCMA 100 packets | out 2 of 1 [102] 101 to 102: transferred (normal), talking 101, transferring PCMA 100 packets
        ",
    );
}

#[test]
fn the_legs_of_an_attended_transfer_are_joined() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > call 3 101 103
        call 4: 103 from 101
        > answered 4
        answer 3 like 4
        bridge 3 4
        > confirmed 3
        > refer 1 with 3
        bridge 2 4
        end 3: answered_elsewhere
        refer result 1: done
        log call: 101 to 103, answered, answered_elsewhere
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > ended 2 normal
        end 4: normal
        > records
        reply: out 4 of 1+3 [103] 101 to 103: answered (normal), talking 101, talking 102 PCMA 100 packets | out 2 of 1 [102] 101 to 102: answered (normal), talking 101, transferred 101, talking 103 PCMA 100 packets | in 1 of 1 [101] 101 to 102: transferred (normal), dial 102, talking 102, transferring PCMA 100 packets | in 3 of 1+3 [101] 101 to 103: answered (answered_elsewhere), dial 103, talking 103 PCMA 100 packets
        ",
    );
}

#[test]
fn what_nobody_answers_says_why() {
    check(
        "
        > group 600 members=102,103 overflow=busy
        log set group/S1 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'all','ring_s':20,'overflow':'busy'}
        reply: done
        > call 1 101 600
        call 2: 102 from 101
        call 4: 103 from 101
        > ended 2 busy
        > ended 4 declined
        end 1: busy
        log call: 101 to 600, not answered, busy
        > call 3 101 102
        call 6: 102 from 101
        > ended 3 cancelled
        end 6: cancelled
        log call: 101 to 102, not answered, cancelled
        > call 5 101 199
        end 5: no_such_number
        log call: 101 to 199, not answered, no_such_number
        > records
        reply: in 5 of 5 [101] 101 to 199: no_such_number (no_such_number) | in 3 of 3 [101] 101 to 102: cancelled (cancelled), dial 102 | out 6 of 3 [102] 101 to 102: cancelled (cancelled) | in 1 of 1 [101] 101 to 600: busy (busy), group 600 | out 4 of 1 [103] 101 to 103: refused (declined) | out 2 of 1 [102] 101 to 102: busy (busy)
        ",
    );
}

#[test]
fn who_withholds_the_number_is_in_no_record() {
    check(
        "
        > call 1 101/withheld 102
        call 2: 102 from
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > refer 1 103
        unbridge 2
        call 4: 103 from 102
        > answered 4
        bridge 2 4
        refer result 1: done
        > ended 1 normal
        log call:  to 102, answered, normal
        > ended 4 normal
        end 2: normal
        > records
        reply: out 2 of 1 [102]  to 103: answered (normal), talking, transferred, dial 103, talking 103 PCMA 100 packets | out 4 of 1 [103] 102 to 103: answered (normal), talking 102 PCMA 100 packets | in 1 of 1 []  to 102: transferred (normal), dial 102, talking 102, transferring PCMA 100 packets
        ",
    );
}

#[test]
fn a_call_that_the_mailbox_takes_says_so() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ended 2 not_registered
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > records
        reply: in 1 of 1 [101] 101 to 102: mailbox (normal), dial 102, leaving a message PCMA 100 packets | out 2 of 1 [102] 101 to 102: unreachable (not_registered)
        ",
    );
}
