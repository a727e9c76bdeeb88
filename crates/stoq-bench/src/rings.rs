//! Datagrams over loopback by `sendmsg` and `recvmmsg`, and the same by io_uring: whether a ring
//! would carry the batches of STOQ better. Nothing of STOQ runs here, no cryptography either, so
//! what is seen is the most that a ring could gain (`docs/decisions/0015-io-uring-and-af-xdp.md`).

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{opcode, IoUring};

use crate::arguments::Arguments;
use crate::report::{thread_time, Line};
use crate::Result;

const BUFFER_BYTES: usize = 64 * 1024;
/// Calls of one system call: as many as `recvmmsg` is given by `quinn-udp`.
const BATCH: usize = 32;
/// The longest wait for a datagram, after which a receiver looks whether it is over.
const QUIET: Duration = Duration::from_millis(100);
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What a receiver has got, from its first datagram to its last, and what both ends have used.
struct Run {
    bytes: u64,
    seconds: f64,
    cpu: Duration,
}

pub fn run(arguments: &Arguments) -> Result<Line> {
    let seconds = arguments.duration()?;
    let samples: usize = arguments.or("samples", 5)?;
    let segment: usize = arguments.or("segment", 1452)?;
    let segments: usize = arguments.or("segments", 44)?;
    let mut line = Line::default()
        .number("segment", segment)
        .number("segments", segments);
    let mut rates = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..samples {
        for (at, ring) in [false, true].into_iter().enumerate() {
            let run = bulk(ring, segment, segments, seconds)?;
            rates[at].push(run.bytes as f64 * 8e-9 / run.seconds);
            let gibibytes = run.bytes as f64 / f64::from(1 << 30);
            rates[at + 2].push(run.cpu.as_secs_f64() / gibibytes);
        }
    }
    let [calls, rings, calls_cpu, rings_cpu] = rates;
    line = line
        .numbers("calls_gbit_s", &calls)
        .numbers("rings_gbit_s", &rings)
        .numbers("calls_cpu_s_a_gib", &calls_cpu)
        .numbers("rings_cpu_s_a_gib", &rings_cpu);
    let rounds = arguments.or("rounds", 5_000)?;
    let mut trips = [Vec::new(), Vec::new()];
    for _ in 0..samples {
        for (at, ring) in [false, true].into_iter().enumerate() {
            trips[at].push(round_trip(ring, rounds)?.as_secs_f64() * 1e6);
        }
    }
    Ok(line
        .numbers("calls_round_trip_us", &trips[0])
        .numbers("rings_round_trip_us", &trips[1]))
}

/// Two sockets of this host, each connected to the other.
fn sockets() -> Result<(UdpSocket, UdpSocket)> {
    let make = || -> Result<UdpSocket> {
        let socket = UdpSocket::bind("[::1]:0")?;
        let options = socket2::SockRef::from(&socket);
        options.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        options.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        Ok(socket)
    };
    let (one, other) = (make()?, make()?);
    one.connect(other.local_addr()?)?;
    other.connect(one.local_addr()?)?;
    Ok((one, other))
}

fn set(socket: &UdpSocket, option: libc::c_int, value: libc::c_int) -> Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: the value is an integer of that length.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, option, value, length) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// As many batches of `segments` datagrams as one thread sends and another receives in `seconds`.
fn bulk(ring: bool, segment: usize, segments: usize, seconds: Duration) -> Result<Run> {
    let (from, to) = sockets()?;
    if segments > 1 {
        set(&from, libc::UDP_SEGMENT, segment as libc::c_int)?;
    }
    set(&to, libc::UDP_GRO, 1)?;
    let batch = vec![7; segment * segments];
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiver = scope.spawn(|| match ring {
            true => receive_by_ring(&to, &over),
            false => receive_by_calls(&to, &over),
        });
        let sender = scope.spawn(|| -> Result<Duration> {
            let end = Instant::now() + seconds;
            let sent = match ring {
                true => send_by_ring(&from, &batch, end),
                false => send_by_calls(&from, &batch, end),
            };
            over.store(true, Ordering::Relaxed);
            sent.and_then(|()| thread_time())
        });
        let sent = sender.join().map_err(|_| "the sender panicked")??;
        let mut run = receiver.join().map_err(|_| "the receiver panicked")??;
        run.cpu += sent;
        Ok(run)
    })
}

