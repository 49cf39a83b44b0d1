//! Groups, forwarding by case, refused callers, calling back, intercom, click to dial.

use crate::check;

#[test]
fn a_group_rings_all_and_the_first_to_answer_has_the_call() {
    check(
        "
        > group 600 members=102,103
        log set group/S1 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'all','ring_s':20,'overflow':'mailbox'}
        reply: done
        > call 1 101 600
        call 2: 102 from 101
        call 4: 103 from 101
        > ringing 2
        ring 1
        > ringing 4
        > answered 4
        end 2: answered_elsewhere
        answer 1 like 4
        bridge 1 4
        > ended 1 normal
        end 4: normal
        log call: 101 to 600, answered, normal
        ",
    );
}

#[test]
fn a_group_that_nobody_answers_takes_a_message_for_all_its_members() {
    check(
        "
        > group 600 members=102,103 ring_s=10
        log set group/S1 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'all','ring_s':10,'overflow':'mailbox'}
        reply: done
        > call 1 101 600
        call 2: 102 from 101
        call 4: 103 from 101
        > ended 2 busy
        > wait 10000
        ring 1
        end 4: no_answer
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/6 digits/0 digits/0 vm/is-not-available vm/intro
        > keys 1 #
        play 1: <beep>
        log begin S2: {'kind':'message','mailbox':'S1','from':{'number':'101','name':'','user':'101'},'called':'600'}
        > played 1
        record 1: S2 up to 180 s
        > speak 1 3000
        > ended 1 normal
        log seal S2: Whole {'urgent':false,'samples_speech':24000,'samples':24000}
        lamp 102: 1/0 (0/0)
        lamp 103: 1/0 (0/0)
        log call: 101 to 600, answered, normal S2
        ",
    );
}

#[test]
fn a_group_in_order_rings_one_after_the_other_and_skips_who_is_on_the_phone() {
    check(
        "
        > group 600 members=101,102,103 strategy=in_order ring_s=5 overflow=busy
        log set group/S1 = {'extension':'600','name':'Group 600','members':['101','102','103'],'strategy':'in_order','ring_s':5,'overflow':'busy'}
        reply: done
        > call 1 102 *43
        answer 1
        > call 3 ~5551234 600
        call 2: 101 from 5551234
        > ended 2 not_registered
        call 4: 103 from 5551234
        > wait 5000
        ring 3
        end 4: no_answer
        end 3: busy
        log call: 5551234 to 600, not answered, busy
        > ended 1 normal
        log call: 102 to *43, answered, normal
        ",
    );
}

#[test]
fn a_rotating_group_begins_with_the_next_each_time() {
    check(
        "
        > group 600 members=102,103 strategy=rotating overflow=101
        log set group/S1 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'rotating','ring_s':20,'overflow':{'number':'101'}}
        reply: done
        > call 1 ~5551234 600
        call 2: 102 from 5551234
        > ended 1 cancelled
        end 2: cancelled
        log call: 5551234 to 600, not answered, cancelled
        > call 3 ~5551234 600
        call 4: 103 from 5551234
        > ended 4 declined
        call 6: 102 from 5551234
        > ended 6 declined
        call 8: 101 from 5551234, via 600 NoAnswer
        > answered 8
        answer 3 like 8
        bridge 3 8
        > ended 8 normal
        end 3: normal
        log call: 5551234 to 600, answered, normal
        ",
    );
}

#[test]
fn the_longest_idle_is_rung_first() {
    check(
        "
        > group 600 members=102,103 strategy=longest_idle
        log set group/S1 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'longest_idle','ring_s':20,'overflow':'mailbox'}
        reply: done
        > wait 1000
        > call 1 ~5551234 600
        call 2: 102 from 5551234
        > answered 2
        answer 1 like 2
        bridge 1 2
        > ended 2 normal
        end 1: normal
        log call: 5551234 to 600, answered, normal
        > call 3 ~5551234 600
        call 4: 103 from 5551234
        > ended 3 cancelled
        end 4: cancelled
        log call: 5551234 to 600, not answered, cancelled
        ",
    );
}

