//! The media engine: RTP in and out, relayed, played, recorded.
pub mod seam;
