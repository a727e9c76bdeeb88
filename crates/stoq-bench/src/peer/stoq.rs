//! STOQ from Rust, as a program uses it: an endpoint, a connection, a stream, calls that wait.

use std::sync::Arc;
use std::time::Duration;

use stoq::{Alpn, Connection, Destination, Endpoint, Expected, Stream};

use crate::arguments::Arguments;
use crate::bulk::{Bulk, READ_BYTES};
use crate::credentials::{identity, policy};
use crate::payload::{Received, Sent};
use crate::report::announce;
use crate::Result;

use super::each;

/// A service of ours; any number that nothing else has.
const SERVICE: u16 = 900;

/// For one step; on a path that loses much, the last byte may take a while.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn receive(arguments: &Arguments, bulk: &Bulk) -> Result<Received> {
    let endpoint = server(arguments)?;
    announce(endpoint.local().port())?;
    let all = each(bulk.connections, |_| {
        let request = endpoint.queue().next(PATIENCE)?.ok_or("nobody comes")?;
        let stream = request.stream().ok_or("a stream is meant")?;
        emptied(&stream, bulk)
    })?;
    // The sender closes first.
    while endpoint.stats().connections > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    Received::of(all)
}

fn emptied(stream: &Arc<Stream>, bulk: &Bulk) -> Result<Received> {
    let mut sink = bulk.sink();
    loop {
        let read = stream.read_chunks(READ_BYTES, PATIENCE);
        let chunks = stream.drive().wait(read)?;
        if chunks.is_empty() {
            break;
        }
        for piece in chunks.pieces() {
            sink.take(piece)?;
        }
    }
    let received = sink.ended()?;
    stream.drive().wait(stream.finish(PATIENCE))?;
    Ok(received)
}

pub fn send(arguments: &Arguments, bulk: &Bulk) -> Result<Sent> {
    let endpoint = client(arguments)?;
    // How each connection has fared, where somebody looks for a cause.
    let state = arguments.or("state", false)?;
    let all = each(bulk.connections, |_| {
        let connection = connect(&endpoint, arguments)?;
        let stream = connection
            .drive()
            .wait(connection.open_stream(SERVICE, PATIENCE))?;
        let mut source = bulk.source()?;
        while let Some(message) = source.next() {
            let written = stream.write_chunks([message], PATIENCE);
            stream.drive().wait(written)?;
        }
        stream.drive().wait(stream.finish(PATIENCE))?;
        let mut nothing = [0];
        let rest = stream.read_into(&mut nothing, PATIENCE);
        if stream.drive().wait(rest)? != 0 {
            return Err("the receiver sends".into());
        }
        if state {
            eprintln!("{:?}", connection.stats());
        }
        source.sent()
    })?;
    endpoint.close("done");
    Ok(all.into_iter().fold(Sent::default(), Sent::and))
}

pub fn server(arguments: &Arguments) -> Result<Endpoint> {
    let directory = arguments.directory()?;
    let identity = identity(&directory, "server")?;
    let address = arguments.listen()?;
    Ok(Endpoint::bind(
        address,
        policy(&directory)?,
        Some(identity),
    )?)
}

pub fn client(arguments: &Arguments) -> Result<Endpoint> {
    let directory = arguments.directory()?;
    let identity = identity(&directory, "client")?;
    let address = Arguments::from();
    Ok(Endpoint::bind(
        address,
        policy(&directory)?,
        Some(identity),
    )?)
}

/// `--to`, as a node of the same network.
pub fn destination(arguments: &Arguments) -> Result<Destination> {
    let to = arguments.to()?;
    Ok(Destination {
        host: to.ip().to_string(),
        port: to.port(),
        alpn: Alpn::Node,
        expected: Expected::default(),
    })
}

pub fn connect(endpoint: &Endpoint, arguments: &Arguments) -> Result<Connection> {
    let connecting = endpoint.connect(destination(arguments)?, PATIENCE);
    Ok(endpoint.drive().wait(connecting)?)
}
