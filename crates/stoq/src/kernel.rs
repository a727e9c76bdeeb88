//! Ways past the system calls of a socket that the kernel may offer: io_uring and AF_XDP.
//!
//! They are asked for and not used. A ring moved no more than `sendmsg` and `recvmmsg` where it was
//! measured, and AF_XDP wants privileges and an IPv6 stack of our own
//! (`docs/decisions/0015-io-uring-and-af-xdp.md`). Asking changes nothing on the machine.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

/// `struct io_uring_params` (linux/io_uring.h).
const RING_PARAMETERS_BYTES: usize = 120;

/// Generic netlink (linux/netlink.h, linux/genetlink.h): the controller, and its question for the
/// number of a family.
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// The family `netdev` (linux/netdev.h, Linux 6.3): what a device says of itself.
const DEVICE_GET: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_XDP_FEATURES: u16 = 3;

const MESSAGE_HEADER_BYTES: usize = 16;
const GENERIC_HEADER_BYTES: usize = 4;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// `NETDEV_XDP_ACT_REDIRECT` and `NETDEV_XDP_ACT_XSK_ZEROCOPY`.
const REDIRECT: u64 = 1 << 1;
const ZERO_COPY: u64 = 1 << 3;

/// Whether this process may make a ring (io_uring_setup(2)); the ring is closed at once.
///
/// # Errors
/// Why not: `ENOSYS` where the kernel has none, `EPERM` where it is switched off
/// (`kernel.io_uring_disabled`, or a filter of system calls).
pub fn io_uring() -> io::Result<()> {
    let mut parameters = [0_u32; RING_PARAMETERS_BYTES / 4];
    // SAFETY: the parameters are zeros, which ask for nothing, and as long as the kernel's.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if ring < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    drop(unsafe { OwnedFd::from_raw_fd(ring as i32) });
    Ok(())
}

/// Whether this process may make an AF_XDP socket, and the driver of `interface` gives it packets
/// without a copy. No socket is bound, so the interface goes on as it is.
///
/// # Errors
/// Why not: from the kernel, or in words where the driver does not.
pub fn af_xdp(interface: &str) -> io::Result<()> {
    Socket::new(Domain::from(libc::AF_XDP), Type::RAW, None)?;
    let features = xdp_features(interface)?;
    let lacking = |what: &str| {
        let why = format!("the driver of {interface} {what}");
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    };
    if features & REDIRECT == 0 {
        lacking("runs no XDP program itself")
    } else if features & ZERO_COPY == 0 {
        lacking("copies each packet for AF_XDP")
    } else {
        Ok(())
    }
}

/// The bits of `enum netdev_xdp_act` of an interface.
fn xdp_features(interface: &str) -> io::Result<u64> {
    let name = CString::new(interface)?;
    // SAFETY: the name ends with a zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    let netlink = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(libc::NETLINK_GENERIC)),
    )?;
    let answer = ask(&netlink, CONTROLLER, GET_FAMILY, (FAMILY_NAME, b"netdev\0"))?;
    let family = attribute(&answer, FAMILY_ID).and_then(|value| value.first_chunk());
    let family = u16::from_ne_bytes(*family.ok_or_else(unknown)?);
    let index = (DEVICE_INDEX, &index.to_ne_bytes()[..]);
    let answer = ask(&netlink, family, DEVICE_GET, index)?;
    let features = attribute(&answer, DEVICE_XDP_FEATURES).and_then(|value| value.first_chunk());
    features.map_or_else(|| Err(unknown()), |bits| Ok(u64::from_ne_bytes(*bits)))
}

fn unknown() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the kernel does not say what the driver can do (Linux 6.3 does)",
    )
}

/// The attributes with which the kernel answers one question of one attribute.
fn ask(
    mut netlink: &Socket,
    family: u16,
    command: u8,
    (kind, value): (u16, &[u8]),
) -> io::Result<Vec<u8>> {
    let attribute_bytes = ATTRIBUTE_HEADER_BYTES + value.len();
    let padded = attribute_bytes.next_multiple_of(4);
    let length = MESSAGE_HEADER_BYTES + GENERIC_HEADER_BYTES + padded;
    let mut question = Vec::with_capacity(length);
    question.extend((length as u32).to_ne_bytes());
    question.extend(family.to_ne_bytes());
    question.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    question.extend([0; 8]); // sequence, port
    question.extend([command, 1, 0, 0]);
    question.extend((attribute_bytes as u16).to_ne_bytes());
    question.extend(kind.to_ne_bytes());
    question.extend(value);
    question.resize(length, 0);
    netlink.write_all(&question)?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let received = netlink.read(&mut answer)?;
    answer.truncate(received);
    attributes(&answer)
}

/// What follows the headers of an answer, or the error that it is.
fn attributes(answer: &[u8]) -> io::Result<Vec<u8>> {
    let (header, body) = answer
        .split_first_chunk::<MESSAGE_HEADER_BYTES>()
        .ok_or_else(unknown)?;
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    if i32::from(kind) == libc::NLMSG_ERROR {
        let code = body
            .first_chunk()
            .map_or(0, |code| i32::from_ne_bytes(*code));
        return Err(io::Error::from_raw_os_error(-code));
    }
    let attributes = body.get(GENERIC_HEADER_BYTES..).ok_or_else(unknown)?;
    Ok(attributes.to_vec())
}

/// The value of the first attribute of this kind.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let [l0, l1, k0, k1, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = attributes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        if u16::from_ne_bytes([k0, k1]) == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_and_nonsense_ends_the_search() {
        let two = [
            &6_u16.to_ne_bytes()[..],
            &7_u16.to_ne_bytes(),
            b"ab\0\0",
            &5_u16.to_ne_bytes(),
            &9_u16.to_ne_bytes(),
            b"c",
        ]
        .concat();
        assert_eq!(attribute(&two, 7), Some(&b"ab"[..]));
        assert_eq!(attribute(&two, 9), Some(&b"c"[..]));
        assert_eq!(attribute(&two, 1), None);
        for end in 0..two.len() {
            assert_eq!(attribute(&two[..end], 9), None);
        }
        assert_eq!(attribute(&[0; 64], 9), None, "a length of nothing");
    }

    #[test]
    fn an_error_is_told_by_its_number() {
        let mut answer = vec![0; MESSAGE_HEADER_BYTES];
        answer[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
        answer.extend((-libc::ENODEV).to_ne_bytes());
        let error = attributes(&answer).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        assert!(attributes(&[]).is_err());
    }

    #[test]
    fn the_kernel_says_yes_or_why_not() {
        if let Err(error) = io_uring() {
            let known = [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::ENOMEM];
            assert!(known.contains(&error.raw_os_error().unwrap()), "{error}");
        }
        // A loopback interface has no driver that could.
        let error = af_xdp("lo").unwrap_err();
        assert!(!error.to_string().is_empty());
        assert!(af_xdp("no-such-device").is_err());
        assert!(af_xdp("a\0b").is_err());
    }
}
