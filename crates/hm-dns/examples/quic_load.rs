//! Asks a server over QUIC as fast as it answers, for `benches/measures/trustchain_dns.py`.
//!
//!     quic_load PORT ROOT.der SERVER_NAME QUESTION SECONDS CONNECTIONS STREAMS
//!
//! Each of so many connections to [::1] asks on so many streams at a time for the AAAA record of
//! QUESTION, with DNSSEC. Prints how many answers came, how many were none, and over how many
//! seconds.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stoq::{OpenAlpn, OpenConnection, OpenEndpoint};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, root, server, question, seconds, connections, streams] = arguments.as_slice() else {
        return Err("seven arguments, as the source says".into());
    };
    let address = SocketAddrV6::new(Ipv6Addr::LOCALHOST, port.parse()?, 0, 0);
    let query: Arc<[u8]> = query(question).into();
    let (streams, tally) = (streams.parse::<usize>()?, Arc::new(Tally::default()));
    let nobody = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
    let roots = [std::fs::read(root)?];
    let endpoint = OpenEndpoint::bind(nobody, &OpenAlpn::new(b"doq")?, &roots, None)?;
    let mut held = Vec::new();
    for _ in 0..connections.parse::<usize>()? {
        let connecting = endpoint.connect(address, server, false, PATIENCE);
        let connection = Arc::new(endpoint.drive().wait(connecting)?);
        held.push(connection);
    }
    let start = Instant::now();
    for connection in &held {
        for _ in 0..streams {
            let (connection, query) = (connection.clone(), query.clone());
            let tally = tally.clone();
            endpoint
                .drive()
                .spawn(async move { ask(&connection, &query, &tally).await });
        }
    }
    std::thread::sleep(Duration::from_secs_f64(seconds.parse()?));
    let (answered, failed) = (&tally.answered, &tally.failed);
    let took = start.elapsed().as_secs_f64();
    println!(
        "{} {} {took}",
        answered.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed)
    );
    tally.stop.store(true, Ordering::Relaxed);
    endpoint.close("");
    Ok(())
}

async fn ask(connection: &OpenConnection, query: &[u8], tally: &Tally) {
    while !tally.stop.load(Ordering::Relaxed) {
        let counter = match one(connection, query).await {
            Some(()) => &tally.answered,
            None => &tally.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if connection.ended().is_some() {
            return;
        }
    }
}

/// One question and its answer, which has a record.
async fn one(connection: &OpenConnection, query: &[u8]) -> Option<()> {
    let stream = connection.open_stream(PATIENCE).await.ok()?;
    stream.write(query, PATIENCE).await.ok()?;
    stream.finish(PATIENCE).await.ok()?;
    let mut answer = [0; 4096];
    let length = stream.fill(&mut answer, PATIENCE).await.ok()?;
    let whole = usize::from(u16::from_be_bytes([answer[0], answer[1]])) + 2 == length;
    (whole && length > 14 && answer[9] > 0).then_some(())
}

/// A query behind its length, with the id 0 (RFC 9250 section 4.2.1).
fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.trim_end_matches('.').split('.') {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 28, 0, 1]);
    query.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
    [&(query.len() as u16).to_be_bytes(), query.as_slice()].concat()
}
