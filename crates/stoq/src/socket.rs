//! The UDP socket of a shard.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Type};

use crate::limits::{SEGMENTS_MAX, SOCKET_BUFFER_BYTES, UDP_PAYLOAD_BYTES_MAX};

/// The versions of IP that a socket speaks. A peer over IPv4 has its address in the form that IPv6
/// has for it (`::ffff:192.0.2.1`, RFC 4291 section 2.5.5.2), everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stack {
    #[default]
    Ipv6,
    /// IPv4 as well, at the same port.
    Dual,
}

/// A non-blocking socket with segmentation and receive offload where the kernel has them.
pub struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
    local: Mutex<SocketAddr>,
    refused: AtomicU64,
    /// How many sends shall find no room.
    #[cfg(test)]
    pub full: std::sync::atomic::AtomicUsize,
}

impl Socket {
    /// A socket at `address`, IPv6 only. `shared`: others will bind the same address.
    pub fn bind(address: SocketAddrV6, shared: bool) -> io::Result<Socket> {
        Socket::bind_stack(address, Stack::Ipv6, shared)
    }

    fn bind_stack(address: SocketAddrV6, stack: Stack, shared: bool) -> io::Result<Socket> {
        let socket = socket2::Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(stack == Stack::Ipv6)?;
        socket.set_reuse_port(shared)?;
        if force_receive_bytes(&socket, SOCKET_BUFFER_BYTES).is_err() {
            socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        }
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.bind(&SocketAddr::V6(address).into())?;
        Socket::new(socket.into())
    }

    /// So many sockets at one address. The kernel chooses between them by the connection id of a
    /// datagram, so that a connection stays where it is when its peer's address changes.
    pub fn bind_all(address: SocketAddrV6, stack: Stack, count: usize) -> io::Result<Vec<Socket>> {
        if count > 1 && address.port() != 0 {
            // Those who share an address let in anyone else of the same user who would share it: that
            // it is free is seen without sharing.
            Socket::bind_stack(address, stack, false)?;
        }
        let first = Socket::bind_stack(address, stack, count > 1)?;
        let port = first.local().port();
        let mut sockets = vec![first];
        let same = SocketAddrV6::new(*address.ip(), port, 0, address.scope_id());
        while sockets.len() < count {
            sockets.push(Socket::bind_stack(same, stack, true)?);
        }
        if let [first, _, ..] = sockets.as_slice() {
            // A kernel that cannot do it chooses by address, and shards pass on what is not theirs.
            let _ = steer(first.fd(), count);
        }
        Ok(sockets)
    }

    pub fn new(udp: UdpSocket) -> io::Result<Socket> {
        let state = UdpSocketState::new((&udp).into())?;
        let local = udp.local_addr()?;
        Ok(Socket {
            udp,
            state,
            local: Mutex::new(local),
            refused: AtomicU64::new(0),
            #[cfg(test)]
            full: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    pub fn local(&self) -> SocketAddr {
        *self.local.lock()
    }

    /// Becomes `other`, under the same descriptor. What waits in this one is lost.
    pub fn replace(&self, other: &Socket) -> io::Result<()> {
        // SAFETY: both descriptors are open, and this one stays its owner's.
        let result = unsafe { libc::dup3(other.fd(), self.fd(), libc::O_CLOEXEC) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        *self.local.lock() = other.local();
        Ok(())
    }

    /// Bytes of payload that it holds for sure. The kernel counts what datagrams take beside theirs,
    /// and for a while a quarter of the whole that has been read already.
    pub fn receive_bytes(&self) -> u64 {
        let granted = socket2::SockRef::from(&self.udp).recv_buffer_size();
        granted.map_or(0, |granted| granted as u64 / 8 * 5)
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

/// A receive buffer beyond the system's limit, for whoever administers the network
/// (SO_RCVBUFFORCE).
fn force_receive_bytes(socket: &socket2::Socket, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and the value lives through the call, which copies it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            std::mem::size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The filter that gives a datagram to socket number `first byte of its connection id % count`
/// (classic BPF over the UDP payload).
pub(crate) fn steering(count: usize) -> [libc::sock_filter; 7] {
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    const JUMP_IF_SET: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
    const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_A;
    const LONG_HEADER: u32 = 0x80;
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // The id follows the first byte, or in a long header version and length (RFC 9000 section 17).
    [
        step(LOAD_BYTE, 0, 0, 0),
        step(JUMP_IF_SET, 2, 0, LONG_HEADER),
        step(LOAD_BYTE, 0, 0, 1),
        step(JUMP, 0, 0, 1),
        step(LOAD_BYTE, 0, 0, 6),
        step(MODULO, 0, 0, count as u32),
        step(RETURN, 0, 0, 0),
    ]
}

/// Has the kernel spread datagrams by [`steering`] over the sockets that share an address
/// (SO_ATTACH_REUSEPORT_CBPF).
fn steer(socket: RawFd, count: usize) -> io::Result<()> {
    let mut program = steering(count);
    let program = libc::sock_fprog {
        len: program.len() as libc::c_ushort,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program and its steps live through the call, which copies them.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            std::mem::size_of_val(&program) as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
