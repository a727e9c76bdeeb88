//! A zone as a tree of names, looked up by name. A zone is never changed where it is served: a
//! change makes another, which shares what stayed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::message::kind;
use crate::name;
use crate::signing::Signer;

/// Octets of the data of one set, so that it fits in a message with its signature.
pub const SET_BYTES_MAX: usize = 32 * 1024;
const DATA_BYTES_MAX: usize = u16::MAX as usize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit(pub String);

/// Records of one owner and type (RFC 2181 section 5). Data is in canonical form and order.
#[derive(Debug)]
pub struct RecordSet {
    /// Another for every set that was ever made: what is signed is found again by it.
    pub id: u64,
    pub kind: u16,
    pub ttl: u32,
    pub data: Vec<Box<[u8]>>,
}

impl RecordSet {
    pub fn new(kind: u16, ttl: u32, mut data: Vec<Box<[u8]>>) -> Result<RecordSet, Unfit> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        data.sort();
        data.dedup();
        let bytes: usize = data.iter().map(|each| each.len() + 16).sum();
        if data.is_empty() || bytes > SET_BYTES_MAX {
            return Err(Unfit(format!("a set has 1 to {SET_BYTES_MAX} octets")));
        }
        if data.iter().any(|each| each.len() > DATA_BYTES_MAX) {
            return Err(Unfit("a record is too long".into()));
        }
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(RecordSet {
            id,
            kind,
            ttl,
            data,
        })
    }
}

/// A name of a zone; without sets where only names below it have some (an empty non-terminal).
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub sets: Vec<Arc<RecordSet>>,
    children: u32,
}

impl Node {
    pub fn set(&self, kind: u16) -> Option<&Arc<RecordSet>> {
        self.sets.iter().find(|set| set.kind == kind)
    }
}

/// What a set becomes: another, or nothing.
pub struct Change {
    pub owner: Box<[u8]>,
    pub kind: u16,
    pub set: Option<RecordSet>,
}

/// Where a name is in a zone.
pub enum Place<'a> {
    /// The name is there, or a wildcard stands for it.
    Node(&'a Node),
    /// It belongs to another zone, delegated at this name.
    Delegated(&'a [u8], &'a Node),
    Absent,
}

#[derive(Clone)]
pub struct Zone {
    pub apex: Box<[u8]>,
    pub signer: Option<Arc<Signer>>,
    pub soa: Arc<RecordSet>,
    nodes: HashMap<Arc<[u8]>, Arc<Node>>,
}

impl Zone {
    /// A zone of `changes` that only put sets. The SOA must be among them.
    pub fn new(
        apex: &[u8],
        signer: Option<Arc<Signer>>,
        changes: Vec<Change>,
    ) -> Result<Zone, Unfit> {
        let mut zone = Zone {
            apex: apex.into(),
            signer,
            soa: Arc::new(RecordSet::new(kind::SOA, 0, vec![vec![0; 22].into()])?),
            nodes: HashMap::new(),
        };
        if !name::is_canonical(apex) {
            return Err(Unfit("the name of the zone is not in lower case".into()));
        }
        zone.nodes.insert(apex.into(), Arc::default());
        zone.apply(changes)?;
        Ok(zone)
    }

    /// This zone after `changes`.
    pub fn changed(&self, changes: Vec<Change>) -> Result<Zone, Unfit> {
        let mut zone = self.clone();
        zone.apply(changes)?;
        Ok(zone)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), Unfit> {
        for change in changes {
            if !name::is_canonical(&change.owner) || !name::is_within(&change.owner, &self.apex) {
                return Err(Unfit("a name is not one of the zone's".into()));
            }
            match change.set {
                Some(set) => self.put(&change.owner, set),
                None => self.remove(&change.owner, change.kind),
            }
        }
        let soa = self.nodes.get(&*self.apex).and_then(|n| n.set(kind::SOA));
        match soa {
            // Two names and five numbers (RFC 1035 section 3.3.13).
            Some(soa) if soa.data.len() == 1 && soa.data[0].len() >= 22 => {
                self.soa = soa.clone();
                Ok(())
            }
            _ => Err(Unfit("a zone has one SOA".into())),
        }
    }

    fn put(&mut self, owner: &[u8], set: RecordSet) {
        self.ensure(owner);
        if let Some(node) = self.nodes.get_mut(owner) {
            let node = Arc::make_mut(node);
            node.sets.retain(|each| each.kind != set.kind);
            let at = node.sets.partition_point(|each| each.kind < set.kind);
            node.sets.insert(at, Arc::new(set));
        }
    }

    /// Makes `owner` and what leads to it.
    fn ensure(&mut self, owner: &[u8]) {
        if self.nodes.contains_key(owner) {
            return;
        }
        self.nodes.insert(owner.into(), Arc::default());
        // The apex is there, so that this ends.
        if let Some(above) = name::parent(owner) {
            self.ensure(above);
            if let Some(node) = self.nodes.get_mut(above) {
                Arc::make_mut(node).children += 1;
            }
        }
    }

