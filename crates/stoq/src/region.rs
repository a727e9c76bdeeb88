//! Leased memory: bytes with grants, an epoch and counters. The clock is an argument.
//!
//! A region is created full of zeros, and its bytes are committed then, so a lease never meets a
//! host that has run out of memory. A grant names one peer, a range, whether it may write, until
//! when, and its epoch. An operation passes if its epoch is the epoch of the peer's grant and not
//! below the epoch of the region; fencing raises the latter. The check and the copy happen under
//! one lock, so no byte moves for a fenced, expired or revoked peer once that call has returned.
//! A transfer longer than one chunk is checked again with every chunk, and is atomic only within
//! one. Freed bytes are overwritten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use zeroize::Zeroize;

use crate::error::{Error, Kind, Result};
use crate::limits::{GRANTS_MAX, REGIONS_MAX};
use crate::PeerId;

pub type RegionId = [u8; 16];

/// Bytes of an atomic word; a word is little-endian and aligned to its size.
pub const WORD_BYTES: u64 = 8;

/// What one peer may do with a region.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub offset: u64,
    pub length: u64,
    pub can_write: bool,
    pub expires_unix_ms: i64,
    pub epoch: u64,
}

/// Who asks for what, at what time.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub peer: PeerId,
    pub epoch: u64,
    pub offset: u64,
    pub now_unix_ms: i64,
}

/// What a region has served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub operations: u64,
}

/// All regions of an endpoint.
#[derive(Default)]
pub struct Regions {
    regions: RwLock<HashMap<RegionId, Arc<Region>>>,
}

pub struct Region {
    state: Mutex<State>,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    operations: AtomicU64,
}

struct State {
    bytes: Vec<u8>,
    grants: HashMap<PeerId, Grant>,
    epoch: u64,
}

impl Drop for State {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl Regions {
    /// A region of `size` zeros that nobody may use yet.
    pub fn create(&self, id: RegionId, size: u64) -> Result<()> {
        let too_large = |why: String| Error::new(Kind::RegionTooLarge, why);
        let length = usize::try_from(size)
            .ok()
            .filter(|length| *length > 0)
            .ok_or_else(|| too_large(format!("{size} bytes are no size of a region")))?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(length)
            .map_err(|_| too_large(format!("this host has no {size} bytes to spare")))?;
        bytes.resize(length, 0);
        let region = Region {
            state: Mutex::new(State {
                bytes,
                grants: HashMap::new(),
                epoch: 0,
            }),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            operations: AtomicU64::new(0),
        };
        let mut regions = self.regions.write();
        if regions.len() >= REGIONS_MAX {
            return Err(too_large(format!(
                "an endpoint serves {REGIONS_MAX} regions"
            )));
        }
        if regions.contains_key(&id) {
            return Err(Error::new(Kind::RegionExists, hex(&id)));
        }
        regions.insert(id, Arc::new(region));
        Ok(())
    }

    /// Ends a region: its bytes are overwritten before this returns.
    pub fn destroy(&self, id: &RegionId) -> Result<Counters> {
        let region = self.regions.write().remove(id).ok_or_else(|| unknown(id))?;
        let mut state = region.state.lock();
        state.grants.clear();
        state.bytes.zeroize();
        state.bytes = Vec::new();
        drop(state);
        Ok(region.counters())
    }

    /// Gives `peer` its grant, in place of the one it had. The epoch may not be fenced off.
    pub fn grant(&self, id: &RegionId, peer: PeerId, grant: Grant) -> Result<()> {
        let region = self.get(id)?;
        let mut state = region.state.lock();
        let end = grant.offset.checked_add(grant.length);
        if grant.length == 0 || end.is_none_or(|end| end > state.bytes.len() as u64) {
            return Err(Error::new(
                Kind::OutOfRange,
                format!(
                    "{} bytes at {} in a region of {}",
                    grant.length,
                    grant.offset,
                    state.bytes.len()
                ),
            ));
        }
        if grant.epoch < state.epoch {
            return Err(fenced(grant.epoch, state.epoch));
        }
        if state.grants.len() >= GRANTS_MAX && !state.grants.contains_key(&peer) {
            return Err(Error::new(
                Kind::Overloaded,
                format!("a region has at most {GRANTS_MAX} grants"),
            ));
        }
        state.grants.insert(peer, grant);
        Ok(())
    }

