//! What each figure means, in a sentence: the help that stands on the page.
//!
//! Names are without the program's prefix and without the `_total` of counters. Where a counter has a doc
//! comment in the crate that counts it, the sentence is that one.

/// What the figure of this name means.
pub(super) fn of(name: &str) -> Option<&'static str> {
    all()
        .find(|(known, _)| *known == name)
        .map(|(_, help)| help)
}

/// All names, and what they mean.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = HELP.iter().flat_map(|part| part.lines());
    lines.filter_map(|line| line.split_once(": "))
}

/// By parts; a figure a line.
const HELP: [&str; 7] = [NODE, PBX, SIP, MEDIA, LOG, BACKUPS, LINK];

/// The node, and call control's thread.
const NODE: &str = "\
build_info: The program's version and the node's name; always 1.
calls: Calls now, in whatever phase.
recordings: Recordings of calls that there are, those under way included.
phones: Phones that are registered now.
alarms: Things that somebody should see to, as tandem status lists them.
control_figures_age_seconds: How long ago call control gave its figures; it is busy or hangs if this grows.
control_waiting: Messages that wait for call control.
control_overflow: Keys and questions left out because too much waited for call control.
control_log_waiting: Writes that wait for room in the log's queue.
control_log_overflow: Writes refused because too many waited for room in the log's queue.
pins_overflow: PINs not looked at because too many waited.
mailboxes_paused: Mailboxes that take no PIN now, after wrong ones.
portal_refused: HTTP connections closed at once because there were too many.
events_readers: Readers of events now.
events_refused: Readers of events for whom there was no place.
events_lost: Events that found no room on their way to a reader, who is told how many.
events_cut_off: Readers of events who took nothing for so long that they were cut off.
";

/// Calls and messages: `Counters` of the pbx.
const PBX: &str = "\
pbx_calls: Calls that came in, refused ones included.
pbx_calls_answered: Calls that were answered, by a person or by the mailbox.
pbx_ended: Calls by how they ended.
pbx_refused_full: Calls refused because there were too many.
pbx_calls_out_answered: Of calls that went out, answered.
pbx_calls_outward: Calls to numbers outside.
pbx_calls_outward_refused: Calls to numbers outside that were one too many for whoever made them.
pbx_trunks_full: Calls that a trunk had no line free for.
pbx_calls_unwanted: Calls that the user called does not want: anonymous ones, blocked numbers.
pbx_transfers: Transfers, blind and attended.
pbx_transfers_refused: Transfers that were asked for and not made.
pbx_pickups: Calls picked up at another phone.
pbx_parked: Callers parked.
pbx_rooms_entered: Times somebody came into a room.
pbx_rooms_refused: Times somebody found a room locked or full.
pbx_pages: Pages to a group's phones.
pbx_deposits: Messages that are durable.
pbx_deposits_too_short: Messages dropped because hardly anything was said.
pbx_deposits_refused: Callers told that the mailbox takes no message now.
pbx_deposits_lost: Messages the log refused to keep after they were spoken.
pbx_logins: Mailboxes opened with the right PIN.
pbx_pin_wrong: Wrong PINs.
pbx_pin_pauses: Times a mailbox paused after wrong PINs.
pbx_messages_destroyed: Deleted messages destroyed after their time.
pbx_recordings_wanted: Recordings of calls that a user asked for, or that policy wants.
pbx_recordings_begun: Recordings that have begun in the log.
pbx_recordings_refused: Recordings that were wanted and could not begin.
pbx_recordings_missed: Of these, recordings of calls that policy wants recorded.
pbx_recordings_cut_short: Recordings of which something is missing at the end.
pbx_recordings_destroyed: Recordings destroyed after their time.
pbx_quota_warnings: Mails asked for, because a mailbox was nearly full.
pbx_calls_when_free: Calls made because somebody who was asked for had become free.
pbx_calls_when_free_refused: Wishes for such a call that found no room.
pbx_imports: Messages imported by an administrator.
pbx_log_refused: Records the log refused, of any kind.
pbx_events_stray: Events for legs, plays or tokens nobody waits for: mostly crossings, harmless.
pbx_digits_dropped: Keys typed ahead that found no room.
";

