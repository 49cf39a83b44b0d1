//! The engine's figures, for status and metrics.
//!
//! A worker counts in plain numbers of its own and publishes them now and then; whoever wants to
//! know reads without disturbing it.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one worker has counted since it started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// [`Counters`] as others may read them.
        #[derive(Debug, Default)]
        pub(crate) struct Published {
            $($name: AtomicU64,)*
        }

        impl Published {
            /// Called by the worker alone.
            pub(crate) fn publish(&self, counters: &Counters) {
                $(self.$name.store(counters.$name, Ordering::Relaxed);)*
            }

            /// The worker did not keep up when it last published.
            pub(crate) fn is_behind(&self) -> bool {
                self.behind.load(Ordering::Relaxed) != 0
            }

            /// The figures last published.
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Counters {
            /// The name of each figure and its value, for metrics.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Adds another worker's.
            pub fn add(&mut self, other: &Counters) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Legs open now.
    legs,
    /// RTP packets taken.
    packets_received,
    /// RTP packets sent.
    packets_sent,
    /// Of those sent: packets of another party, passed on.
    packets_relayed,
    /// Packets heard in another codec than they came in.
    packets_transcoded,
    /// Packets sent to members of rooms.
    packets_mixed,
    /// Frames of members of rooms that were made up, since packets were lost or late.
    frames_concealed,
    /// Rooms with somebody in them now.
    rooms,
    /// Legs that found their room full.
    rooms_full,
    /// Decoders and encoders that could not be made, for want of memory.
    codecs_unavailable,
    /// Lost on the way to us, of legs that are closed.
    packets_lost,
    /// From addresses that are not the party's.
    packets_from_strangers,
    /// Not RTP or RTCP, or of a payload type that was not agreed on.
    packets_malformed,
    /// Well-formed, but not wanted: the party may not send, nobody listens, too late.
    packets_unused,
    /// RTCP packets taken.
    reports_received,
    /// RTCP packets sent.
    reports_sent,
    /// Sends that the system refused.
    sends_failed,
    /// Submissions for which the ring had no room, because the system took none from it. Sends
    /// among them are left out; the rest is tried again.
    submissions_refused,
    /// Rounds in which the system did not serve the ring.
    rounds_failed,
    /// Times that receiving paused for want of buffers.
    buffers_short,
    /// Packets dropped because the worker had been behind for long and newer ones were there.
    packets_stale,
    /// Rounds of the worker's loop that began after they were due.
    rounds_late,
    /// 1 while the worker does not keep up; it gets no new legs then.
    behind,
    /// Commands that waited for a leg on its way from another worker.
    commands_parked,
    /// Timers served more than five milliseconds late.
    late_ticks,
    /// Packets never made because a worker was held up for longer than a tenth of a second.
    packets_skipped,
    /// Packets of silence played because a sound was not read in time.
    sounds_late,
    /// Pieces of sounds that could not be read.
    sounds_unreadable,
    /// Pieces of sounds that are encrypted with a key that is not here.
    sounds_locked,
    /// Prompts asked for that do not exist.
    prompts_unknown,
    /// Keys to be sent that were dropped: too many, or the party takes none.
    digits_dropped,
    /// Chunks that the log did not take at the first try.
    chunks_refused,
    /// Commands for legs that are gone.
    commands_unknown,
    /// Rounds of the worker's loop.
    rounds,
    /// Processor time of the worker's thread, in nanoseconds.
    cpu_ns,
}

/// The engine's figures.
#[derive(Clone, Debug, Default)]
pub struct EngineStats {
    /// All workers together.
    pub total: Counters,
    /// Each worker.
    pub workers: Vec<Counters>,
    /// Port pairs free.
    pub ports_free: usize,
    /// Commands that had to wait because a worker's queue was full.
    pub commands_delayed: u64,
    /// Commands dropped because too many waited.
    pub commands_dropped: u64,
    /// Legs refused because no worker had room or time for them.
    pub legs_refused: u64,
    /// Workers that ended without being asked to: a bug, and their legs are mute.
    pub workers_dead: usize,
    /// Prompts loaded.
    pub prompts: usize,
}
