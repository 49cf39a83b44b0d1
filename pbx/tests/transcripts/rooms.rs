//! Rooms: who comes, who goes, the menu, PINs, locks; and pages to many phones.

use crate::check;

#[test]
fn the_first_hears_music_until_somebody_comes_and_again_when_all_have_gone() {
    check(
        "
        > room 801
        log set room/S1 = {'extension':'801','name':'Room 801','members_max':100,'is_lecture':false}
        reply: done
        > call 1 101 801
        answer 1
        > confirmed 1
        join 1 room 1
        play 1: room/first <music>
        > played 1
        play 1: <music>
        > call 3 102 801
        answer 3
        > confirmed 3
        join 3 room 1
        hush 1
        play to the room of 1: <beep> <beep>
        > call 5 ~5551234 801
        answer 5
        > confirmed 5
        join 5 room 1
        play to the room of 1: <beep> <beep>
        > rooms
        reply: [{'extension':'801','has_host_pin':false,'has_pin':false,'id':'S1','lecture':false,'locked':false,'members':[{'host':true,'leg':'#1','muted':false,'name':'','number':'101','since':1795341900000},{'host':true,'leg':'#3','muted':false,'name':'','number':'102','since':1795341900000},{'host':false,'leg':'#5','muted':false,'name':'','number':'5551234','since':1795341900000}],'members_max':100,'name':'Room 801'}]
        > ended 3 normal
        play to the room of 1: <beep> <beep>
        log call: 102 to 801, answered, normal
        > ended 5 normal
        play 1: <music>
        log call: 5551234 to 801, answered, normal
        > ended 1 normal
        log call: 101 to 801, answered, normal
        > rooms
        reply: [{'extension':'801','has_host_pin':false,'has_pin':false,'id':'S1','lecture':false,'locked':false,'members':[],'members_max':100,'name':'Room 801'}]
        ",
    );
}

#[test]
fn the_menu_of_a_guest() {
    check(
        "
        > room 801
        log set room/S1 = {'extension':'801','name':'Room 801','members_max':100,'is_lecture':false}
        reply: done
        > call 1 101 801
        answer 1
        > confirmed 1
        join 1 room 1
        play 1: room/first <music>
        > call 3 ~5551234 801
        answer 3
        > confirmed 3
        join 3 room 1
        hush 1
        play to the room of 1: <beep> <beep>
        > keys 3 *
        play 3: room/menu
        > keys 3 1
        hush 3
        play 3: room/muted
        join 3 room 1, muted
        > keys 3 *1
        play 3: room/menu
        hush 3
        play 3: room/unmuted
        join 3 room 1
        > keys 3 *3
        play 3: room/menu
        hush 3
        play 3: room/there-are digits/2
        > keys 3 *6
        play 3: room/menu
        hush 3
        join 3 room 1, hears +4 dB
        > keys 3 *4
        play 3: room/menu
        hush 3
        join 3 room 1
        > keys 3 *2
        play 3: room/menu
        hush 3
        > keys 3 *5
        play 3: room/menu
        hush 3
        > keys 3 **
        play 3: room/menu
        hush 3
        > keys 3 *#
        play 3: room/menu
        hush 3
        unbridge 3
        play 1: <music>
        play 3: vm/goodbye
        > played 3
        end 3: normal
        log call: 5551234 to 801, answered, normal
        ",
    );
}

#[test]
fn the_menu_of_a_host() {
    check(
        "
        > room 801
        log set room/S1 = {'extension':'801','name':'Room 801','members_max':100,'is_lecture':false}
        reply: done
        > call 1 101 801
        answer 1
        > confirmed 1
        join 1 room 1
        play 1: room/first <music>
        > call 3 ~5551234 801
        answer 3
        > confirmed 3
        join 3 room 1
        hush 1
        play to the room of 1: <beep> <beep>
        > keys 1 *
        play 1: room/menu room/host-menu
        > keys 1 5
        hush 1
        join 1 room 1
        join 3 room 1, muted
        play to the room of 1: room/all-muted
        > keys 1 *9
        play 1: room/menu room/host-menu
        hush 1
        join 1 room 1
        join 3 room 1, muted
        play to the room of 1: room/lecture-on
        > keys 1 *9
        play 1: room/menu room/host-menu
        hush 1
        join 1 room 1
        join 3 room 1, muted
        play to the room of 1: room/lecture-off
        > keys 1 *2
        play 1: room/menu room/host-menu
        hush 1
        play 1: room/locked
        > call 5 ~5555678 801
        answer 5
        > confirmed 5
        play 5: room/is-locked vm/goodbye
        > keys 1 *7
        play 1: room/menu room/host-menu
        hush 1
        unbridge 3
        play 1: <music>
        play 3: room/removed vm/goodbye
        > keys 1 *3
        play 1: room/menu room/host-menu
        hush 1
        play 1: room/there-are digits/1 <music>
        > keys 1 *0
        play 1: room/menu room/host-menu
        hush 1
        unbridge 1
        play 1: room/ended vm/goodbye
        ",
    );
}

