//! Against amplification: who is answered how often over UDP, and who has shown that he is there.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use parking_lot::Mutex;

/// Buckets; networks that share one by chance share its rate.
const BUCKETS: usize = 1 << 16;
const SHARDS: usize = 64;
const CLIENT_COOKIE: usize = 8;
const SERVER_COOKIE: usize = 16;
/// Seconds; how long a cookie is good, and how far a clock may be behind (RFC 9018 section 4.3).
const COOKIE_LIFE_S: u32 = 3600;
const COOKIE_AHEAD_S: u32 = 300;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub address: IpAddr,
    pub bits: u8,
}

impl Prefix {
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32_u32.saturating_sub(u32::from(self.bits));
                let top = |address: u32| address.checked_shr(shift).unwrap_or(0);
                top(own.to_bits()) == top(other.to_bits())
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128_u32.saturating_sub(u32::from(self.bits));
                let top = |address: u128| address.checked_shr(shift).unwrap_or(0);
                top(own.to_bits()) == top(other.to_bits())
            }
            _ => false,
        }
    }
}

/// What a client over UDP gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Answer,
    /// An empty response that sends it to TCP.
    Slip,
    Drop,
}

/// How many responses a network gets.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Responses a second to a network of 2^8 IPv4 or 2^72 IPv6 addresses; 0 for no bound.
    pub per_second: u32,
    /// Of those above it, one in so many is a [`Verdict::Slip`]; 0 for none.
    pub slip: u32,
    pub exempt: Vec<Prefix>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    second: u32,
    given: u32,
}

/// Counts responses by network.
pub struct Limiter {
    rate: Rate,
    hasher: RandomState,
    shards: Vec<Mutex<Vec<Bucket>>>,
}

impl Limiter {
    pub fn new(rate: Rate) -> Limiter {
        let shard = || Mutex::new(vec![Bucket::default(); BUCKETS / SHARDS]);
        Limiter {
            rate,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }

    pub fn judge(&self, client: IpAddr, now_s: u64) -> Verdict {
        let rate = &self.rate;
        if rate.per_second == 0 || rate.exempt.iter().any(|prefix| prefix.holds(client)) {
            return Verdict::Answer;
        }
        let network = match client.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_bits() >> 8),
            IpAddr::V6(address) => 1 << 127 | address.to_bits() >> 72,
        };
        let hash = self.hasher.hash_one(network) as usize;
        let mut shard = self.shards[hash % SHARDS].lock();
        let bucket = &mut shard[hash / SHARDS % (BUCKETS / SHARDS)];
        if bucket.second != now_s as u32 {
            *bucket = Bucket {
                second: now_s as u32,
                given: 0,
            };
        }
        bucket.given = bucket.given.saturating_add(1);
        let above = bucket.given.saturating_sub(rate.per_second);
        match above {
            0 => Verdict::Answer,
            _ if rate.slip != 0 && above % rate.slip == 0 => Verdict::Slip,
            _ => Verdict::Drop,
        }
    }
}

/// Cookies (RFC 7873) in the form of RFC 9018, but under HMAC-SHA-256: one server makes and reads
/// them.
pub struct Cookies(hmac::Key);

impl Cookies {
    pub fn new(secret: &[u8; 32]) -> Cookies {
        Cookies(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The cookie to answer with, and whether `cookie` was given by this server to `client`.
    pub fn exchange(&self, cookie: &[u8], client: IpAddr, now_s: u64) -> (Vec<u8>, bool) {
        let now = now_s as u32;
        let Some((own, given)) = cookie.split_at_checked(CLIENT_COOKIE) else {
            return (Vec::new(), false);
        };
        let known = given.len() == SERVER_COOKIE && {
            let made = u32::from_be_bytes([given[4], given[5], given[6], given[7]]);
            let age = now.wrapping_sub(made);
            let is_fresh = age <= COOKIE_LIFE_S || age.wrapping_neg() <= COOKIE_AHEAD_S;
            let wanted = self.server_part(own, client, made);
            is_fresh && verify_slices_are_equal(&wanted, given).is_ok()
        };
        let fresh = self.server_part(own, client, now);
        ([own, &fresh].concat(), known)
    }

    fn server_part(&self, own: &[u8], client: IpAddr, made: u32) -> [u8; SERVER_COOKIE] {
        let mut cookie = [0; SERVER_COOKIE];
        cookie[0] = 1;
        cookie[4..8].copy_from_slice(&made.to_be_bytes());
        let mut context = hmac::Context::with_key(&self.0);
        context.update(own);
        context.update(&cookie[..8]);
        match client.to_canonical() {
            IpAddr::V4(address) => context.update(&address.octets()),
            IpAddr::V6(address) => context.update(&address.octets()),
        }
        cookie[8..].copy_from_slice(&context.sign().as_ref()[..8]);
        cookie
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_rate_and_others_theirs() {
        let loopback = Prefix {
            address: "127.0.0.0".parse().unwrap(),
            bits: 8,
        };
        let limiter = Limiter::new(Rate {
            per_second: 2,
            slip: 2,
            exempt: vec![loopback],
        });
        let judge = |client: &str, now_s| limiter.judge(client.parse().unwrap(), now_s);
        let given: Vec<Verdict> = (1..=6)
            .map(|host| judge(&format!("192.0.2.{host}"), 7))
            .collect();
        use Verdict::{Answer, Drop, Slip};
        assert_eq!(given, [Answer, Answer, Drop, Slip, Drop, Slip]);
        assert_eq!(judge("198.51.100.1", 7), Answer);
        assert_eq!(judge("192.0.2.1", 8), Answer);
        assert!((0..9).all(|_| judge("127.1.2.3", 7) == Answer));
        assert!((0..9).all(|_| judge("::ffff:127.1.2.3", 7) == Answer));
    }

    #[test]
    fn prefixes_hold_what_begins_as_they_do() {
        let prefix = |address: &str, bits| Prefix {
            address: address.parse().unwrap(),
            bits,
        };
        let holds = |prefix: Prefix, address: &str| prefix.holds(address.parse().unwrap());
        assert!(holds(prefix("2001:db8::", 32), "2001:db8:1::5"));
        assert!(!holds(prefix("2001:db8::", 32), "2001:db9::5"));
        assert!(holds(prefix("::", 0), "2001:db9::5"));
        assert!(holds(prefix("0.0.0.0", 0), "192.0.2.1"));
        assert!(!holds(prefix("::", 0), "192.0.2.1"));
        assert!(holds(prefix("::1", 128), "::1"));
        assert!(!holds(prefix("::1", 128), "::2"));
    }

    #[test]
    fn a_cookie_is_good_for_its_client_and_its_time() {
        let (cookies, others) = (Cookies::new(&[7; 32]), Cookies::new(&[8; 32]));
        let (client, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = 1_800_000_000;
        let (cookie, known) = cookies.exchange(b"mycookie", client, now);
        assert!(!known);
        assert_eq!(cookie.len(), 24);
        assert!(cookies.exchange(&cookie, client, now + 3000).1);
        assert!(!cookies.exchange(&cookie, client, now + 4000).1);
        assert!(!cookies.exchange(&cookie, client, now - 400).1);
        assert!(!cookies.exchange(&cookie, other, now).1);
        assert!(!others.exchange(&cookie, client, now).1);
        for place in 0..cookie.len() {
            let mut altered = cookie.clone();
            altered[place] ^= 1;
            assert!(!cookies.exchange(&altered, client, now).1);
        }
    }
}
