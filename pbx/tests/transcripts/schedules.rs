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
        log set schedule/S1 = {'name':'day','number':1,'hours':['daily 10:00-10:30'],'holidays':[],'time_zone':null}
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
        log set schedule/S1/override = 'closed'
        log set schedule/S1 = {'name':'day','number':1,'hours':[],'holidays':[],'time_zone':null}
        schedule.removed: {'id':'S1','set':'override'}
        schedule.changed: {'groups':[],'holidays':[],'hours':[],'id':'S1','name':'day','number':1,'open':false,'override':'closed','set':'itself','time_zone':null}
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
