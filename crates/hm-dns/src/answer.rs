//! From a query to its response: pure but for the cache of signatures.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::message::{
    self, kind, Extended, Opcode, Query, Rcode, Read, Response, Section, CLASS_IN, TCP_BYTES_MAX,
    UDP_BYTES_MAX, UDP_BYTES_PLAIN,
};
use crate::name;
use crate::signing::{denial, Signatures};
use crate::zone::{Node, Place, RecordSet, Zone};

/// Links of a chain of CNAME records that are followed.
const CHAIN_MAX: usize = 8;

/// The zones that are served. Each change of several is one.
#[derive(Default)]
pub struct Zones {
    by_apex: RwLock<HashMap<Box<[u8]>, Arc<Zone>>>,
}

impl Zones {
    pub fn put(&self, zones: Vec<Zone>) {
        let zones: Vec<_> = zones.into_iter().map(Arc::new).collect();
        let mut held = self.by_apex.write();
        for zone in zones {
            held.insert(zone.apex.clone(), zone);
        }
    }

    pub fn remove(&self, apexes: &[Vec<u8>]) {
        let mut held = self.by_apex.write();
        for apex in apexes {
            held.remove(apex.as_slice());
        }
    }

    pub fn get(&self, apex: &[u8]) -> Option<Arc<Zone>> {
        self.by_apex.read().get(apex).cloned()
    }

    pub fn count(&self) -> usize {
        self.by_apex.read().len()
    }

    /// The zone whose question this is: the closest above, but for DS the one above that.
    fn find(&self, wanted: &[u8], kind: u16) -> Option<Arc<Zone>> {
        let held = self.by_apex.read();
        let mut zones = name::ancestors(wanted).filter_map(|at| held.get(at));
        let closest = zones.next()?;
        if kind == kind::DS && *closest.apex == *wanted {
            return Some(zones.next().unwrap_or(closest).clone());
        }
        Some(closest.clone())
    }
}

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Udp,
    Stream,
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered(Rcode),
    /// Nothing was written and nothing is to be sent.
    Silent,
    /// Nothing was written: it is for someone else to answer.
    Elsewhere,
    /// The same for a dynamic update (RFC 2136).
    Update,
}

/// What a response is made under.
pub struct Terms<'a> {
    pub via: Via,
    pub now_s: u64,
    /// Whether names outside the zones go elsewhere.
    pub elsewhere: &'a dyn Fn(&Query<'_>) -> bool,
    /// An empty, truncated response: the client shall come by TCP (RFC 5358, RRL's "slip").
    pub slip: bool,
    pub cookie: Option<&'a [u8]>,
}

/// Appends the response to `bytes` to `out`.
pub fn answer(
    zones: &Zones,
    signatures: &Signatures,
    bytes: &[u8],
    terms: &Terms<'_>,
    out: &mut Vec<u8>,
) -> Outcome {
    match message::read(bytes) {
        Read::Nothing => Outcome::Silent,
        Read::Malformed(id, flags, rcode) => {
            message::refusal(out, id, flags, rcode);
            Outcome::Answered(rcode)
        }
        Read::Query(query) => respond(zones, signatures, &query, terms, out),
    }
}

/// The same for a query that was read.
pub fn respond(
    zones: &Zones,
    signatures: &Signatures,
    query: &Query<'_>,
    terms: &Terms<'_>,
    out: &mut Vec<u8>,
) -> Outcome {
    if query.opcode == Opcode::Update {
        return Outcome::Update;
    }
    let start = out.len();
    let mut response = Response::begin(out, query);
    let zone = match judged(query) {
        Some((rcode, extended)) => {
            (response.rcode, response.extended) = (rcode, extended);
            None
        }
        None => zones.find(&query.name, query.kind),
    };
    match &zone {
        _ if response.rcode != Rcode::NoError => (),
        Some(zone) => {
            let mut answering = Answering {
                zone,
                signatures,
                query,
                now_s: terms.now_s,
                signed: query.dnssec() && zone.signer.is_some(),
                failed: false,
                response: &mut response,
            };
            answering.answer();
            if answering.failed {
                response.rcode = Rcode::ServFail;
                response.authoritative = false;
            }
        }
        None if (terms.elsewhere)(query) => {
            out.truncate(start);
            return Outcome::Elsewhere;
        }
        None => {
            response.rcode = Rcode::Refused;
            response.extended = Some(Extended::NotAuthoritative);
        }
    }
    let limit = limit(query, terms.via);
    let rcode = response.rcode;
    response.end(query, limit, terms.slip, terms.cookie);
    Outcome::Answered(rcode)
}

