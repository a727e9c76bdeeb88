//! TLS 1.3 over TCP by rustls on aws-lc-rs, with STOQ's cipher and key exchange.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, Stream};

use crate::arguments::Arguments;
use crate::bulk::{Bulk, READ_BYTES};
use crate::credentials::{tls_client, tls_server, SERVER_NAME};
use crate::payload::{Received, Sent};
use crate::report::announce;
use crate::Result;

use super::each;

pub fn receive(arguments: &Arguments, bulk: &Bulk) -> Result<Received> {
    let config = Arc::new(tls_server(&arguments.directory()?)?);
    let listener = TcpListener::bind(arguments.listen()?)?;
    announce(listener.local_addr()?.port())?;
    let all = each(bulk.connections, |_| {
        let (socket, _) = listener.accept()?;
        let mut tls = ServerConnection::new(config.clone())?;
        let mut socket = Buffered(BufReader::with_capacity(READ_BYTES, socket));
        let mut stream = Stream::new(&mut tls, &mut socket);
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
    let config = Arc::new(tls_client(&arguments.directory()?)?);
    let to = arguments.to()?;
    let all = each(bulk.connections, |_| {
        let mut socket = TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(SERVER_NAME)?;
        let mut tls = ClientConnection::new(config.clone(), name)?;
        tls.set_buffer_limit(Some(2 * READ_BYTES));
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        let mut stream = Stream::new(&mut tls, &mut socket);
        let mut source = bulk.source()?;
        while let Some(message) = source.next() {
            stream.write_all(&message)?;
        }
        stream.flush()?;
        stream.conn.send_close_notify();
        while stream.conn.wants_write() {
            stream.conn.write_tls(stream.sock)?;
        }
        // The receiver closes once it has everything. Closed with anything unread, a socket resets,
        // and what is on its way to the receiver would be lost.
        let mut unread = [0; 4096];
        while matches!(socket.read(&mut unread), Ok(1..)) {}
        source.sent()
    })?;
    Ok(all.into_iter().fold(Sent::default(), Sent::and))
}

/// rustls reads 4 KiB at a time by itself: a system call each, were they not buffered.
struct Buffered(BufReader<TcpStream>);

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Buffered {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.get_mut().write(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.get_mut().flush()
    }
}
