//! How the I/O thread sleeps: on its bell, and on the socket unless another thread drives it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::time::Duration;

use parking_lot::Mutex;

use crate::bell::Bell;

const SOCKET: u64 = 0;
const BELL: u64 = 1;

/// What the I/O thread wants to hear of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// False while another thread drives the socket.
    pub receive: bool,
    /// A datagram waits for room in the kernel.
    pub send: bool,
}

impl Interest {
    fn events(self) -> u32 {
        let event = |wanted: bool, event: i32| if wanted { event as u32 } else { 0 };
        event(self.receive, libc::EPOLLIN) | event(self.send, libc::EPOLLOUT)
    }
}

pub struct Readiness {
    epoll: File,
    bell: Bell,
    socket: RawFd,
    watched: Mutex<Interest>,
}

impl Readiness {
    pub fn new(socket: RawFd) -> io::Result<Readiness> {
        // SAFETY: it takes an integer and returns a new descriptor or -1.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open and nobody else owns it.
        let epoll = unsafe { File::from_raw_fd(fd) };
        let readiness = Readiness {
            epoll,
            bell: Bell::new()?,
            socket,
            watched: Mutex::new(Interest {
                receive: true,
                send: false,
            }),
        };
        let bell = readiness.bell.fd();
        readiness.control(libc::EPOLL_CTL_ADD, bell, BELL, libc::EPOLLIN as u32)?;
        let events = readiness.watched.lock().events();
        readiness.control(libc::EPOLL_CTL_ADD, socket, SOCKET, events)?;
        Ok(readiness)
    }

    fn control(&self, operation: i32, fd: RawFd, data: u64, events: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: both descriptors are open, and the event lives through the call.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Changes what the I/O thread hears of to what `wanted` says under the lock. Where the socket
    /// is ready for it, the thread hears at once.
    pub fn watch(&self, wanted: impl FnOnce() -> Interest) {
        let mut watched = self.watched.lock();
        let wanted = wanted();
        if *watched != wanted {
            // It fails only for a descriptor that was never added.
            let _ = self.control(libc::EPOLL_CTL_MOD, self.socket, SOCKET, wanted.events());
            *watched = wanted;
        }
    }

    /// Runs `replace`, which gives the socket's descriptor to another socket, and watches that.
    pub fn replace(&self, replace: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let watched = self.watched.lock();
        self.control(libc::EPOLL_CTL_DEL, self.socket, SOCKET, 0)?;
        let replaced = replace();
        self.control(libc::EPOLL_CTL_ADD, self.socket, SOCKET, watched.events())?;
        replaced
    }

    /// Ends the sleep of the I/O thread, or its next one.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Sleeps until something happens, at most for `patience`.
    pub fn sleep(&self, patience: Duration) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2];
        let spec = timespec(patience);
        // SAFETY: the events and the timespec live through the call, the count is theirs.
        let count = unsafe {
            libc::epoll_pwait2(
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as i32,
                &raw const spec,
                std::ptr::null(),
            )
        };
        let heard = events.get(..count.max(0) as usize).unwrap_or_default();
        if heard.iter().any(|event| event.u64 == BELL) {
            self.bell.silence();
        }
    }
}

/// Sleeps until one of `fds` is ready, at most for `patience`.
pub fn sleep_on(fds: &mut [libc::pollfd], patience: Duration) {
    let spec = timespec(patience);
    // SAFETY: the descriptors and the timespec live through the call, the count is theirs.
    unsafe {
        libc::ppoll(
            fds.as_mut_ptr(),
            fds.len() as libc::nfds_t,
            &raw const spec,
            std::ptr::null(),
        )
    };
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: duration.as_secs() as libc::time_t,
        tv_nsec: duration.subsec_nanos() as libc::c_long,
    }
}
