//! Tunnels between a raw peer and a socket, without Python: what peers and programs do at the
//! edges.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::quic::{ReadExactError, RecvStream, SendStream};

use super::{Carriage, Tunnel, TunnelStats, OPENING_BYTES, SERVICE};
use crate::endpoint::Endpoint;
use crate::error::Kind;
use crate::frame::{Extent, RequestHeader};
use crate::hostile::{assert_alive, problem, server, Raw, PATIENCE};

const ACCEPTED: [u8; 5] = [0, 255, 255, 255, 255];

fn opening(rest: &[u8]) -> Vec<u8> {
    let header = RequestHeader {
        service: SERVICE,
        extent: Extent::Open,
    };
    [&header.write()[..], rest].concat()
}

/// Two connected sockets: what a service would hold, and what the tunnel gets.
fn pair() -> (TcpStream, OwnedFd) {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    (near, far.into())
}

/// A stream that a peer opened and `tunnel` carries to `socket`, past its answer.
fn carried(
    server: &Endpoint,
    raw: &Raw,
    tunnel: &Tunnel,
    socket: OwnedFd,
    carriage: Carriage,
) -> (SendStream, RecvStream) {
    let (mut send, mut receive) = raw.open();
    raw.run(async {
        let whole = opening(&[7; OPENING_BYTES]);
        send.write_all(&whole).await.unwrap();
    });
    let request = server.queue().next(PATIENCE).unwrap().expect("a request");
    assert_eq!(&request.body[..], [7; OPENING_BYTES]);
    tunnel.serve(&request, socket, carriage).unwrap();
    let mut header = [0; 5];
    raw.run(receive.read_exact(&mut header)).unwrap();
    assert_eq!(header, ACCEPTED);
    (send, receive)
}

fn eventually(tunnel: &Tunnel, what: &str, look: impl Fn(TunnelStats) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look(tunnel.stats()) {
        assert!(Instant::now() < deadline, "{what}: {:?}", tunnel.stats());
        std::thread::yield_now();
    }
}

#[test]
fn both_directions_carry_and_end_apart() {
    let server = server();
    let raw = Raw::admitted(&server);
    let tunnel = Tunnel::new(1);
    let (mut near, far) = pair();
    let (mut send, mut receive) = carried(&server, &raw, &tunnel, far, Carriage::Bytes);
    assert_eq!(server.stats().requests_unanswered, 0, "the place is free");
    near.write_all(b"from the service").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        raw.run(receive.read_to_end(100)).unwrap(),
        b"from the service"
    );
    raw.run(async {
        send.write_all(b"to the service").await.unwrap();
        send.finish().unwrap();
    });
    let mut heard = Vec::new();
    near.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"to the service");
    eventually(&tunnel, "it has ended well", |stats| {
        (stats.open, stats.opened, stats.failed) == (0, 1, 0)
            && (stats.bytes_in, stats.bytes_out) == (14, 16)
    });
}

#[test]
fn a_reset_of_either_side_reaches_the_other() {
    let server = server();
    let raw = Raw::admitted(&server);
    let tunnel = Tunnel::new(2);
    let (mut near, far) = pair();
    let (mut send, _receive) = carried(&server, &raw, &tunnel, far, Carriage::Bytes);
    send.reset(5u32.into()).unwrap();
    let error = near.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    // Why is there as soon as the end is.
    assert_eq!(tunnel.stats().failed, 1);
    assert!(tunnel.last().is_some());

    let (near, far) = pair();
    let (mut send, mut receive) = carried(&server, &raw, &tunnel, far, Carriage::Bytes);
    // Past its own end the service is heard only as an error of the socket.
    near.shutdown(Shutdown::Write).unwrap();
    assert!(raw.run(receive.read_to_end(1)).unwrap().is_empty());
    let near = socket2::Socket::from(near);
    near.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(near);
    let stopped = raw.run(send.stopped());
    assert!(stopped.is_ok(), "{stopped:?}");
    eventually(&tunnel, "both have ended", |stats| {
        (stats.open, stats.failed) == (0, 2)
    });
    let _ = send.finish();
    assert_alive(&server, &raw);
}

