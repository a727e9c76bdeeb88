//! Messages of the DNS (RFC 1035 section 4): queries read, responses written. Nothing is copied
//! from a query but its header and its question, and nothing in it is believed beyond its length.

use crate::name;

pub const HEADER_BYTES: usize = 12;
/// Octets; what a response over UDP has at most, so that it is not fragmented
/// (the DNS flag day of 2020), and what a client without EDNS takes (RFC 1035 section 4.2.1).
pub const UDP_BYTES_MAX: usize = 1232;
pub const UDP_BYTES_PLAIN: usize = 512;
pub const TCP_BYTES_MAX: usize = 65_535;
/// Octets; longer options are not looked at. Ours has 40 at most (RFC 7873 section 4).
const COOKIE_BYTES: std::ops::RangeInclusive<usize> = 16..=40;
/// Records in the additional section of a query: OPT, and one for a signature.
const ADDITIONAL_MAX: u16 = 4;

pub mod kind {
    //! Types of records and questions (IANA, "Resource Record (RR) TYPEs").
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const AAAA: u16 = 28;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const DNSKEY: u16 = 48;
    pub const OPT: u16 = 41;
    /// RFC 9824 section 2.
    pub const NXNAME: u16 = 128;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const MAILB: u16 = 253;
    pub const MAILA: u16 = 254;
    pub const ANY: u16 = 255;
}

pub const CLASS_IN: u16 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Query,
    Update,
    Other,
}

/// Response codes; those above 15 need EDNS (RFC 6891 section 6.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVers = 16,
}

/// Codes that say more (RFC 8914).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Extended {
    NotAuthoritative = 20,
    InvalidQueryType = 30,
}

/// The EDNS of a query (RFC 6891).
#[derive(Clone, Copy, Debug, Default)]
pub struct Edns<'a> {
    pub udp_bytes: u16,
    pub version: u8,
    /// The client wants signatures (RFC 3225), and takes compact denial as such (RFC 9824 section
    /// 5.1).
    pub dnssec: bool,
    pub compact: bool,
    /// RFC 7873; client cookie, and after it what a server once gave.
    pub cookie: Option<&'a [u8]>,
}

/// A query with one question.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub id: u16,
    pub flags: u16,
    pub opcode: Opcode,
    /// The question as it came: name, type, class.
    pub question: &'a [u8],
    /// Its name in lower case.
    pub name: Vec<u8>,
    pub kind: u16,
    pub class: u16,
    pub edns: Option<Edns<'a>>,
}

impl Query<'_> {
    pub fn recursion_desired(&self) -> bool {
        self.flags & 0x0100 != 0
    }

    pub fn dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec)
    }
}

/// What bytes from outside turned out to be.
pub enum Read<'a> {
    Query(Query<'a>),
    /// Answered by its header alone.
    Malformed(u16, u16, Rcode),
    /// Not answered: too short to be a message, or a response.
    Nothing,
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        let taken = self.take(2)?;
        Some(u16::from_be_bytes([taken[0], taken[1]]))
    }

    /// Passes over a name that may end in a pointer, without following it.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Some(()),
                label @ 1..=63 => self.take(usize::from(label)).map(drop)?,
                192.. => return self.take(1).map(drop),
                _ => return None,
            }
        }
    }
}

/// Reads a message from a client.
pub fn read(bytes: &[u8]) -> Read<'_> {
    let mut reader = Reader::new(bytes);
    let mut header = [0_u16; 6];
    for field in &mut header {
        match reader.u16() {
            Some(value) => *field = value,
            None => return Read::Nothing,
        }
    }
    let [id, flags, questions, answers, authorities, additionals] = header;
    if flags & 0x8000 != 0 {
        return Read::Nothing;
    }
    let opcode = match (flags >> 11) & 0xf {
        0 => Opcode::Query,
        5 => Opcode::Update,
        _ => return Read::Malformed(id, flags, Rcode::NotImp),
    };
    let malformed = Read::Malformed(id, flags, Rcode::FormErr);
    if questions != 1 {
        return malformed;
    }
    let Some(question) = read_question(&mut reader) else {
        return malformed;
    };
    let (name, rest) = question.split_at(question.len() - 4);
    let mut query = Query {
        id,
        flags,
        opcode,
        question,
        name: name.to_ascii_lowercase(),
        kind: u16::from_be_bytes([rest[0], rest[1]]),
        class: u16::from_be_bytes([rest[2], rest[3]]),
        edns: None,
    };
    if opcode == Opcode::Update {
        // Its sections are read where it is carried out.
        return Read::Query(query);
    }
    // A question for the changes since a version has one authority record (RFC 1995 section 3).
    if answers != 0 || authorities > 1 || additionals > ADDITIONAL_MAX {
        return malformed;
    }
    for _ in 0..authorities {
        if read_record(&mut reader).is_none() {
            return malformed;
        }
    }
    for _ in 0..additionals {
        let Some((root, kind, class, ttl, data)) = read_record(&mut reader) else {
            return malformed;
        };
        if kind == kind::OPT {
            if query.edns.is_some() || !root {
                return malformed;
            }
            let Some(edns) = read_edns(class, ttl, data) else {
                return malformed;
            };
            query.edns = Some(edns);
        }
    }
    if reader.at != bytes.len() {
        return malformed;
    }
    Read::Query(query)
}

