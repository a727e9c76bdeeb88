//! Many live connections, spread over `--endpoints` sockets. A line on standard input at a time:
//!
//! ```text
//! open N               opens N more
//! ping MS              asks each for an echo at once; how many answer within MS
//! load M SECONDS MS    the same while M of them move data, for that long
//! ```

use std::io::{stdin, BufRead};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

use stoq::{Connection, Endpoint};

use crate::arguments::Arguments;
use crate::peer::each;
use crate::peer::stoq::{client, destination, PATIENCE};
use crate::report::{resident_bytes, Line};
use crate::Result;

const SERVICE_ECHO: u16 = 7;
const PING: &[u8] = b"ping";
/// Bytes; one request of a connection that moves data, and its answer.
const MOVED_BYTES: usize = 64 * 1024;
/// Of one connection to be let in.
const ATTEMPTS_MAX: usize = 5;
/// Between the start of the movers and the pings.
const SETTLING: Duration = Duration::from_millis(500);

pub fn run(arguments: &Arguments) -> Result<Line> {
    let endpoints: Vec<Endpoint> = (0..arguments.or("endpoints", 4)?)
        .map(|_| client(arguments))
        .collect::<Result<_>>()?;
    let mut held: Vec<Arc<Connection>> = Vec::new();
    for line in stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["open", count] => open(arguments, &endpoints, &mut held, count.parse()?)?,
            ["ping", patience] => ping(&held, Duration::from_millis(patience.parse()?))?,
            ["load", movers, seconds, patience] => load(
                &held,
                movers.parse()?,
                Duration::try_from_secs_f64(seconds.parse()?)?,
                Duration::from_millis(patience.parse()?),
            )?,
            _ => return Err(format!("{line:?} is no command").into()),
        }
        .say()?;
    }
    let alive = held.iter().filter(|each| each.ended().is_none()).count();
    drop(held);
    for endpoint in &endpoints {
        endpoint.close("done");
    }
    Line::default().number("alive", alive).cpu()
}

/// A few at a time, as many clients would come; who is not let in tries again.
fn open(
    arguments: &Arguments,
    endpoints: &[Endpoint],
    held: &mut Vec<Arc<Connection>>,
    count: usize,
) -> Result<Line> {
    let left = AtomicUsize::new(count);
    let retried = AtomicUsize::new(0);
    let began = Instant::now();
    let opened = each(arguments.or("window", 8)?, |index| {
        let mut opened = Vec::new();
        let taken = |left: usize| left.checked_sub(1);
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .is_ok()
        {
            let endpoint = &endpoints[(index + opened.len()) % endpoints.len()];
            let mut attempts = 1;
            let connection = loop {
                let connecting = endpoint.connect(destination(arguments)?, PATIENCE);
                match endpoint.drive().wait(connecting) {
                    Ok(connection) => break connection,
                    Err(error) if attempts == ATTEMPTS_MAX => return Err(error.into()),
                    Err(_) => attempts += 1,
                }
                retried.fetch_add(1, Ordering::Relaxed);
            };
            opened.push(Arc::new(connection));
        }
        Ok(opened)
    })?;
    held.extend(opened.into_iter().flatten());
    Ok(Line::default()
        .number("held", held.len())
        .number("retried", retried.load(Ordering::Relaxed))
        .number("seconds", began.elapsed().as_secs_f64())
        .number("resident_bytes", resident_bytes()?))
}

fn ping(held: &[Arc<Connection>], patience: Duration) -> Result<Line> {
    let (over, ended) = mpsc::channel();
    for connection in held {
        let (connection, over) = (connection.clone(), over.clone());
        connection.clone().drive().spawn(async move {
            let started = Instant::now();
            let answer = connection.request(SERVICE_ECHO, PING, patience).await;
            let taken = answer
                .is_ok_and(|answer| answer == PING)
                .then(|| started.elapsed());
            let _ = over.send(taken);
        });
    }
    let mut taken_ms = Vec::new();
    for _ in held {
        if let Some(taken) = ended.recv_timeout(patience + PATIENCE)? {
            taken_ms.push(taken.as_secs_f64() * 1e3);
        }
    }
    taken_ms.sort_by(f64::total_cmp);
    let at = |share: f64| -> f64 {
        let index = (share * taken_ms.len() as f64) as usize;
        taken_ms
            .get(index.min(taken_ms.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::MAX)
    };
    Ok(Line::default()
        .number("asked", held.len())
        .number("answered", taken_ms.len())
        .number("p50_ms", at(0.50))
        .number("p99_ms", at(0.99)))
}

fn load(
    held: &[Arc<Connection>],
    movers: usize,
    lasting: Duration,
    patience: Duration,
) -> Result<Line> {
    let moved = Arc::new(AtomicU64::new(0));
    let (over, ended) = mpsc::channel();
    let began = Instant::now();
    let movers = movers.min(held.len());
    for connection in held.iter().take(movers) {
        let (connection, moved, over) = (connection.clone(), moved.clone(), over.clone());
        connection.clone().drive().spawn(async move {
            let body = vec![0xa5; MOVED_BYTES];
            let outcome = async {
                while began.elapsed() < lasting {
                    let answer = connection.request(SERVICE_ECHO, &body, PATIENCE).await?;
                    if answer != body {
                        return Err("the echo is not what was said".into());
                    }
                    moved.fetch_add(answer.len() as u64, Ordering::Relaxed);
                }
                Result::Ok(())
            }
            .await;
            let _ = over.send(outcome);
        });
    }
    std::thread::sleep(SETTLING.min(lasting / 2));
    let line = ping(held, patience)?;
    for _ in 0..movers {
        ended.recv_timeout(lasting + PATIENCE)??;
    }
    Ok(line
        .number("moved_bytes", moved.load(Ordering::Relaxed))
        .number("seconds", began.elapsed().as_secs_f64()))
}