/// SIP: `ShimCounters`, and `ShellStats` of its transports.
const SIP: &str = "\
sip_dialogs: SIP calls now, in whatever phase; a call has one on each side.
sip_requests_in: Requests taken, retransmissions included.
sip_responses_in: Responses taken, retransmissions included.
sip_messages_out: Messages handed to the network, retransmissions included.
sip_retransmissions_out: Messages sent again because nothing came back.
sip_malformed: Requests answered 4xx because they could not be understood.
sip_strays: Responses and ACKs that belong to nothing we know.
sip_methods_refused: Requests with a method we do not know, or do not allow.
sip_registers: Registrations accepted (refreshes included).
sip_bindings_expired: Bindings that ended by expiry.
sip_keep_alives: Packets sent to phones behind a NAT so that it keeps the way open.
sip_login_failures: Wrong passwords and unknown users, together.
sip_nonces_stale: Nonces answered stale=true.
sip_nonces_replayed: Credentials seen before (nonce count not rising).
sip_slowed: Requests dropped or refused because their source tries too often.
sip_challenges_suppressed: Challenges not sent because their address has been sent too many.
sip_calls_in: Calls that came in.
sip_calls_out: Calls that went out, one for each phone.
sip_challenges_answered: Challenges to calls of ours that were answered with a password.
sip_logins_refused: Calls of ours that ended because our password was not taken, or we have none.
sip_calls_refused_full: Calls refused because a table or the ports are full.
sip_overload: Requests refused 503 because too many transactions are waiting.
sip_overload_source: Requests refused 503 because too many transactions of their source are waiting.
sip_refers: Transfers that parties asked for.
sip_glares: Re-INVITEs that met one of ours (491).
sip_sessions_vanished: Calls ended because the session timer ran out or an answer was never confirmed.
sip_subscribes: Subscriptions to lamps and calls accepted (refreshes included).
sip_notifies: Notifications of lamps and calls sent.
sip_subscriptions_full: Subscriptions to lamps refused because the table is full.
sip_watches_full: Subscriptions to calls refused because the table is full.
sip_texts: Texts between users taken.
sip_texts_delivered: Texts that a phone took.
sip_texts_full: Texts refused because too many wait for an answer.
sip_datagrams_in: Datagrams received.
sip_stream_messages_in: Messages that came over streams.
sip_garbage: Messages dropped: not SIP, or so broken that no answer is possible.
sip_receiver_full: Messages dropped or refused 503 because call control had no room.
sip_send_full: Messages not sent because the socket or the stream's queue was full.
sip_connections: Streams open now.
sip_connections_refused: Streams refused because there were too many.
sip_streams_slow: Streams closed because a message took too long to come.
sip_streams_unknown: Streams closed because nobody on them showed who they are.
";

/// Sound: `EngineStats`, and `Counters` of the media workers, summed.
const MEDIA: &str = "\
media_ports_free: Pairs of RTP ports that are free.
media_prompts: Spoken prompts loaded.
media_workers_dead: Media workers that ended without being asked to: a bug, and their legs are mute.
media_commands_delayed: Commands that had to wait because a worker's queue was full.
media_legs_refused: Legs refused because no worker had room or time for them.
media_commands_dropped: Commands dropped because too many waited.
media_legs: Legs open now.
media_packets_received: RTP packets taken.
media_packets_sent: RTP packets sent.
media_packets_relayed: RTP packets sent that are those of another party, passed on.
media_packets_transcoded: Packets heard in another codec than they came in.
media_packets_mixed: Packets sent to members of rooms.
media_frames_concealed: Frames of members of rooms that were made up, since packets were lost or late.
media_rooms: Rooms with somebody in them.
media_rooms_full: Legs that found their room full.
media_codecs_unavailable: Decoders and encoders that could not be made, for want of memory.
media_packets_lost: RTP packets lost on the way to us, of legs that are closed.
media_packets_from_strangers: Packets from addresses that are not the party's.
media_packets_malformed: Packets that are not RTP or RTCP, or of a payload type that was not agreed on.
media_packets_unused: Packets that were not wanted: the party may not send, nobody listens, or too late.
media_reports_received: RTCP packets taken.
media_reports_sent: RTCP packets sent.
media_sends_failed: Sends that the system refused.
media_submissions_refused: Submissions for which the ring had no room, because the system took none from it.
media_rounds_failed: Rounds in which the system did not serve the ring.
media_buffers_short: Times that receiving paused for want of buffers.
media_packets_stale: Packets dropped because the worker had been behind for long and newer ones were there.
media_rounds_late: Rounds of the worker's loop that began after they were due.
media_behind: Workers that do not keep up; they get no new legs.
media_commands_parked: Commands that waited for a leg on its way from another worker.
media_late_ticks: Timers served more than five milliseconds late.
media_packets_skipped: Packets never made because a worker was held up for longer than a tenth of a second.
media_sounds_late: Packets of silence played because a sound was not read in time.
media_sounds_unreadable: Pieces of sounds that could not be read.
media_sounds_locked: Pieces of sounds that are encrypted with a key that is not here.
media_prompts_unknown: Prompts asked for that do not exist.
media_digits_dropped: Keys to be sent that were dropped: too many, or the party takes none.
media_chunks_refused: Chunks that the log did not take at the first try.
media_commands_unknown: Commands for legs that are gone.
media_rounds: Rounds of the worker's loop.
media_cpu_ns: Processor time of the worker's thread, in nanoseconds.
";