#[test]
fn members_log_out_and_in_and_a_group_of_nobody_goes_to_its_mailbox() {
    check(
        "
        > group 600 members=102
        log set group/S1 = {'extension':'600','name':'Group 600','members':['102'],'strategy':'all','ring_s':20,'overflow':'mailbox'}
        reply: done
        > call 1 102 *46
        answer 1
        > confirmed 1
        log set group/S1/out/102 = true
        play 1: codes/logged-out vm/goodbye
        > ended 1 normal
        log call: 102 to *46, answered, normal
        > call 3 101 600
        answer 3
        > ended 3 normal
        log call: 101 to 600, answered, normal
        > call 5 102 *45600
        answer 5
        > confirmed 5
        log set group/S1/out/102 = removed
        play 5: codes/logged-in vm/goodbye
        > ended 5 normal
        log call: 102 to *45600, answered, normal
        > call 7 101 *45600
        answer 7
        > confirmed 7
        play 7: codes/forward-invalid vm/goodbye
        > ended 7 normal
        log call: 101 to *45600, answered, normal
        > call 9 101 600
        call 2: 102 from 101
        > ended 9 cancelled
        end 2: cancelled
        log call: 101 to 600, not answered, cancelled
        ",
    );
}

#[test]
fn a_group_that_overflows_to_itself_or_in_a_circle_comes_to_an_end() {
    check(
        "
        > group 600 members=102 overflow=600
        reply: no, a call overflows to mailbox, busy, or an extension that there is, not to 600
        > group 601 members=102
        log set group/S1 = {'extension':'601','name':'Group 601','members':['102'],'strategy':'all','ring_s':20,'overflow':'mailbox'}
        reply: done
        > group 601 overflow=601
        log set group/S1 = {'extension':'601','name':'Group 601','members':['102'],'strategy':'all','ring_s':20,'overflow':{'number':'601'}}
        reply: done
        > call 1 101 601
        call 2: 102 from 101
        > ended 2 busy
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/6 digits/0 digits/1 vm/is-not-available vm/intro
        > ended 1 normal
        log call: 101 to 601, answered, normal
        > user 102 forward=601
        log set user/102/forward = '601'
        reply: done
        > call 3 101 102
        call 4: 102 from 101, via 102 Unconditional
        > ended 4 busy
        answer 3
        > ended 3 normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn what_is_wrong_with_a_group_is_said() {
    check(
        "
        > group 101
        reply: no, User 101 has the extension 101 already
        > group 6
        reply: no, '6' is not an extension: 2 to 10 digits
        > group 602 members=102,102
        reply: no, 102 is named twice
        > group 603 members=199
        reply: no, no user has the extension 199
        > group 604 ring_s=1
        reply: no, it can ring 3 to 300 seconds, not 1
        ",
    );
}

#[test]
fn calls_go_elsewhere_when_busy_not_answered_or_unreachable() {
    check(
        "
        > call 1 102 *90103
        answer 1
        > confirmed 1
        log set user/102/forward_busy = '103'
        play 1: codes/forward-busy-on digits/1 digits/0 digits/3 vm/goodbye
        > ended 1 normal
        log call: 102 to *90103, answered, normal
        > call 3 101 102
        call 2: 102 from 101
        > ended 2 busy
        call 4: 103 from 101, via 102 Busy
        > ended 4 busy
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-on-the-phone vm/intro
        > ended 3 normal
        log call: 101 to 102, answered, normal
        > user 102 forward_no_answer=101
        log set user/102/forward_no_answer = '101'
        reply: done
        > call 5 103 102
        call 6: 102 from 103
        > wait 20000
        ring 5
        end 6: no_answer
        call 8: 101 from 103, via 102 NoAnswer
        > answered 8
        answer 5 like 8
        bridge 5 8
        > ended 5 normal
        end 8: normal
        log call: 103 to 102, answered, normal
        > user 102 forward_unreachable=103
        log set user/102/forward_unreachable = '103'
        reply: done
        > call 7 101 102
        call 10: 102 from 101
        > ended 10 not_registered
        call 12: 103 from 101, via 102 Unreachable
        > ended 7 cancelled
        end 12: cancelled
        log call: 101 to 102, not answered, cancelled
        ",
    );
}

#[test]
fn who_withholds_the_number_or_is_blocked_is_refused() {
    check(
        "
        > call 1 102 *77
        answer 1
        > confirmed 1
        log set user/102/reject_anonymous = true
        play 1: codes/anonymous-rejected vm/goodbye
        > ended 1 normal
        log call: 102 to *77, answered, normal
        > call 3 ~anonymous 102
        end 3: anonymity_disallowed
        log call:  to 102, not answered, anonymity_disallowed
        > user 103 blocked=5551234,5550000
        log set user/103/blocked = ['5551234','5550000']
        reply: done
        > call 5 ~5551234 103
        end 5: blocked
        log call: 5551234 to 103, not answered, blocked
        > call 7 ~5559999 103
        call 2: 103 from 5559999
        > ended 7 cancelled
        end 2: cancelled
        log call: 5559999 to 103, not answered, cancelled
        ",
    );
}

#[test]
fn who_called_last_is_called_back() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > ended 1 cancelled
        end 2: cancelled
        log call: 101 to 102, not answered, cancelled
        > call 3 102 *69
        call 4: 101 from 102
        > ended 3 cancelled
        end 4: cancelled
        log call: 102 to *69, not answered, cancelled
        > call 5 103 *69
        answer 5
        > confirmed 5
        play 5: codes/unknown-number vm/goodbye
        > ended 5 normal
        log call: 103 to *69, answered, normal
        ",
    );
}

