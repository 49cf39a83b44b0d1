//! Call control, pure: what happens when somebody dials, is busy, does not answer, leaves a
//! message, presses a key.
pub mod seam;
