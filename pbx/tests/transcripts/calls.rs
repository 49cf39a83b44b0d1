//! Two people, from dialling to hanging up, and all that can come between.

use crate::check;

#[test]
fn rings_answers_talks_and_the_caller_hangs_up() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ringing 2
        ring 1
        > ringing 2
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > ended 1 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn the_caller_hears_what_the_called_side_says_before_it_answers() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > progress 2
        progress 1 like 2
        bridge 1 2
        > ringing 2
        > wait 2000
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > ended 1 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn a_phone_that_forwards_the_call_is_obeyed_and_never_in_circles() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > redirected 2 103
        call 4: 103 from 101, via 102 Deflected
        > redirected 4 102
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > call 3 101 102
        call 6: 102 from 101
        > redirected 6 999
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 3 normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn a_caller_hears_ringing_after_a_second_though_no_phone_has_said_anything() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > wait 900
        > wait 200
        ring 1
        > ringing 2
        > ended 2 no_answer
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 1 normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn who_took_the_call_elsewhere_is_told_to_the_phones() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ended 1 answered_elsewhere
        end 2: answered_elsewhere
        log call: 101 to 102, not answered, answered_elsewhere
        ",
    );
}

#[test]
fn the_called_one_hangs_up() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > ended 2 normal
        end 1: normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn the_caller_gives_up_while_it_rings() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ringing 2
        ring 1
        > ended 1 cancelled
        end 2: cancelled
        log call: 101 to 102, not answered, cancelled
        > answered 2
        ",
    );
}

#[test]
fn busy_declined_no_phone_lead_to_the_mailbox() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ended 2 busy
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-on-the-phone vm/intro
        > call 3 101 102
        call 4: 102 from 101
        > ended 4 declined
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > call 5 101 102
        call 6: 102 from 101
        > ended 6 not_registered
        answer 5
        > confirmed 5
        play 5: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 5 normal
        log call: 101 to 102, answered, normal
        > ended 3 normal
        log call: 101 to 102, answered, normal
        > ended 1 normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn nobody_answers_in_time() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ringing 2
        ring 1
        > wait 19999
        > wait 1
        end 2: no_answer
        answer 1
        > answered 2
        > ended 2 normal
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 1 normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn the_caller_hangs_up_before_the_mailbox_has_its_ack() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ended 2 busy
        answer 1
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > confirmed 1
        > call 3 101 102
        call 4: 102 from 101
        > ended 4 busy
        answer 3
        > wait 40000
        end 3: vanished
        log call: 101 to 102, answered, vanished
        ",
    );
}

#[test]
fn one_falls_silent() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > vanish 2
        end 2: vanished
        end 1: vanished
        log call: 101 to 102, answered, vanished
        > call 3 101 102
        call 4: 102 from 101
        > answered 4
        answer 3 like 4
        bridge 3 4
        > confirmed 3
        > vanish 3
        end 3: vanished
        end 4: vanished
        log call: 101 to 102, answered, vanished
        ",
    );
}

#[test]
fn a_key_in_signalling_is_passed_on_and_one_in_media_is_not() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > info 1 5
        send 2: 5
        > info 2 6
        send 1: 6
        > keys 1 7
        > ended 1 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn what_is_not_there_or_not_allowed_is_refused() {
    check(
        "
        > call 1 101 199
        end 1: no_such_number
        log call: 101 to 199, not answered, no_such_number
        > call 3 101 600
        end 3: no_such_number
        log call: 101 to 600, not answered, no_such_number
        > call 5 ~5551234 *78
        end 5: forbidden
        log call: 5551234 to *78, not answered, forbidden
        > call 7 ~5551234 *72102
        end 7: forbidden
        log call: 5551234 to *72102, not answered, forbidden
        > call 9 ~5551234 102
        call 2: 102 from 5551234
        > ended 9 cancelled
        end 2: cancelled
        log call: 5551234 to 102, not answered, cancelled
        ",
    );
}

#[test]
fn do_not_disturb_and_forwarding_steer_a_call() {
    check(
        "
        > call 1 102 *78
        answer 1
        > confirmed 1
        log set user/102/dnd = true
        play 1: codes/dnd-on vm/goodbye
        > ended 1 normal
        log call: 102 to *78, answered, normal
        > call 3 101 102
        answer 3
        > ended 3 normal
        log call: 101 to 102, answered, normal
        > call 5 103 *72102
        answer 5
        > confirmed 5
        log set user/103/forward = '102'
        play 5: codes/forward-on digits/1 digits/0 digits/2 vm/goodbye
        > ended 5 normal
        log call: 103 to *72102, answered, normal
        > call 7 101 103
        answer 7
        > ended 7 normal
        log call: 101 to 103, answered, normal
        > call 9 102 *79
        answer 9
        > confirmed 9
        log set user/102/dnd = removed
        play 9: codes/dnd-off vm/goodbye
        > ended 9 normal
        log call: 102 to *79, answered, normal
        > call 11 101 103
        call 2: 102 from 101, via 103 Unconditional
        > ended 2 busy
        answer 11
        > confirmed 11
        play 11: vm/person-at-extension digits/1 digits/0 digits/3 vm/is-on-the-phone vm/intro
        > ended 11 normal
        log call: 101 to 103, answered, normal
        ",
    );
}

#[test]
fn forwarding_in_a_circle_ends_in_the_mailbox_of_the_one_dialled() {
    check(
        "
        > call 1 102 *72103
        answer 1
        > confirmed 1
        log set user/102/forward = '103'
        play 1: codes/forward-on digits/1 digits/0 digits/3 vm/goodbye
        > ended 1 normal
        log call: 102 to *72103, answered, normal
        > call 3 103 *72102
        answer 3
        > confirmed 3
        log set user/103/forward = '102'
        play 3: codes/forward-on digits/1 digits/0 digits/2 vm/goodbye
        > ended 3 normal
        log call: 103 to *72102, answered, normal
        > call 5 101 102
        answer 5
        > confirmed 5
        play 5: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 5 normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn too_many_calls_are_refused_and_the_rest_do_not_notice() {
    let config = tandem_pbx::PbxConfig {
        calls_max: 1,
        ..tandem_pbx::PbxConfig::default()
    };
    crate::check_with(
        config,
        "
        > call 1 101 102
        call 2: 102 from 101
        > call 3 102 101
        end 3: congestion
        > answered 2
        answer 1 like 2
        bridge 1 2
        > ended 1 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn what_nobody_waits_for_is_ignored() {
    check(
        "
        > ringing 2
        > answered 4
        > confirmed 1
        > ended 7 normal
        > keys 9 5
        > played 9
        > vanish 9
        > pin 9 right
        > hash 9 ok
        > call 1 101 102
        call 2: 102 from 101
        > keys 1 x
        > ended 1 cancelled
        end 2: cancelled
        log call: 101 to 102, not answered, cancelled
        > ended 1 cancelled
        ",
    );
}

#[test]
fn users_write_to_users_and_to_nobody_who_refuses_them() {
    check(
        "
        > text 1 101 102
        text 1: to 102
        > text 2 101 199
        text 2: no_such_number
        > text 3 ~555 102
        text 3: forbidden
        > user 102 blocked=101
        log set user/102/blocked = ['101']
        reply: done
        > text 4 101 102
        text 4: declined
        > text 5 103 102
        text 5: to 102
        ",
    );
}
