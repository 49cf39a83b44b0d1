//! What commands print. Whoever reads it may stop reading: `tandem log show | head` ends quietly.

use std::fmt;
use std::io::{ErrorKind, Write};

/// Prints a line.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::out::line(format_args!($($words)*))
    };
}
pub(crate) use say;

pub(crate) fn line(words: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{words}") {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            eprintln!("tandem: cannot print: {e}");
            std::process::exit(1);
        }
    }
}
