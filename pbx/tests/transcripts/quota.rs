//! A mailbox that fills up.

use std::time::Duration;

use crate::check_with;
use tandem_pbx::PbxConfig;

#[test]
fn a_nearly_full_mailbox_warns_its_owner_at_login_and_once_by_mail() {
    let config = PbxConfig {
        messages_max: 3,
        quota: Duration::from_secs(10),
        ..PbxConfig::default()
    };
    check_with(
        config,
        "
        > import 102 4000
        log begin S1: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S1
        log seal S1: Whole {'urgent':false,'samples_speech':32000}
        lamp 102: 1/0 (0/0)
        reply: imported S1
        > import 102 4000
        log begin S2: {'kind':'message','mailbox':'102','from':{'number':'','name':'','user':null},'called':'102'}
        log chunk of S2
        log seal S2: Whole {'urgent':false,'samples_speech':32000}
        lamp 102: 2/0 (0/0)
        log mail: mailbox nearly full 102 80
        log set mailbox/102/nearly_full = true
        reply: imported S2
        ",
    );
}
