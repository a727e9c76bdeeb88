//! What a stub resolver sends and is sent (RFC 1034 section 5.3.1): a question written, and of the
//! response as much as answers that question. Nothing in a response is believed that was not asked
//! for, and one that cannot be read to its end is none.

use crate::message::{kind, Reader, CLASS_IN, HEADER_BYTES, UDP_BYTES_MAX};
use crate::name;

/// Aliases that are followed within one response.
const ALIASES_MAX: usize = 16;
/// Pointers that are followed within one name; it has no more labels than this.
const POINTERS_MAX: usize = 127;
/// Records of one response; more do not fit into 64 KiB with owners of any use.
const RECORDS_MAX: usize = 4096;
/// Octets of the fields of a SOA record after its two names (RFC 1035 section 3.3.13).
const SOA_FIELDS: usize = 20;

/// What a response says of the question.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// With the bits of EDNS (RFC 6891 section 6.1.3).
    pub rcode: u16,
    /// There is more to ask for over TCP; then there is no data here.
    pub truncated: bool,
    /// Data of the records of the type that was asked for, at the end of the aliases.
    pub data: Vec<Vec<u8>>,
    /// Seconds for which it may be kept. A negative one without SOA says nothing of it (RFC 2308
    /// section 5).
    pub ttl: Option<u32>,
}

/// The wire form of a domain name in text, of labels without escapes, a final dot or none. `None`
/// where it is no such name.
pub fn name(text: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    for label in text.strip_suffix('.').unwrap_or(text).split('.') {
        let fits = (1..=name::LABEL_BYTES_MAX).contains(&label.len());
        if !fits
            || !label
                .bytes()
                .all(|each| each.is_ascii_graphic() && each != b'\\')
        {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= name::NAME_BYTES_MAX).then_some(wire)
}

/// A query with recursion desired for `kind` of `owner`, a name in wire form, and EDNS, so that the
/// response may have `UDP_BYTES_MAX` octets.
pub fn query(id: u16, owner: &[u8], kind: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + owner.len() + 15);
    for field in [id, 0x0100, 1, 0, 0, 1] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(owner);
    for field in [kind, CLASS_IN] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.push(0);
    for field in [kind::OPT, UDP_BYTES_MAX as u16, 0, 0, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out
}

/// What `message` answers to `query`, which [`query`] wrote. `None` where it is no response to it,
/// or not whole.
pub fn answer(query: &[u8], message: &[u8]) -> Option<Answer> {
    let asked = query.get(HEADER_BYTES..)?;
    let asked = asked.get(..name::length(asked)? + 4)?;
    let (owner, wanted) = asked.split_at(asked.len() - 4);
    let wanted = u16::from_be_bytes([wanted[0], wanted[1]]);
    let mut reader = Reader::new(message);
    let mut header = [0_u16; 6];
    for field in &mut header {
        *field = reader.u16()?;
    }
    let [id, flags, questions, counts @ ..] = header;
    // A response, to a query, with the id and the question of this one (RFC 5452 section 9.1).
    if id.to_be_bytes() != query[..2] || flags & 0xf800 != 0x8000 || questions != 1 {
        return None;
    }
    if !reader.take(asked.len())?.eq_ignore_ascii_case(asked) {
        return None;
    }
    let mut found = Answer {
        rcode: flags & 0xf,
        truncated: flags & 0x0200 != 0,
        data: Vec::new(),
        ttl: None,
    };
    if found.truncated {
        return Some(found);
    }
    let sections = records(&mut reader, counts)?;
    for opt in sections[2].iter().filter(|each| each.kind == kind::OPT) {
        found.rcode |= (opt.ttl >> 20) as u16 & 0xff0;
    }
    let mut at = owner.to_ascii_lowercase();
    let mut kept_s = u32::MAX;
    for _ in 0..=ALIASES_MAX {
        for each in at_owner(&sections[0], &at, wanted) {
            kept_s = kept_s.min(each.ttl);
            found.data.push(message[each.data.clone()].to_vec());
        }
        if !found.data.is_empty() {
            found.ttl = Some(kept_s);
            return Some(found);
        }
        let alias = at_owner(&sections[0], &at, kind::CNAME).next();
        let Some(alias) = alias else {
            found.ttl = negative(message, &sections[1], &at)?.map(|ttl| ttl.min(kept_s));
            return Some(found);
        };
        kept_s = kept_s.min(alias.ttl);
        let (target, end) = whole_name(message, alias.data.start)?;
        if end != alias.data.end {
            return None;
        }
        at = target;
    }
    None
}

/// A record, its owner in lower case, and where its data stand.
struct Record {
    owner: Vec<u8>,
    kind: u16,
    class: u16,
    ttl: u32,
    data: std::ops::Range<usize>,
}

/// The records of the three sections, which end where the message does.
fn records(reader: &mut Reader<'_>, counts: [u16; 3]) -> Option<[Vec<Record>; 3]> {
    if counts.iter().copied().map(usize::from).sum::<usize>() > RECORDS_MAX {
        return None;
    }
    let mut sections = [Vec::new(), Vec::new(), Vec::new()];
    for (section, count) in sections.iter_mut().zip(counts) {
        for _ in 0..count {
            let (owner, end) = whole_name(reader.bytes(), reader.at())?;
            reader.take(end - reader.at())?;
            let kind = reader.u16()?;
            let class = reader.u16()?;
            let ttl = u32::from(reader.u16()?) << 16 | u32::from(reader.u16()?);
            let length = usize::from(reader.u16()?);
            let start = reader.at();
            reader.take(length)?;
            // One with the highest bit set is to be taken as zero (RFC 2181 section 8), but that of
            // OPT is none.
            let is_time = kind != kind::OPT && ttl >> 31 == 1;
            section.push(Record {
                owner,
                kind,
                class,
                ttl: if is_time { 0 } else { ttl },
                data: start..start + length,
            });
        }
    }
    (reader.at() == reader.bytes().len()).then_some(sections)
}

fn at_owner<'a>(
    section: &'a [Record],
    owner: &'a [u8],
    kind: u16,
) -> impl Iterator<Item = &'a Record> {
    section
        .iter()
        .filter(move |each| each.kind == kind && each.class == CLASS_IN && each.owner == owner)
}