#[test]
fn pins_let_in_guests_and_hosts_and_nobody_else() {
    check(
        "
        > room 801 pin=g host_pin=h lecture=true
        log set room/S1/pin = 'g'
        log set room/S1/host_pin = 'h'
        log set room/S1 = {'extension':'801','name':'Room 801','members_max':100,'is_lecture':true}
        reply: done
        > call 1 101 801
        answer 1
        > confirmed 1
        play 1: room/enter-pin
        > keys 1 4711#
        hush 1
        check pin 1: 4711 h
        > pin 1 right
        join 1 room 1
        play 1: room/first <music>
        > call 3 102 801
        answer 3
        > confirmed 3
        play 3: room/enter-pin
        > keys 3 1234#
        hush 3
        check pin 3: 1234 h
        > pin 3 wrong
        check pin 3: 1234 g
        > pin 3 right
        join 3 room 1, muted
        hush 1
        play to the room of 1: <beep> <beep>
        > call 5 103 801
        answer 5
        > confirmed 5
        play 5: room/enter-pin
        > keys 5 9999#
        hush 5
        check pin 5: 9999 h
        > pin 5 wrong
        check pin 5: 9999 g
        > pin 5 wrong
        play 5: vm/pin-incorrect room/enter-pin
        > keys 5 #
        hush 5
        play 5: vm/pin-incorrect room/enter-pin
        > keys 5 #
        hush 5
        play 5: vm/too-many-tries vm/goodbye
        > ended 5 normal
        log call: 103 to 801, answered, normal
        ",
    );
}

#[test]
fn strangers_who_guess_pause_the_room_for_strangers_only() {
    check(
        "
        > room 801 pin=g host_pin=h
        log set room/S1/pin = 'g'
        log set room/S1/host_pin = 'h'
        log set room/S1 = {'extension':'801','name':'Room 801','members_max':100,'is_lecture':false}
        reply: done
        > call 1 ~5551234 801
        answer 1
        > confirmed 1
        play 1: room/enter-pin
        > keys 1 1#
        hush 1
        check pin 1: 1 h
        > pin 1 wrong
        check pin 1: 1 g
        > pin 1 wrong
        play 1: vm/pin-incorrect room/enter-pin
        > keys 1 2#
        hush 1
        check pin 1: 2 h
        > pin 1 wrong
        check pin 1: 2 g
        > pin 1 wrong
        play 1: vm/pin-incorrect room/enter-pin
        > keys 1 3#
        hush 1
        check pin 1: 3 h
        > pin 1 wrong
        check pin 1: 3 g
        > pin 1 wrong
        log audit: pin paused S1 60
        log set pin-pause/S1 = {'tries':3,'until':1795341960000}
        play 1: vm/pin-incorrect vm/too-many-tries vm/try-again-later vm/goodbye
        > played 1
        end 1: normal
        log call: 5551234 to 801, answered, normal
        > call 3 ~5551234 801
        answer 3
        > confirmed 3
        play 3: vm/pin-locked vm/goodbye
        > call 5 102 801
        answer 5
        > confirmed 5
        play 5: room/enter-pin
        > keys 5 4#
        hush 5
        check pin 5: 4 h
        > pin 5 wrong
        check pin 5: 4 g
        > pin 5 right
        join 5 room 1
        play 5: room/first <music>
        ",
    );
}

#[test]
fn a_full_room_and_one_that_is_no_more() {
    check(
        "
        > room 801 members_max=2
        log set room/S1 = {'extension':'801','name':'Room 801','members_max':2,'is_lecture':false}
        reply: done
        > call 1 101 801
        answer 1
        > confirmed 1
        join 1 room 1
        play 1: room/first <music>
        > call 3 102 801
        answer 3
        > confirmed 3
        join 3 room 1
        hush 1
        play to the room of 1: <beep> <beep>
        > call 5 103 801
        answer 5
        > confirmed 5
        play 5: room/full vm/goodbye
        > call 7 103 802
        end 7: no_such_number
        log call: 103 to 802, not answered, no_such_number
        ",
    );
}

