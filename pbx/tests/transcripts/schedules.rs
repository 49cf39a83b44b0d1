//! Schedules, who switches them, and groups at night.

use crate::check;

#[test]
fn a_schedule_is_switched_by_its_number_and_survives_a_restart() {
    check(
        "
        > schedule day hours=mon-sat_09:00-17:00
        log set schedule/S1 = {'name':'day','number':1,'hours':['mon-sat 09:00-17:00'],'holidays':[],'time_zone':null}
        reply: done
        > call 1 101 *281
        answer 1
        > confirmed 1
        log set schedule/S1/override = 'open'
        play 1: codes/office-open vm/goodbye
        > ended 1 normal
        log call: 101 to *281, answered, normal
        > schedules
        reply: [{'groups':[],'holidays':[],'hours':['mon-sat 09:00-17:00'],'id':'S1','name':'day','number':1,'open':true,'override':'open','time_zone':null}]
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > schedules
        reply: [{'groups':[],'holidays':[],'hours':['mon-sat 09:00-17:00'],'id':'S1','name':'day','number':1,'open':true,'override':'open','time_zone':null}]
        ",
    );
}

#[test]
fn switching_goes_with_the_clock_again_where_that_says_so() {
    // It is Sunday, five past ten.
    check(
        "
        > schedule day hours=daily_10:00-10:30
        log set schedule/S1 = {'name':'day','number':1,'hours':['daily 10:00-10:30'],'holidays':[],'time_zone':null}
        reply: done
        > call 1 101 *281
        answer 1
        > confirmed 1
        log set schedule/S1/override = 'closed'
        play 1: codes/office-closed vm/goodbye
        > ended 1 normal
        log call: 101 to *281, answered, normal
        > call 3 101 *281
        answer 3
        > confirmed 3
        log set schedule/S1/override = removed
        play 3: codes/office-open vm/goodbye
        > ended 3 normal
        log call: 101 to *281, answered, normal
        > wait 1500000
        > call 5 101 *281
        answer 5
        > confirmed 5
        log set schedule/S1/override = 'open'
        play 5: codes/office-open vm/goodbye
        > ended 5 normal
        log call: 101 to *281, answered, normal
        > schedule day override=clock
        log set schedule/S1/override = removed
        reply: done
        ",
    );
}

#[test]
fn only_users_switch_and_only_schedules_that_there_are() {
    check(
        "
        > call 1 101 *281
        end 1: no_such_number
        log call: 101 to *281, not answered, no_such_number
        > schedule day number=42
        log set schedule/S1 = {'name':'day','number':42,'hours':[],'holidays':[],'time_zone':null}
        reply: done
        > call 3 ~5551234 *2842
        end 3: forbidden
        log call: 5551234 to *2842, not answered, forbidden
        > call 5 101 *28+42
        end 5: no_such_number
        log call: 101 to *28+42, not answered, no_such_number
        > call 7 101 *28
        end 7: no_such_number
        log call: 101 to *28, not answered, no_such_number
        ",
    );
}

#[test]
fn what_is_wrong_with_a_schedule_is_said() {
    check(
        "
        > schedule day hours=mon_9-17
        reply: no, 'mon 9-17' are no hours: days and times, as in mon-fri 09:00-12:00 13:00-17:00
        > schedule day holidays=13-01
        reply: no, '13-01' is no holiday: 2026-12-25, or 12-25 for every year
        > schedule day time_zone=Mars/Olympus
        reply: no, no time zone is called 'Mars/Olympus'; use a name such as Europe/Zurich
        > schedule day/night
        reply: no, 'day/night' is not a schedule's name: letters, digits, '-', '_' and '.'
        > schedule day number=0
        reply: no, a schedule's number is 1 to 9999, not 0
        > schedule day
        log set schedule/S1 = {'name':'day','number':1,'hours':[],'holidays':[],'time_zone':null}
        reply: done
        > schedule shop number=1
        reply: no, the schedule day has the number 1 already
        > schedule shop
        log set schedule/S2 = {'name':'shop','number':2,'hours':[],'holidays':[],'time_zone':null}
        reply: done
        > schedule none removed
        reply: no, no schedule is called none
        > schedule shop removed
        log set schedule/S2/override = removed
        log set schedule/S2 = removed
        reply: done
        ",
    );
}