/// Octets that the client takes.
pub fn limit(query: &Query<'_>, via: Via) -> usize {
    match (via, query.edns) {
        (Via::Stream, _) => TCP_BYTES_MAX,
        (Via::Udp, Some(edns)) => usize::from(edns.udp_bytes).clamp(UDP_BYTES_PLAIN, UDP_BYTES_MAX),
        (Via::Udp, None) => UDP_BYTES_PLAIN,
    }
}

/// What is refused whatever the zones hold.
fn judged(query: &Query<'_>) -> Option<(Rcode, Option<Extended>)> {
    if query.edns.is_some_and(|edns| edns.version != 0) {
        return Some((Rcode::BadVers, None));
    }
    if query.class != CLASS_IN {
        return Some((Rcode::Refused, None));
    }
    match query.kind {
        // Nobody may copy a zone.
        kind::AXFR | kind::IXFR => Some((Rcode::Refused, None)),
        kind::MAILA | kind::MAILB => Some((Rcode::NotImp, None)),
        // They are no questions (RFC 9824 section 3.5; RFC 6891 section 6.1.1).
        kind::NXNAME | kind::OPT => Some((Rcode::FormErr, Some(Extended::InvalidQueryType))),
        _ => None,
    }
}

struct Answering<'a, 'r, 'o> {
    zone: &'a Zone,
    signatures: &'a Signatures,
    query: &'a Query<'a>,
    now_s: u64,
    signed: bool,
    failed: bool,
    response: &'r mut Response<'o>,
}