#[test]
fn whose_phone_holds_the_room_is_not_heard_there() {
    check(
        "
        > room 801
        log set room/S1 = {'extension':'801','name':'Room 801','members_max':100,'is_lecture':false}
        reply: done
        > call 1 101 801
        answer 1
        > confirmed 1
        join 1 room 1
        play 1: room/first <music>
        > call 3 102 801
        answer 3
        > confirmed 3
        join 3 room 1
        hush 1
        play to the room of 1: <beep> <beep>
        > hold 3
        join 3 room 1, muted
        > resume 3
        join 3 room 1
        ",
    );
}

#[test]
fn a_transfer_into_a_room() {
    check(
        "
        > room 801
        log set room/S1 = {'extension':'801','name':'Room 801','members_max':100,'is_lecture':false}
        reply: done
        > call 1 101 801
        answer 1
        > confirmed 1
        join 1 room 1
        play 1: room/first <music>
        > call 3 102 103
        call 2: 103 from 102
        > answered 2
        answer 3 like 2
        bridge 3 2
        > confirmed 3
        > refer 2 801
        unbridge 3
        join 3 room 1
        hush 1
        play to the room of 1: <beep> <beep>
        refer result 2: done
        > ended 2 normal
        > ended 1 normal
        play 3: <music>
        log call: 101 to 801, answered, normal
        > ended 3 normal
        log call: 102 to 801, answered, normal
        ",
    );
}

#[test]
fn a_page_speaks_to_all_idle_phones_and_ends_with_its_caller() {
    check(
        "
        > group 750 members=101,102,103 strategy=page
        log set group/S1 = {'extension':'750','name':'Group 750','members':['101','102','103'],'strategy':'page','ring_s':20,'overflow':'mailbox'}
        reply: done
        > call 1 101 750
        answer 1
        > confirmed 1
        join 1 room 1
        call 2: 102 from 101, to answer by itself
        call 4: 103 from 101, to answer by itself
        play to the room of 1: <beep>
        > answered 2
        join 2 room 1, muted
        > keys 2 *
        > ended 1 normal
        end 4: cancelled
        end 2: normal
        log call: 101 to 750, answered, normal
        ",
    );
}

#[test]
fn in_a_page_both_ways_all_may_speak_and_who_is_busy_is_left_alone() {
    check(
        "
        > group 750 members=101,102,103 strategy=page_two_way
        log set group/S1 = {'extension':'750','name':'Group 750','members':['101','102','103'],'strategy':'page_two_way','ring_s':20,'overflow':'mailbox'}
        reply: done
        > call 1 102 *60
        answer 1
        > call 3 101 750
        answer 3
        > confirmed 3
        join 3 room 1
        call 2: 103 from 101, to answer by itself
        play to the room of 3: <beep>
        > answered 2
        join 2 room 1
        > ended 2 normal
        > ended 3 normal
        log call: 101 to 750, answered, normal
        > user 103 forward=101
        log set user/103/forward = '101'
        reply: done
        > call 5 103 750
        answer 5
        > confirmed 5
        join 5 room 3
        call 4: 101 from 103, to answer by itself
        play to the room of 5: <beep>
        ",
    );
}

#[test]
fn who_pages_nobody_hears_so() {
    check(
        "
        > group 750 members=101 strategy=page
        log set group/S1 = {'extension':'750','name':'Group 750','members':['101'],'strategy':'page','ring_s':20,'overflow':'mailbox'}
        reply: done
        > call 1 101 750
        answer 1
        > confirmed 1
        play 1: codes/no-answer vm/goodbye
        > played 1
        end 1: normal
        log call: 101 to 750, answered, normal
        > call 3 102 103
        call 2: 103 from 102
        > answered 2
        answer 3 like 2
        bridge 3 2
        > confirmed 3
        > refer 3 750
        refer result 3: forbidden
        ",
    );
}

#[test]
fn rooms_and_their_pins_are_there_after_a_power_cut() {
    check(
        "
        > room 801 pin=g lecture=true
        log set room/S1/pin = 'g'
        log set room/S1 = {'extension':'801','name':'Room 801','members_max':100,'is_lecture':true}
        reply: done
        > power cut
        user 101: 101
        lamp 101: 0/0 (0/0)
        user 102: 102
        lamp 102: 0/0 (0/0)
        user 103: 103
        lamp 103: 0/0 (0/0)
        > call 1 101 801
        answer 1
        > confirmed 1
        play 1: room/enter-pin
        > keys 1 1#
        hush 1
        check pin 1: 1 g
        > pin 1 right
        join 1 room 1, muted
        play 1: room/first <music>
        > rooms
        reply: [{'extension':'801','has_host_pin':false,'has_pin':true,'id':'S1','lecture':true,'locked':false,'members':[{'host':false,'leg':'#1','muted':true,'name':'','number':'101','since':1795341900000}],'members_max':100,'name':'Room 801'}]
        ",
    );
}
