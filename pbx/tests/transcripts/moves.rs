//! The table of moves (`pbx/src/call/moves.rs`), row by row.

use crate::check;

#[test]
fn a_blind_transfer_rings_the_third_and_tells_the_transferor() {
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
        > ringing 4
        play 1: <ringing>
        > answered 4
        bridge 1 4
        refer result 2: done
        > ended 2 normal
        > ended 4 normal
        end 1: normal
        log call: 101 to 103, answered, normal
        ",
    );
}

#[test]
fn the_caller_may_transfer_the_called_one() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > refer 1 103
        unbridge 2
        call 4: 103 from 102, referred by 101
        > answered 4
        bridge 2 4
        refer result 1: done
        > wait 5000
        end 1: normal
        log call: 101 to 102, answered, normal
        > ended 2 normal
        end 4: normal
        ",
    );
}

#[test]
fn a_blind_transfer_that_nobody_answers_ends_in_the_mailbox_of_the_third() {
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
        > ended 2 normal
        > ended 4 busy
        play 1: vm/person-at-extension digits/1 digits/0 digits/3 vm/is-on-the-phone vm/intro
        > ended 1 normal
        log call: 101 to 103, answered, normal
        ",
    );
}

#[test]
fn a_transfer_that_cannot_be_made_leaves_the_call_as_it_is() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > refer 2 103
        refer result 2: declined
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > refer 2 199
        refer result 2: no_such_number
        > refer 2 101
        refer result 2: declined
        > refer 2 *78
        refer result 2: forbidden
        > refer 2 with 2
        refer result 2: forbidden
        > refer 2 with 1
        refer result 2: forbidden
        > refer 2 with 99
        refer result 2: failed
        > info 1 5
        send 2: 5
        > ended 1 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        > refer 1 103
        ",
    );
}

#[test]
fn an_attended_transfer_joins_the_far_ends() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > hold 1
        play 2: <music>
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
        > info 4 7
        send 2: 7
        > ended 4 normal
        end 2: normal
        ",
    );
}

#[test]
fn an_attended_transfer_while_it_still_rings_lets_the_first_wait() {
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
        > refer 1 with 3
        unbridge 2
        end 3: answered_elsewhere
        log call: 101 to 103, not answered, answered_elsewhere
        refer result 1: done
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > answered 4
        bridge 2 4
        > ended 2 normal
        end 4: normal
        ",
    );
}

#[test]
fn an_attended_transfer_to_the_machine_begins_it_anew_for_the_other() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > call 3 101 *103
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/3 vm/is-not-available vm/intro
        > refer 1 with 3
        unbridge 2
        play 2: vm/person-at-extension digits/1 digits/0 digits/3 vm/is-not-available vm/intro
        end 3: answered_elsewhere
        refer result 1: done
        log call: 101 to *103, answered, answered_elsewhere
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > ended 2 normal
        ",
    );
}

#[test]
fn nobody_transfers_somebody_elses_call() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > call 3 103 *43
        answer 3
        > confirmed 3
        play 3: codes/echo-test
        > refer 1 with 3
        refer result 1: forbidden
        > refer 3 102
        refer result 3: declined
        > ended 3 normal
        log call: 103 to *43, answered, normal
        > ended 1 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn two_who_transfer_each_other_at_once_both_get_an_answer() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > refer 1 103
        unbridge 2
        call 4: 103 from 102, referred by 101
        > refer 2 103
        refer result 2: declined
        > answered 4
        bridge 2 4
        refer result 1: done
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > ended 4 normal
        end 2: normal
        ",
    );
}

#[test]
fn who_is_transferred_hangs_up_before_it_is_answered() {
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
        > ended 1 normal
        end 4: cancelled
        refer result 2: done
        log call: 101 to 103, answered, cancelled
        > wait 5000
        end 2: normal
        ",
    );
}

#[test]
fn another_phone_of_the_user_takes_the_call_over() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > call 3 102 over 2
        answer 3 like 1
        bridge 3 1
        end 2: normal
        > call 5 103 over 1
        end 5: forbidden
        log call: 103 to 101, not answered, forbidden
        > call 7 102 over 98
        end 7: failed
        log call: 102 to 101, not answered, failed
        > ended 3 normal
        end 1: normal
        log call: 102 to 101, answered, normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn what_rings_is_picked_up_and_the_phone_told_so() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ringing 2
        ring 1
        > call 3 103 **102
        end 2: answered_elsewhere
        answer 1 like 3
        answer 3 like 1
        bridge 1 3
        > confirmed 3
        > answered 2
        > ended 1 normal
        end 3: normal
        log call: 101 to 102, answered, normal
        log call: 103 to **102, answered, normal
        ",
    );
}

#[test]
fn of_two_who_pick_up_at_once_the_second_hears_that_nothing_rings() {
    check(
        "
        > call 1 ~5551234 101
        call 2: 101 from 5551234
        > call 3 103 *8
        end 2: answered_elsewhere
        answer 1 like 3
        answer 3 like 1
        bridge 1 3
        > call 5 102 *8
        answer 5
        > confirmed 5
        play 5: codes/nothing-rings vm/goodbye
        > played 5
        end 5: normal
        log call: 102 to *8, answered, normal
        > call 7 ~5551234 *8
        end 7: forbidden
        log call: 5551234 to *8, not answered, forbidden
        > ended 3 normal
        end 1: normal
        log call: 103 to *8, answered, normal
        log call: 5551234 to 101, answered, normal
        ",
    );
}