fn read_question<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = name::length(reader.bytes.get(reader.at..)?)?;
    reader.take(length + 4)
}

/// Whether the owner is the root, type, class, TTL and data of the next record.
fn read_record<'a>(reader: &mut Reader<'a>) -> Option<(bool, u16, u16, u32, &'a [u8])> {
    let before = reader.at;
    reader.skip_name()?;
    let root = reader.at == before + 1;
    let kind = reader.u16()?;
    let class = reader.u16()?;
    let ttl = u32::from(reader.u16()?) << 16 | u32::from(reader.u16()?);
    let length = reader.u16()?;
    Some((root, kind, class, ttl, reader.take(usize::from(length))?))
}

fn read_edns(udp_bytes: u16, ttl: u32, data: &[u8]) -> Option<Edns<'_>> {
    const COOKIE: u16 = 10;
    let mut edns = Edns {
        udp_bytes,
        version: (ttl >> 16) as u8,
        dnssec: ttl & 0x8000 != 0,
        compact: ttl & 0x4000 != 0,
        cookie: None,
    };
    let mut options = Reader::new(data);
    while options.at < data.len() {
        let code = options.u16()?;
        let length = options.u16()?;
        let value = options.take(usize::from(length))?;
        if code == COOKIE && edns.cookie.is_none() {
            // Eight octets from the client, and none or 8 to 32 from a server.
            if value.len() != 8 && !COOKIE_BYTES.contains(&value.len()) {
                return None;
            }
            edns.cookie = Some(value);
        }
    }
    Some(edns)
}

/// Sections of a response that records are put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// A response that is being written: to `out`, beginning where `out` ends.
pub struct Response<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    name: &'a [u8],
    counts: [u16; 3],
    pub authoritative: bool,
    pub rcode: Rcode,
    pub extended: Option<Extended>,
}

impl<'a> Response<'a> {
    /// Writes header and question of the response to `query`.
    pub fn begin(out: &'a mut Vec<u8>, query: &'a Query<'_>) -> Response<'a> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        out.extend_from_slice(query.question);
        Response {
            out,
            start,
            name: &query.name,
            counts: [0; 3],
            authoritative: false,
            rcode: Rcode::NoError,
            extended: None,
        }
    }

    /// Writes one record. Sections come in their order.
    pub fn record(&mut self, section: Section, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) {
        self.owner(owner);
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.out
            .extend_from_slice(&(data.len() as u16).to_be_bytes());
        self.out.extend_from_slice(data);
        let count = &mut self.counts[section as usize];
        *count = count.saturating_add(1);
    }

    /// A name, its end as a pointer into the question where they agree (RFC 1035 section 4.1.4).
    fn owner(&mut self, owner: &[u8]) {
        for rest in name::ancestors(owner) {
            if rest.len() > 1 && self.name.ends_with(rest) {
                let at = HEADER_BYTES + self.name.len() - rest.len();
                let question = &self.name[..self.name.len() - rest.len()];
                // Bytes may agree in the middle of a label.
                if on_label_boundary(self.name, question.len()) {
                    let labels = &owner[..owner.len() - rest.len()];
                    self.out.extend_from_slice(labels);
                    self.out
                        .extend_from_slice(&(0xc000 | at as u16).to_be_bytes());
                    return;
                }
            }
        }
        self.out.extend_from_slice(owner);
    }

