//! What watchers see of a user's calls.

use crate::check;

#[test]
fn a_watched_users_calls_are_told_when_they_change() {
    check(
        "
        > watch 102
        calls of 102:
        > call 1 101 102
        call 2: 102 from 101
        calls of 102: Early from 101
        > ringing 2
        ring 1
        > answered 2
        answer 1 like 2
        bridge 1 2
        calls of 102: Confirmed from 101
        > hold 2
        play 1: <music>
        calls of 102: Confirmed from 101, holds
        > resume 2
        hush 1
        calls of 102: Confirmed from 101
        > call 3 102 103
        call 4: 103 from 102
        calls of 102: Confirmed from 101 Early to 103
        > ended 3 cancelled
        end 4: cancelled
        log call: 102 to 103, not answered, cancelled
        calls of 102: Confirmed from 101
        > ended 1 normal
        end 2: normal
        calls of 102:
        log call: 101 to 102, answered, normal
        > unwatch 102
        > call 5 101 102
        call 6: 102 from 101
        > ended 5 cancelled
        end 6: cancelled
        log call: 101 to 102, not answered, cancelled
        ",
    );
}

#[test]
fn who_withholds_the_number_is_shown_without_it_and_a_transfer_shows_the_new_party() {
    check(
        "
        > watch 102
        calls of 102:
        > call 1 ~anonymous 102
        call 2: 102 from
        calls of 102: Early from
        > answered 2
        answer 1 like 2
        bridge 1 2
        calls of 102: Confirmed from
        > refer 1 103
        unbridge 2
        call 4: 103 from 102
        calls of 102: Early from
        > answered 4
        bridge 2 4
        refer result 1: done
        calls of 102: Confirmed from 103
        > ended 2 normal
        end 4: normal
        calls of 102:
        > wait 5000
        end 1: normal
        log call:  to 102, answered, normal
        ",
    );
}

#[test]
fn who_hears_messages_is_on_the_phone() {
    check(
        "
        > watch 101
        calls of 101:
        > call 1 101 *97
        answer 1
        calls of 101: Confirmed to *97
        > ended 1 normal
        calls of 101:
        log call: 101 to *97, answered, normal
        ",
    );
}

#[test]
fn nobody_learns_from_the_line_of_who_withholds_the_number_whom_it_calls() {
    check(
        "
        > watch 101
        calls of 101:
        > call 1 101/withheld 102
        call 2: 102 from
        calls of 101: Early to
        > answered 2
        answer 1 like 2
        bridge 1 2
        calls of 101: Confirmed to
        > ended 1 normal
        end 2: normal
        calls of 101:
        log call:  to 102, answered, normal
        ",
    );
}

#[test]
fn who_waits_in_the_place_of_another_is_shown_from_then_on() {
    check(
        "
        > watch 103
        calls of 103:
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > call 3 101 103
        call 4: 103 from 101
        calls of 103: Early from 101
        > refer 1 with 3
        unbridge 2
        end 3: answered_elsewhere
        log call: 101 to 103, not answered, answered_elsewhere
        refer result 1: done
        calls of 103: Early from 102
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > ended 2 normal
        end 4: cancelled
        calls of 103:
        ",
    );
}

#[test]
fn a_group_is_busy_with_what_rings_at_it_and_what_came_through_it() {
    check(
        "
        > group 600 members=102,103
        log set group/S1 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'all','ring_s':20,'overflow':'mailbox'}
        reply: done
        > watch 600
        calls of S1:
        > call 1 101 600
        call 2: 102 from 101
        call 4: 103 from 101
        calls of S1: Early from 101
        > call 3 ~555 600
        call 6: 102 from 555
        call 8: 103 from 555
        calls of S1: Early from 101 Early from 555
        > ended 3 normal
        end 6: cancelled
        end 8: cancelled
        log call: 555 to 600, not answered, cancelled
        calls of S1: Early from 101
        > answered 2
        end 4: answered_elsewhere
        answer 1 like 2
        bridge 1 2
        calls of S1: Confirmed from 101
        > refer 2 103
        unbridge 1
        call 10: 103 from 101, referred by 102
        calls of S1:
        > ended 1 cancelled
        end 10: cancelled
        refer result 2: done
        log call: 101 to 103, answered, cancelled
        > wait 5000
        end 2: normal
        ",
    );
}

#[test]
fn a_parking_slot_is_busy_with_who_is_parked_there() {
    check(
        "
        > watch 681
        calls of slot 1:
        > call 1 ~555 102
        call 2: 102 from 555
        > answered 2
        answer 1 like 2
        bridge 1 2
        > refer 2 68
        unbridge 1
        play 2: codes/parked-at digits/1
        calls of slot 1: Confirmed from 555
        > call 3 103 681
        answer 3 like 1
        bridge 3 1
        calls of slot 1:
        > ended 3 normal
        end 1: normal
        log call: 103 to 681, answered, normal
        log call: 555 to 68, answered, normal
        ",
    );
}
