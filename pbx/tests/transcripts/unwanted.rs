//! Whose calls are wanted: do not disturb and its exceptions, numbers that a user or the company blocks.

use crate::check;

#[test]
fn who_is_an_exception_rings_through_do_not_disturb() {
    check(
        "
        > user 102 dnd=on
        log set user/102/dnd = true
        reply: done
        > user 102 dnd_except=103,+4930555
        log set user/102/dnd_except = ['103','+4930555']
        reply: done
        > call 1 101 102
        answer 1
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > call 3 103 102
        call 2: 102 from 103
        > ended 3 cancelled
        end 2: cancelled
        log call: 103 to 102, not answered, cancelled
        > call 5 ~+4930555 102
        call 4: 102 from +4930555
        > ended 5 cancelled
        end 4: cancelled
        log call: +4930555 to 102, not answered, cancelled
        > call 7 103/withheld 102
        answer 7
        > ended 7 normal
        log call:  to 102, answered, normal
        ",
    );
}

#[test]
fn an_exception_counts_in_groups_and_where_calls_are_forwarded() {
    check(
        "
        > user 102 dnd=on
        log set user/102/dnd = true
        reply: done
        > user 102 dnd_except=103
        log set user/102/dnd_except = ['103']
        reply: done
        > group 600 members=101,102
        log set group/S1 = {'extension':'600','name':'Group 600','members':['101','102'],'strategy':'all','ring_s':20,'overflow':'mailbox'}
        reply: done
        > call 1 ~555 600
        call 2: 101 from 555
        > ended 1 cancelled
        end 2: cancelled
        log call: 555 to 600, not answered, cancelled
        > call 3 103 600
        call 4: 101 from 103
        call 6: 102 from 103
        > ended 3 cancelled
        end 4: cancelled
        end 6: cancelled
        log call: 103 to 600, not answered, cancelled
        > user 101 forward=102
        log set user/101/forward = '102'
        reply: done
        > call 5 ~555 101
        answer 5
        > ended 5 normal
        log call: 555 to 101, answered, normal
        > call 7 103 101
        call 8: 102 from 103, via 101 Unconditional
        > ended 7 cancelled
        end 8: cancelled
        log call: 103 to 101, not answered, cancelled
        ",
    );
}

#[test]
fn who_is_blocked_rings_nowhere_and_may_come_to_the_mailbox() {
    check(
        "
        > user 102 blocked=555
        log set user/102/blocked = ['555']
        reply: done
        > group 600 members=101,102
        log set group/S1 = {'extension':'600','name':'Group 600','members':['101','102'],'strategy':'all','ring_s':20,'overflow':'mailbox'}
        reply: done
        > call 1 ~555 600
        call 2: 101 from 555
        > ended 1 cancelled
        end 2: cancelled
        log call: 555 to 600, not answered, cancelled
        > user 101 forward=102
        log set user/101/forward = '102'
        reply: done
        > call 3 ~555 101
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/1 vm/is-not-available vm/intro
        > ended 3 normal
        log call: 555 to 101, answered, normal
        > user 102 blocked_to_mailbox=on
        log set user/102/blocked_to_mailbox = true
        reply: done
        > call 5 ~555 102
        answer 5
        > confirmed 5
        play 5: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-not-available vm/intro
        > ended 5 normal
        log call: 555 to 102, answered, normal
        > user 102 reject_anonymous=on
        log set user/102/reject_anonymous = true
        reply: done
        > call 7 101/withheld 102
        end 7: anonymity_disallowed
        log call:  to 102, not answered, anonymity_disallowed
        ",
    );
}

#[test]
fn the_company_refuses_a_number_from_outside_beyond_a_restart() {
    check(
        "
        > events on
        > block 555
        log set blocked/555 = true
        blocked.added: {'number':'555'}
        reply: done
        > events off
        > block 555
        reply: no, 555 is blocked already
        > block 5-5
        reply: no, '5-5' is not a number: digits, +, * and #
        > call 1 ~555 101
        end 1: blocked
        log call: 555 to 101, not answered, blocked
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > call 1 ~555 *43
        end 1: blocked
        log call: 555 to *43, not answered, blocked
        > call 3 ~556 101
        call 2: 101 from 556
        > ended 3 cancelled
        end 2: cancelled
        log call: 556 to 101, not answered, cancelled
        > unblock 556
        reply: no, nobody has blocked 556
        > unblock 555
        log set blocked/555 = removed
        reply: done
        > call 5 ~555 101
        call 4: 101 from 555
        > ended 5 cancelled
        end 4: cancelled
        log call: 555 to 101, not answered, cancelled
        ",
    );
}
