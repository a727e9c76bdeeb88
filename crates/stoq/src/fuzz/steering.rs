//! Which shard a datagram is for: as the kernel's filter says it, and as a shard reads it.

use libc::sock_filter;

use crate::limits::SHARDS_MAX;
use crate::quic::owner;
use crate::restart::named;
use crate::socket::steering;

const LONG_HEADER: u8 = 0x80;

pub fn seeds() -> Vec<Vec<u8>> {
    let id = [7, 1, 2, 3, 4, 5, 6, 7];
    vec![
        [&[3, 0x43][..], &id, b"protected"].concat(),
        [&[7, 0xc3, 0, 0, 0, 1, 8][..], &id, &[0, 0, 0x41, 0x20]].concat(),
        // Version negotiation towards a client without an id (RFC 9000 section 17.2.1).
        vec![1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        vec![63, 0x40],
    ]
}

/// `shards - 1 u8 | datagram`. Wherever a datagram names a shard, the kernel gives it to that one;
/// and an id that a shard has made leads back to it.
pub fn read(input: &[u8]) {
    let Some((count, datagram)) = input.split_first() else {
        return;
    };
    let shards = 1 + usize::from(*count) % SHARDS_MAX;
    if let Some(owner) = owner(datagram, shards) {
        assert!(owner < shards);
        assert_eq!(run(&steering(shards), datagram) as usize, owner);
    }
    let Some((id, rest)) = datagram.split_first() else {
        return;
    };
    let shard = usize::from(*count) % shards;
    let id = named(*id, shard, shards);
    let short = [&[0x40, id][..], rest].concat();
    let long = [&[LONG_HEADER | 0x40, 0, 0, 0, 1, 8, id][..], rest].concat();
    for datagram in [short, long] {
        assert_eq!(owner(&datagram, shards), Some(shard));
        assert_eq!(run(&steering(shards), &datagram) as usize, shard);
    }
}

/// What the kernel makes of `program`, as far as the program needs it: a load beyond the end
/// returns 0 (bpf(2), classic BPF).
fn run(program: &[sock_filter], datagram: &[u8]) -> u32 {
    let (mut accumulator, mut at) = (0_u32, 0);
    while let Some(step) = program.get(at) {
        at += 1;
        let code = u32::from(step.code);
        if code == libc::BPF_LD | libc::BPF_B | libc::BPF_ABS {
            match datagram.get(step.k as usize) {
                Some(byte) => accumulator = u32::from(*byte),
                None => return 0,
            }
        } else if code == libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K {
            let taken = accumulator & step.k != 0;
            at += usize::from(if taken { step.jt } else { step.jf });
        } else if code == libc::BPF_JMP | libc::BPF_JA {
            at += step.k as usize;
        } else if code == libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K {
            accumulator %= step.k;
        } else {
            assert_eq!(code, libc::BPF_RET | libc::BPF_A);
            return accumulator;
        }
    }
    unreachable!("the program ends without a verdict")
}
