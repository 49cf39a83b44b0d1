//! Compares a text with the golden file that holds what it was, or rewrites that file.

use std::path::Path;

/// Set to anything, it makes the tests write the golden files anew.
const REWRITE: &str = "TANDEM_REWRITE_GOLDEN";

/// Fails at the first line in which `text` differs from the file of this name beside this source.
#[track_caller]
pub(crate) fn compare(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = folder.join(name);
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, text).expect("the golden file can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let (mut was, mut is) = (golden.lines(), text.lines());
    for number in 1.. {
        let (was, is) = (was.next(), is.next());
        assert_eq!(
            was, is,
            "tandem/tests/golden/{name}:{number} is no longer what the program says (right). \
             If that is meant, write it anew with {REWRITE}=1"
        );
        if was.is_none() && is.is_none() {
            return;
        }
    }
}
