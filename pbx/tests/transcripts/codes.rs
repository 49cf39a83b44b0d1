//! The small services.

use crate::check;

#[test]
fn echo_can_be_there_from_the_first_packet() {
    let config = tandem_pbx::PbxConfig {
        echo_prompt: false,
        ..tandem_pbx::PbxConfig::default()
    };
    crate::check_with(
        config,
        "
        > call 1 101 *43
        answer 1
        echo 1
        > confirmed 1
        > keys 1 5#
        > ended 1 normal
        log call: 101 to *43, answered, normal
        ",
    );
}

#[test]
fn the_echo_says_what_it_is_unless_a_key_skips_that() {
    check(
        "
        > call 1 101 *43
        answer 1
        > confirmed 1
        play 1: codes/echo-test
        > played 1
        echo 1
        > vanish 1
        end 1: vanished
        log call: 101 to *43, answered, vanished
        > call 3 101 *43
        answer 3
        > confirmed 3
        play 3: codes/echo-test
        > keys 3 #
        hush 3
        echo 3
        > ended 3 normal
        log call: 101 to *43, answered, normal
        ",
    );
}

#[test]
fn the_clock_beeps_on_the_full_ten_seconds_until_its_time_is_over() {
    let config = tandem_pbx::PbxConfig {
        clock_for: std::time::Duration::from_secs(25),
        ..tandem_pbx::PbxConfig::default()
    };
    crate::check_with(
        config,
        "
        > call 1 101 *60
        answer 1
        > confirmed 1
        play 1: codes/at-the-tone days/sunday months/november time/the ordinals/22 digits/10 digits/oh digits/5 time/am vm/and digits/20 time/seconds
        > wait 9000
        > played 1
        > wait 10999
        > wait 1
        play 1: <beep>
        > wait 300
        > played 1
        play 1: codes/at-the-tone digits/10 digits/oh digits/5 time/am vm/and digits/30 time/seconds
        > wait 7000
        > played 1
        > wait 2700
        play 1: <beep>
        > wait 300
        > played 1
        end 1: normal
        log call: 101 to *60, answered, normal
        > call 3 101 *60
        answer 3
        > confirmed 3
        play 3: codes/at-the-tone days/sunday months/november time/the ordinals/22 digits/10 digits/oh digits/5 time/am vm/and digits/50 time/seconds
        > wait 60000
        end 3: failed
        log call: 101 to *60, answered, failed
        ",
    );
}

#[test]
fn my_number() {
    check(
        "
        > call 1 101 *65
        answer 1
        > confirmed 1
        play 1: codes/your-number-is digits/1 digits/0 digits/1 vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *65, answered, normal
        > call 3 ~+4144 *65
        answer 3
        > confirmed 3
        play 3: codes/your-number-is digits/plus digits/4 digits/1 digits/4 digits/4 vm/goodbye
        > ended 3 normal
        log call: +4144 to *65, answered, normal
        ",
    );
}

#[test]
fn a_setting_is_confirmed_when_it_is_durable() {
    check(
        "
        > log hold
        > call 1 101 *78
        answer 1
        > confirmed 1
        log set user/101/dnd = true
        > keys 1 5
        > log go
        play 1: codes/dnd-on vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *78, answered, normal
        > log poison
        > call 3 101 *79
        answer 3
        > confirmed 3
        log set user/101/dnd = removed
        play 3: codes/could-not vm/goodbye
        > played 3
        end 3: normal
        log call: 101 to *79, answered, normal
        ",
    );
}

#[test]
fn a_setting_stands_though_its_caller_has_gone() {
    check(
        "
        > log hold
        > call 1 101 *78
        answer 1
        > confirmed 1
        log set user/101/dnd = true
        > ended 1 normal
        log call: 101 to *78, answered, normal
        > log go
        > call 3 102 101
        answer 3
        > ended 3 normal
        log call: 102 to 101, answered, normal
        ",
    );
}

#[test]
fn forwarding_goes_to_somebody_else_only() {
    check(
        "
        > call 1 101 *72102
        answer 1
        > confirmed 1
        log set user/101/forward = '102'
        play 1: codes/forward-on digits/1 digits/0 digits/2 vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to *72102, answered, normal
        > call 3 101 *72101
        answer 3
        > confirmed 3
        play 3: codes/forward-invalid vm/goodbye
        > played 3
        end 3: normal
        log call: 101 to *72101, answered, normal
        > call 5 101 *72999
        answer 5
        > confirmed 5
        play 5: codes/forward-invalid vm/goodbye
        > ended 5 normal
        log call: 101 to *72999, answered, normal
        > call 7 101 *73
        answer 7
        > confirmed 7
        log set user/101/forward = removed
        play 7: codes/forward-off vm/goodbye
        > ended 7 normal
        log call: 101 to *73, answered, normal
        ",
    );
}

#[test]
fn codes_can_be_others_and_count_from_the_next_call_on() {
    check(
        "
        > code park 70
        log set code/park = '70'
        reply: done
        > code echo
        log set code/echo = removed
        reply: done
        > code clock *43
        reply: no, *43 is the code of echo already
        > code my_number 101
        reply: no, User 101 has the extension 101 already
        > code my_number *x
        reply: no, '*x' is not a code: up to 8 digits, * and #
        > code dance *1
        reply: no, no code is called dance; tandem code list shows them
        > call 1 102 68
        end 1: no_such_number
        log call: 102 to 68, not answered, no_such_number
        > call 3 102 70
        answer 3
        > confirmed 3
        play 3: codes/nobody-to-park vm/goodbye
        > ended 3 normal
        log call: 102 to 70, answered, normal
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > call 5 102 68
        end 5: no_such_number
        log call: 102 to 68, not answered, no_such_number
        > code park
        log set code/park = removed
        reply: done
        > call 7 102 70
        end 7: no_such_number
        log call: 102 to 70, not answered, no_such_number
        ",
    );
}
