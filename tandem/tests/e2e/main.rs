//! The built program, from outside, as its people meet it: phones that call, messages that are left
//! and heard, and the bad days. `kit` is what the tests are made with.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(unreachable_pub, reason = "the kit is written like a library")]

mod kit;

mod api;
mod backup;
mod bad_days;
mod bindings;
mod call_records;
mod calls;
mod cluster;
mod command_line;
mod damage;
mod destroyed;
mod doors;
mod events;
mod first_hour;
mod groups;
mod mailbox;
mod nodes;
mod office;
mod old_disks;
mod outside;
mod phones;
mod pins;
mod privacy;
mod prompts;
mod pulled_plug;
mod restored_mailbox;
mod retention;
mod rooms;
mod scenarios;
mod schedules;
mod site;
mod transfers;
