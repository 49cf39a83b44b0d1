//! Users, and calls to trunks, as the SIP shim is told of them: with digests and passwords, which the log
//! keeps locked where sound is encrypted.

use std::collections::BTreeSet;
use std::sync::Arc;

use tandem_pbx::seam::{AddressTarget, Login, SipUser};
use tandem_storage::cipher::{Keyring, Locked};
use tandem_storage::name::Id;

/// The kind of secret that a password's digest is ([`Keyring::lock`]).
pub const HA1: &str = "ha1";
/// The kind of secret that a trunk's password is.
pub const TRUNK_PASSWORD: &str = "trunk";

/// Unlocks users, and knows whom it could not unlock.
#[derive(Debug)]
pub(crate) struct Unlocker {
    keys: Keyring,
    locked: BTreeSet<Id>,
}

impl Unlocker {
    /// With these keys.
    pub(crate) fn new(keys: Keyring) -> Unlocker {
        let locked = BTreeSet::new();
        Unlocker { keys, locked }
    }

    /// A user that came or changed (`Some`) or went, as the shim may know it. With a user whose digests are
    /// locked with a key that is not here nobody can log in, so for the shim there is none; why is said once.
    pub(crate) fn unlock(
        &mut self,
        id: Id,
        user: Option<SipUser>,
    ) -> (Option<SipUser>, Option<Locked>) {
        match user.map(|user| self.digests(user)) {
            Some(Err(why)) => (None, self.locked.insert(id).then_some(why)),
            unlocked => {
                self.locked.remove(&id);
                (unlocked.and_then(Result::ok), None)
            }
        }
    }

    fn digests(&self, user: SipUser) -> Result<SipUser, Locked> {
        let unlock = |kept: &str| -> Result<Arc<str>, Locked> {
            let digest = self.keys.unlock(HA1, kept)?;
            Ok(digest.as_str().into())
        };
        Ok(SipUser {
            ha1_md5: unlock(&user.ha1_md5)?,
            ha1_sha256: unlock(&user.ha1_sha256)?,
            ..user
        })
    }

    /// Where a call goes, with the password in plain. One that is locked with a key that is not here is left
    /// out: the host says then that it wants one.
    pub(crate) fn unlock_login(&self, to: &Arc<AddressTarget>) -> Arc<AddressTarget> {
        let Some(login) = &to.login else {
            return to.clone();
        };
        let password = self.keys.unlock(TRUNK_PASSWORD, &login.password);
        let login = password.ok().map(|password| Login {
            user: login.user.clone(),
            password: password.as_str().into(),
        });
        Arc::new(AddressTarget {
            login,
            ..AddressTarget::clone(to)
        })
    }

    /// Users whose phones cannot log in.
    pub(crate) fn locked(&self) -> usize {
        self.locked.len()
    }
}
