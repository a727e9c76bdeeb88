//! What the kernel knows of the way to a peer.

use std::mem::size_of;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use crate::limits::UDP_PAYLOAD_BYTES_MAX;

/// Headers of IPv6 and UDP.
const HEADERS_BYTES: usize = 40 + 8;
/// Only the route is asked for: nothing is sent there.
const DISCARD_PORT: u16 = 9;

/// The first link of the way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Bytes; the largest UDP payload that it carries. Links behind it may carry less, which path
    /// MTU discovery finds out (RFC 8899).
    pub payload_bytes_max: u16,
    /// The peer has an address of this host, be it a loopback address or that of an interface.
    pub within_host: bool,
}

/// What the address alone says.
pub fn is_loopback(remote: IpAddr) -> bool {
    remote.to_canonical().is_loopback()
}

/// The first link towards `remote`, where there is a route.
pub fn first_link(remote: IpAddr) -> Option<Link> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(SocketAddr::new(remote, DISCARD_PORT)).ok()?;
    // To an address of its own the kernel sends from that address (RFC 6724 section 5, rule 1).
    let within_host = is_loopback(remote) || socket.local_addr().ok()?.ip() == remote;
    let mut mtu: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and `length` is the size of what `mtu` points to.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU,
            (&raw mut mtu).cast(),
            &raw mut length,
        )
    };
    if failed != 0 {
        return None;
    }
    let payload = usize::try_from(mtu).ok()?.checked_sub(HEADERS_BYTES)?;
    Some(Link {
        payload_bytes_max: u16::try_from(payload.min(UDP_PAYLOAD_BYTES_MAX)).ok()?,
        within_host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_carries_what_udp_can() {
        let found = first_link(Ipv6Addr::LOCALHOST.into());
        let expected = Link {
            payload_bytes_max: UDP_PAYLOAD_BYTES_MAX as u16,
            within_host: true,
        };
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn without_a_route_nothing_is_known() {
        // A link-local address says nothing without the link.
        let nowhere = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        assert_eq!(first_link(nowhere.into()), None);
    }
}
