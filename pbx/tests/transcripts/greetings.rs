//! Greetings, the spoken name, the PIN.

use crate::check;

#[test]
fn a_greeting_that_cannot_be_decrypted_gives_way_to_the_standard_one() {
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
        > keys 1 01
        hush 1
        play 1: vm/options-menu
        hush 1
        play 1: vm/record-unavailable <beep>
        log begin S1: {'kind':'greeting','mailbox':'102','which':'unavailable'}
        > played 1
        record 1: S1 up to 120 s
        > speak 1 3000
        > keys 1 #1
        stop record 1
        play 1: vm/greeting-review
        hush 1
        log seal S1: Whole
        log set user/102/greeting/unavailable = 'S1'
        play 1: vm/greeting-recorded vm/options-menu
        > ended 1 normal
        log call: 102 to *97, answered, normal
        > call 3 101 *102
        answer 3
        > confirmed 3
        play 3: <sound of 3000 ms> vm/intro
        > locked 3
        hush 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 3 normal
        log call: 101 to *102, answered, normal
        ",
    );
}

#[test]
fn a_greeting_is_recorded_and_callers_hear_it() {
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
        > keys 1 01
        hush 1
        play 1: vm/options-menu
        hush 1
        play 1: vm/record-unavailable <beep>
        log begin S1: {'kind':'greeting','mailbox':'102','which':'unavailable'}
        > played 1
        record 1: S1 up to 120 s
        > speak 1 3000
        > keys 1 #
        stop record 1
        play 1: vm/greeting-review
        > keys 1 2
        hush 1
        play 1: <sound of 3000 ms>
        > played 1
        play 1: vm/greeting-review
        > log hold
        > keys 1 1
        hush 1
        log seal S1: Whole
        log set user/102/greeting/unavailable = 'S1'
        > log go
        play 1: vm/greeting-recorded vm/options-menu
        > ended 1 normal
        log call: 102 to *97, answered, normal
        > call 3 101 *102
        answer 3
        > confirmed 3
        play 3: <sound of 3000 ms> vm/intro
        > ended 3 normal
        log call: 101 to *102, answered, normal
        ",
    );
}

