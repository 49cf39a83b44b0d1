//! Whose messages, and the PIN.

use crate::check;

#[test]
fn three_wrong_pins_and_the_mailbox_pauses_longer_each_time() {
    check(
        "
        > call 1 101 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 9999#
        hush 1
        check pin 1: 9999 hash
        > pin 1 wrong
        play 1: vm/pin-incorrect vm/enter-pin
        > keys 1 9998#
        hush 1
        check pin 1: 9998 hash
        > pin 1 wrong
        play 1: vm/pin-incorrect vm/enter-pin
        > keys 1 9997#
        hush 1
        check pin 1: 9997 hash
        > pin 1 wrong
        log audit: pin paused 101 60
        log set pin-pause/101 = {'tries':3,'until':1795341960000}
        play 1: vm/pin-incorrect vm/too-many-tries vm/try-again-later vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *97, answered, normal
        > call 3 101 *97
        answer 3
        > confirmed 3
        play 3: vm/pin-locked vm/goodbye
        > played 3
        end 3: normal
        log call: 101 to *97, answered, normal
        > wait 60000
        > call 5 103 *98101
        answer 5
        > confirmed 5
        play 5: vm/enter-pin
        > keys 5 1#
        hush 5
        check pin 5: 1 hash
        > pin 5 wrong
        play 5: vm/pin-incorrect vm/enter-pin
        > keys 5 2#
        hush 5
        check pin 5: 2 hash
        > pin 5 wrong
        play 5: vm/pin-incorrect vm/enter-pin
        > keys 5 3#
        hush 5
        check pin 5: 3 hash
        > pin 5 wrong
        log audit: pin paused 101 120
        log set pin-pause/101 = {'tries':6,'until':1795342080000}
        play 5: vm/pin-incorrect vm/too-many-tries vm/try-again-later vm/goodbye
        > played 5
        end 5: normal
        log call: 103 to *98101, answered, normal
        > wait 119999
        > call 7 101 *97
        answer 7
        > confirmed 7
        play 7: vm/pin-locked vm/goodbye
        > played 7
        end 7: normal
        log call: 101 to *97, answered, normal
        > wait 1
        > call 9 101 *97
        answer 9
        > confirmed 9
        play 9: vm/enter-pin
        > keys 9 1101#
        hush 9
        check pin 9: 1101 hash
        > pin 9 right
        log set pin-pause/101 = removed
        play 9: vm/no-messages vm/main-menu
        > ended 9 normal
        log call: 101 to *97, answered, normal
        ",
    );
}

#[test]
fn a_pause_outlives_the_node_and_a_right_pin_ends_it_for_good() {
    check(
        "
        > call 1 101 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1#2#3#
        hush 1
        check pin 1: 1 hash
        > pin 1 wrong
        play 1: vm/pin-incorrect vm/enter-pin
        hush 1
        check pin 1: 2 hash
        > pin 1 wrong
        play 1: vm/pin-incorrect vm/enter-pin
        hush 1
        check pin 1: 3 hash
        > pin 1 wrong
        log audit: pin paused 101 60
        log set pin-pause/101 = {'tries':3,'until':1795341960000}
        play 1: vm/pin-incorrect vm/too-many-tries vm/try-again-later vm/goodbye
        > ended 1 normal
        log call: 101 to *97, answered, normal
        > wait 20000
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > wait 39999
        > call 3 101 *97
        answer 3
        > confirmed 3
        play 3: vm/pin-locked vm/goodbye
        > ended 3 normal
        log call: 101 to *97, answered, normal
        > wait 1
        > call 5 101 *97
        answer 5
        > confirmed 5
        play 5: vm/enter-pin
        > keys 5 1#2#3#
        hush 5
        check pin 5: 1 hash
        > pin 5 wrong
        play 5: vm/pin-incorrect vm/enter-pin
        hush 5
        check pin 5: 2 hash
        > pin 5 wrong
        play 5: vm/pin-incorrect vm/enter-pin
        hush 5
        check pin 5: 3 hash
        > pin 5 wrong
        log audit: pin paused 101 120
        log set pin-pause/101 = {'tries':6,'until':1795342080000}
        play 5: vm/pin-incorrect vm/too-many-tries vm/try-again-later vm/goodbye
        > ended 5 normal
        log call: 101 to *97, answered, normal
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > wait 119999
        > call 7 101 *97
        answer 7
        > confirmed 7
        play 7: vm/pin-locked vm/goodbye
        > ended 7 normal
        log call: 101 to *97, answered, normal
        > wait 1
        > call 9 101 *97
        answer 9
        > confirmed 9
        play 9: vm/enter-pin
        > keys 9 1101#
        hush 9
        check pin 9: 1101 hash
        > pin 9 right
        log set pin-pause/101 = removed
        play 9: vm/no-messages vm/main-menu
        > ended 9 normal
        log call: 101 to *97, answered, normal
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > call 11 101 *97
        answer 11
        > confirmed 11
        play 11: vm/enter-pin
        > keys 11 1#2#3#
        hush 11
        check pin 11: 1 hash
        > pin 11 wrong
        play 11: vm/pin-incorrect vm/enter-pin
        hush 11
        check pin 11: 2 hash
        > pin 11 wrong
        play 11: vm/pin-incorrect vm/enter-pin
        hush 11
        check pin 11: 3 hash
        > pin 11 wrong
        log audit: pin paused 101 60
        log set pin-pause/101 = {'tries':3,'until':1795342140000}
        play 11: vm/pin-incorrect vm/too-many-tries vm/try-again-later vm/goodbye
        > ended 11 normal
        log call: 101 to *97, answered, normal
        ",
    );
}

