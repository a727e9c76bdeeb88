//! The relay: one thread, one socket towards the clients, one for each client towards the server.
//!
//! Each client gets a port of its own, as a NAT would give it, so the server tells them apart.
//! What becomes of a datagram is decided by [`Link`]; this file reads, waits and writes.

use std::collections::{BinaryHeap, HashMap};
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState, BATCH_SIZE};
use socket2::{Domain, Protocol, Socket, Type};

use crate::command::{self, Command};
use crate::link::{Link, Settings};
use crate::report::{quoted, Report};

/// Clients of one relay.
pub const FLOWS_MAX: usize = 256;

/// Bytes that are on their way through the relay; what comes on top is dropped as overflow.
pub const WAITING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A relay ends by itself, so that a forgotten one does not stay.
pub const SECONDS_MAX: u64 = 3600;

/// Bytes asked of the kernel for each socket.
const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of one receive with GRO, and of one send with GSO.
const BATCH_BYTES_MAX: usize = 65_535;
const SEND_BYTES_MAX: usize = 65_487;

/// Receives from one socket before the others and the clock get a turn.
const RECEIVES_MAX: usize = 8;

/// Datagrams may leave this much late, so that those of a fast link leave in batches.
const GRAIN: Duration = Duration::from_micros(50);

/// Bytes of one command line.
const LINE_BYTES_MAX: usize = 1024;

/// Buffers kept for use again.
const POOL_MAX: usize = 4096;

/// Where and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    pub listen: SocketAddrV6,
    pub target: SocketAddrV6,
    pub lifetime: Duration,
    pub seed: u64,
    pub rebind_interval: Option<Duration>,
    pub up: Settings,
    pub down: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
}

struct Flow {
    client: SocketAddr,
    /// The address the client sent to.
    local: Option<IpAddr>,
    port: Port,
}

/// A datagram on its way.
struct Waiting {
    at: Duration,
    number: u64,
    flow: usize,
    way: Way,
    ecn: Option<EcnCodepoint>,
    contents: Vec<u8>,
}

pub struct Relay {
    options: Options,
    start: Instant,
    front: Port,
    flows: Vec<Flow>,
    clients: HashMap<SocketAddr, usize>,
    up: Link,
    down: Link,
    waiting: BinaryHeap<Waiting>,
    waiting_bytes: usize,
    number: u64,
    pool: Vec<Vec<u8>>,
    report: Report,
    next_rebind: Option<Duration>,
}

impl Relay {
    pub fn bind(options: Options) -> io::Result<Relay> {
        Ok(Relay {
            start: Instant::now(),
            front: Port::bind(options.listen)?,
            flows: Vec::new(),
            clients: HashMap::new(),
            up: Link::new(options.up, options.seed),
            // Another history than the other direction's.
            down: Link::new(options.down, !options.seed),
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            number: 0,
            pool: Vec::new(),
            report: Report::default(),
            next_rebind: options.rebind_interval,
            options,
        })
    }

    pub fn local(&self) -> io::Result<SocketAddr> {
        self.front.socket.local_addr()
    }

    /// Relays until `quit` or the end of its lifetime. Reads commands from `control` and answers
    /// each by one line of JSON to `replies`; the end of `control` changes nothing.
    pub fn run(
        mut self,
        mut control: impl Read + AsRawFd,
        replies: &mut impl Write,
    ) -> io::Result<Report> {
        let mut receiver = Receiver::new();
        let mut lines = Lines::default();
        let mut listening = true;
        loop {
            let now = self.start.elapsed();
            if now >= self.options.lifetime {
                break;
            }
            if self.next_rebind.is_some_and(|at| at <= now) {
                self.rebind()?;
                self.next_rebind = self.options.rebind_interval.map(|interval| now + interval);
            }
            self.deliver(now);
            let ready = self.wait(listening.then(|| control.as_raw_fd()))?;
            if ready.front {
                self.receive_from_clients(&mut receiver)?;
            }
            for flow in ready.flows {
                self.receive_from_server(flow, &mut receiver)?;
            }
            if ready.control {
                let mut chunk = [0; LINE_BYTES_MAX];
                let length = control.read(&mut chunk)?;
                listening = length > 0;
                for line in lines.push(&chunk[..length]) {
                    let quit = self.command(&line, replies)?;
                    if quit {
                        return Ok(self.finish());
                    }
                }
            }
        }
        Ok(self.finish())
    }

    fn finish(mut self) -> Report {
        self.report.seconds = self.start.elapsed().as_secs_f64();
        self.report.flows = self.flows.len() as u64;
        self.report.up = self.up.counters;
        self.report.down = self.down.counters;
        self.report
    }

