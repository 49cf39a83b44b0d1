//! Tandem, the program.
fn main() {}