fn send_by_calls(socket: &UdpSocket, batch: &[u8], end: Instant) -> Result<()> {
    while Instant::now() < end {
        socket.send(batch)?;
    }
    Ok(())
}

fn send_by_ring(socket: &UdpSocket, batch: &[u8], end: Instant) -> Result<()> {
    let mut ring = ring(BATCH)?;
    let fd = Fd(socket.as_raw_fd());
    let entry = opcode::Send::new(fd, batch.as_ptr(), batch.len() as u32).build();
    let mut flying = 0;
    while Instant::now() < end {
        while flying < BATCH / 4 {
            // SAFETY: `batch` outlives the operation: all are waited for below.
            unsafe { ring.submission().push(&entry)? };
            flying += 1;
        }
        ring.submit_and_wait(1)?;
        flying -= reap(&mut ring)?;
    }
    while flying > 0 {
        ring.submit_and_wait(1)?;
        flying -= reap(&mut ring)?;
    }
    Ok(())
}

/// Begun by the first datagram, ended by the last.
#[derive(Default)]
struct Count {
    bytes: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Count {
    fn add(&mut self, bytes: usize) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.bytes += bytes as u64;
    }

    fn run(self) -> Result<Run> {
        let (first, last) = self.first.zip(self.last).ok_or("nothing arrived")?;
        Ok(Run {
            bytes: self.bytes,
            seconds: (last - first).as_secs_f64(),
            cpu: thread_time()?,
        })
    }
}

fn receive_by_calls(socket: &UdpSocket, over: &AtomicBool) -> Result<Run> {
    socket.set_read_timeout(Some(QUIET))?;
    let mut buffers = vec![vec![0_u8; BUFFER_BYTES]; BATCH];
    let mut vectors: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        })
        .collect();
    // SAFETY: zeros are a valid value of this plain struct.
    let mut messages: Vec<libc::mmsghdr> = vec![unsafe { std::mem::zeroed() }; BATCH];
    for (message, vector) in messages.iter_mut().zip(&mut vectors) {
        message.msg_hdr.msg_iov = vector;
        message.msg_hdr.msg_iovlen = 1;
    }
    let mut count = Count::default();
    loop {
        // SAFETY: each message points to a vector, and it to a buffer, that live as long.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock if over.load(Ordering::Relaxed) => return count.run(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => continue,
                _ => return Err(error.into()),
            }
        }
        let bytes = messages.iter().take(received as usize);
        count.add(bytes.map(|message| message.msg_len as usize).sum());
    }
}

fn receive_by_ring(socket: &UdpSocket, over: &AtomicBool) -> Result<Run> {
    let mut buffers = vec![vec![0_u8; BUFFER_BYTES]; BATCH];
    let mut ring = ring(BATCH)?;
    let fd = Fd(socket.as_raw_fd());
    let mut free: Vec<usize> = (0..BATCH).collect();
    let mut count = Count::default();
    loop {
        for at in free.drain(..) {
            let buffer = &mut buffers[at];
            let entry = opcode::Recv::new(fd, buffer.as_mut_ptr(), buffer.len() as u32).build();
            // SAFETY: the buffer is not touched until its completion, and the ring, which goes
            // first, cancels and waits for those that are left.
            unsafe { ring.submission().push(&entry.user_data(at as u64))? };
        }
        wait(&mut ring)?;
        let mut bytes = 0;
        for entry in ring.completion() {
            bytes += usize::try_from(entry.result()).map_err(|_| failed(entry.result()))?;
            free.push(entry.user_data() as usize);
        }
        match bytes {
            0 if over.load(Ordering::Relaxed) => break,
            0 => {}
            bytes => count.add(bytes),
        }
    }
    // What is still flying ends with the socket's own end: nothing reads the buffers after it.
    let cancel = opcode::AsyncCancel2::new(io_uring::types::CancelBuilder::any()).build();
    // SAFETY: it points to nothing.
    unsafe { ring.submission().push(&cancel.user_data(u64::MAX))? };
    let mut flying = BATCH + 1 - free.len();
    while flying > 0 {
        ring.submit_and_wait(1)?;
        flying -= ring.completion().count();
    }
    count.run()
}