    fn command(&mut self, line: &str, replies: &mut impl Write) -> io::Result<bool> {
        let reply = match command::parse(line) {
            Ok(Command::Quit) => return Ok(true),
            Ok(Command::Rebind) => self.rebind().map_err(|error| error.to_string()),
            Ok(Command::Set { up, down, change }) => {
                if up {
                    change.apply(&mut self.up.settings);
                }
                if down {
                    change.apply(&mut self.down.settings);
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        match reply {
            Ok(()) => writeln!(replies, "{{\"done\":{}}}", quoted(line))?,
            Err(error) => writeln!(replies, "{{\"error\":{}}}", quoted(&error))?,
        }
        replies.flush()?;
        Ok(false)
    }

    /// Moves every client to a new port. What the server still sends to the old one is lost, as
    /// when a NAT has forgotten.
    fn rebind(&mut self) -> io::Result<()> {
        let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0);
        for flow in &mut self.flows {
            flow.port = Port::bind(any)?;
        }
        self.report.rebinds += 1;
        Ok(())
    }

    /// Sleeps until a socket has something, a datagram is due, or the relay's end.
    fn wait(&self, control: Option<RawFd>) -> io::Result<Ready> {
        let sockets = std::iter::once(&self.front)
            .chain(self.flows.iter().map(|flow| &flow.port))
            .map(|port| port.socket.as_raw_fd())
            .chain(control);
        let mut polled: Vec<libc::pollfd> = sockets
            .map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        let due = self.waiting.peek().map(|next| next.at + GRAIN);
        let until = due
            .into_iter()
            .chain(self.next_rebind)
            .fold(self.options.lifetime, Duration::min);
        let timeout = until.saturating_sub(self.start.elapsed());
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos() as libc::c_long,
        };
        // SAFETY: `polled` and `timeout` live through the call, and the length is theirs.
        let count = unsafe {
            libc::ppoll(
                polled.as_mut_ptr(),
                polled.len() as libc::nfds_t,
                &timeout,
                std::ptr::null(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
            return Ok(Ready::default());
        }
        let readable = |poll: &libc::pollfd| poll.revents != 0;
        Ok(Ready {
            front: readable(&polled[0]),
            flows: (0..self.flows.len())
                .filter(|flow| readable(&polled[flow + 1]))
                .collect(),
            control: control.is_some() && polled.last().is_some_and(readable),
        })
    }

    fn receive_from_clients(&mut self, receiver: &mut Receiver) -> io::Result<()> {
        for _ in 0..RECEIVES_MAX {
            let count = receiver.receive(&self.front)?;
            for index in 0..count {
                let meta = receiver.metas[index];
                let Some(flow) = self.flow_of(&meta)? else {
                    let segments = meta.len.div_ceil(meta.stride.max(1));
                    self.report.refused += segments as u64;
                    continue;
                };
                self.pass(Way::Up, flow, meta, &receiver.buffers[index]);
            }
            if count < BATCH_SIZE {
                break;
            }
        }
        Ok(())
    }

    fn receive_from_server(&mut self, flow: usize, receiver: &mut Receiver) -> io::Result<()> {
        for _ in 0..RECEIVES_MAX {
            let count = receiver.receive(&self.flows[flow].port)?;
            for index in 0..count {
                let meta = receiver.metas[index];
                self.pass(Way::Down, flow, meta, &receiver.buffers[index]);
            }
            if count < BATCH_SIZE {
                break;
            }
        }
        Ok(())
    }

    fn flow_of(&mut self, meta: &RecvMeta) -> io::Result<Option<usize>> {
        if let Some(flow) = self.clients.get(&meta.addr) {
            return Ok(Some(*flow));
        }
        if self.flows.len() >= FLOWS_MAX {
            return Ok(None);
        }
        let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0);
        self.flows.push(Flow {
            client: meta.addr,
            local: meta.dst_ip,
            port: Port::bind(any)?,
        });
        self.clients.insert(meta.addr, self.flows.len() - 1);
        Ok(Some(self.flows.len() - 1))
    }

    /// Sends the datagrams of one receive through their link.
    fn pass(&mut self, way: Way, flow: usize, meta: RecvMeta, buffer: &[u8]) {
        let now = self.start.elapsed();
        for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
            let link = match way {
                Way::Up => &mut self.up,
                Way::Down => &mut self.down,
            };
            for arrival in link.pass(now, datagram.len()).arrivals() {
                if self.waiting_bytes + datagram.len() > WAITING_BYTES_MAX {
                    self.report.unsent += 1;
                    continue;
                }
                let mut contents = self.pool.pop().unwrap_or_default();
                contents.clear();
                contents.extend_from_slice(datagram);
                if let Some(bit) = arrival.flipped_bit {
                    contents[bit / 8] ^= 1 << (bit % 8);
                }
                self.waiting_bytes += contents.len();
                self.number += 1;
                self.waiting.push(Waiting {
                    at: arrival.at,
                    number: self.number,
                    flow,
                    way,
                    // Whoever does not understand marks gets none (RFC 3168 section 5).
                    ecn: meta.ecn.map(|ecn| match arrival.marked {
                        true => EcnCodepoint::Ce,
                        false => ecn,
                    }),
                    contents,
                });
            }
        }
    }

    /// Sends what is due, in batches of one size and one way.
    fn deliver(&mut self, now: Duration) {
        let mut batch = Batch::default();
        while self.waiting.peek().is_some_and(|next| next.at <= now) {
            let Some(next) = self.waiting.pop() else {
                break;
            };
            self.waiting_bytes -= next.contents.len();
            let segments_max = match next.way {
                Way::Up => self.flows[next.flow].port.state.max_gso_segments(),
                Way::Down => self.front.state.max_gso_segments(),
            };
            if !batch.takes(&next, segments_max) {
                self.send(&batch);
                batch.begin(&next);
            }
            batch.contents.extend_from_slice(&next.contents);
            batch.segments += 1;
            batch.complete = next.contents.len() == batch.segment;
            if self.pool.len() < POOL_MAX {
                self.pool.push(next.contents);
            }
        }
        self.send(&batch);
    }

    fn send(&mut self, batch: &Batch) {
        if batch.segments == 0 {
            return;
        }
        let flow = &self.flows[batch.flow];
        let (port, destination, src_ip) = match batch.way {
            Some(Way::Down) => (&self.front, flow.client, flow.local),
            _ => (&flow.port, SocketAddr::V6(self.options.target), None),
        };
        let transmit = Transmit {
            destination,
            ecn: batch.ecn,
            contents: &batch.contents,
            segment_size: (batch.segments > 1).then_some(batch.segment),
            src_ip,
        };
        // Nothing else is to be done: a network that cannot take a datagram loses it.
        if port
            .state
            .try_send(UdpSockRef::from(&port.socket), &transmit)
            .is_err()
        {
            self.report.unsent += batch.segments as u64;
        }
    }
}

impl Port {
    fn bind(address: SocketAddrV6) -> io::Result<Port> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.bind(&SocketAddr::V6(address).into())?;
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Port { socket, state })
    }
}