    /// Writes OPT and header. A response of more than `limit` octets goes without its records and
    /// says that it was truncated (RFC 2181 section 9).
    pub fn end(mut self, query: &Query<'_>, limit: usize, truncate: bool, cookie: Option<&[u8]>) {
        let mut flags = 0x8000 | (query.flags & 0x7910);
        let opt = query.edns.map(|edns| self.opt(&edns, cookie));
        let opt_bytes = opt.as_ref().map_or(0, Vec::len);
        if truncate || self.out.len() - self.start + opt_bytes > limit {
            self.out
                .truncate(self.start + HEADER_BYTES + query.question.len());
            self.counts = [0; 3];
            flags |= 0x0200;
        }
        if let Some(opt) = opt {
            self.out.extend_from_slice(&opt);
            self.counts[2] += 1;
        }
        if self.authoritative {
            flags |= 0x0400;
        }
        flags |= self.rcode as u16 & 0xf;
        let [answers, authorities, additionals] = self.counts;
        let fields = [query.id, flags, 1, answers, authorities, additionals];
        write_header(&mut self.out[self.start..], fields);
    }

    fn opt(&self, edns: &Edns<'_>, cookie: Option<&[u8]>) -> Vec<u8> {
        let mut opt = vec![0];
        opt.extend_from_slice(&kind::OPT.to_be_bytes());
        opt.extend_from_slice(&(UDP_BYTES_MAX as u16).to_be_bytes());
        let high = (self.rcode as u16 >> 4) as u8;
        let flags: u16 = if edns.dnssec { 0x8000 } else { 0 };
        opt.extend_from_slice(&[high, 0]);
        opt.extend_from_slice(&flags.to_be_bytes());
        let mut options = Vec::new();
        if let Some(cookie) = cookie {
            options.extend_from_slice(&[0, 10, 0, cookie.len() as u8]);
            options.extend_from_slice(cookie);
        }
        if let Some(extended) = self.extended {
            options.extend_from_slice(&[0, 15, 0, 2]);
            options.extend_from_slice(&(extended as u16).to_be_bytes());
        }
        opt.extend_from_slice(&(options.len() as u16).to_be_bytes());
        opt.extend_from_slice(&options);
        opt
    }
}

fn on_label_boundary(name: &[u8], at: usize) -> bool {
    name::ancestors(name).any(|rest| name.len() - rest.len() == at)
}

fn write_header(out: &mut [u8], fields: [u16; 6]) {
    for (place, field) in out.chunks_exact_mut(2).zip(fields) {
        place.copy_from_slice(&field.to_be_bytes());
    }
}

/// A response that is a header alone.
pub fn refusal(out: &mut Vec<u8>, id: u16, flags: u16, rcode: Rcode) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let flags = 0x8000 | (flags & 0x7900) | rcode as u16;
    write_header(&mut out[start..], [id, flags, 0, 0, 0, 0]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    pub fn query(name: &[u8], kind: u16) -> Vec<u8> {
        let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(name);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out
    }

    #[test]
    fn a_query_is_read_in_lower_case_and_its_question_kept() {
        let bytes = query(b"\x03WwW\x00", kind::A);
        let Read::Query(read) = read(&bytes) else {
            panic!("not read")
        };
        assert_eq!(read.name, b"\x03www\x00");
        assert_eq!(read.question, &bytes[12..]);
        assert!(read.recursion_desired());
    }

    #[test]
    fn what_is_cut_or_lengthened_is_malformed() {
        let bytes = query(b"\x03www\x00", kind::A);
        for cut in 0..bytes.len() {
            match read(&bytes[..cut]) {
                Read::Nothing => assert!(cut < HEADER_BYTES),
                Read::Malformed(id, _, rcode) => assert_eq!((id, rcode), (0x1234, Rcode::FormErr)),
                Read::Query(_) => panic!("{cut} bytes are no query"),
            }
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(matches!(read(&longer), Read::Malformed(..)));
        let mut response = bytes.clone();
        response[2] |= 0x80;
        assert!(matches!(read(&response), Read::Nothing));
        let pointer = query(b"\xc0\x0c", kind::A);
        assert!(matches!(read(&pointer), Read::Malformed(..)));
    }

    #[test]
    fn owners_point_into_the_question_at_labels_only() {
        let bytes = query(b"\x04\x03abc\x03com\x00", kind::A);
        let Read::Query(read) = read(&bytes) else {
            panic!("not read")
        };
        let mut out = Vec::new();
        let mut response = Response::begin(&mut out, &read);
        // `abc.com` ends the question's bytes, and begins within a label of it.
        response.record(Section::Answer, b"\x03abc\x03com\x00", kind::A, 1, b"1234");
        response.end(&read, 512, false, None);
        let answer = &out[bytes.len()..];
        assert!(answer.starts_with(b"\x03abc\xc0\x11"));
    }
}
