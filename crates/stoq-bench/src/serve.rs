//! An endpoint that echoes: requests and streams of service 7 are served inside STOQ.
//!
//! Each line on standard input is answered by the state of this process; the end of input ends it.

use std::io::{stdin, BufRead};

use crate::arguments::Arguments;
use crate::peer::stoq::server;
use crate::report::{announce, resident_bytes, Line};
use crate::Result;

pub fn run(arguments: &Arguments) -> Result<Line> {
    let endpoint = server(arguments)?;
    announce(endpoint.local().port())?;
    let state = || {
        let stats = endpoint.stats();
        Line::default()
            .number("connections", stats.connections)
            .number("accepted", stats.accepted)
            .number("refused", stats.refused)
            .number("resident_bytes", resident_bytes()?)
            .cpu()
    };
    for line in stdin().lock().lines() {
        line?;
        state()?.say()?;
    }
    state()
}
