//! `tandem storage key`: makes a key to encrypt sound with.

use crate::cli::Storage;
use crate::keys;

pub(crate) fn run(command: &Storage) -> Result<(), String> {
    match command {
        Storage::Key {
            file,
            passphrase_file,
        } => {
            let key = keys::make(file, passphrase_file.as_deref())?;
            println!("Key {} is in {}.", key.name(), file.display());
            println!(
                "Put a copy on every node, name it in [storage] key_file, and keep one in a safe place:"
            );
            println!("without it nobody can hear what was encrypted with it.");
            Ok(())
        }
    }
}
