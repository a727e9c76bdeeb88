//! What outlives an endpoint's process: the key of its stateless resets (RFC 9000, section 10.3).
//!
//! A node that was killed and comes back with its keys tells the peers that still send on their old
//! connections that these are gone, so they dial anew at once instead of waiting for
//! `IDLE_TIMEOUT`. A reset proves itself by a token that only the node's secret key leads to.

use std::sync::Arc;
use std::time::Duration;

use crate::quic::crypto::{CryptoError, HmacKey};
use crate::quic::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use hm_crypto::digest::Context;
use hm_crypto::{entropy, Error};

use crate::identity::Identity;

const ID_BYTES: usize = 8;
const TOKEN_BYTES: usize = 32;

/// Let `config` reset the connections of an earlier endpoint of `identity`. The connection ids it
/// makes belong to one of so many `shards`.
pub fn configure(
    config: &mut EndpointConfig,
    identity: Option<&Identity>,
    shard: usize,
    shards: usize,
) -> Result<(), Error> {
    if let Some(identity) = identity {
        let secret = Context::new("stoq-reset")?.digest(&[&identity.keys.to_bytes()]);
        let token = Context::new("stoq-reset-token")?;
        config.reset_key(Arc::new(ResetKey { secret, token }));
    }
    let mut seed = [0; 32];
    entropy::fill(&mut seed)?;
    let ids = Ids {
        seed,
        made: 0,
        shard,
        shards,
        context: Context::new("stoq-connection-id")?,
    };
    config.cid_generator(move || Box::new(ids.clone()));
    Ok(())
}

/// Makes the token of a connection id: a keyed digest.
struct ResetKey {
    secret: [u8; 32],
    token: Context,
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.token.digest(&[&self.secret, data]));
    }

    fn signature_len(&self) -> usize {
        TOKEN_BYTES
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // Resets are recognised by `quinn-proto`, which compares tokens it was given; nothing asks this.
        if self.token.digest(&[&self.secret, data]) == signature {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// Random connection ids, whose first byte names the shard. The ids of `quinn-proto` are marked with
/// a key of the process, and an id without the mark gets no reset.
#[derive(Clone)]
struct Ids {
    seed: [u8; 32],
    made: u64,
    shard: usize,
    shards: usize,
    context: Context,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.made += 1;
        let mut digest = self.context.digest(&[&self.seed, &self.made.to_be_bytes()]);
        digest[0] = named(digest[0], self.shard, self.shards);
        ConnectionId::new(&digest[..ID_BYTES])
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The byte next to `random` that is `shard` modulo `shards`.
pub(crate) fn named(random: u8, shard: usize, shards: usize) -> u8 {
    let random = usize::from(random);
    let named = random - random % shards + shard;
    if named > usize::from(u8::MAX) {
        (named - shards) as u8
    } else {
        named as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_an_id_names_its_shard() {
        for shards in [1, 2, 3, 5, 16, 64] {
            for shard in 0..shards {
                for random in 0..=u8::MAX {
                    let named = usize::from(named(random, shard, shards));
                    assert_eq!(named % shards, shard);
                    assert!(shards > 1 || named == usize::from(random));
                }
            }
        }
    }
}