#[test]
fn who_is_on_hold_is_parked_and_fetched() {
    check(
        "
        > call 1 ~5551234 102
        call 2: 102 from 5551234
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > hold 2
        play 1: <music>
        > call 3 102 68
        unbridge 1
        end 2: normal
        play 1: <music>
        answer 3
        > confirmed 3
        play 3: codes/parked-at digits/1 vm/goodbye
        > played 3
        end 3: normal
        log call: 102 to 68, answered, normal
        > call 5 103 682
        answer 5
        > confirmed 5
        play 5: codes/nobody-parked vm/goodbye
        > ended 5 normal
        log call: 103 to 682, answered, normal
        > call 7 103 681
        answer 7 like 1
        bridge 7 1
        > ended 7 normal
        end 1: normal
        log call: 103 to 681, answered, normal
        log call: 5551234 to 102, answered, normal
        ",
    );
}

#[test]
fn who_parks_nobody_is_told_so() {
    check(
        "
        > call 1 102 68
        answer 1
        > confirmed 1
        play 1: codes/nobody-to-park vm/goodbye
        > ended 1 normal
        log call: 102 to 68, answered, normal
        ",
    );
}

#[test]
fn a_transfer_to_the_parking_number_says_where() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > refer 2 68
        unbridge 1
        play 1: <music>
        play 2: codes/parked-at digits/1
        > played 2
        refer result 2: done
        > ended 2 normal
        > played 1
        play 1: <music>
        > ended 1 normal
        log call: 101 to 68, answered, normal
        ",
    );
}

#[test]
fn nobody_fetches_who_is_parked_so_it_rings_where_it_was_parked_and_then_the_mailbox_takes_it() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > hold 2
        play 1: <music>
        > refer 2 68
        unbridge 1
        play 1: <music>
        refer result 2: done
        > ended 2 normal
        > wait 120000
        call 4: 102 from 101
        > ended 4 no_answer
        play 1: <music>
        > wait 120000
        call 6: 102 from 101
        > ended 6 not_registered
        play 1: <music>
        > wait 120000
        call 8: 102 from 101
        > ended 8 busy
        play 1: <music>
        > wait 120000
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 1 normal
        log call: 101 to 68, answered, normal
        ",
    );
}

#[test]
fn the_parker_answers_the_recall() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > hold 2
        play 1: <music>
        > refer 2 68
        unbridge 1
        play 1: <music>
        refer result 2: done
        > ended 2 normal
        > wait 120000
        call 4: 102 from 101
        > answered 4
        bridge 1 4
        > ended 4 normal
        end 1: normal
        log call: 101 to 68, answered, normal
        ",
    );
}

#[test]
fn a_call_says_where_it_has_been_and_who_transferred_it() {
    check(
        "
        > user 102 forward=103
        log set user/102/forward = '103'
        reply: done
        > diverted 300 busy
        > call 1 ~555 102
        call 2: 103 from 555, via 300 Busy, via 102 Unconditional
        > answered 2
        answer 1 like 2
        bridge 1 2
        > refer 1 101
        unbridge 2
        call 4: 101 from 103, referred by said
        > ended 2 cancelled
        end 4: cancelled
        refer result 1: done
        > wait 5000
        end 1: normal
        log call: 555 to 102, answered, normal
        ",
    );
}

#[test]
fn who_is_held_hears_music_until_the_call_goes_on() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > hold 2
        play 1: <music>
        > played 1
        play 1: <music>
        > hold 1
        hush 1
        > resume 2
        play 2: <music>
        > resume 1
        hush 2
        > hold 1
        play 2: <music>
        > ended 1 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn a_user_transfers_with_keys_of_the_phone() {
    check(
        "
        > call 1 ~5551234 102
        call 2: 102 from 5551234
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > keys 2 #
        > wait 3000
        > keys 2 #
        > keys 2 #
        play 2: codes/transfer-to
        play 1: <music>
        > keys 2 103#
        hush 2
        unbridge 1
        call 4: 103 from 5551234
        play 2: vm/goodbye
        > ringing 4
        play 1: <ringing>
        > played 2
        end 2: normal
        > answered 4
        bridge 1 4
        > keys 1 ##
        > ended 1 normal
        end 4: normal
        log call: 5551234 to 103, answered, normal
        ",
    );
}

#[test]
fn a_transfer_with_keys_to_nowhere_or_to_nobody_leaves_the_call() {
    check(
        "
        > call 1 ~5551234 102
        call 2: 102 from 5551234
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > keys 2 ##199#
        play 2: codes/transfer-to
        play 1: <music>
        hush 2
        play 2: codes/could-not
        hush 1
        > keys 2 ###
        play 2: codes/transfer-to
        play 1: <music>
        hush 2
        hush 1
        > keys 2 ##
        play 2: codes/transfer-to
        play 1: <music>
        > wait 100000
        play 2: codes/transfer-to
        > keys 2 ##68#
        hush 2
        hush 1
        > played 2
        > ended 1 normal
        end 2: normal
        log call: 5551234 to 102, answered, normal
        ",
    );
}

#[test]
fn who_is_about_to_be_transferred_hangs_up() {
    check(
        "
        > call 1 ~5551234 102
        call 2: 102 from 5551234
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > keys 2 ##1
        play 2: codes/transfer-to
        play 1: <music>
        hush 2
        > ended 1 normal
        end 2: normal
        log call: 5551234 to 102, answered, normal
        > call 3 101 102
        call 4: 102 from 101
        > answered 4
        answer 3 like 4
        bridge 3 4
        > confirmed 3
        > keys 3 ##
        play 3: codes/transfer-to
        play 4: <music>
        > ended 3 normal
        end 4: normal
        log call: 101 to 102, answered, normal
        ",
    );
}
