//! What whoever watches the node is told.
//!
//! `leg.begin 2 of 1: 101 to 102, ringing`: leg 2 of call 1, who called, what was dialled, and the place.

use crate::check;

#[test]
fn a_call_from_its_beginning_to_its_end() {
    check(
        "
        > call 1 101 102
        call 2: 102 from 101
        > answered 2
        answer 1 like 2
        bridge 1 2
        > events on
        > confirmed 1
        > ended 1 normal
        end 2: normal
        leg.end 2 of 1: 101 to 102, over, answered (normal)
        leg.end 1 of 1: 101 to 102, over, answered (normal)
        log call: 101 to 102, answered, normal
        > call 3 101 102
        call 4: 102 from 101
        leg.begin 3 of 3: 101 to 102, ringing
        leg.begin 4 of 3: 101 to 102, ringing
        > ringing 4
        leg.ring 4 of 3: 101 to 102, ringing
        ring 3
        > answered 4
        answer 3 like 4
        bridge 3 4
        leg.answer 3 of 3: 101 to 102, talking
        leg.move 3 of 3: 101 to 102, talking
        leg.answer 4 of 3: 101 to 102, talking
        leg.move 4 of 3: 101 to 102, talking
        > confirmed 3
        > hold 3
        play 4: <music>
        leg.hold 3 of 3: 101 to 102, talking
        > resume 3
        hush 4
        leg.resume 3 of 3: 101 to 102, talking
        > refer 4 103
        unbridge 3
        call 6: 103 from 101, referred by 102
        leg.move 3 of 3: 101 to 103, ringing
        leg.move 4 of 3: 101 to 102, transferring
        leg.begin 6 of 3: 101 to 103, ringing
        > answered 6
        bridge 3 6
        refer result 4: done
        leg.move 3 of 3: 101 to 103, talking
        leg.answer 6 of 3: 101 to 103, talking
        leg.move 6 of 3: 101 to 103, talking
        > ended 4 normal
        leg.end 4 of 3: 101 to 102, over, transferred (normal)
        > ended 6 busy
        end 3: busy
        leg.end 3 of 3: 101 to 103, over, answered (busy)
        leg.end 6 of 3: 101 to 103, over, answered (busy)
        log call: 101 to 103, answered, busy
        > call 5 101 199
        end 5: no_such_number
        leg.begin 5 of 5: 101 to 199, over
        leg.end 5 of 5: 101 to 199, over, no_such_number (no_such_number)
        log call: 101 to 199, not answered, no_such_number
        > events off
        > call 7 101 199
        end 7: no_such_number
        log call: 101 to 199, not answered, no_such_number
        ",
    );
}

#[test]
fn settings_and_messages_are_told_without_secrets_and_a_withheld_number_stays_so() {
    check(
        "
        > events on
        > user 102 forward_busy=103
        log set user/102/forward_busy = '103'
        user.changed: {'blocked':[],'blocked_to_mailbox':false,'caller_id':null,'class':'outward','conflict':false,'dnd':false,'dnd_except':[],'extension':'102','forward':null,'forward_busy':'103','forward_no_answer':null,'forward_outside':false,'forward_unreachable':null,'id':'102','messages':{'new':0,'new_urgent':0,'old':0,'old_urgent':0},'name':'User 102','record':'on-demand','reject_anonymous':false,'rings_also':[],'set':'forward_busy','works_at':null}
        reply: done
        > register user/a.1.1/pin \"secret\"
        user.changed: {'blocked':[],'blocked_to_mailbox':false,'caller_id':null,'class':'outward','conflict':false,'dnd':false,'dnd_except':[],'extension':'101','forward':null,'forward_busy':null,'forward_no_answer':null,'forward_outside':false,'forward_unreachable':null,'id':'101','messages':{'new':0,'new_urgent':0,'old':0,'old_urgent':0},'name':'User 101','record':'on-demand','reject_anonymous':false,'rings_also':[],'set':'pin','works_at':null}
        > group 600 members=102
        log set group/S1 = {'extension':'600','name':'Group 600','members':['102'],'strategy':'all','ring_s':20,'overflow':'mailbox'}
        group.changed: {'extension':'600','id':'S1','members':[{'extension':'102','logged_in':true}],'name':'Group 600','night':'mailbox','open':true,'overflow':'mailbox','ring_s':20,'schedule':null,'set':'itself','strategy':'all'}
        reply: done
        > call 1 101/withheld 102
        call 2: 102 from
        leg.begin 1 of 1:  to 102, ringing
        leg.begin 2 of 1:  to 102, ringing
        > ended 1 cancelled
        end 2: cancelled
        leg.end 2 of 1:  to 102, over, cancelled (cancelled)
        leg.end 1 of 1:  to 102, over, cancelled (cancelled)
        log call:  to 102, not answered, cancelled
        > import 102 2000
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S2
        log seal S2: Whole {'urgent':false,'samples_speech':16000,'samples':16000}
        message.new: {'cut_short':false,'deleted':false,'folder':'new','from':{'name':'','number':''},'heard':false,'id':'S2','incomplete':false,'length_ms':2000,'mailbox':'102','urgent':false}
        lamp 102: 1/0 (0/0)
        reply: imported S2
        ",
    );
}
