//! Probes of the path without what fills them.
//!
//! A probe is PING, IMMEDIATE_ACK where the peer knows that frame, and PADDING up to the size that
//! the path is asked for (RFC 9000 section 14.4): 65,487 bytes on loopback. PADDING is a frame of
//! one byte, and quinn-proto reads it frame by frame, so such a probe would cost each end of a
//! connection a tenth of its handshake.
//!
//! What is cut is cut after decryption has authenticated it, and only where it cannot be anything
//! else: the frames before it have no bodies, and all that follows is zero to the end of the packet.
//! A zero elsewhere may be part of a frame, and stays.

use bytes::BytesMut;

use super::crypto::{CryptoError, PacketKey};

const PADDING: u8 = 0x00;
const PING: u8 = 0x01;
const IMMEDIATE_ACK: u8 = 0x1f;

/// Bytes that are compared at once.
const STRIDE: usize = 64;

/// A key for packets received, behind which probes are short.
pub struct Unpadded(pub Box<dyn PacketKey>);

impl PacketKey for Unpadded {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        self.0.encrypt(packet, buf, header_len);
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        self.0.decrypt(packet, header, payload)?;
        payload.truncate(unpadded(payload));
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

/// How much of the frames in `payload` is left without the padding of a probe; all of what is none.
pub(crate) fn unpadded(payload: &[u8]) -> usize {
    let padding = match payload {
        [PING, IMMEDIATE_ACK, padding @ ..] | [PING, padding @ ..] => padding,
        _ => return payload.len(),
    };
    match is_padding(padding) {
        true => payload.len() - padding.len(),
        false => payload.len(),
    }
}

fn is_padding(bytes: &[u8]) -> bool {
    bytes
        .chunks(STRIDE)
        .all(|chunk| chunk.iter().fold(0, |seen, byte| seen | byte) == PADDING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(frames: &[u8], padding: usize) -> Vec<u8> {
        [frames, &vec![PADDING; padding]].concat()
    }

    #[test]
    fn a_probe_keeps_its_frames() {
        for padding in [0, 1, STRIDE - 1, STRIDE, STRIDE + 1, 1150, 65_437] {
            assert_eq!(unpadded(&probe(&[PING], padding)), 1);
            assert_eq!(unpadded(&probe(&[PING, IMMEDIATE_ACK], padding)), 2);
        }
    }

    #[test]
    fn one_byte_that_is_not_zero_keeps_all() {
        for frames in [&[PING][..], &[PING, IMMEDIATE_ACK]] {
            let whole = probe(frames, 1200);
            for place in frames.len()..whole.len() {
                for byte in [PING, IMMEDIATE_ACK, 0x08, 0x80, 0xff] {
                    let mut altered = whole.clone();
                    altered[place] = byte;
                    // A second frame without a body is one that the first place may hold.
                    let frames_left = match (frames, place, byte) {
                        ([PING], 1, IMMEDIATE_ACK) => 2,
                        _ => altered.len(),
                    };
                    assert_eq!(unpadded(&altered), frames_left, "{place}, {byte}");
                }
            }
        }
    }

    #[test]
    fn zeros_of_other_frames_stay() {
        // STREAM without a length takes all that follows: its data may be zeros.
        let stream = probe(&[0x08, 0x00], 1200);
        // DATAGRAM without a length, likewise; and frames whose bodies end in zeros.
        let datagram = probe(&[0x30], 1200);
        let crypto = probe(&[0x06, 0x00, 0x44, 0xb0], 1200);
        let padding = probe(&[], 1200);
        for payload in [
            stream,
            datagram,
            crypto,
            padding,
            probe(&[IMMEDIATE_ACK], 9),
        ] {
            assert_eq!(unpadded(&payload), payload.len());
            // The same behind a PING, as senders join frames.
            let behind = [&[PING][..], &payload].concat();
            let bodiless = payload[0] == PADDING || payload[0] == IMMEDIATE_ACK;
            assert_eq!(unpadded(&behind) == behind.len(), !bodiless);
        }
        assert_eq!(unpadded(&[]), 0);
    }

    /// Takes the last byte off, as though it were a tag, which must be `TAG`.
    struct Plain;

    const TAG: u8 = 7;

    impl PacketKey for Plain {
        fn encrypt(&self, _packet: u64, buf: &mut [u8], _header_len: usize) {
            if let Some(last) = buf.last_mut() {
                *last = TAG;
            }
        }

        fn decrypt(&self, _: u64, _: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
            match payload.last() {
                Some(&TAG) => payload.truncate(payload.len() - 1),
                _ => return Err(CryptoError),
            }
            Ok(())
        }

        fn tag_len(&self) -> usize {
            1
        }

        fn confidentiality_limit(&self) -> u64 {
            2
        }

        fn integrity_limit(&self) -> u64 {
            3
        }
    }

    #[test]
    fn a_packet_is_cut_once_it_is_authentic() {
        let key = Unpadded(Box::new(Plain));
        let mut packet = probe(&[PING], 100);
        let mut forged = BytesMut::from(&packet[..]);
        assert!(key.decrypt(0, &[], &mut forged).is_err());
        assert_eq!(forged, packet);
        key.encrypt(0, &mut packet, 0);
        let mut received = BytesMut::from(&packet[..]);
        assert!(key.decrypt(0, &[], &mut received).is_ok());
        assert_eq!(&received[..], [PING]);
        let limits = (key.confidentiality_limit(), key.integrity_limit());
        assert_eq!((key.tag_len(), limits), (1, (2, 3)));
    }
}
