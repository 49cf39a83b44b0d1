//! Something fails in each round: it is said when that begins and when it ends, and counted in
//! between. There are a thousand rounds a second, and as many lines would hide everything else.

/// How many rounds in a row have failed.
#[derive(Debug, Default)]
pub(crate) struct Outage(u64);

impl Outage {
    /// A round has failed; true: the one before it had not.
    pub(crate) fn begins(&mut self) -> bool {
        self.0 += 1;
        self.0 == 1
    }

    /// A round has gone well. After failures: how many there were.
    pub(crate) fn ends(&mut self) -> Option<u64> {
        let failures = std::mem::take(&mut self.0);
        (failures > 0).then_some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_per_change() {
        let mut outage = Outage::default();
        assert_eq!(outage.ends(), None);
        assert!(outage.begins());
        assert!(!outage.begins());
        assert!(!outage.begins());
        assert_eq!(outage.ends(), Some(3));
        assert_eq!(outage.ends(), None);
        assert!(outage.begins());
    }
}
