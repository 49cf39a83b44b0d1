//! Calls are recorded: by keys and by policy, through transfers and parking.

use tandem_pbx::PbxConfig;

use crate::{check, check_with};

/// Without the beep, of which most stories do not tell.
fn quiet() -> PbxConfig {
    PbxConfig {
        recording_beep: false,
        ..PbxConfig::default()
    }
}

#[test]
fn keys_begin_pause_and_go_on_and_both_hear_it() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > keys 1 *3
        log begin S1: track 1 of S1, left, 101, asked
        tap 1: S1
        log begin S2: track 2 of S1, right, 102, asked
        tap 2: S2
        play 1: <beep>
        play 2: <beep>
        > keys 2 *3
        pause tap 1
        pause tap 2
        play 1: <beep> <beep>
        play 2: <beep> <beep>
        > keys 1 *3
        tap 1 again
        tap 2 again
        play 1: <beep>
        play 2: <beep>
        > speak 1 1000
        > ended 1 normal
        end 2: normal
        log seal S1: Whole, 8000 samples, Stopped
        log call: 101 to 102, answered, normal
        log seal S2: Whole, 0 samples, Stopped
        log set message/S1/recording = 2 tracks
        > recordings
        reply: S1 ended: 101 left 1000 ms, 102 right 0 ms
        ",
    );
}

#[test]
fn a_transfer_adds_a_track_and_the_one_who_left_is_recorded_no_more() {
    check_with(
        quiet(),
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > keys 1 *3
        log begin S1: track 1 of S1, left, 101, asked
        tap 1: S1
        log begin S2: track 2 of S1, right, 102, asked
        tap 2: S2
        > refer 2 103
        unbridge 1
        call 4: 103 from 101, referred by 102
        untap 2
        log seal S2: Whole, 0 samples, Stopped
        > answered 4
        bridge 1 4
        log begin S3: track 3 of S1, right, 103, asked
        tap 4: S3
        refer result 2: done
        > ended 2 normal
        > ended 1 normal
        end 4: normal
        log seal S1: Whole, 0 samples, Stopped
        log call: 101 to 103, answered, normal
        log seal S3: Whole, 0 samples, Stopped
        log set message/S1/recording = 3 tracks
        > recordings
        reply: S1 ended: 101 left 0 ms, 102 right 0 ms, 103 right 0 ms
        ",
    );
}

#[test]
fn who_is_parked_is_recorded_on_and_who_is_sent_to_a_mailbox_is_not() {
    check_with(
        quiet(),
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > keys 2 *3
        log begin S1: track 1 of S1, left, 101, asked
        tap 1: S1
        log begin S2: track 2 of S1, right, 102, asked
        tap 2: S2
        > refer 2 68
        unbridge 1
        play 1: <music>
        play 2: codes/parked-at digits/1
        untap 2
        log seal S2: Whole, 0 samples, Stopped
        > call 3 103 681
        answer 3 like 1
        bridge 3 1
        log begin S3: track 3 of S1, right, 103, asked
        tap 3: S3
        > confirmed 3
        > refer 3 *102
        unbridge 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        refer result 3: done
        untap 1
        untap 3
        log seal S1: Whole, 0 samples, Stopped
        log seal S3: Whole, 0 samples, Stopped
        log set message/S1/recording = 3 tracks
        > ended 3 normal
        log call: 103 to 681, answered, normal
        > ended 1 normal
        log call: 101 to *102, answered, normal
        ",
    );
}

#[test]
fn who_is_always_recorded_is_from_the_first_word_on() {
    check_with(
        quiet(),
        "
        > user 102 record=always
        log set user/102/record = 'always'
        reply: done
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        log begin S1: track 1 of S1, left, 101, policy
        tap 1: S1
        log begin S2: track 2 of S1, right, 102, policy
        tap 2: S2
        > confirmed 1
        > ended 2 normal
        end 1: normal
        log seal S2: Whole, 0 samples, Stopped
        log seal S1: Whole, 0 samples, Stopped
        log set message/S1/recording = 2 tracks
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn who_is_never_recorded_goes_before_all_others() {
    check_with(
        quiet(),
        "
        > user 101 record=always
        log set user/101/record = 'always'
        reply: done
        > user 103 record=never
        log set user/103/record = 'never'
        reply: done
        > call 1 101 103
        call 2: 103 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > keys 1 *3
        play 1: codes/could-not
        > ended 2 normal
        end 1: normal
        log call: 101 to 103, answered, normal
        > call 3 101 102
        call 4: 102 from 101
        > answered 4
        answer 3 like 4
        bridge 3 4
        log begin S1: track 1 of S1, left, 101, policy
        tap 3: S1
        log begin S2: track 2 of S1, right, 102, policy
        tap 4: S2
        > confirmed 3
        > refer 4 103
        unbridge 3
        call 6: 103 from 101, referred by 102
        untap 4
        log seal S2: Whole, 0 samples, Stopped
        > answered 6
        bridge 3 6
        untap 3
        refer result 4: done
        log seal S1: Whole, 0 samples, Stopped
        log set message/S1/recording = 2 tracks
        > ended 3 normal
        end 6: normal
        log call: 101 to 103, answered, normal
        ",
    );
}

#[test]
fn a_full_disk_ends_no_call_and_what_was_begun_is_marked() {
    check_with(
        quiet(),
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > disk full
        > keys 1 *3
        play 1: codes/could-not
        > disk ok
        > keys 1 *3
        log begin S1: track 1 of S1, left, 101, asked
        tap 1: S1
        log begin S2: track 2 of S1, right, 102, asked
        tap 2: S2
        > speak 1 1000
        > disk full
        > speak 1 500
        log seal S1: CutShort, 12000 samples, LogRefused
        > ended 1 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        log seal S2: Whole, 0 samples, Stopped
        log set message/S1/recording = 2 tracks
        > recordings
        reply: S1 cut short: 101 left 1500 ms, 102 right 0 ms
        ",
    );
}

#[test]
fn what_a_power_cut_leaves_of_a_recording_is_there_and_marked() {
    check_with(
        quiet(),
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > keys 1 *3
        log begin S1: track 1 of S1, left, 101, asked
        tap 1: S1
        log begin S2: track 2 of S1, right, 102, asked
        tap 2: S2
        > speak 1 1000
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > recordings
        reply: S1 cut short: 101 left 1000 ms, 102 right 0 ms
        ",
    );
}