#[test]
fn who_watches_hears_of_it() {
    check(
        "
        > events on
        > schedule day override=closed
        log set schedule/S1 = {'name':'day','number':1,'hours':[],'holidays':[],'time_zone':null}
        log set schedule/S1/override = 'closed'
        schedule.changed: {'groups':[],'holidays':[],'hours':[],'id':'S1','name':'day','number':1,'open':true,'override':'clock','set':'itself','time_zone':null}
        schedule.changed: {'groups':[],'holidays':[],'hours':[],'id':'S1','name':'day','number':1,'open':false,'override':'closed','set':'override','time_zone':null}
        reply: done
        > schedule day removed
        log set schedule/S1/override = removed
        log set schedule/S1 = removed
        schedule.changed: {'groups':[],'holidays':[],'hours':[],'id':'S1','name':'day','number':1,'open':true,'override':'clock','set':'override','time_zone':null}
        schedule.removed: {'id':'S1','set':'itself'}
        reply: done
        ",
    );
}

#[test]
fn a_closed_group_rings_nobody_and_its_calls_go_where_night_says() {
    check(
        "
        > schedule day hours=mon-fri_09:00-17:00
        log set schedule/S1 = {'name':'day','number':1,'hours':['mon-fri 09:00-17:00'],'holidays':[],'time_zone':null}
        reply: done
        > group 600 members=102,103 schedule=day
        log set group/S2 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'all','ring_s':20,'overflow':'mailbox','schedule':'S1'}
        reply: done
        > call 1 101 600
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/6 digits/0 digits/0 vm/is-not-available vm/intro
        > ended 1 normal
        log call: 101 to 600, answered, normal
        > group 600 night=101
        log set group/S2 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'all','ring_s':20,'overflow':'mailbox','schedule':'S1','night':{'number':'101'}}
        reply: done
        > call 3 ~5551234 600
        call 2: 101 from 5551234, via 600 TimeOfDay
        > ended 2 busy
        answer 3
        > confirmed 3
        play 3: vm/person-at-extension digits/1 digits/0 digits/1 vm/is-on-the-phone vm/intro
        > ended 3 normal
        log call: 5551234 to 600, answered, normal
        > group 600 night=busy
        log set group/S2 = {'extension':'600','name':'Group 600','members':['102','103'],'strategy':'all','ring_s':20,'overflow':'mailbox','schedule':'S1','night':'busy'}
        reply: done
        > call 5 ~5551234 600
        end 5: busy
        log call: 5551234 to 600, not answered, busy
        > call 7 101 *281
        answer 7
        > confirmed 7
        log set schedule/S1/override = 'open'
        play 7: codes/office-open vm/goodbye
        > ended 7 normal
        log call: 101 to *281, answered, normal
        > call 9 ~5551234 600
        call 4: 102 from 5551234
        call 6: 103 from 5551234
        > ended 9 cancelled
        end 4: cancelled
        end 6: cancelled
        log call: 5551234 to 600, not answered, cancelled
        > schedule day removed
        reply: no, group 600 goes by the schedule day; tandem group set 600 schedule= ends that
        ",
    );
}

#[test]
fn a_closed_group_is_closed_after_a_restart_and_open_when_its_schedule_is_gone() {
    check(
        "
        > schedule day override=closed
        log set schedule/S1 = {'name':'day','number':1,'hours':[],'holidays':[],'time_zone':null}
        log set schedule/S1/override = 'closed'
        reply: done
        > group 600 members=102 schedule=day night=busy
        log set group/S2 = {'extension':'600','name':'Group 600','members':['102'],'strategy':'all','ring_s':20,'overflow':'mailbox','schedule':'S1','night':'busy'}
        reply: done
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > call 1 101 600
        end 1: busy
        log call: 101 to 600, not answered, busy
        > user 103 forward=600
        log set user/103/forward = '600'
        reply: done
        > call 3 101 103
        answer 3
        > ended 3 normal
        log call: 101 to 103, answered, normal
        ",
    );
}

#[test]
fn closed_groups_that_lead_to_each_other_come_to_an_end() {
    check(
        "
        > schedule day override=closed
        log set schedule/S1 = {'name':'day','number':1,'hours':[],'holidays':[],'time_zone':null}
        log set schedule/S1/override = 'closed'
        reply: done
        > group 600 schedule=day
        log set group/S2 = {'extension':'600','name':'Group 600','members':[],'strategy':'all','ring_s':20,'overflow':'mailbox','schedule':'S1'}
        reply: done
        > group 601 schedule=day night=600
        log set group/S3 = {'extension':'601','name':'Group 601','members':[],'strategy':'all','ring_s':20,'overflow':'mailbox','schedule':'S1','night':{'number':'600'}}
        reply: done
        > group 600 night=601
        log set group/S2 = {'extension':'600','name':'Group 600','members':[],'strategy':'all','ring_s':20,'overflow':'mailbox','schedule':'S1','night':{'number':'601'}}
        reply: done
        > call 1 101 600
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/6 digits/0 digits/0 vm/is-not-available vm/intro
        > ended 1 normal
        log call: 101 to 600, answered, normal
        > group 602 schedule=night
        reply: no, no schedule is called night
        ",
    );
}