/// How long 64 bytes take to another thread and back, both asleep meanwhile: the mean of `rounds`.
fn round_trip(ring: bool, rounds: u32) -> Result<Duration> {
    let (one, other) = sockets()?;
    let fds = [one.as_raw_fd(), other.as_raw_fd()];
    let answers = move || -> Result<()> {
        let mut way = Way::new(ring, fds[1])?;
        for _ in 0..rounds {
            way.receive()?;
            way.send()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let answering = scope.spawn(answers);
        let mut way = Way::new(ring, fds[0])?;
        let begun = Instant::now();
        for _ in 0..rounds {
            way.send()?;
            way.receive()?;
        }
        let took = begun.elapsed();
        answering.join().map_err(|_| "the answerer panicked")??;
        Ok(took / rounds)
    })
}

/// 64 bytes at a time, by calls or by a ring.
struct Way {
    fd: RawFd,
    ring: Option<IoUring>,
    buffer: [u8; 64],
}

impl Way {
    fn new(with_ring: bool, fd: RawFd) -> Result<Way> {
        Ok(Way {
            fd,
            ring: match with_ring {
                true => Some(ring(4)?),
                false => None,
            },
            buffer: [0; 64],
        })
    }

    fn send(&mut self) -> Result<()> {
        let (at, length) = (self.buffer.as_ptr(), self.buffer.len());
        match &mut self.ring {
            Some(ring) => one(
                ring,
                &opcode::Send::new(Fd(self.fd), at, length as u32).build(),
            ),
            // SAFETY: the buffer has that length.
            None => done(unsafe { libc::send(self.fd, at.cast(), length, 0) }),
        }
    }

    fn receive(&mut self) -> Result<()> {
        let (at, length) = (self.buffer.as_mut_ptr(), self.buffer.len());
        match &mut self.ring {
            Some(ring) => one(
                ring,
                &opcode::Recv::new(Fd(self.fd), at, length as u32).build(),
            ),
            // SAFETY: the buffer has that length.
            None => done(unsafe { libc::recv(self.fd, at.cast(), length, 0) }),
        }
    }
}

fn one(ring: &mut IoUring, entry: &io_uring::squeue::Entry) -> Result<()> {
    // SAFETY: the operation is waited for, so its buffer outlives it.
    unsafe { ring.submission().push(entry)? };
    ring.submit_and_wait(1)?;
    reap(ring).map(drop)
}

fn done(result: isize) -> Result<()> {
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// A ring as one thread alone uses it: the kernel then needs no lock, and interrupts nobody.
fn ring(entries: usize) -> Result<IoUring> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(2 * entries as u32)?;
    Ok(ring)
}

/// Submits, and waits for one completion, `QUIET` at most.
fn wait(ring: &mut IoUring) -> Result<()> {
    let patience = Timespec::from(QUIET);
    let arguments = SubmitArgs::new().timespec(&patience);
    match ring.submitter().submit_with_args(1, &arguments) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Completions that there are, or the first that failed.
fn reap(ring: &mut IoUring) -> Result<usize> {
    let mut count = 0;
    for entry in ring.completion() {
        if entry.result() < 0 {
            return Err(failed(entry.result()).into());
        }
        count += 1;
    }
    Ok(count)
}

fn failed(result: i32) -> io::Error {
    io::Error::from_raw_os_error(-result)
}
