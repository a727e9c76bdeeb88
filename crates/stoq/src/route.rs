//! What the kernel knows of the way to a peer.

use std::mem::size_of;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use crate::limits::UDP_PAYLOAD_BYTES_MAX;

/// Headers of IPv6 and UDP.
const HEADERS_BYTES: usize = 40 + 8;
/// Only the route is asked for: nothing is sent there.
const DISCARD_PORT: u16 = 9;

/// Bytes; the largest UDP payload that the first link towards `remote` carries, where there is a
/// route. Links behind it may carry less, which path MTU discovery finds out (RFC 8899).
pub fn payload_bytes_max(remote: IpAddr) -> Option<u16> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(SocketAddr::new(remote, DISCARD_PORT)).ok()?;
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
    u16::try_from(payload.min(UDP_PAYLOAD_BYTES_MAX)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_carries_what_udp_can() {
        let found = payload_bytes_max(Ipv6Addr::LOCALHOST.into());
        assert_eq!(found.map(usize::from), Some(UDP_PAYLOAD_BYTES_MAX));
    }

    #[test]
    fn without_a_route_nothing_is_known() {
        // A link-local address says nothing without the link.
        let nowhere = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        assert_eq!(payload_bytes_max(nowhere.into()), None);
    }
}
