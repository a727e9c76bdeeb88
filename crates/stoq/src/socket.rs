//! The UDP socket of an endpoint.
//!
//! quinn sends batches of up to ten datagrams whatever their size, and the kernel refuses a batch
//! above 65,487 bytes with an error that quinn-udp takes for a failed MTU probe and drops in
//! silence. So a batch that is too large goes out in several here, and large datagrams work.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::{SOCKET_BUFFER_BYTES, UDP_PAYLOAD_BYTES_MAX};

/// A socket at `address`, IPv6 only.
pub fn bind(address: SocketAddrV6) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&SocketAddr::V6(address).into())?;
    Ok(socket.into())
}

/// Splits batches that the kernel would refuse.
#[derive(Debug)]
pub struct Batches(pub Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for Batches {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    /// Where the socket takes the first part and not the second, the whole is tried again later:
    /// QUIC drops the datagrams that then arrive twice.
    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        let Some(segment) = transmit
            .segment_size
            .filter(|_| transmit.contents.len() > UDP_PAYLOAD_BYTES_MAX)
        else {
            return self.0.try_send(transmit);
        };
        let batch = (UDP_PAYLOAD_BYTES_MAX / segment).max(1) * segment;
        for contents in transmit.contents.chunks(batch) {
            self.0.try_send(&Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn,
                contents,
                segment_size: Some(segment).filter(|segment| contents.len() > *segment),
                src_ip: transmit.src_ip,
            })?;
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments()
    }

    /// quinn reserves this many of the largest payload for each receive. Ours is as large as a
    /// coalesced batch can be, so one is enough, and 64 would take 128 MiB.
    fn max_receive_segments(&self) -> usize {
        1
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}
