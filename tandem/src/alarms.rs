//! What an administrator should see to, in words: for status, metrics and whoever watches them.

use tandem_storage::LogStats;
use tandem_storage::link::{CloseReason, LinkStatus};
use tandem_storage::recovery::Ending;

/// Clocks that are further apart make "which was later" a matter of luck.
const CLOCK_OFF_MS_MAX: u64 = 5000;

/// All that is wrong now. `found`: what the log was like when it was opened; `users_locked`: users whose
/// passwords are locked with a key that is not here; `toll`: who calls outside more than it may, in words;
/// `recordings_missed`: calls that policy wants recorded and that are not.
pub(crate) fn alarms(
    log: &LogStats,
    found: &Ending,
    link: Option<&LinkStatus>,
    users_locked: usize,
    toll: &[String],
    recordings_missed: u64,
) -> Vec<String> {
    let mut alarms = toll.to_vec();
    if log.is_poisoned {
        alarms.push("the log is closed: its disk failed; restart the node on a good one".into());
    } else if !log.can_record {
        alarms.push(DISK_FULL.into());
    }
    let damages = found.damages;
    if damages > 0 && log.compaction.segments_retired == 0 {
        alarms.push(format!(
            "the log was damaged in {damages} places when it was opened; tandem log verify tells more"
        ));
    }
    alarms.extend(link.into_iter().flat_map(of_link));
    if users_locked > 0 {
        alarms.push(format!(
            "the phones of {users_locked} users cannot log in here: their passwords are locked with a key that this node does not have"
        ));
    }
    if recordings_missed > 0 {
        alarms.push(format!(
            "{recordings_missed} calls that are to be recorded were not, since this node was started: the log took no sound"
        ));
    }
    alarms
}

/// What stands in `/readyz`, too.
pub(crate) const DISK_FULL: &str =
    "the disk is full: calls go on, but no messages are taken; free some space";

fn of_link(link: &LinkStatus) -> impl Iterator<Item = String> {
    link.peers.iter().filter_map(|peer| {
        let name = peer.name;
        if let Some(CloseReason::Refused(why)) = peer.away_why.filter(|_| !peer.is_up) {
            return Some(format!("{name} does not let this node in: {why}"));
        }
        if peer.away_why == Some(CloseReason::Contradiction) && !peer.is_up {
            return Some(format!(
                "{name} has seen more of this node's log than is here: this disk is an old copy, or a second machine runs in this node's name"
            ));
        }
        let off_ms = peer.clock_off_ms.filter(|_| peer.is_up)?;
        let seconds = off_ms.unsigned_abs() / 1000;
        let way = if off_ms > 0 { "ahead of" } else { "behind" };
        (off_ms.unsigned_abs() > CLOCK_OFF_MS_MAX).then(|| {
            format!("the clock of {name} is {seconds} s {way} this node's; set both right")
        })
    })
}

#[cfg(test)]
mod tests {
    use tandem_storage::link::PeerStatus;
    use tandem_storage::link::frame::Sorry;

    use super::*;

    fn told(peer: PeerStatus) -> Vec<String> {
        let link = LinkStatus {
            peers: vec![peer],
            ..LinkStatus::default()
        };
        of_link(&link).collect()
    }

    fn peer(clock_off_ms: Option<i64>, away_why: Option<CloseReason>) -> PeerStatus {
        PeerStatus {
            name: "b".parse().unwrap(),
            is_up: away_why.is_none(),
            away_why,
            is_backup: true,
            acked: Default::default(),
            to_send_bytes: None,
            to_send_time: None,
            followed: Default::default(),
            is_whole: true,
            theirs: Default::default(),
            clock_off_ms,
        }
    }

    #[test]
    fn clocks_apart_and_a_node_that_is_shut_out_are_alarms() {
        assert_eq!(told(peer(Some(-5000), None)), [""; 0]);
        let ahead = told(peer(Some(7900), None));
        assert_eq!(
            ahead,
            ["the clock of b is 7 s ahead of this node's; set both right"]
        );
        let behind = told(peer(Some(-61_000), None));
        assert!(behind[0].contains("61 s behind"), "{behind:?}");
        let out = told(peer(None, Some(CloseReason::Refused(Sorry::Removed))));
        assert!(out[0].contains("was removed from the cluster"), "{out:?}");
        assert_eq!(told(peer(Some(9000), Some(CloseReason::Silent))), [""; 0]);
    }
}