#[test]
fn closing_a_tunnel_resets_what_it_carries_and_takes_no_more() {
    let server = server();
    let raw = Raw::admitted(&server);
    let tunnel = Tunnel::new(1);
    let (mut near, far) = pair();
    let (_send, mut receive) = carried(&server, &raw, &tunnel, far, Carriage::Bytes);
    tunnel.close();
    let ended = raw.run(receive.read_exact(&mut [0]));
    assert!(matches!(ended, Err(ReadExactError::ReadError(_))));
    let cut_off = near.read(&mut [0]).unwrap_err();
    assert_eq!(cut_off.kind(), std::io::ErrorKind::ConnectionReset);
    eventually(&tunnel, "it has ended", |stats| stats.open == 0);
    let (mut send, mut receive) = raw.open();
    raw.run(async {
        let whole = opening(&[7; OPENING_BYTES]);
        send.write_all(&whole).await.unwrap();
    });
    let request = server.queue().next(PATIENCE).unwrap().expect("a request");
    let (_near, far) = pair();
    let refused = tunnel.serve(&request, far, Carriage::Bytes).unwrap_err();
    assert_eq!(refused.kind(), Some(Kind::StreamReset));
    drop(request);
    let answer = raw.run(receive.read_to_end(1000)).unwrap();
    assert_eq!(problem(&answer), Kind::Unanswered.code());
}

#[test]
fn an_opening_cut_short_is_refused_by_name() {
    let server = server();
    let raw = Raw::admitted(&server);
    for length in [0, 1, OPENING_BYTES - 1] {
        let answer = raw.say(&opening(&vec![7; length])).unwrap();
        assert_eq!(problem(&answer), Kind::MalformedFrame.code());
    }
    assert_eq!(server.stats().requests_unanswered, 0);
    assert_alive(&server, &raw);
}

#[test]
fn datagrams_stay_whole_and_a_cut_one_ends_the_flow() {
    let server = server();
    let raw = Raw::admitted(&server);
    let tunnel = Tunnel::new(1);
    let near = UdpSocket::bind("[::1]:0").unwrap();
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    let far = UdpSocket::bind("[::1]:0").unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    let there = far.local_addr().unwrap();
    let (mut send, mut receive) = carried(&server, &raw, &tunnel, far.into(), Carriage::Datagrams);
    raw.run(async {
        // Two in one piece, the second empty.
        send.write_all(b"\x00\x03abc\x00\x00").await.unwrap();
    });
    let mut heard = [0; 10];
    assert_eq!(near.recv(&mut heard).unwrap(), 3);
    assert_eq!(&heard[..3], b"abc");
    assert_eq!(near.recv(&mut heard).unwrap(), 0);
    let number = u32::try_from(send.id().index()).unwrap().to_be_bytes();
    let of_flow = [&SERVICE.to_be_bytes()[..], &number].concat();
    near.send_to(b"defg", there).unwrap();
    let framed = raw.run(raw.connection.read_datagram()).unwrap();
    assert_eq!(framed, [&of_flow[..], b"defg"].concat());
    // What fits no datagram takes the stream.
    let long = vec![7; 65_470];
    near.send_to(&long, there).unwrap();
    let mut frame = vec![0; 2 + long.len()];
    raw.run(receive.read_exact(&mut frame)).unwrap();
    assert_eq!(frame[..2], 65_470u16.to_be_bytes());
    assert_eq!(frame[2..], long);
    let stats = tunnel.stats();
    assert_eq!((stats.datagrams, stats.streamed, stats.dropped), (1, 1, 0));
    raw.run(async {
        send.write_all(b"\xff\xffshort").await.unwrap();
        send.finish().unwrap();
    });
    eventually(&tunnel, "it has ended", |stats| {
        (stats.open, stats.failed) == (0, 1)
    });
    assert_eq!(
        tunnel.last().unwrap().error.kind(),
        Some(Kind::MalformedFrame)
    );
}