/// The log: `LogStats`, `CompactionStats`, and what was found when it was opened.
const LOG: &str = "\
log_can_record: 1 if there is room for new sound.
log_poisoned: 1 if a write failed; the log takes nothing until the node is restarted.
log_segments: Segments there are, the prepared one included.
log_encrypts: 1 if new sound is encrypted.
log_size_bytes: Bytes of all segments.
log_alive_bytes: Bytes of all segments that are alive.
log_segments_given_up: Segments retired.
log_records_moved: Records moved to newer segments.
log_scrub_segments: Segments read again.
log_scrub_bytes: Bytes of segments that were read again and found whole, or mended.
log_scrub_damages: Damaged places found while reading again.
log_scrub_mended: Records mended from memory.
log_scrub_chunks_missing: Pieces of sound that are missing; each time one is found so.
log_damages: Damaged places when the log was opened.
log_records_lost: Confirmed records that were gone when the log was opened.
log_torn: Stretches that a crash tore while they were being written, when the log was opened.
log_queue_length: Appends that wait in the log's queue.
log_commits: Writes that became durable.
log_records: Records in writes that became durable.
log_bytes: Bytes in writes that became durable.
log_refused: Appends answered with a refusal.
log_queue_refused: Appends given back because the log's queue was full.
log_commit_seconds: How long appends took from being handed in to being durable.
";

/// Backups.
const BACKUPS: &str = "\
backup_age_seconds: How long ago the last backup was made.
backup_bytes: Bytes of the last backup.
backup_failed: 1 if the last backup could not be made.
backup_failures: Backups that could not be made, ever.
";

/// Other nodes: `LinkStatus`, `LinkStats`, `DoorStats` and `GateStatus`.
const LINK: &str = "\
link_up: 1 if this other node is there.
link_to_send_bytes: About how many bytes of this node's log the other node still lacks.
link_to_send_seconds: About how long it takes until the other node has all of this node's log.
link_sent_bytes: Bytes of frames sent to other nodes.
link_records_stored: Records that came from other nodes and were stored.
link_records_known: Records that came from other nodes and were here already.
link_frames_unknown: Frames of a kind this version does not know; they were skipped.
link_commits_missed: Commits that found no room on their way to the link, and were read from the disk instead.
link_wires_full: Connections closed because their peer did not take what was sent.
link_door_admitted: Members let in.
link_door_strangers: Connections with a certificate of the cluster that is no member's.
link_door_failed: Handshakes that failed: no certificate, one of another cluster, or no TLS at all.
link_door_full: Connections ended because too many came at once.
copies_now: Copies of what is said here, this node's own included.
copies_behind: Backups that are there and are waited for no more until they have caught up.
copies_waiting: Events that wait for a copy.
copies_saved_with: Events that went on with a copy.
copies_saved_alone: Events that went on alone because no backup was there or kept pace.
copies_saved_alone_late: Events that went on alone after the deadline.
";