#[test]
fn nobody_is_told_of_a_pause_before_it_is_durable() {
    check(
        "
        > call 1 101 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1#2#3#
        hush 1
        check pin 1: 1 hash
        > pin 1 wrong
        play 1: vm/pin-incorrect vm/enter-pin
        hush 1
        check pin 1: 2 hash
        > pin 1 wrong
        play 1: vm/pin-incorrect vm/enter-pin
        hush 1
        check pin 1: 3 hash
        > log hold
        > pin 1 wrong
        log audit: pin paused 101 60
        log set pin-pause/101 = {'tries':3,'until':1795341960000}
        > call 3 101 *97
        answer 3
        > confirmed 3
        play 3: vm/pin-locked vm/goodbye
        > ended 3 normal
        log call: 101 to *97, answered, normal
        > log go
        play 1: vm/pin-incorrect vm/too-many-tries vm/try-again-later vm/goodbye
        > ended 1 normal
        log call: 101 to *97, answered, normal
        ",
    );
}

#[test]
fn a_pause_the_log_refuses_holds_while_the_node_runs() {
    check(
        "
        > call 1 101 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1#2#3#
        hush 1
        check pin 1: 1 hash
        > pin 1 wrong
        play 1: vm/pin-incorrect vm/enter-pin
        hush 1
        check pin 1: 2 hash
        > pin 1 wrong
        play 1: vm/pin-incorrect vm/enter-pin
        hush 1
        check pin 1: 3 hash
        > log poison
        > pin 1 wrong
        log audit: pin paused 101 60
        log set pin-pause/101 = {'tries':3,'until':1795341960000}
        play 1: vm/pin-incorrect vm/too-many-tries vm/try-again-later vm/goodbye
        > ended 1 normal
        log call: 101 to *97, answered, normal
        > call 3 101 *97
        answer 3
        > confirmed 3
        play 3: vm/pin-locked vm/goodbye
        > ended 3 normal
        log call: 101 to *97, answered, normal
        ",
    );
}

#[test]
fn a_gateway_call_says_whose_messages_it_wants() {
    check(
        "
        > call 1 ~5551234 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-mailbox
        > keys 1 102#
        hush 1
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/no-messages vm/main-menu
        > ended 1 normal
        log call: 5551234 to *97, answered, normal
        > call 3 ~102 *97
        answer 3
        > confirmed 3
        play 3: vm/enter-pin
        > ended 3 normal
        log call: 102 to *97, answered, normal
        > call 5 ~5551234 *98
        answer 5
        > confirmed 5
        play 5: vm/enter-mailbox
        > keys 5 199#
        hush 5
        play 5: vm/enter-pin
        > keys 5 1102#
        hush 5
        play 5: vm/login-incorrect vm/enter-mailbox
        > keys 5 #1#
        hush 5
        play 5: vm/enter-pin
        hush 5
        play 5: vm/login-incorrect vm/enter-mailbox
        > keys 5 #1#
        hush 5
        play 5: vm/enter-pin
        hush 5
        play 5: vm/too-many-tries vm/goodbye
        > played 5
        end 5: normal
        log call: 5551234 to *98, answered, normal
        ",
    );
}

#[test]
fn a_pin_may_end_with_a_pause_and_begin_anew_with_a_star() {
    check(
        "
        > call 1 101 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 99*1101
        hush 1
        > wait 5000
        check pin 1: 1101 hash
        > pin 1 right
        play 1: vm/no-messages vm/main-menu
        > ended 1 normal
        log call: 101 to *97, answered, normal
        ",
    );
}

#[test]
fn no_answer_is_asked_again_and_then_dismissed() {
    check(
        "
        > call 1 101 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > played 1
        > wait 7000
        play 1: vm/enter-pin
        > played 1
        > wait 7000
        play 1: vm/enter-pin
        > played 1
        > wait 7000
        play 1: vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *97, answered, normal
        ",
    );
}

#[test]
fn the_caller_hangs_up_while_its_pin_is_checked() {
    check(
        "
        > call 1 101 *97
        answer 1
        > confirmed 1
        play 1: vm/enter-pin
        > keys 1 1101#
        hush 1
        check pin 1: 1101 hash
        > ended 1 normal
        log call: 101 to *97, answered, normal
        > pin 1 right
        > call 3 101 *97
        answer 3
        > confirmed 3
        play 3: vm/enter-pin
        > keys 3 1101#
        hush 3
        check pin 3: 1101 hash
        > wait 30000
        play 3: codes/could-not vm/goodbye
        > played 3
        end 3: normal
        log call: 101 to *97, answered, normal
        ",
    );
}

#[test]
fn the_owner_can_get_in_from_the_own_greeting() {
    check(
        "
        > call 1 ~5551234 *102
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > keys 1 *
        play 1: vm/enter-pin
        > keys 1 1102#
        hush 1
        check pin 1: 1102 hash
        > pin 1 right
        play 1: vm/no-messages vm/main-menu
        > ended 1 normal
        log call: 5551234 to *102, answered, normal
        ",
    );
}
