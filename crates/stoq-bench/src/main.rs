//! One end of a measurement: STOQ, or a transport beside it. `benches/stoq.py` starts both ends,
//! each as a process of its own, and reads their lines of JSON.
//!
//! ```text
//! receive PEER   takes streams, counts and compares what comes; says {"port": N} first
//! send PEER      fills streams
//! serve          an endpoint that echoes (service 7); says {"port": N}, and its state when asked
//! request        small requests, one after the other or many at once
//! handshake      connections, opened and closed
//! hold           many connections, live for as long as standard input lasts
//! rings          datagrams over loopback by system calls, and by io_uring
//! steps          processor time of what a handshake consists of
//!
//! PEER = stoq | quinn | tls | tcp
//! --lacking gso,gro: as on a kernel that has not these
//! ```
//! Nothing here knows the insides of STOQ: it is measured through the surface that users have.

mod arguments;
mod bulk;
mod credentials;
mod handshake;
mod hold;
mod lacking;
mod payload;
mod peer;
mod report;
mod request;
mod rings;
mod serve;
mod steps;

use std::process::ExitCode;

use arguments::Arguments;
use bulk::Bulk;
use report::Line;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("stoq-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Line> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    // Before there is any other thread, which would not be bound by it.
    lacking::apply(&arguments.or("lacking", String::new())?)?;
    match arguments.command() {
        "receive" => {
            let bulk = Bulk::of(&arguments)?;
            let received = match arguments.peer()? {
                "stoq" => peer::stoq::receive(&arguments, &bulk)?,
                "quinn" => peer::quinn::receive(&arguments, &bulk)?,
                "tls" => peer::tls::receive(&arguments, &bulk)?,
                "tcp" => peer::tcp::receive(&arguments, &bulk)?,
                other => return Err(format!("{other} is no peer").into()),
            };
            bulk::received(received)
        }
        "send" => {
            let bulk = Bulk::of(&arguments)?;
            let sent = match arguments.peer()? {
                "stoq" => peer::stoq::send(&arguments, &bulk)?,
                "quinn" => peer::quinn::send(&arguments, &bulk)?,
                "tls" => peer::tls::send(&arguments, &bulk)?,
                "tcp" => peer::tcp::send(&arguments, &bulk)?,
                other => return Err(format!("{other} is no peer").into()),
            };
            bulk::sent(sent)
        }
        "serve" => serve::run(&arguments),
        "request" => request::run(&arguments),
        "handshake" => handshake::run(&arguments),
        "hold" => hold::run(&arguments),
        "rings" => rings::run(&arguments),
        "steps" => steps::run(&arguments),
        other => Err(format!("{other} is no command").into()),
    }
}
