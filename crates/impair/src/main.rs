//! `hm-impair`: a bad network between a client and a server, both on this machine or in its
//! network namespaces.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddrV6;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use impair::command::{self, Command};
use impair::relay::{Options, Relay, SECONDS_MAX};
use impair::Settings;

const USAGE: &str = "\
usage: hm-impair --target [ADDRESS]:PORT [--listen [ADDRESS]:PORT] [--seconds N] [--seed N]
                 [--rebind-ms N] [\"[up|down] KEY VALUE\" ...]

Relays UDP over IPv6 to the target, and does to it what it is told. Keys: delay, jitter, loss,
duplicate, corrupt, reorder, reorder-delay, mark, rate, queue, mtu. The same lines on standard input
change a running relay; so do \"rebind\" (new ports towards the server) and \"quit\".
Prints its address first, an answer to each line, and at the end what it has done, as JSON.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hm-impair: {why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let options = options(std::env::args().skip(1))?;
    let io = |error: io::Error| error.to_string();
    let relay = Relay::bind(options).map_err(io)?;
    let mut out = io::stdout().lock();
    let listening = relay.local().map_err(io)?;
    writeln!(out, "{{\"listening\":\"{listening}\"}}").map_err(io)?;
    out.flush().map_err(io)?;
    // Timers of a thread are late by 50 µs unless it asks for less; much of a short delay.
    // SAFETY: it takes two integers and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1000_usize) };
    // Without a buffer, which would hide lines from `poll`.
    let control = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(io)?);
    let report = relay.run(control, &mut out).map_err(io)?;
    writeln!(out, "{}", report.json()).map_err(io)
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut target = None;
    let mut listen = "[::1]:0".to_owned();
    let mut seconds = 60;
    let mut seed = 1;
    let mut rebind_interval = None;
    let (mut up, mut down) = (Settings::default(), Settings::default());
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} wants a value"))
        };
        match argument.as_str() {
            "--target" => target = Some(value()?),
            "--listen" => listen = value()?,
            "--seconds" => seconds = whole(&value()?)?,
            "--seed" => seed = whole(&value()?)?,
            "--rebind-ms" => {
                let interval = Duration::from_millis(whole(&value()?)?.max(1));
                rebind_interval = Some(interval);
            }
            line => match command::parse(line)? {
                Command::Set {
                    up: to_up,
                    down: to_down,
                    change,
                } => {
                    if to_up {
                        change.apply(&mut up);
                    }
                    if to_down {
                        change.apply(&mut down);
                    }
                }
                _ => return Err(format!("\"{line}\" is for a running relay")),
            },
        }
    }
    if seconds > SECONDS_MAX {
        return Err(format!("at most {SECONDS_MAX} seconds"));
    }
    Ok(Options {
        listen: address(&listen)?,
        target: address(&target.ok_or("--target is missing")?)?,
        lifetime: Duration::from_secs(seconds),
        seed,
        rebind_interval,
        up,
        down,
    })
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("\"{text}\" is not a whole number"))
}

fn address(text: &str) -> Result<SocketAddrV6, String> {
    text.parse()
        .map_err(|_| format!("\"{text}\" is not [IPv6 address]:port"))
}
