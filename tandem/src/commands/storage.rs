//! `tandem storage key`: makes a key to encrypt sound with.

use crate::cli::Storage;
use crate::encryption_keys;
use crate::out::say;

pub(crate) fn run(command: &Storage) -> Result<(), String> {
    match command {
        Storage::Key {
            file,
            passphrase_file,
        } => {
            let key = encryption_keys::make(file, passphrase_file.as_deref())?;
            say!("Key {} is in {}.", key.name(), file.display());
            say!(
                "Put a copy on every node, name it in [storage] key_file, and keep one in a safe place:"
            );
            say!("without it nobody can hear what was encrypted with it.");
            Ok(())
        }
    }
}