#[derive(Default)]
struct Ready {
    front: bool,
    flows: Vec<usize>,
    control: bool,
}

/// Room for one receive.
struct Receiver {
    buffers: Vec<Vec<u8>>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl Receiver {
    fn new() -> Receiver {
        Receiver {
            buffers: vec![vec![0; BATCH_BYTES_MAX]; BATCH_SIZE],
            metas: [RecvMeta::default(); BATCH_SIZE],
        }
    }

    /// The number of filled buffers; 0 where nothing waits.
    fn receive(&mut self, port: &Port) -> io::Result<usize> {
        let mut slices: Vec<IoSliceMut> = self
            .buffers
            .iter_mut()
            .map(|buffer| IoSliceMut::new(buffer))
            .collect();
        match port
            .state
            .recv(UdpSockRef::from(&port.socket), &mut slices, &mut self.metas)
        {
            Ok(count) => Ok(count),
            Err(error) => match error.kind() {
                // The server's port is closed for now: the client finds out by itself.
                io::ErrorKind::WouldBlock
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset => Ok(0),
                _ => Err(error),
            },
        }
    }
}

/// Datagrams for one system call.
#[derive(Default)]
struct Batch {
    flow: usize,
    way: Option<Way>,
    ecn: Option<EcnCodepoint>,
    segment: usize,
    segments: usize,
    /// Whether the last is as large as the others, so that another may follow.
    complete: bool,
    contents: Vec<u8>,
}

impl Batch {
    fn takes(&self, next: &Waiting, segments_max: usize) -> bool {
        self.segments > 0
            && self.segments < segments_max
            && self.complete
            && self.flow == next.flow
            && self.way == Some(next.way)
            && self.ecn == next.ecn
            && next.contents.len() <= self.segment
            && !next.contents.is_empty()
            && self.contents.len() + next.contents.len() <= SEND_BYTES_MAX
    }

    fn begin(&mut self, next: &Waiting) {
        self.flow = next.flow;
        self.way = Some(next.way);
        self.ecn = next.ecn;
        self.segment = next.contents.len();
        self.segments = 0;
        self.contents.clear();
    }
}

/// Bytes to lines. A line that is too long is cut, and so refused as a command.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                lines.push(String::from_utf8_lossy(&self.0).trim().to_owned());
                self.0.clear();
            } else if self.0.len() < LINE_BYTES_MAX {
                self.0.push(*byte);
            }
        }
        lines
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.number == other.number
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    /// The heap gives its greatest first, and ours is the earliest.
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