impl Answering<'_, '_, '_> {
    fn answer(&mut self) {
        self.response.authoritative = true;
        let zone = self.zone;
        let mut wanted = self.query.name.clone();
        for link in 0..=CHAIN_MAX {
            match zone.find(&wanted, self.query.kind) {
                Place::Delegated(at, node) => {
                    // Behind a chain, who asks follows the delegation himself.
                    if link == 0 {
                        self.refer(at, node);
                    }
                    return;
                }
                Place::Absent => {
                    let shown = !self.signed || self.query.edns.is_some_and(|edns| edns.compact);
                    if shown {
                        self.response.rcode = Rcode::NxDomain;
                    }
                    return self.deny(&wanted, None);
                }
                Place::Node(node) => match self.at_node(&wanted, node) {
                    Some(next) if name::is_within(&next, &zone.apex) => wanted = next,
                    _ => return,
                },
            }
        }
    }

    /// Answers from `node`; the name that goes on, where it is an alias.
    fn at_node(&mut self, owner: &[u8], node: &Node) -> Option<Vec<u8>> {
        let wanted = self.query.kind;
        let found = match wanted {
            // One set is enough (RFC 8482 section 4.1).
            kind::ANY => node.sets.first(),
            _ => node.set(wanted),
        };
        if let Some(set) = found {
            self.put(Section::Answer, owner, set, true);
            return None;
        }
        if self.signed && wanted == kind::NSEC && !node.sets.is_empty() {
            self.put_denial(Section::Answer, owner, Some(node));
            return None;
        }
        if self.signed && wanted == kind::RRSIG {
            if let Some(set) = node.sets.first() {
                self.put_signature(Section::Answer, owner, set, set.ttl);
                return None;
            }
        }
        match node.set(kind::CNAME) {
            Some(alias) => {
                self.put(Section::Answer, owner, alias, true);
                Some(alias.data.first()?.to_vec())
            }
            None => {
                self.deny(owner, Some(node));
                None
            }
        }
    }

    /// A referral (RFC 1034 section 4.3.2 step 3b), with the addresses that lie in this zone.
    fn refer(&mut self, at: &[u8], node: &Node) {
        self.response.authoritative = false;
        let Some(servers) = node.set(kind::NS) else {
            return;
        };
        self.put(Section::Authority, at, servers, false);
        if self.signed {
            match node.set(kind::DS) {
                Some(set) => self.put(Section::Authority, at, set, true),
                None => self.put_denial(Section::Authority, at, Some(node)),
            }
        }
        for server in &servers.data {
            for kind in [kind::A, kind::AAAA] {
                if let Some(set) = self.zone.node(server).and_then(|node| node.set(kind)) {
                    self.put(Section::Additional, server, set, false);
                }
            }
        }
    }

    /// Nothing of the kind is at `owner`, or nothing at all (RFC 2308 section 2).
    fn deny(&mut self, owner: &[u8], node: Option<&Node>) {
        let zone = self.zone;
        let ttl = self.negative_ttl();
        for data in &zone.soa.data {
            self.response
                .record(Section::Authority, &zone.apex, kind::SOA, ttl, data);
        }
        if self.signed {
            self.put_signature(Section::Authority, &zone.apex, &zone.soa, ttl);
            self.put_denial(Section::Authority, owner, node);
        }
    }

    /// RFC 2308 section 5 and RFC 9077 section 3.
    fn negative_ttl(&self) -> u32 {
        let soa = &self.zone.soa;
        let minimum = soa.data.first().and_then(|data| data.last_chunk());
        soa.ttl
            .min(minimum.map_or(0, |bytes| u32::from_be_bytes(*bytes)))
    }

    fn put(&mut self, section: Section, owner: &[u8], set: &RecordSet, sign: bool) {
        for data in &set.data {
            self.response
                .record(section, owner, set.kind, set.ttl, data);
        }
        if sign && self.signed {
            self.put_signature(section, owner, set, set.ttl);
        }
    }

    fn put_signature(&mut self, section: Section, owner: &[u8], set: &RecordSet, ttl: u32) {
        let zone = self.zone;
        let Some(signer) = &zone.signer else {
            return;
        };
        let response = &mut *self.response;
        let made = self
            .signatures
            .over_set(signer, &zone.apex, owner, set, self.now_s, |data| {
                response.record(section, owner, kind::RRSIG, ttl, data);
            });
        self.failed |= !made;
    }

    /// Compact denial of existence (RFC 9824): one NSEC, at the name itself.
    fn put_denial(&mut self, section: Section, owner: &[u8], node: Option<&Node>) {
        let zone = self.zone;
        let Some(signer) = &zone.signer else {
            return;
        };
        let mut kinds: Vec<u16> = match node {
            Some(node) => node.sets.iter().map(|set| set.kind).collect(),
            None => vec![kind::NXNAME],
        };
        if node.is_some_and(|node| node.set(kind::NS).is_some()) && owner != &*zone.apex {
            // Of a delegation, what is below it is not this zone's (RFC 4035 section 2.3).
            kinds.retain(|each| matches!(*each, kind::NS | kind::DS));
        }
        kinds.extend([kind::RRSIG, kind::NSEC]);
        kinds.sort_unstable();
        let (ttl, data) = (self.negative_ttl(), denial(owner, kinds.into_iter()));
        let response = &mut *self.response;
        response.record(section, owner, kind::NSEC, ttl, &data);
        let made = self.signatures.over_denial(
            signer,
            &zone.apex,
            owner,
            ttl,
            &data,
            self.now_s,
            |rrsig| {
                response.record(section, owner, kind::RRSIG, ttl, rrsig);
            },
        );
        self.failed |= !made;
    }
}
