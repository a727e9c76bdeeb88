//! A process as on a kernel without some of its offloads: `--lacking gso,gro`.
//!
//! What is measured asks the kernel whether it has them (`setsockopt` with `UDP_SEGMENT` or
//! `UDP_GRO`) and does without where it has not. Here the kernel is told to say no, by a filter on
//! system calls (seccomp, Linux 3.17), so that no transport needs a switch for it.

use std::io;

use crate::Result;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOPROTOOPT as u32;

/// Offsets in `seccomp_data` (linux/seccomp.h), on a little-endian machine.
const NUMBER_AT: u32 = 0;
const ARGUMENTS_AT: u32 = 16;

/// From here on this process lacks what `names` says, for good.
pub fn apply(names: &str) -> Result<()> {
    for name in names.split(',').filter(|name| !name.is_empty()) {
        match name {
            "gso" => refuse(libc::UDP_SEGMENT)?,
            "gro" => refuse(libc::UDP_GRO)?,
            other => return Err(format!("{other} is nothing to lack").into()),
        }
    }
    Ok(())
}

/// Has every `setsockopt(_, SOL_UDP, option, ...)` fail with `ENOPROTOOPT`.
fn refuse(option: libc::c_int) -> Result<()> {
    let argument = |index: u32| ARGUMENTS_AT + 8 * index;
    let mut filter = [
        load(NUMBER_AT),
        unless(libc::SYS_setsockopt as u32, 5),
        load(argument(1)),
        unless(libc::SOL_UDP as u32, 3),
        load(argument(2)),
        unless(option as u32, 1),
        give(REFUSE),
        give(ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the first call takes integers; the second reads the program, which outlives it.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
    };
    if refused {
        return Err(io::Error::last_os_error().into());
    }
    Ok(())
}

fn load(at: u32) -> libc::sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, at)
}

/// Skips `count` steps where what was loaded is not `value`.
fn unless(value: u32, count: u8) -> libc::sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, count, value)
}

fn give(verdict: u32) -> libc::sock_filter {
    step(libc::BPF_RET | libc::BPF_K, 0, verdict)
}

fn step(code: u32, otherwise: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: otherwise,
        k,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    fn set(option: libc::c_int) -> bool {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        let value: libc::c_int = 1;
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the value is an integer of that length.
        unsafe {
            let value = (&raw const value).cast();
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, option, value, length) == 0
        }
    }

    #[test]
    fn what_is_lacking_is_refused_and_nothing_else() {
        // The filter holds for the thread that sets it, and this one ends with the test.
        std::thread::spawn(|| {
            assert!(set(libc::UDP_SEGMENT) && set(libc::UDP_GRO));
            apply("gro").unwrap();
            assert!(set(libc::UDP_SEGMENT) && !set(libc::UDP_GRO));
            apply("gso").unwrap();
            assert!(!set(libc::UDP_SEGMENT) && !set(libc::UDP_GRO));
            assert!(apply("colour").is_err());
        })
        .join()
        .unwrap();
        assert!(set(libc::UDP_SEGMENT) && set(libc::UDP_GRO));
    }
}
