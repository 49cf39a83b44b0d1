//! Calls to the world, and from it: trunks, routes, classes of service, limits, other phones of a user.

use std::time::Duration;

use tandem_pbx::PbxConfig;
use tandem_pbx::config::OutwardLimits;

use crate::{check, check_with};

#[test]
fn a_call_outside_goes_by_the_first_trunk_and_shows_the_users_number() {
    check(
        "
        > trunk p host=192.0.2.1 number=+49300 numbers=+49301:101
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':'+49300','calls_max':30,'numbers':{'+49301':'101'},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > trunk q host=192.0.2.2:5070
        log set trunk/S2 = {'name':'q','host':'192.0.2.2:5070','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S2: 192.0.2.2:5070
        reply: done
        > route 90. strip=1 trunks=p,q
        log set route/S3 = {'pattern':'90.','strip':1,'prefix':'','trunks':['S1','S2'],'kind':'outward'}
        reply: done
        > call 1 101 90555123
        call 2: 0555123 at 192.0.2.1:5060 as +49301 from 101
        > progress 2
        progress 1 like 2
        bridge 1 2
        > answered 2
        answer 1 like 2
        bridge 1 2
        > ended 2 normal
        end 1: normal
        log call: 101 to 90555123, answered, normal
        > call 3 102 90555123
        call 4: 0555123 at 192.0.2.1:5060 as +49300 from 102
        > ended 4 busy
        end 3: busy
        log call: 102 to 90555123, not answered, busy
        ",
    );
}

#[test]
fn the_next_trunk_is_tried_while_they_fail_and_not_when_somebody_was_reached() {
    check(
        "
        > trunk p host=192.0.2.1
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > trunk q host=192.0.2.2
        log set trunk/S2 = {'name':'q','host':'192.0.2.2','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S2: 192.0.2.2:5060
        reply: done
        > route 9. strip=1 trunks=p,q
        log set route/S3 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1','S2'],'kind':'outward'}
        reply: done
        > call 1 101 9555
        call 2: 555 at 192.0.2.1:5060 from 101
        > ended 2 failed
        call 4: 555 at 192.0.2.2:5060 from 101
        > ended 4 congestion
        end 1: congestion
        log call: 101 to 9555, not answered, congestion
        > call 5 101 9555
        call 6: 555 at 192.0.2.1:5060 from 101
        > ended 6 declined
        end 5: declined
        log call: 101 to 9555, not answered, declined
        > call 7 101 9555
        call 8: 555 at 192.0.2.1:5060 from 101
        > wait 120000
        ring 7
        end 8: no_answer
        end 7: no_answer
        log call: 101 to 9555, not answered, no_answer
        ",
    );
}

#[test]
fn who_may_call_outside_is_said_by_the_class_of_service() {
    check(
        "
        > trunk p host=192.0.2.1
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > route 900. strip=1 trunks=p kind=international
        log set route/S3 = {'pattern':'900.','strip':1,'prefix':'','trunks':['S1'],'kind':'international'}
        reply: done
        > route 112 trunks=p kind=emergency
        log set route/S4 = {'pattern':'112','strip':0,'prefix':'','trunks':['S1'],'kind':'emergency'}
        reply: done
        > call 1 101 900123
        end 1: forbidden
        log call: 101 to 900123, not answered, forbidden
        > user 102 class=internal
        log set user/102/class = 'internal'
        reply: done
        > call 3 102 9123
        end 3: forbidden
        log call: 102 to 9123, not answered, forbidden
        > call 5 102 112
        call 2: 112 at 192.0.2.1:5060 from 102
        > ended 2 normal
        end 5: normal
        log call: 102 to 112, not answered, normal
        > user 102 class=international
        log set user/102/class = 'international'
        reply: done
        > call 7 102 900123
        call 4: 00123 at 192.0.2.1:5060 from 102
        > ended 4 normal
        end 7: normal
        log call: 102 to 900123, not answered, normal
        > call 9 ~555 9123
        end 9: forbidden
        log call: 555 to 9123, not answered, forbidden
        > call 11 ~555 112
        call 6: 112 at 192.0.2.1:5060 from 555
        > ended 6 normal
        end 11: normal
        log call: 555 to 112, not answered, normal
        ",
    );
}

#[test]
fn a_transfer_outside_goes_by_the_rights_of_who_transfers() {
    check(
        "
        > trunk p host=192.0.2.1
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > user 103 class=internal
        log set user/103/class = 'internal'
        reply: done
        > call 1 ~555 102
        call 2: 102 from 555
        > answered 2
        answer 1 like 2
        bridge 1 2
        > confirmed 1
        > refer 2 9123
        unbridge 1
        call 4: 123 at 192.0.2.1:5060 from 555, referred by 102
        > answered 4
        bridge 1 4
        refer result 2: done
        > ended 4 normal
        end 1: normal
        log call: 555 to 9123, answered, normal
        > call 3 ~555 103
        call 6: 103 from 555
        > answered 6
        answer 3 like 6
        bridge 3 6
        > confirmed 3
        > refer 6 9123
        refer result 6: forbidden
        > ended 6 normal
        end 3: normal
        log call: 555 to 103, answered, normal
        ",
    );
}

#[test]
fn each_user_has_so_many_calls_outside_and_no_more() {
    let config = PbxConfig {
        outward_limits: OutwardLimits {
            at_once: 1,
            an_hour: 2,
            a_day: 3,
        },
        outward_ring_for: Duration::from_secs(60),
        ..PbxConfig::default()
    };
    check_with(
        config,
        "
        > events on
        > trunk p host=192.0.2.1
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        trunk.changed: {'calls_max':30,'has_password':false,'host':'192.0.2.1','id':'S1','name':'p','number':null,'numbers':{},'otherwise':null,'set':'itself','transport':'udp','username':null}
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        route.changed: {'id':'S2','kind':'outward','pattern':'9.','prefix':'','set':'itself','strip':1,'trunks':['p']}
        reply: done
        > route 112 trunks=p kind=emergency
        log set route/S3 = {'pattern':'112','strip':0,'prefix':'','trunks':['S1'],'kind':'emergency'}
        route.changed: {'id':'S3','kind':'emergency','pattern':'112','prefix':'','set':'itself','strip':0,'trunks':['p']}
        reply: done
        > events off
        > call 1 101 91
        call 2: 1 at 192.0.2.1:5060 from 101
        > call 3 101 92
        log alarm: too many calls outside
        end 3: forbidden
        log call: 101 to 92, not answered, forbidden
        > call 5 101 112
        call 4: 112 at 192.0.2.1:5060 from 101
        > call 7 102 91
        call 6: 1 at 192.0.2.1:5060 from 102
        > ended 4 busy
        end 5: busy
        log call: 101 to 112, not answered, busy
        > ended 2 busy
        end 1: busy
        log call: 101 to 91, not answered, busy
        > call 9 101 93
        call 8: 3 at 192.0.2.1:5060 from 101
        > ended 8 busy
        end 9: busy
        log call: 101 to 93, not answered, busy
        > call 11 101 94
        end 11: forbidden
        log call: 101 to 94, not answered, forbidden
        > wait 3600000
        ring 7
        end 6: no_answer
        end 7: no_answer
        log call: 102 to 91, not answered, no_answer
        > call 13 101 95
        call 10: 5 at 192.0.2.1:5060 from 101
        > ended 10 busy
        end 13: busy
        log call: 101 to 95, not answered, busy
        > call 15 101 96
        log alarm: too many calls outside
        end 15: forbidden
        log call: 101 to 96, not answered, forbidden
        > wait 86400000
        > call 17 101 97
        call 12: 7 at 192.0.2.1:5060 from 101
        > ended 12 busy
        end 17: busy
        log call: 101 to 97, not answered, busy
        ",
    );
}

#[test]
fn a_trunk_has_so_many_lines_in_both_directions() {
    check(
        "
        > trunk p host=192.0.2.1 calls_max=2 numbers=555:101
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':2,'numbers':{'555':'101'},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > trunk q host=192.0.2.2
        log set trunk/S2 = {'name':'q','host':'192.0.2.2','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S2: 192.0.2.2:5060
        reply: done
        > route 9. strip=1 trunks=p,q
        log set route/S3 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1','S2'],'kind':'outward'}
        reply: done
        > call 1 ~030777 555 by p
        call 2: 101 from 030777
        > call 3 102 91
        call 4: 1 at 192.0.2.1:5060 from 102
        > call 5 103 92
        call 6: 2 at 192.0.2.2:5060 from 103
        > trunks
        reply: [{'calls':2,'calls_max':2,'has_password':false,'host':'192.0.2.1','id':'S1','name':'p','number':null,'numbers':{'555':'101'},'otherwise':null,'transport':'udp','username':null},{'calls':1,'calls_max':30,'has_password':false,'host':'192.0.2.2','id':'S2','name':'q','number':null,'numbers':{},'otherwise':null,'transport':'udp','username':null}]
        > ended 1 cancelled
        end 2: cancelled
        log call: 030777 to 101, not answered, cancelled
        > ended 4 busy
        end 3: busy
        log call: 102 to 91, not answered, busy
        > ended 6 busy
        end 5: busy
        log call: 103 to 92, not answered, busy
        ",
    );
}

#[test]
fn a_call_from_a_trunk_reaches_what_its_number_is_for_and_nothing_else() {
    check(
        "
        > trunk p host=192.0.2.1 numbers=+49301:101
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{'+49301':'101'},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > call 1 ~030777 +49301 by p
        call 2: 101 from 030777
        > answered 2
        answer 1 like 2
        bridge 1 2
        > ended 1 normal
        end 2: normal
        log call: 030777 to 101, answered, normal
        > call 3 ~030777 101 by p
        end 3: no_such_number
        log call: 030777 to 101, not answered, no_such_number
        > call 5 ~030777 9123 by p
        end 5: no_such_number
        log call: 030777 to 9123, not answered, no_such_number
        > call 7 ~030777 *97 by p
        end 7: no_such_number
        log call: 030777 to *97, not answered, no_such_number
        > trunk p otherwise=102
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{'+49301':'101'},'otherwise':'102'}
        trunk S1: 192.0.2.1:5060
        reply: done
        > call 9 ~030777 9123 by p
        call 4: 102 from 030777
        > ended 9 cancelled
        end 4: cancelled
        log call: 030777 to 102, not answered, cancelled
        ",
    );
}

#[test]
fn calls_are_forwarded_outside_only_where_that_is_allowed() {
    check(
        "
        > trunk p host=192.0.2.1 number=+49300
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':'+49300','calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > user 102 forward=9123
        reply: no, calls of this user may not be forwarded outside; forward_outside=on lets them
        > user 102 forward_outside=on
        log set user/102/forward_outside = true
        reply: done
        > user 102 forward=8123
        reply: no, no user has the extension 8123
        > user 102 forward=9123
        log set user/102/forward = '9123'
        reply: done
        > call 1 101 102
        call 2: 123 at 192.0.2.1:5060 as +49300 from 101, via 102 Unconditional
        > ended 2 busy
        answer 1
        > confirmed 1
        play 1: vm/person-at-extension digits/1 digits/0 digits/2 vm/is-on-the-phone vm/intro
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > user 102 forward_outside=off
        log set user/102/forward_outside = removed
        reply: done
        > call 3 101 102
        answer 3
        > ended 3 normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn a_phone_that_forwards_outside_may_do_so_only_if_its_user_may() {
    check(
        "
        > trunk p host=192.0.2.1
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > call 1 101 102
        call 2: 102 from 101
        > redirected 2 9123
        answer 1
        > ended 1 normal
        log call: 101 to 102, answered, normal
        > user 102 forward_outside=on
        log set user/102/forward_outside = true
        reply: done
        > call 3 101 102
        call 4: 102 from 101
        > redirected 4 9123
        call 6: 123 at 192.0.2.1:5060 from 101, via 102 Deflected
        > answered 6
        answer 3 like 6
        bridge 3 6
        > ended 3 normal
        end 6: normal
        log call: 101 to 102, answered, normal
        ",
    );
}

#[test]
fn numbers_outside_ring_with_a_users_phones() {
    check(
        "
        > trunk p host=192.0.2.1
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > user 102 rings_also=9171,101
        reply: no, 101 is an extension, and not outside
        > user 102 rings_also=9171
        log set user/102/rings_also = ['9171']
        reply: done
        > call 1 101 102
        call 2: 102 from 101
        call 4: 171 at 192.0.2.1:5060 from 101
        > ended 2 not_registered
        > answered 4
        answer 1 like 4
        bridge 1 4
        > ended 1 normal
        end 4: normal
        log call: 101 to 102, answered, normal
        > call 3 101 102
        call 6: 102 from 101
        call 8: 171 at 192.0.2.1:5060 from 101
        > answered 6
        end 8: answered_elsewhere
        answer 3 like 6
        bridge 3 6
        > ended 3 normal
        end 6: normal
        log call: 101 to 102, answered, normal
        > group 600 members=102
        log set group/S3 = {'extension':'600','name':'Group 600','members':['102'],'strategy':'all','ring_s':20,'overflow':'mailbox'}
        reply: done
        > call 5 101 600
        call 10: 102 from 101
        > ended 5 cancelled
        end 10: cancelled
        log call: 101 to 600, not answered, cancelled
        > call 7 101 *80102
        call 12: 102 from 101, to answer by itself
        > ended 7 cancelled
        end 12: cancelled
        log call: 101 to *80102, not answered, cancelled
        ",
    );
}

#[test]
fn who_works_elsewhere_is_rung_there_and_calls_from_there() {
    check(
        "
        > trunk p host=192.0.2.1 numbers=+49302:102
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{'+49302':'102'},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > call 1 102 *759171
        answer 1
        > confirmed 1
        log set user/102/works_at = '9171'
        play 1: codes/forward-on digits/9 digits/1 digits/7 digits/1 vm/goodbye
        > played 1
        end 1: normal
        log call: 102 to *759171, answered, normal
        > call 3 101 102
        call 2: 171 at 192.0.2.1:5060 as +49302 from 101
        > answered 2
        answer 3 like 2
        bridge 3 2
        > ended 3 normal
        end 2: normal
        log call: 101 to 102, answered, normal
        > dial 102 101
        call 4: 171 at 192.0.2.1:5060 as +49302 from 101
        reply: done
        > answered 4
        call 6: 101 from 102
        > answered 6
        bridge 4 6
        > ended 4 normal
        end 6: normal
        > call 5 102 *76
        answer 5
        > confirmed 5
        log set user/102/works_at = removed
        play 5: codes/forward-off vm/goodbye
        > played 5
        end 5: normal
        log call: 102 to *76, answered, normal
        > call 7 101 102
        call 8: 102 from 101
        > ended 7 cancelled
        end 8: cancelled
        log call: 101 to 102, not answered, cancelled
        > call 9 102 *758
        answer 9
        > confirmed 9
        play 9: codes/forward-invalid vm/goodbye
        > played 9
        end 9: normal
        log call: 102 to *758, answered, normal
        ",
    );
}

#[test]
fn trunks_and_routes_are_there_after_a_restart() {
    check(
        "
        > trunk p host=192.0.2.1 username=me password=secret
        log set trunk/S1/password = 'secret'
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':'me','number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > user 102 class=internal
        log set user/102/class = 'internal'
        reply: done
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        trunk S1: 192.0.2.1:5060
        > call 1 101 91
        call 2: 1 at 192.0.2.1:5060 from 101
        > ended 1 cancelled
        end 2: cancelled
        log call: 101 to 91, not answered, cancelled
        > call 3 102 91
        end 3: forbidden
        log call: 102 to 91, not answered, forbidden
        > trunks
        reply: [{'calls':0,'calls_max':30,'has_password':true,'host':'192.0.2.1','id':'S1','name':'p','number':null,'numbers':{},'otherwise':null,'transport':'udp','username':'me'}]
        ",
    );
}

#[test]
fn a_speed_dial_is_the_number_it_stands_for_by_the_rights_of_who_dials() {
    check(
        "
        > trunk p host=192.0.2.1
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > speed 01 9555
        log set speed/01 = {'number':'9555','name':'Shop'}
        reply: done
        > speed 02 102
        log set speed/02 = {'number':'102','name':'Shop'}
        reply: done
        > speed 3 102
        reply: no, '3' are not the digits of a speed dial: 00 to 99
        > speed 03 *001
        reply: no, a speed dial stands for an extension or a number outside, not for a code
        > call 1 101 *001
        call 2: 555 at 192.0.2.1:5060 from 101
        > ended 2 busy
        end 1: busy
        log call: 101 to *001, not answered, busy
        > call 3 101 *002
        call 4: 102 from 101
        > ended 3 cancelled
        end 4: cancelled
        log call: 101 to *002, not answered, cancelled
        > user 101 class=internal
        log set user/101/class = 'internal'
        reply: done
        > call 5 101 *001
        end 5: forbidden
        log call: 101 to *001, not answered, forbidden
        > call 7 101 *003
        end 7: no_such_number
        log call: 101 to *003, not answered, no_such_number
        > speed 03 removed
        reply: no, no speed dial has the digits 03
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        trunk S1: 192.0.2.1:5060
        > call 1 103 *001
        call 2: 555 at 192.0.2.1:5060 from 103
        > ended 1 cancelled
        end 2: cancelled
        log call: 103 to *001, not answered, cancelled
        > speed 01 removed
        log set speed/01 = removed
        reply: done
        > call 3 103 *001
        end 3: no_such_number
        log call: 103 to *001, not answered, no_such_number
        ",
    );
}

#[test]
fn a_trunk_goes_when_no_route_goes_over_it() {
    check(
        "
        > trunk p host=192.0.2.1
        log set trunk/S1 = {'name':'p','host':'192.0.2.1','transport':'udp','username':null,'number':null,'calls_max':30,'numbers':{},'otherwise':null}
        trunk S1: 192.0.2.1:5060
        reply: done
        > route 9. strip=1 trunks=p
        log set route/S2 = {'pattern':'9.','strip':1,'prefix':'','trunks':['S1'],'kind':'outward'}
        reply: done
        > no trunk p
        reply: no, the route 9. goes over the trunk p; change it first
        > no route 9.
        log set route/S2 = removed
        reply: done
        > no trunk p
        log set trunk/S1/password = removed
        log set trunk/S1 = removed
        trunk S1: gone
        reply: done
        > call 1 101 91
        end 1: no_such_number
        log call: 101 to 91, not answered, no_such_number
        ",
    );
}
