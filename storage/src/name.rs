//! Names that two writers can never both hand out.
//!
//! A node has a short name, chosen by the administrator. Everything that lives in the log (a
//! sound, a user, a mailbox) is named by the node that made it, the epoch of that node's log, and
//! a number counted within the epoch. Each start of a node opens a new epoch, so a node restored
//! from an old disk cannot hand out a name again.

use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A node's name: 1 to 16 characters of `a-z`, `0-9` and inner `-`. Stored inline, so it is `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName([u8; NodeName::LEN_MAX]);

/// The name of anything that lives in the log. Written `node.epoch.number`, as in `office.3.1042`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The node that made it.
    pub node: NodeName,
    /// The epoch of that node's log in which it was made.
    pub epoch: u32,
    /// Counted from 1 within the epoch.
    pub number: u64,
}

/// Hands out [`Id`]s for one epoch of one node. There is exactly one per running node.
#[derive(Clone, Debug)]
pub struct Ids {
    node: NodeName,
    epoch: u32,
    number_last: u64,
}

/// A name that could not be read, with what was wrong about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not 1 to 16 characters of `a-z`, `0-9`, inner `-`.
    #[error("a node name is 1 to 16 characters of a-z, 0-9 and '-' (not first or last)")]
    Node,
    /// Not of the form `node.epoch.number`.
    #[error("an id has the form node.epoch.number, as in office.3.1042")]
    Id,
}

impl NodeName {
    /// The longest name, in bytes.
    pub const LEN_MAX: usize = 16;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|b| *b == 0).unwrap_or(Self::LEN_MAX);
        // Only ASCII passes `from_str` and `from_bytes`.
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }

    /// The name as fixed bytes, zero-padded: its form in the log.
    pub fn to_bytes(self) -> [u8; Self::LEN_MAX] {
        self.0
    }

    /// Reads the fixed form back.
    pub fn from_bytes(bytes: [u8; Self::LEN_MAX]) -> Result<Self, NameError> {
        let len = bytes.iter().position(|b| *b == 0).unwrap_or(Self::LEN_MAX);
        if bytes[len..].iter().any(|b| *b != 0) {
            return Err(NameError::Node);
        }
        std::str::from_utf8(&bytes[..len])
            .map_err(|_| NameError::Node)?
            .parse()
    }
}

impl FromStr for NodeName {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let legal = s
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if s.is_empty()
            || s.len() > Self::LEN_MAX
            || !legal
            || s.starts_with('-')
            || s.ends_with('-')
        {
            return Err(NameError::Node);
        }
        let mut bytes = [0; Self::LEN_MAX];
        bytes[..s.len()].copy_from_slice(s.as_bytes());
        Ok(NodeName(bytes))
    }
}

impl Ids {
    /// For a log epoch that has just been opened.
    pub fn new(node: NodeName, epoch: u32) -> Ids {
        Ids {
            node,
            epoch,
            number_last: 0,
        }
    }

    /// Who hands them out.
    pub fn node(&self) -> NodeName {
        self.node
    }

    /// In which epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A name nobody else has.
    pub fn next_id(&mut self) -> Id {
        self.number_last += 1;
        Id {
            node: self.node,
            epoch: self.epoch,
            number: self.number_last,
        }
    }
}

impl FromStr for Id {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let mut parts = s.split('.');
        let (Some(node), Some(epoch), Some(number), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NameError::Id);
        };
        Ok(Id {
            node: node.parse().map_err(|_| NameError::Id)?,
            epoch: epoch.parse().map_err(|_| NameError::Id)?,
            number: number.parse().map_err(|_| NameError::Id)?,
        })
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.node, self.epoch, self.number)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(IdText)
    }
}

/// Reads an id where its text lies.
struct IdText;

impl Visitor<'_> for IdText {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id, as in office.3.1042")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_written() {
        let mut ids = Ids::new("main-office".parse().unwrap(), 3);
        ids.next_id();
        let id = ids.next_id();
        assert_eq!(id.to_string(), "main-office.3.2");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", "-a", "a-", "Ä", "A", "seventeen-letters", "a.b"] {
            assert_eq!(bad.parse::<NodeName>(), Err(NameError::Node), "{bad:?}");
        }
        for bad in ["", "a.1", "a.1.2.3", "a.x.1", "a.1.-1", "A.1.1"] {
            assert_eq!(bad.parse::<Id>(), Err(NameError::Id), "{bad:?}");
        }
    }
}
