//! Processor time of each step that a handshake consists of, in microseconds, alone on one thread.

use std::hint::black_box;
use std::time::{SystemTime, UNIX_EPOCH};

use hm_crypto::{ed25519, falcon};
use hm_x509::Known;
use rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768;

use crate::arguments::Arguments;
use crate::credentials::{chain, keys, policy};
use crate::report::{thread_time, Line};
use crate::Result;

const MESSAGE: &[u8] = &[0x42; 32];

pub fn run(arguments: &Arguments) -> Result<Line> {
    let directory = arguments.directory()?;
    let rounds = arguments.or("rounds", 50)?;
    let keys = keys(&directory, "client")?;
    let policy = policy(&directory)?;
    let chain = chain(&directory, "client")?;
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let leaf = chain.first().ok_or("an empty chain")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
    let public = keys.public();
    let falcon_signature = keys.falcon().sign(MESSAGE)?;
    let ed25519_signature = keys.ed25519().sign(MESSAGE)?;

    let exchange = times(rounds, || {
        let client = X25519MLKEM768.start()?;
        let server = X25519MLKEM768.start_and_complete(client.pub_key())?;
        black_box(client.complete(&server.pub_key)?);
        Ok(())
    })?;
    let certificates = times(rounds, || {
        black_box(hm_x509::check_chain(&policy, &chain, now)?);
        Ok(())
    })?;
    let known = Known::default();
    let certificate_known = times(rounds, || {
        black_box(known.check_node(&policy, leaf, now)?);
        Ok(())
    })?;
    let falcon_sign = times(rounds, || {
        black_box(keys.falcon().sign(MESSAGE)?);
        Ok(())
    })?;
    let falcon_verify = times(rounds, || {
        right(falcon::verify(public.falcon, MESSAGE, &falcon_signature))
    })?;
    let ed25519_sign = times(rounds, || {
        black_box(keys.ed25519().sign(MESSAGE)?);
        Ok(())
    })?;
    let ed25519_verify = times(rounds, || {
        right(ed25519::verify(public.ed25519, MESSAGE, &ed25519_signature))
    })?;
    Ok(Line::default()
        .numbers("key_exchange", &exchange)
        .numbers("certificate_check", &certificates)
        .numbers("certificate_known", &certificate_known)
        .numbers("falcon_sign", &falcon_sign)
        .numbers("falcon_verify", &falcon_verify)
        .numbers("ed25519_sign", &ed25519_sign)
        .numbers("ed25519_verify", &ed25519_verify))
}

fn right(verified: bool) -> Result<()> {
    if verified {
        Ok(())
    } else {
        Err("a right signature is refused".into())
    }
}

fn times(rounds: usize, step: impl Fn() -> Result<()>) -> Result<Vec<f64>> {
    step()?;
    (0..rounds)
        .map(|_| {
            let started = thread_time()?;
            step()?;
            Ok((thread_time()? - started).as_secs_f64() * 1e6)
        })
        .collect()
}
