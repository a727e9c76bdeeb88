//! What is cut of a packet: padding of a probe, and no byte of anything else.

use crate::quic::unpadded;

const PING: u8 = 0x01;
const STREAM: u8 = 0x08;
const IMMEDIATE_ACK: u8 = 0x1f;

pub fn seeds() -> Vec<Vec<u8>> {
    let frames: [&[u8]; 4] = [
        &[PING],
        &[PING, IMMEDIATE_ACK],
        &[PING, STREAM, 0],
        &[STREAM, 0],
    ];
    frames
        .iter()
        .flat_map(|frames| [3, 64, 200].map(|zeros| [frames, &vec![0; zeros][..]].concat()))
        .collect()
}

/// What is left begins the payload; where it is shorter, it is the frames of a probe and all behind
/// them is zero. Cutting what was cut cuts nothing more.
pub fn read(payload: &[u8]) {
    let left = unpadded(payload);
    assert_eq!(unpadded(&payload[..left]), left);
    if left < payload.len() {
        assert!([&[PING][..], &[PING, IMMEDIATE_ACK]].contains(&&payload[..left]));
        assert!(payload[left..].iter().all(|byte| *byte == 0));
    } else if let [PING, rest @ ..] = payload {
        let frames = rest.strip_prefix(&[IMMEDIATE_ACK]).unwrap_or(rest);
        assert!(frames.is_empty() || frames.iter().any(|byte| *byte != 0));
    }
}
