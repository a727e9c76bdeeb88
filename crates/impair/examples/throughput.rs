//! What the relay carries at 1,452 bytes, with nothing impaired: `cargo run --release -p impair
//! --example throughput`. Sender, relay and receiver share the machine.

#![allow(clippy::unwrap_used)]

use std::io::IoSliceMut;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use impair::relay::{Options, Relay};
use impair::Settings;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState, BATCH_SIZE};

const DATAGRAM: usize = 1452;
const SEGMENTS: usize = 32;
const DURATION: Duration = Duration::from_secs(3);

fn main() {
    let server = UdpSocket::bind("[::1]:0").unwrap();
    let SocketAddr::V6(target) = server.local_addr().unwrap() else {
        return;
    };
    // 4 MiB is what the kernel grants here at most.
    socket2::SockRef::from(&server)
        .set_recv_buffer_size(4 * 1024 * 1024)
        .unwrap();
    let relay = Relay::bind(Options {
        listen: SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0),
        target,
        lifetime: DURATION + Duration::from_millis(500),
        seed: 1,
        rebind_interval: None,
        up: Settings {
            delay: Duration::from_millis(10),
            ..Settings::default()
        },
        down: Settings::default(),
    })
    .unwrap();
    let address = relay.local().unwrap();
    let (_control, controlled) = UnixStream::pair().unwrap();
    let relay = thread::spawn(move || relay.run(controlled, &mut std::io::sink()).unwrap());
    let receiver = thread::spawn(move || receive(&server));
    // As much as 1.5 Gbit/s, so that what is lost says where the relay ends.
    send(address, 1.5e9);
    let bytes = receiver.join().unwrap();
    let rate = bytes as f64 * 8.0 / DURATION.as_secs_f64() / 1e9;
    println!("{rate:.2} Gbit/s arrived");
    println!("{}", relay.join().unwrap().json());
}

fn send(to: SocketAddr, rate: f64) {
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
    let contents = vec![0; DATAGRAM * SEGMENTS];
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < DURATION {
        if sent as f64 * 8.0 > start.elapsed().as_secs_f64() * rate {
            thread::sleep(Duration::from_micros(100));
            continue;
        }
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: &contents,
            segment_size: Some(DATAGRAM),
            src_ip: None,
        };
        state
            .try_send(UdpSockRef::from(&socket), &transmit)
            .unwrap();
        sent += contents.len();
    }
}

fn receive(socket: &UdpSocket) -> usize {
    let state = UdpSocketState::new(UdpSockRef::from(socket)).unwrap();
    let mut buffers = vec![vec![0; 65_535]; BATCH_SIZE];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let mut bytes = 0;
    let start = Instant::now();
    while start.elapsed() < DURATION + Duration::from_millis(200) {
        let mut slices: Vec<IoSliceMut> = buffers
            .iter_mut()
            .map(|buffer| IoSliceMut::new(buffer))
            .collect();
        match state.recv(UdpSockRef::from(socket), &mut slices, &mut metas) {
            Ok(count) => bytes += metas[..count].iter().map(|meta| meta.len).sum::<usize>(),
            Err(_) => thread::sleep(Duration::from_micros(100)),
        }
    }
    bytes
}
