//! A file descriptor that becomes readable when something has happened (eventfd(2)), for an event
//! loop to watch. It is rung without Python's lock and from any thread.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

pub struct Bell(File);

impl Bell {
    pub fn new() -> io::Result<Bell> {
        // SAFETY: eventfd takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open and nobody else owns it.
        Ok(Bell(unsafe { File::from_raw_fd(fd) }))
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes the descriptor readable. A full counter is readable already.
    pub fn ring(&self) {
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Makes it unreadable. An empty counter is so already.
    pub fn silence(&self) {
        let _ = (&self.0).read(&mut [0; 8]);
    }
}