/// How long it may be kept that `name` has nothing, by the SOA of a zone that it is in (RFC 2308
/// section 5). The outer `None`: the SOA cannot be read.
fn negative(message: &[u8], authority: &[Record], name: &[u8]) -> Option<Option<u32>> {
    let soa = authority.iter().find(|each| {
        each.kind == kind::SOA && each.class == CLASS_IN && name::is_within(name, &each.owner)
    });
    let Some(soa) = soa else {
        return Some(None);
    };
    let (_, after) = whole_name(message, soa.data.start)?;
    let (_, after) = whole_name(message, after)?;
    let fields = message.get(after..soa.data.end)?;
    if fields.len() != SOA_FIELDS {
        return None;
    }
    let minimum = u32::from_be_bytes(fields[16..].try_into().ok()?);
    Some(Some(minimum.min(soa.ttl)))
}

/// The name at `at` in lower case, its pointers followed, and where it ends. Pointers lead
/// backwards alone, so no name goes on for ever (RFC 1035 section 4.1.4).
fn whole_name(message: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let (mut name, mut at, mut bound, mut end) = (Vec::new(), at, at, None);
    let mut pointers = 0;
    while pointers <= POINTERS_MAX {
        let label = *message.get(at)?;
        match label {
            0 => {
                name.push(0);
                return Some((name, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                let next = at + 1 + usize::from(label);
                name.extend_from_slice(message.get(at..next)?);
                if name.len() >= name::NAME_BYTES_MAX {
                    return None;
                }
                let start = name.len() - usize::from(label);
                name[start..].make_ascii_lowercase();
                at = next;
            }
            192.. => {
                let low = *message.get(at + 1)?;
                end.get_or_insert(at + 2);
                let target = usize::from(label & 0x3f) << 8 | usize::from(low);
                if target >= bound {
                    return None;
                }
                (at, bound) = (target, target);
                pointers += 1;
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    const OWNER: &[u8] = b"\x03www\x07example\x00";

    fn asked() -> Vec<u8> {
        query(0x1234, OWNER, kind::A)
    }

    /// Section, owner, type, TTL, data.
    type Given<'a> = (usize, &'a [u8], u16, u32, &'a [u8]);

    /// A response with `rcode` to [`asked`].
    fn response(rcode: u16, records: &[Given<'_>]) -> Vec<u8> {
        let query = asked();
        let mut out = query[..HEADER_BYTES + OWNER.len() + 4].to_vec();
        out[2..4].copy_from_slice(&(0x8180 | rcode).to_be_bytes());
        let mut counts = [0_u8; 3];
        for (section, owner, kind, ttl, data) in records {
            counts[*section] += 1;
            out.extend_from_slice(owner);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&CLASS_IN.to_be_bytes());
            out.extend_from_slice(&ttl.to_be_bytes());
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        for (count, at) in counts.into_iter().zip([7, 9, 11]) {
            out[at] = count;
        }
        out
    }

    #[test]
    fn names_have_labels() {
        assert_eq!(name("www.example").unwrap(), OWNER);
        assert_eq!(name("WWW.Example.").unwrap(), b"\x03WWW\x07Example\x00");
        for text in ["", ".", "a..b", ".a", "a b", "a\\.b", "\u{e9}.example"] {
            assert_eq!(name(text), None, "{text:?}");
        }
        assert!(name(&"a".repeat(63)).is_some());
        assert!(name(&"a".repeat(64)).is_none());
        assert!(name(&vec!["a".repeat(61); 4].join(".")).is_some());
        assert!(name(&vec!["a".repeat(63); 4].join(".")).is_none());
    }

    #[test]
    fn a_query_is_read_by_the_server() {
        let bytes = asked();
        let crate::message::Read::Query(read) = crate::message::read(&bytes) else {
            panic!("not read")
        };
        assert_eq!((read.name.as_slice(), read.kind), (OWNER, kind::A));
        assert!(read.recursion_desired());
        assert_eq!(read.edns.unwrap().udp_bytes, UDP_BYTES_MAX as u16);
    }

    #[test]
    fn aliases_are_followed_and_the_shortest_time_counts() {
        let message = response(
            0,
            &[
                (0, b"\xc0\x0c", kind::CNAME, 30, b"\x01a\xc0\x10"),
                (0, b"\x01A\xc0\x10", kind::A, 60, &[192, 0, 2, 1]),
                (0, b"\x01a\xc0\x10", kind::A, 50, &[192, 0, 2, 2]),
                (0, b"\x01b\xc0\x10", kind::A, 1, &[192, 0, 2, 3]),
            ],
        );
        let found = answer(&asked(), &message).unwrap();
        assert_eq!(found.data, [[192, 0, 2, 1], [192, 0, 2, 2]]);
        assert_eq!(
            (found.rcode, found.truncated, found.ttl),
            (0, false, Some(30))
        );
        let circle = response(0, &[(0, b"\xc0\x0c", kind::CNAME, 30, b"\xc0\x0c")]);
        assert_eq!(answer(&asked(), &circle), None);
    }

    #[test]
    fn nothing_is_kept_as_long_as_the_zone_says() {
        let soa =
            |minimum: u32| [b"\x00\x00".as_slice(), &[0; 16], &minimum.to_be_bytes()].concat();
        for (owner, ttl, minimum, kept) in [
            (b"\xc0\x10".as_slice(), 90, 40, Some(40)),
            (b"\xc0\x10", 20, 40, Some(20)),
            (b"\x00", 90, 40, Some(40)),
            (b"\x05other\x00", 90, 40, None),
            (b"\xc0\x10", 1 << 31, 40, Some(0)),
        ] {
            let message = response(3, &[(1, owner, kind::SOA, ttl, &soa(minimum))]);
            let found = answer(&asked(), &message).unwrap();
            assert_eq!((found.rcode, found.ttl, found.data.len()), (3, kept, 0));
        }
        let short = response(0, &[(1, b"\xc0\x10", kind::SOA, 9, b"\x00\x00123")]);
        assert_eq!(answer(&asked(), &short), None);
        assert_eq!(answer(&asked(), &response(0, &[])).unwrap().ttl, None);
    }

    #[test]
    fn only_the_answer_to_this_question_is_taken() {
        let good = response(0, &[(0, b"\xc0\x0c", kind::A, 60, &[192, 0, 2, 1])]);
        assert!(answer(&asked(), &good).is_some());
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            answer(&asked(), &bytes)
        };
        // Another id, a query, another opcode, another number of questions, another name, type
        // or class in the question.
        for (at, to) in [
            (1, 0),
            (2, 1),
            (2, 0xa9),
            (5, 2),
            (13, b'v'),
            (26, 28),
            (28, 3),
        ] {
            assert_eq!(changed(at, to), None, "octet {at}");
        }
        assert!(changed(13, b'W').is_some(), "case does not count");
        for cut in 0..good.len() {
            assert_eq!(answer(&asked(), &good[..cut]), None);
        }
        assert_eq!(answer(&asked(), &[good.as_slice(), b"x"].concat()), None);
        let class = good.len() - 16 + 5;
        assert!(
            changed(class, 3).unwrap().data.is_empty(),
            "of another class"
        );
        assert_eq!(changed(2, 0x83).map(|found| found.truncated), Some(true));
    }

    #[test]
    fn the_response_code_has_the_bits_of_edns() {
        let opt = response(0, &[(2, b"\x00", kind::OPT, 1 << 24, b"")]);
        assert_eq!(answer(&asked(), &opt).unwrap().rcode, 16);
    }

    #[test]
    fn pointers_lead_backwards() {
        for pointer in [
            &[0xc0, 0x1d][..],
            &[0xc0, 0x20],
            &[0xff, 0xff],
            &[0xc0],
            &[0x80, 1],
        ] {
            let message = response(0, &[(0, pointer, kind::A, 60, &[192, 0, 2, 1])]);
            assert_eq!(answer(&asked(), &message), None);
        }
    }
}