    /// Takes a peer's grant away. Whether there was one.
    pub fn revoke(&self, id: &RegionId, peer: &PeerId) -> Result<bool> {
        Ok(self.get(id)?.state.lock().grants.remove(peer).is_some())
    }

    /// Raises the epoch of a region; operations and grants below it are refused from now on.
    pub fn fence(&self, id: &RegionId, epoch: u64) -> Result<()> {
        let region = self.get(id)?;
        let mut state = region.state.lock();
        if epoch < state.epoch {
            return Err(fenced(epoch, state.epoch));
        }
        state.epoch = epoch;
        Ok(())
    }

    pub fn counters(&self, id: &RegionId) -> Result<Counters> {
        Ok(self.get(id)?.counters())
    }

    /// The region, for operations of a peer. A peer learns of a region only by having a grant.
    pub fn open(&self, id: &RegionId) -> Result<Arc<Region>> {
        self.get(id).map_err(|_| no_grant())
    }

    fn get(&self, id: &RegionId) -> Result<Arc<Region>> {
        self.regions
            .read()
            .get(id)
            .cloned()
            .ok_or_else(|| unknown(id))
    }
}

impl Region {
    /// Whether `length` bytes at `access` may be read or written now.
    pub fn check(&self, access: Access, length: u64, writes: bool) -> Result<()> {
        self.state.lock().range(access, length, writes).map(|_| ())
    }

    /// Whether the peer has a grant in force, for whatever range.
    pub fn check_grant(&self, access: Access, writes: bool) -> Result<()> {
        self.state.lock().granted(access, writes).map(|_| ())
    }