    fn remove(&mut self, owner: &[u8], kind: u16) {
        if let Some(node) = self.nodes.get_mut(owner) {
            Arc::make_mut(node).sets.retain(|each| each.kind != kind);
        }
        let mut at = owner;
        while at != &*self.apex {
            match self.nodes.get(at) {
                Some(node) if node.sets.is_empty() && node.children == 0 => self.nodes.remove(at),
                _ => return,
            };
            let Some(above) = name::parent(at) else {
                return;
            };
            if let Some(node) = self.nodes.get_mut(above) {
                Arc::make_mut(node).children -= 1;
            }
            at = above;
        }
    }

    pub fn node(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.get(name).map(|node| &**node)
    }

    pub fn names(&self) -> usize {
        self.nodes.len()
    }

    /// Where `name` is, by the order of RFC 1034 section 4.3.2 with RFC 4592. A question for DS at
    /// a delegation is this zone's to answer (RFC 4035 section 3.1.4.1).
    pub fn find(&self, wanted: &[u8], kind: u16) -> Place<'_> {
        let mut closest = None;
        let mut cut = None;
        for at in name::ancestors(wanted) {
            if at == &*self.apex {
                break;
            }
            if let Some((key, node)) = self.nodes.get_key_value(at) {
                closest = closest.or(Some((at, node)));
                let is_cut = node.set(kind::NS).is_some() && !(kind == kind::DS && at == wanted);
                if is_cut {
                    cut = Some((&**key, &**node));
                }
            }
        }
        if let Some((at, node)) = cut {
            return Place::Delegated(at, node);
        }
        let (at, node) = match closest {
            Some((at, node)) => (at, Some(node)),
            None => (&*self.apex, self.nodes.get(&*self.apex)),
        };
        if at == wanted {
            return node.map_or(Place::Absent, |node| Place::Node(node));
        }
        let wildcard = name::wildcard(at).and_then(|name| self.nodes.get(&*name));
        match wildcard {
            // One that delegates stands for nothing (RFC 4592 section 4.2).
            Some(node) if node.set(kind::NS).is_none() => Place::Node(node),
            _ => Place::Absent,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn put(owner: &[u8], kind: u16) -> Change {
        let data = vec![vec![0; 22].into()];
        let set = Some(RecordSet::new(kind, 60, data).unwrap());
        Change {
            owner: owner.into(),
            kind,
            set,
        }
    }

    fn gone(owner: &[u8], kind: u16) -> Change {
        Change {
            owner: owner.into(),
            kind,
            set: None,
        }
    }

    const APEX: &[u8] = b"\x01z\x00";
    const DEEP: &[u8] = b"\x01a\x01b\x01c\x01z\x00";

    #[test]
    fn names_between_come_and_go_with_what_is_below_them() {
        let zone = Zone::new(APEX, None, vec![put(APEX, kind::SOA), put(DEEP, kind::A)]).unwrap();
        assert_eq!(zone.names(), 4);
        assert!(
            matches!(zone.find(&DEEP[2..], kind::A), Place::Node(node) if node.sets.is_empty())
        );
        let beside = b"\x01x\x01c\x01z\x00";
        let both = zone.changed(vec![put(beside, kind::A)]).unwrap();
        assert_eq!(both.names(), 5);
        let left = both.changed(vec![gone(DEEP, kind::A)]).unwrap();
        assert_eq!(left.names(), 3);
        assert!(matches!(left.find(&DEEP[2..], kind::A), Place::Absent));
        let none = left.changed(vec![gone(beside, kind::A)]).unwrap();
        assert_eq!(none.names(), 1);
        assert_eq!(zone.names(), 4, "the one before is as it was");
    }

    #[test]
    fn the_highest_delegation_wins_and_ds_is_asked_above_it() {
        let changes = vec![
            put(APEX, kind::SOA),
            put(b"\x01c\x01z\x00", kind::NS),
            put(DEEP, kind::NS),
        ];
        let zone = Zone::new(APEX, None, changes).unwrap();
        let cut: &[u8] = b"\x01c\x01z\x00";
        assert!(matches!(zone.find(DEEP, kind::A), Place::Delegated(at, _) if at == cut));
        assert!(matches!(zone.find(cut, kind::DS), Place::Node(_)));
        assert!(matches!(zone.find(DEEP, kind::DS), Place::Delegated(at, _) if at == cut));
    }

    #[test]
    fn a_wildcard_stands_below_its_closest_encloser_only() {
        let star: &[u8] = b"\x01*\x01z\x00";
        let changes = vec![put(APEX, kind::SOA), put(star, kind::A), put(DEEP, kind::A)];
        let zone = Zone::new(APEX, None, changes).unwrap();
        assert!(matches!(
            zone.find(b"\x01q\x01q\x01z\x00", kind::A),
            Place::Node(_)
        ));
        assert!(matches!(
            zone.find(b"\x01q\x01c\x01z\x00", kind::A),
            Place::Absent
        ));
        assert!(
            matches!(zone.find(b"\x01c\x01z\x00", kind::A), Place::Node(node) if node.sets.is_empty())
        );
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        assert!(Zone::new(APEX, None, vec![put(DEEP, kind::A)]).is_err());
        assert!(Zone::new(APEX, None, vec![put(APEX, kind::SOA), put(b"\x01y\x00", 1)]).is_err());
        assert!(Zone::new(b"\x01Z\x00", None, vec![]).is_err());
        assert!(RecordSet::new(kind::A, 1, vec![]).is_err());
        assert!(RecordSet::new(16, 1, vec![vec![0; SET_BYTES_MAX].into()]).is_err());
    }
}
