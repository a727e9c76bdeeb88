//! Lines of JSON on standard output, and what this process has used.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};
use std::time::Duration;

use crate::Result;

/// One object. Names and texts here need no escapes.
#[derive(Default)]
pub struct Line(Vec<(&'static str, String)>);

impl Line {
    pub fn number(mut self, name: &'static str, value: impl Display) -> Line {
        self.0.push((name, value.to_string()));
        self
    }

    pub fn text(mut self, name: &'static str, value: &str) -> Line {
        self.0.push((name, format!("\"{value}\"")));
        self
    }

    pub fn numbers(mut self, name: &'static str, values: &[f64]) -> Line {
        let values: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
        self.0.push((name, format!("[{}]", values.join(","))));
        self
    }

    /// With the processor time of this process so far.
    pub fn cpu(self) -> Result<Line> {
        let used = process_time()?;
        Ok(self.number("cpu_s", used.as_secs_f64()))
    }

    /// Writes it now.
    pub fn say(self) -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{self}")?;
        out.flush()?;
        Ok(())
    }
}

impl Display for Line {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let members: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        write!(out, "{{{}}}", members.join(","))
    }
}

/// Where the other end is to connect.
pub fn announce(port: u16) -> Result<()> {
    Line::default().number("port", port).say()
}

/// Processor time of all threads of this process.
pub fn process_time() -> Result<Duration> {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Processor time of this thread.
pub fn thread_time() -> Result<Duration> {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(which: libc::clockid_t) -> Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec of ours to write to.
    if unsafe { libc::clock_gettime(which, &mut time) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Bytes of this process that are in memory (`VmRSS`).
pub fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("the kernel does not say how much memory is used")?;
    Ok(kib.parse::<u64>()? * 1024)
}
