//! TLS 1.3 over TCP by rustls on aws-lc-rs, with STOQ's cipher and key exchange.
//!
//! The receiver uses rustls' unbuffered connection, which decrypts where the bytes lie. Its `Stream`
//! reads 4 KiB at a time and copies twice, which halves what this peer reaches.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConnection, ServerConfig, Stream};

use crate::arguments::Arguments;
use crate::bulk::{Bulk, READ_BYTES};
use crate::credentials::{tls_client, tls_server, SERVER_NAME};
use crate::payload::{Received, Sent, Sink};
use crate::report::announce;
use crate::Result;

use super::each;

/// Bytes; enough for a server's part of a handshake.
const FLIGHT_BYTES: usize = 16 * 1024;

pub fn receive(arguments: &Arguments, bulk: &Bulk) -> Result<Received> {
    let config = Arc::new(tls_server(&arguments.directory()?)?);
    let listener = TcpListener::bind(arguments.listen()?)?;
    announce(listener.local_addr()?.port())?;
    let all = each(bulk.connections, |_| {
        let (socket, _) = listener.accept()?;
        let mut sink = bulk.sink();
        emptied(socket, config.clone(), &mut sink)?;
        sink.ended()
    })?;
    Received::of(all)
}

fn emptied(mut socket: TcpStream, config: Arc<ServerConfig>, sink: &mut Sink) -> Result<()> {
    let mut tls = UnbufferedServerConnection::new(config)?;
    let mut incoming = vec![0; READ_BYTES];
    let (mut start, mut end) = (0, 0);
    let mut outgoing = vec![0; FLIGHT_BYTES];
    let mut encoded = 0;
    loop {
        let UnbufferedStatus {
            mut discard, state, ..
        } = tls.process_tls_records(&mut incoming[start..end]);
        let mut wants_more = false;
        match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    sink.take(record.payload)?;
                    discard += record.discard;
                }
            }
            ConnectionState::EncodeTlsData(mut data) => {
                let room = outgoing.get_mut(encoded..).unwrap_or_default();
                encoded += data.encode(room)?;
            }
            ConnectionState::TransmitTlsData(data) => {
                socket.write_all(&outgoing[..encoded])?;
                encoded = 0;
                data.done();
            }
            ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => {
                wants_more = true;
            }
            ConnectionState::PeerClosed | ConnectionState::Closed => return Ok(()),
            other => return Err(format!("{other:?} was not expected").into()),
        }
        start += discard;
        if wants_more {
            incoming.copy_within(start..end, 0);
            (start, end) = (0, end - start);
            match socket.read(&mut incoming[end..])? {
                0 => return Err("the sender closed in the middle".into()),
                count => end += count,
            }
        }
    }
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