    /// Counts an operation that has passed its first check.
    pub fn count(&self) {
        self.operations.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts a copy of `length` bytes behind `out`.
    pub fn read_onto(&self, access: Access, length: u64, out: &mut Vec<u8>) -> Result<()> {
        let mut state = self.state.lock();
        let range = state.range(access, length, false)?;
        out.extend_from_slice(&state.bytes[range]);
        drop(state);
        self.bytes_read.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    /// Puts `data` into the region.
    pub fn write(&self, access: Access, data: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        let range = state.range(access, data.len() as u64, true)?;
        state.bytes[range].copy_from_slice(data);
        drop(state);
        self.bytes_written
            .fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Puts `desired` in place of `expected` in one word. What the word was before; it has changed
    /// where that is `expected`.
    pub fn compare_and_swap(&self, access: Access, expected: u64, desired: u64) -> Result<u64> {
        self.update(access, |word| (word == expected).then_some(desired))
    }

    /// Adds to one word, modulo 2^64. What the word was before.
    pub fn fetch_add(&self, access: Access, delta: u64) -> Result<u64> {
        self.update(access, |word| Some(word.wrapping_add(delta)))
    }

    /// A peer that may write moves the region, and its own grant, to a higher epoch, so that every
    /// holder of a lower one is shut out.
    pub fn fence(&self, access: Access, epoch: u64) -> Result<()> {
        let mut state = self.state.lock();
        state.granted(access, true)?;
        if epoch <= state.epoch.max(access.epoch) {
            return Err(fenced(epoch, state.epoch.max(access.epoch)));
        }
        state.epoch = epoch;
        if let Some(grant) = state.grants.get_mut(&access.peer) {
            grant.epoch = epoch;
        }
        Ok(())
    }

    fn update(&self, access: Access, change: impl FnOnce(u64) -> Option<u64>) -> Result<u64> {
        if access.offset % WORD_BYTES != 0 {
            return Err(Error::new(
                Kind::Unaligned,
                format!("offset {} is no multiple of {WORD_BYTES}", access.offset),
            ));
        }
        let mut state = self.state.lock();
        let range = state.range(access, WORD_BYTES, true)?;
        let place = &mut state.bytes[range];
        let mut word = [0; WORD_BYTES as usize];
        word.copy_from_slice(place);
        let before = u64::from_le_bytes(word);
        let after = change(before);
        if let Some(after) = after {
            place.copy_from_slice(&after.to_le_bytes());
        }
        drop(state);
        self.bytes_read.fetch_add(WORD_BYTES, Ordering::Relaxed);
        if after.is_some() {
            self.bytes_written.fetch_add(WORD_BYTES, Ordering::Relaxed);
        }
        Ok(before)
    }

    fn counters(&self) -> Counters {
        Counters {
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            operations: self.operations.load(Ordering::Relaxed),
        }
    }
}

impl State {
    /// The grant that lets this peer do so now, if it has one; for whatever range.
    fn granted(&mut self, access: Access, writes: bool) -> Result<Grant> {
        let grant = *self.grants.get(&access.peer).ok_or_else(no_grant)?;
        if access.now_unix_ms >= grant.expires_unix_ms {
            self.grants.remove(&access.peer);
            return Err(Error::new(
                Kind::GrantExpired,
                format!("it ended at {} ms", grant.expires_unix_ms),
            ));
        }
        if access.epoch != grant.epoch || access.epoch < self.epoch {
            return Err(fenced(access.epoch, grant.epoch.max(self.epoch)));
        }
        if writes && !grant.can_write {
            return Err(Error::new(Kind::ReadOnly, "the grant is for reading"));
        }
        Ok(grant)
    }

    /// Where `length` bytes at `access` lie in `bytes`, if the peer's grant covers them.
    fn range(
        &mut self,
        access: Access,
        length: u64,
        writes: bool,
    ) -> Result<std::ops::Range<usize>> {
        let grant = self.granted(access, writes)?;
        let end = access.offset.checked_add(length);
        let granted_end = grant.offset + grant.length;
        if access.offset < grant.offset || end.is_none_or(|end| end > granted_end) {
            return Err(Error::new(
                Kind::OutOfRange,
                format!(
                    "{length} bytes at {}, granted are {} to {granted_end}",
                    access.offset, grant.offset
                ),
            ));
        }
        // In range of a grant, which is in range of `bytes`, whose length is a usize.
        Ok(access.offset as usize..(access.offset + length) as usize)
    }
}

fn no_grant() -> Error {
    Error::new(Kind::NoGrant, "no such region is granted to this peer")
}

fn unknown(id: &RegionId) -> Error {
    Error::new(Kind::RegionUnknown, hex(id))
}

fn fenced(epoch: u64, current: u64) -> Error {
    Error::new(
        Kind::Fenced,
        format!("epoch {epoch} was asked for, {current} is the present one"),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: RegionId = [1; 16];
    const PEER: PeerId = [2; 32];
    const OTHER: PeerId = [3; 32];

    impl Region {
        fn read(&self, access: Access, length: u64) -> Result<Vec<u8>> {
            let mut out = Vec::new();
            self.read_onto(access, length, &mut out).map(|()| out)
        }
    }

    fn grant() -> Grant {
        Grant {
            offset: 0,
            length: 4096,
            can_write: true,
            expires_unix_ms: 1000,
            epoch: 1,
        }
    }

    fn access(offset: u64) -> Access {
        Access {
            peer: PEER,
            epoch: 1,
            offset,
            now_unix_ms: 999,
        }
    }

    fn granted() -> (Regions, Arc<Region>) {
        let regions = Regions::default();
        regions.create(ID, 4096).unwrap();
        regions.grant(&ID, PEER, grant()).unwrap();
        let region = regions.open(&ID).unwrap();
        (regions, region)
    }

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
        result.unwrap_err().kind().unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_counted() {
        let (regions, region) = granted();
        region.write(access(100), b"hello").unwrap();
        assert_eq!(region.read(access(99), 7).unwrap(), b"\0hello\0");
        region.count();
        assert_eq!(
            regions.counters(&ID).unwrap(),
            Counters {
                bytes_read: 7,
                bytes_written: 5,
                operations: 1
            }
        );
    }

    #[test]
    fn words_are_little_endian_and_swap_only_what_is_expected() {
        let (_regions, region) = granted();
        assert_eq!(region.fetch_add(access(8), 258).unwrap(), 0);
        assert_eq!(region.read(access(8), 8).unwrap(), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(region.compare_and_swap(access(8), 1, 7).unwrap(), 258);
        assert_eq!(region.compare_and_swap(access(8), 258, 7).unwrap(), 258);
        assert_eq!(region.fetch_add(access(8), u64::MAX).unwrap(), 7);
        assert_eq!(region.fetch_add(access(8), 0).unwrap(), 6);
        for offset in [1, 4, 7, 9] {
            assert_eq!(kind(region.fetch_add(access(offset), 1)), Kind::Unaligned);
        }
    }

    #[test]
    fn ranges_end_where_the_grant_ends() {
        let (regions, region) = granted();
        assert_eq!(kind(region.write(access(4092), b"hello")), Kind::OutOfRange);
        assert_eq!(
            kind(region.check(access(u64::MAX), 2, false)),
            Kind::OutOfRange
        );
        assert_eq!(kind(region.fetch_add(access(4096), 1)), Kind::OutOfRange);
        let part = Grant {
            offset: 16,
            length: 16,
            ..grant()
        };
        regions.grant(&ID, PEER, part).unwrap();
        assert_eq!(kind(region.write(access(15), b"x")), Kind::OutOfRange);
        assert_eq!(kind(region.write(access(31), b"xy")), Kind::OutOfRange);
        region.write(access(16), &[9; 16]).unwrap();
        for (offset, length) in [(0, 0), (4096, 1), (u64::MAX, 1), (1, u64::MAX)] {
            let bad = Grant {
                offset,
                length,
                ..grant()
            };
            assert_eq!(kind(regions.grant(&ID, PEER, bad)), Kind::OutOfRange);
        }
    }

    #[test]
    fn grants_bind_peer_time_mode_and_epoch() {
        let (regions, region) = granted();
        let other = Access {
            peer: OTHER,
            ..access(0)
        };
        assert_eq!(kind(region.write(other, b"x")), Kind::NoGrant);
        for epoch in [0, 2] {
            let wrong = Access { epoch, ..access(0) };
            assert_eq!(kind(region.write(wrong, b"x")), Kind::Fenced);
        }
        let reader = Grant {
            can_write: false,
            ..grant()
        };
        regions.grant(&ID, OTHER, reader).unwrap();
        assert_eq!(kind(region.write(other, b"x")), Kind::ReadOnly);
        assert_eq!(kind(region.fetch_add(other, 1)), Kind::ReadOnly);
        assert_eq!(kind(region.fence(other, 9)), Kind::ReadOnly);
        region.read(other, 8).unwrap();
        let late = Access {
            now_unix_ms: 1000,
            ..access(0)
        };
        assert_eq!(kind(region.write(late, b"x")), Kind::GrantExpired);
        assert!(regions.revoke(&ID, &OTHER).unwrap());
        assert!(!regions.revoke(&ID, &OTHER).unwrap());
        assert_eq!(kind(region.read(other, 8)), Kind::NoGrant);
    }

    #[test]
    fn a_fence_shuts_out_lower_epochs_and_never_goes_back() {
        let (regions, region) = granted();
        regions.fence(&ID, 5).unwrap();
        assert_eq!(kind(region.write(access(0), b"x")), Kind::Fenced);
        assert_eq!(kind(regions.fence(&ID, 4)), Kind::Fenced);
        assert_eq!(kind(regions.grant(&ID, PEER, grant())), Kind::Fenced);
        let fresh = Grant {
            epoch: 5,
            ..grant()
        };
        regions.grant(&ID, PEER, fresh).unwrap();
        regions.grant(&ID, OTHER, fresh).unwrap();
        let now = Access {
            epoch: 5,
            ..access(0)
        };
        region.write(now, b"x").unwrap();
        assert_eq!(kind(region.fence(now, 5)), Kind::Fenced);
        region.fence(now, 6).unwrap();
        assert_eq!(kind(region.write(now, b"x")), Kind::Fenced);
        assert_eq!(
            kind(region.read(Access { peer: OTHER, ..now }, 1)),
            Kind::Fenced
        );
        region.write(Access { epoch: 6, ..now }, b"x").unwrap();
    }

    #[test]
    fn a_destroyed_region_is_gone_for_those_who_hold_it() {
        let (regions, region) = granted();
        region.write(access(0), &[0xaa; 4096]).unwrap();
        regions.destroy(&ID).unwrap();
        assert_eq!(kind(region.read(access(0), 1)), Kind::NoGrant);
        assert_eq!(kind(regions.open(&ID).map(|_| ())), Kind::NoGrant);
        assert_eq!(kind(regions.destroy(&ID)), Kind::RegionUnknown);
        regions.create(ID, 4096).unwrap();
        assert_eq!(kind(regions.create(ID, 1)), Kind::RegionExists);
        regions.grant(&ID, PEER, grant()).unwrap();
        let bytes = regions.open(&ID).unwrap().read(access(0), 4096).unwrap();
        assert_eq!(bytes, [0; 4096]);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let regions = Regions::default();
        assert_eq!(kind(regions.create(ID, 0)), Kind::RegionTooLarge);
        assert_eq!(kind(regions.create(ID, u64::MAX)), Kind::RegionTooLarge);
        assert_eq!(kind(regions.create(ID, 1 << 62)), Kind::RegionTooLarge);
    }
}
