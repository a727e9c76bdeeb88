//! UDP: each thread takes datagrams from its own socket in batches, answers them, and sends the
//! responses in one call. The kernel spreads clients over the sockets.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{count, Shared};
use crate::answer::Via;

const BATCH: usize = 32;
/// Octets; more than a query can need, and what is longer is malformed.
const DATAGRAM_BYTES: usize = 4096;
const CONTROL_BYTES: usize = 64;
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
const LISTEN_BACKLOG: i32 = 256;
const WORKERS_MAX: usize = 64;
/// Between two looks at whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);
/// Ports that are tried where the system may choose and another socket is in the way.
const TRIES: usize = 16;

/// A TCP listener at `address`, and so many UDP sockets at the same port.
pub(super) fn bind(
    address: SocketAddr,
    workers: usize,
) -> io::Result<(TcpListener, Vec<Arc<UdpSocket>>)> {
    let tries = if address.port() == 0 { TRIES } else { 1 };
    let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..tries {
        let listener = listener(address)?;
        let mut same = address;
        same.set_port(listener.local_addr()?.port());
        match sockets(same, workers.clamp(1, WORKERS_MAX)) {
            Ok(sockets) => return Ok((listener, sockets)),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

pub(super) fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

fn sockets(address: SocketAddr, count: usize) -> io::Result<Vec<Arc<UdpSocket>>> {
    // The first one alone finds out whether someone else is there: sockets that share a port are
    // let in beside each other.
    drop(socket(address, false)?);
    (0..count)
        .map(|_| socket(address, true).map(|socket| Arc::new(socket.into())))
        .collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(shared)?;
    // What the kernel does not grant is not asked for again.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_read_timeout(Some(PATIENCE))?;
    let on: libc::c_int = 1;
    // SAFETY: the value lives through the call, and its size is what is said.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    if set < 0 {
        return Err(io::Error::last_os_error());
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A datagram's address, and the address of ours that it came to: a response goes out from there.
#[derive(Clone, Copy)]
struct Envelope {
    address: libc::sockaddr_storage,
    address_bytes: libc::socklen_t,
    control: [u64; CONTROL_BYTES / 8],
    control_bytes: usize,
}

impl Envelope {
    fn empty() -> Envelope {
        Envelope {
            // SAFETY: all zeros are an address of no family.
            address: unsafe { mem::zeroed() },
            address_bytes: 0,
            control: [0; CONTROL_BYTES / 8],
            control_bytes: 0,
        }
    }

    fn client(&self) -> Option<SocketAddr> {
        let address = &raw const self.address;
        match i32::from(self.address.ss_family) {
            libc::AF_INET => {
                // SAFETY: an address of this family has this form, and the storage has room for it.
                let found = unsafe { &*address.cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(found.sin_addr.s_addr));
                Some(SocketAddr::from((ip, u16::from_be(found.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let found = unsafe { &*address.cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(found.sin6_addr.s6_addr);
                Some(SocketAddr::from((ip, u16::from_be(found.sin6_port))))
            }
            _ => None,
        }
    }

    fn header(&mut self, part: &mut libc::iovec) -> libc::mmsghdr {
        // SAFETY: all zeros are a message without address, parts and control data.
        let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
        header.msg_hdr.msg_name = (&raw mut self.address).cast();
        header.msg_hdr.msg_namelen = self.address_bytes;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = self.control.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = self.control_bytes;
        header
    }
}

/// Serves `socket` until the server stops.
pub(super) fn serve(socket: &Arc<UdpSocket>, shared: &Arc<Shared>) {
    let mut buffers = vec![[0_u8; DATAGRAM_BYTES]; BATCH];
    let mut envelopes = vec![Envelope::empty(); BATCH];
    let mut lengths = [0_usize; BATCH];
    let mut out = Vec::with_capacity(BATCH * crate::message::UDP_BYTES_MAX);
    let mut responses: Vec<(usize, std::ops::Range<usize>)> = Vec::with_capacity(BATCH);
    while !shared.stop.load(Ordering::Relaxed) {
        let received = receive(socket, &mut buffers, &mut envelopes, &mut lengths);
        out.clear();
        responses.clear();
        for at in 0..received {
            let Some(client) = envelopes[at].client() else {
                continue;
            };
            count(&shared.counters.udp);
            let (before, query) = (out.len(), &buffers[at][..lengths[at]]);
            let later = shared.answer(query, client.ip(), Via::Udp, &mut out);
            if let Some(later) = later {
                let (socket, mut envelope) = (socket.clone(), envelopes[at]);
                shared.defer(later, Arc::default(), move |response| {
                    send(&socket, &mut [(&mut envelope, &response)]);
                });
            } else if out.len() > before {
                responses.push((at, before..out.len()));
            }
        }
        let mut outgoing: Vec<(&mut Envelope, &[u8])> = Vec::with_capacity(responses.len());
        let mut ranges = responses.iter().peekable();
        for (at, envelope) in envelopes.iter_mut().enumerate().take(received) {
            if let Some((_, range)) = ranges.next_if(|(place, _)| *place == at) {
                outgoing.push((envelope, &out[range.clone()]));
            }
        }
        send(socket, &mut outgoing);
    }
}

/// How many datagrams came within [`PATIENCE`].
fn receive(
    socket: &UdpSocket,
    buffers: &mut [[u8; DATAGRAM_BYTES]],
    envelopes: &mut [Envelope],
    lengths: &mut [usize],
) -> usize {
    let mut parts: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = envelopes
        .iter_mut()
        .zip(&mut parts)
        .map(|(envelope, part)| {
            envelope.address_bytes = mem::size_of_val(&envelope.address) as libc::socklen_t;
            envelope.control_bytes = CONTROL_BYTES;
            envelope.header(part)
        })
        .collect();
    // SAFETY: each header names buffers of the sizes it says, and all live through the call.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_WAITFORONE as _,
            std::ptr::null_mut(),
        )
    };
    let Ok(received) = usize::try_from(received) else {
        let error = io::Error::last_os_error().kind();
        if !matches!(
            error,
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        ) {
            // Nothing comes of asking at once again.
            std::thread::sleep(PATIENCE);
        }
        return 0;
    };
    for (at, header) in headers.iter().enumerate().take(received) {
        lengths[at] = header.msg_len as usize;
        envelopes[at].address_bytes = header.msg_hdr.msg_namelen;
        envelopes[at].control_bytes = header.msg_hdr.msg_controllen;
    }
    received
}

/// Sends what the kernel takes; what it does not is lost, as datagrams are.
fn send(socket: &UdpSocket, outgoing: &mut [(&mut Envelope, &[u8])]) {
    let mut parts: Vec<libc::iovec> = outgoing
        .iter()
        .map(|(_, response)| libc::iovec {
            iov_base: response.as_ptr().cast_mut().cast(),
            iov_len: response.len(),
        })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = outgoing
        .iter_mut()
        .zip(&mut parts)
        .map(|((envelope, _), part)| envelope.header(part))
        .collect();
    let mut done = 0;
    while done < headers.len() {
        let rest = &mut headers[done..];
        // SAFETY: each header names bytes of the sizes it says, and all live through the call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                0,
            )
        };
        // It fails for the first of the rest, and the ones behind it have their turn.
        done += usize::try_from(sent).unwrap_or(0).max(1);
    }
}
