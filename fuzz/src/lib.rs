//! What tries to break Tandem: fuzz targets for everything that reads bytes from outside, and a
//! simulated world of phones, calls, disks and power cuts.
//!
//! [`targets`] lists the fuzz targets. Two drivers run them: libFuzzer, guided by coverage
//! (`src/bin/libfuzzer.rs`, `tools/fuzz.sh`), and plain tests (`tests/replay.rs`), which replay
//! the corpus and a bounded run of [`mutate`]d inputs. A target is a function of bytes that
//! panics when something is wrong; it checks properties, not only that nothing crashes.
#![forbid(unsafe_code)]

pub mod corpus;
pub mod feed;
pub mod mutate;
pub mod targets;
pub mod world;
