//! Small requests to the echo service.
//!
//! `--mode blocking`: one after the other, so both ends are awake; with `--pause MS` between two,
//! both have gone to sleep. `--mode fresh`: each on a connection of its own. `--mode pipelined`: `--window` of them at once. `--mode idle`: none, to
//! see what a connection costs that does nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use stoq::{Connection, Endpoint};

use crate::arguments::Arguments;
use crate::peer::stoq::{client, connect, PATIENCE};
use crate::report::{process_time, Line};
use crate::Result;

const SERVICE_ECHO: u16 = 7;
const WARM: usize = 200;
/// After the last packet of the first request.
const SETTLING: Duration = Duration::from_millis(200);

pub fn run(arguments: &Arguments) -> Result<Line> {
    let endpoint = client(arguments)?;
    let connection = Arc::new(connect(&endpoint, arguments)?);
    let body = vec![0x5a; arguments.or("bytes", 64)?];
    let lasting = arguments.duration()?;
    let line = match arguments.or("mode", "blocking".to_owned())?.as_str() {
        "blocking" => {
            let pause = Duration::from_millis(arguments.or("pause", 0)?);
            if pause.is_zero() {
                for _ in 0..WARM {
                    ask(&connection, &body)?;
                }
            }
            blocking(&connection, &body, pause, lasting)?
        }
        "fresh" => fresh(arguments, &endpoint, &body, lasting)?,
        "pipelined" => pipelined(&connection, &body, arguments.or("window", 100)?, lasting)?,
        "idle" => {
            ask(&connection, &body)?;
            sleep(SETTLING);
            Line::default().text("state", "idle").say()?;
            let before = process_time()?;
            sleep(lasting);
            let used = process_time()? - before;
            Line::default().number("used_s", used.as_secs_f64())
        }
        other => return Err(format!("{other} is no mode").into()),
    };
    let line = line.cpu();
    endpoint.close("done");
    line
}

fn ask(connection: &Connection, body: &[u8]) -> Result<()> {
    let asking = connection.request(SERVICE_ECHO, body, PATIENCE);
    if connection.drive().wait(asking)? == body {
        Ok(())
    } else {
        Err("the echo is not what was said".into())
    }
}

fn blocking(
    connection: &Connection,
    body: &[u8],
    pause: Duration,
    lasting: Duration,
) -> Result<Line> {
    let mut taken_us = Vec::new();
    let began = Instant::now();
    while began.elapsed() < lasting {
        let started = Instant::now();
        ask(connection, body)?;
        taken_us.push(started.elapsed().as_secs_f64() * 1e6);
        if !pause.is_zero() {
            sleep(pause);
        }
    }
    Ok(Line::default()
        .numbers("taken_us", &taken_us)
        .number("seconds", began.elapsed().as_secs_f64()))
}

/// What a program pays that keeps no connection.
fn fresh(
    arguments: &Arguments,
    endpoint: &Endpoint,
    body: &[u8],
    lasting: Duration,
) -> Result<Line> {
    let mut taken_us = Vec::new();
    let began = Instant::now();
    while began.elapsed() < lasting {
        let started = Instant::now();
        ask(&connect(endpoint, arguments)?, body)?;
        taken_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Line::default()
        .numbers("taken_us", &taken_us)
        .number("seconds", began.elapsed().as_secs_f64()))
}

fn pipelined(
    connection: &Arc<Connection>,
    body: &[u8],
    window: usize,
    lasting: Duration,
) -> Result<Line> {
    let answered = Arc::new(AtomicU64::new(0));
    let (over, ended) = mpsc::channel();
    let began = Instant::now();
    for _ in 0..window {
        let (connection, body) = (connection.clone(), body.to_vec());
        let (answered, over) = (answered.clone(), over.clone());
        connection.clone().drive().spawn(async move {
            let outcome = async {
                while began.elapsed() < lasting {
                    let answer = connection.request(SERVICE_ECHO, &body, PATIENCE).await?;
                    if answer != body {
                        return Err("the echo is not what was said".into());
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Result::Ok(())
            }
            .await;
            let _ = over.send(outcome);
        });
    }
    for _ in 0..window {
        ended.recv_timeout(lasting + PATIENCE)??;
    }
    Ok(Line::default()
        .number("answered", answered.load(Ordering::Relaxed))
        .number("seconds", began.elapsed().as_secs_f64()))
}