#[test]
fn an_intercom_call_asks_the_phone_to_answer_by_itself() {
    check(
        "
        > call 1 101 *80102
        call 2: 102 from 101, to answer by itself
        > answered 2
        answer 1 like 2
        bridge 1 2
        > ended 1 normal
        end 2: normal
        log call: 101 to *80102, answered, normal
        > call 3 101 *80103
        call 4: 103 from 101, to answer by itself
        > ended 4 not_registered
        end 3: no_answer
        log call: 101 to *80103, not answered, no_answer
        ",
    );
}

#[test]
fn click_to_dial_rings_the_user_and_then_the_number() {
    check(
        "
        > dial 101 102
        call 2: 101 from 102
        reply: done
        > ringing 2
        > answered 2
        call 4: 102 from 101
        > ringing 4
        play 2: <ringing>
        > answered 4
        bridge 2 4
        > ended 2 normal
        end 4: normal
        > dial 101 *43
        call 6: 101 from *43
        reply: done
        > answered 6
        play 6: codes/echo-test
        > ended 6 normal
        > dial 101 103
        call 8: 101 from 103
        reply: done
        > wait 20000
        end 8: no_answer
        > dial 101 199
        reply: no, nobody has the number 199
        > dial 199 101
        reply: no, no user has the extension 199
        ",
    );
}

#[test]
fn who_heard_the_first_speak_before_it_answered_hears_ringing_when_the_second_is_rung() {
    check(
        "
        > group 600 members=102,103 strategy=in_order
        log set group/S1 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'in_order','ring_s':20,'overflow':'mailbox'}
        reply: done
        > call 1 101 600
        call 2: 102 from 101
        > progress 2
        progress 1 like 2
        bridge 1 2
        > ended 2 busy
        call 4: 103 from 101
        > ringing 4
        ring 1
        > ended 1 cancelled
        end 4: cancelled
        log call: 101 to 600, not answered, cancelled
        ",
    );
}
