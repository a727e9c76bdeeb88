//! `COMMAND [PEER] --name value ...`, as `benches/stoq.py` writes them.

use std::collections::HashMap;
use std::net::SocketAddrV6;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::Result;

pub struct Arguments {
    words: Vec<String>,
    named: HashMap<String, String>,
}

impl Arguments {
    pub fn read(mut given: impl Iterator<Item = String>) -> Result<Arguments> {
        let mut words = Vec::new();
        let mut named = HashMap::new();
        while let Some(word) = given.next() {
            match word.strip_prefix("--") {
                Some(name) => {
                    let value = given.next().ok_or_else(|| format!("--{name} of what?"))?;
                    named.insert(name.to_owned(), value);
                }
                None => words.push(word),
            }
        }
        Ok(Arguments { words, named })
    }

    pub fn command(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub fn peer(&self) -> Result<&str> {
        let peer = self.words.get(1).ok_or("which peer?")?;
        Ok(peer)
    }

    /// The value of `--name`, or `otherwise`.
    pub fn or<T: FromStr>(&self, name: &str, otherwise: T) -> Result<T> {
        match self.named.get(name) {
            Some(value) => value
                .parse()
                .map_err(|_| format!("--{name} {value} is malformed").into()),
            None => Ok(otherwise),
        }
    }

    fn required(&self, name: &str) -> Result<&str> {
        let value = self.named.get(name).ok_or(format!("--{name} is missing"))?;
        Ok(value)
    }

    /// `--listen`, an IPv6 address; the port is the system's choice.
    pub fn listen(&self) -> Result<SocketAddrV6> {
        let host = self.required("listen")?;
        Ok(SocketAddrV6::new(host.parse()?, 0, 0, 0))
    }

    /// `--to`, as in `[::1]:4433`.
    pub fn to(&self) -> Result<SocketAddrV6> {
        Ok(self.required("to")?.parse()?)
    }

    /// The unspecified address, for the client's end of a socket.
    pub fn from() -> SocketAddrV6 {
        SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, 0, 0, 0)
    }

    pub fn directory(&self) -> Result<PathBuf> {
        Ok(self.required("credentials")?.into())
    }

    /// `--seconds`.
    pub fn duration(&self) -> Result<Duration> {
        Ok(Duration::try_from_secs_f64(self.or("seconds", 1.0)?)?)
    }
}
