//! The UDP socket of a shard.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Type};

use crate::limits::{SEGMENTS_MAX, SOCKET_BUFFER_BYTES, UDP_PAYLOAD_BYTES_MAX};

/// A non-blocking socket with segmentation and receive offload where the kernel has them.
pub struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    refused: AtomicU64,
    /// How many sends shall find no room.
    #[cfg(test)]
    pub full: std::sync::atomic::AtomicUsize,
}

impl Socket {
    /// A socket at `address`, IPv6 only. `shared`: others will bind the same address.
    pub fn bind(address: SocketAddrV6, shared: bool) -> io::Result<Socket> {
        let socket = socket2::Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        socket.set_reuse_port(shared)?;
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.bind(&SocketAddr::V6(address).into())?;
        Socket::new(socket.into())
    }

    /// So many sockets at one address, between which the kernel chooses.
    pub fn bind_all(address: SocketAddrV6, count: usize) -> io::Result<Vec<Socket>> {
        let first = Socket::bind(address, count > 1)?;
        let port = first.local.port();
        let mut sockets = vec![first];
        let same = SocketAddrV6::new(*address.ip(), port, 0, address.scope_id());
        while sockets.len() < count {
            sockets.push(Socket::bind(same, true)?);
        }
        Ok(sockets)
    }

    pub fn new(udp: UdpSocket) -> io::Result<Socket> {
        let state = UdpSocketState::new((&udp).into())?;
        let local = udp.local_addr()?;
        Ok(Socket {
            udp,
            state,
            local,
            refused: AtomicU64::new(0),
            #[cfg(test)]
            full: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub fn fd(&self) -> RawFd {
        self.udp.as_raw_fd()
    }

    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Datagrams of `mtu` bytes that one call may send. The kernel refuses a batch above the
    /// largest UDP payload with the error of a failed MTU probe, so that nobody would notice.
    pub fn segments_max(&self, mtu: u16) -> usize {
        let fitting = UDP_PAYLOAD_BYTES_MAX / usize::from(mtu.max(1));
        self.state
            .max_gso_segments()
            .min(SEGMENTS_MAX)
            .min(fitting)
            .max(1)
    }

    pub fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        #[cfg(test)]
        {
            let refuse = |left: usize| left.checked_sub(1);
            let order = Ordering::SeqCst;
            if self.full.fetch_update(order, order, refuse).is_ok() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let sent = self.state.try_send((&self.udp).into(), transmit);
        if let Err(error) = &sent {
            if error.kind() != io::ErrorKind::WouldBlock {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        sent
    }

    /// Batches that the kernel did not take, and never will: larger than the link, or to nowhere.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Receives into `buffers` what is there; the number of messages.
    pub fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.state.recv((&self.udp).into(), buffers, meta)
    }
}
