//! Connections opened and closed again, `--window` of them at once: mutual, with the hybrid key
//! exchange and the FALCON channel binding. One counts when both sides have admitted each other.
//! Each is a whole handshake: a ticket would save certificates, and the rate would be of something
//! else.

use std::time::Instant;

use crate::arguments::Arguments;
use crate::peer::each;
use crate::peer::stoq::{client, destination, PATIENCE};
use crate::report::{process_time, Line};
use crate::Result;

pub fn run(arguments: &Arguments) -> Result<Line> {
    let endpoint = client(arguments)?;
    endpoint.hold_tickets(false);
    let lasting = arguments.duration()?;
    let before = process_time()?;
    let began = Instant::now();
    let taken_ms: Vec<Vec<f64>> = each(arguments.or("window", 8)?, |_| {
        let mut taken_ms = Vec::new();
        while began.elapsed() < lasting {
            let started = Instant::now();
            let connecting = endpoint.connect(destination(arguments)?, PATIENCE);
            let connection = endpoint.drive().wait(connecting)?;
            taken_ms.push(started.elapsed().as_secs_f64() * 1e3);
            if connection.negotiated_group() != "X25519MLKEM768" {
                return Err(connection.negotiated_group().into());
            }
            if connection.resumed() {
                return Err("a handshake was resumed".into());
            }
        }
        Ok(taken_ms)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let line = Line::default()
        .numbers("taken_ms", &taken_ms.concat())
        .number("seconds", seconds)
        .number("used_s", (process_time()? - before).as_secs_f64());
    endpoint.close("done");
    Ok(line)
}
