//! Plain TCP: what the kernel does without any encryption.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use crate::arguments::Arguments;
use crate::bulk::{Bulk, READ_BYTES};
use crate::payload::{Received, Sent};
use crate::report::announce;
use crate::Result;

use super::each;

pub fn receive(arguments: &Arguments, bulk: &Bulk) -> Result<Received> {
    let listener = TcpListener::bind(arguments.listen()?)?;
    announce(listener.local_addr()?.port())?;
    let all = each(bulk.connections, |_| {
        let (mut stream, _) = listener.accept()?;
        let mut sink = bulk.sink();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match stream.read(&mut buffer)? {
                0 => return sink.ended(),
                count => sink.take(&buffer[..count])?,
            }
        }
    })?;
    Received::of(all)
}

pub fn send(arguments: &Arguments, bulk: &Bulk) -> Result<Sent> {
    let to = arguments.to()?;
    let all = each(bulk.connections, |_| {
        let mut stream = TcpStream::connect(to)?;
        let mut source = bulk.source()?;
        while let Some(message) = source.next() {
            stream.write_all(&message)?;
        }
        stream.shutdown(Shutdown::Write)?;
        // The receiver closes once it has everything.
        let _ = stream.read(&mut [0])?;
        source.sent()
    })?;
    Ok(all.into_iter().fold(Sent::default(), Sent::and))
}