#[test]
fn the_name_the_busy_one_and_the_temporary_one() {
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
        > keys 1 03
        hush 1
        play 1: vm/options-menu
        hush 1
        play 1: vm/record-name <beep>
        log begin S1: {'kind':'greeting','mailbox':'102','which':'name'}
        > keys 1 #
        play 1: <beep>
        > played 1
        record 1: S1 up to 120 s
        > speak 1 2000
        > keys 1 #1
        stop record 1
        play 1: vm/greeting-review
        hush 1
        log seal S1: Whole
        log set user/102/greeting/name = 'S1'
        play 1: vm/name-recorded vm/options-menu
        > call 3 101 102
        call 2: 102 from 101
        > ended 2 busy
        answer 3
        > confirmed 3
        play 3: <sound of 2000 ms> vm/is-on-the-phone vm/intro
        > ended 3 normal
        log call: 101 to 102, answered, normal
        > keys 1 2
        hush 1
        play 1: vm/record-busy <beep>
        log begin S2: {'kind':'greeting','mailbox':'102','which':'busy'}
        > played 1
        record 1: S2 up to 120 s
        > speak 1 2500
        > keys 1 #1
        stop record 1
        play 1: vm/greeting-review
        hush 1
        log seal S2: Whole
        log set user/102/greeting/busy = 'S2'
        play 1: vm/greeting-recorded vm/options-menu
        > call 5 101 102
        call 4: 102 from 101
        > ended 4 busy
        answer 5
        > confirmed 5
        play 5: <sound of 2500 ms> vm/intro
        > ended 5 normal
        log call: 101 to 102, answered, normal
        > keys 1 4
        hush 1
        play 1: vm/record-temporary <beep>
        log begin S3: {'kind':'greeting','mailbox':'102','which':'temporary'}
        > played 1
        record 1: S3 up to 120 s
        > speak 1 3500
        > keys 1 #1
        stop record 1
        play 1: vm/greeting-review
        hush 1
        log seal S3: Whole
        log set user/102/greeting/temporary = 'S3'
        play 1: vm/greeting-recorded vm/options-menu
        > call 7 101 102
        call 6: 102 from 101
        > ended 6 busy
        answer 7
        > confirmed 7
        play 7: <sound of 3500 ms> vm/intro
        > ended 7 normal
        log call: 101 to 102, answered, normal
        > keys 1 4
        hush 1
        play 1: vm/temporary-menu
        > keys 1 2
        hush 1
        log set user/102/greeting/temporary = removed
        play 1: vm/greeting-erased vm/options-menu
        > call 9 101 *102
        answer 9
        > confirmed 9
        play 9: <sound of 2000 ms> vm/is-not-available vm/intro
        > ended 9 normal
        log call: 101 to *102, answered, normal
        > ended 1 normal
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn a_greeting_not_accepted_is_nobodys() {
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
        > keys 1 01
        hush 1
        play 1: vm/options-menu
        hush 1
        play 1: vm/record-unavailable <beep>
        log begin S1: {'kind':'greeting','mailbox':'102','which':'unavailable'}
        > played 1
        record 1: S1 up to 120 s
        > speak 1 0
        > keys 1 #
        stop record 1
        log seal S1: Discarded
        play 1: vm/too-short vm/options-menu
        > keys 1 1
        hush 1
        play 1: vm/record-unavailable <beep>
        log begin S2: {'kind':'greeting','mailbox':'102','which':'unavailable'}
        > played 1
        record 1: S2 up to 120 s
        > speak 1 3000
        > keys 1 #3
        stop record 1
        play 1: vm/greeting-review
        hush 1
        log seal S2: Discarded
        play 1: vm/record-unavailable <beep>
        log begin S3: {'kind':'greeting','mailbox':'102','which':'unavailable'}
        > played 1
        record 1: S3 up to 120 s
        > speak 1 3000
        > keys 1 #*
        stop record 1
        play 1: vm/greeting-review
        hush 1
        log seal S3: Discarded
        play 1: vm/options-menu
        > keys 1 2
        hush 1
        play 1: vm/record-busy <beep>
        log begin S4: {'kind':'greeting','mailbox':'102','which':'busy'}
        > played 1
        record 1: S4 up to 120 s
        > speak 1 3000
        > ended 1 normal
        log seal S4: Discarded
        log call: 102 to *97, answered, normal
        > call 3 102 *97
        answer 3
        > confirmed 3
        play 3: vm/enter-pin
        > keys 3 1102#
        hush 3
        check pin 3: 1102 hash
        > pin 3 right
        play 3: vm/no-messages vm/main-menu
        > keys 3 01
        hush 3
        play 3: vm/options-menu
        hush 3
        play 3: vm/record-unavailable <beep>
        log begin S5: {'kind':'greeting','mailbox':'102','which':'unavailable'}
        > played 3
        record 3: S5 up to 120 s
        > speak 3 3000
        > keys 3 #
        stop record 3
        play 3: vm/greeting-review
        > ended 3 normal
        log seal S5: Discarded
        log call: 102 to *97, answered, normal
        ",
    );
}

#[test]
fn a_new_pin() {
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
        > keys 1 05
        hush 1
        play 1: vm/options-menu
        hush 1
        play 1: vm/new-pin
        > keys 1 12#
        hush 1
        play 1: vm/pin-too-short vm/pin-not-changed vm/options-menu
        > keys 1 5
        hush 1
        play 1: vm/new-pin
        > keys 1 1234#
        hush 1
        play 1: vm/pin-too-simple vm/pin-not-changed vm/options-menu
        > keys 1 5
        hush 1
        play 1: vm/new-pin
        > keys 1 12345678901234567#
        hush 1
        play 1: vm/pin-too-long vm/pin-not-changed vm/options-menu
        > keys 1 5
        hush 1
        play 1: vm/new-pin
        > keys 1 4711#
        hush 1
        play 1: vm/repeat-pin
        > keys 1 4712#
        hush 1
        play 1: vm/pin-mismatch vm/pin-not-changed vm/options-menu
        > keys 1 5
        hush 1
        play 1: vm/new-pin
        > keys 1 4711#
        hush 1
        play 1: vm/repeat-pin
        > keys 1 4711#
        hush 1
        hash pin 1: 4711
        > hash 1 ok
        log set user/102/pin = 'new-hash'
        play 1: vm/pin-changed vm/options-menu
        > keys 1 5
        hush 1
        play 1: vm/new-pin
        > keys 1 4711#4711#
        hush 1
        play 1: vm/repeat-pin
        hush 1
        hash pin 1: 4711
        > hash 1 failed
        play 1: vm/pin-not-changed vm/options-menu
        > ended 1 normal
        log call: 102 to *97, answered, normal
        > call 3 102 *97
        answer 3
        > confirmed 3
        play 3: vm/enter-pin
        > keys 3 4711#
        hush 3
        check pin 3: 4711 new-hash
        > ended 3 normal
        log call: 102 to *97, answered, normal
        ",
    );
}
