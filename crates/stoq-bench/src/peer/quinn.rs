//! Stock quinn through its published async API: with the settings it has by itself, or (`--mtu`)
//! with those its documentation offers for a path that is known.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinSet;

use crate::arguments::Arguments;
use crate::bulk::{Bulk, READ_BYTES};
use crate::credentials::{tls_client, tls_server, SERVER_NAME};
use crate::payload::{Received, Sent};
use crate::report::announce;
use crate::Result;

/// Bytes; asked of the kernel, which grants at most its own limit.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
const SEND_WINDOW_BYTES: u64 = 16 << 20;
const ACK_ELICITING_THRESHOLD: u32 = 20;

/// What differs from quinn's own choices.
struct Settings {
    /// Bytes of a datagram; `None`: everything as quinn has it.
    mtu: Option<u16>,
    gso: bool,
    /// Bytes in flight at first.
    window: u64,
}

impl Settings {
    fn of(arguments: &Arguments) -> Result<Settings> {
        Ok(Settings {
            mtu: match arguments.or("mtu", 0)? {
                0 => None,
                mtu => Some(mtu),
            },
            gso: arguments.or("gso", true)?,
            window: arguments.or("window", 4 << 20)?,
        })
    }

    fn transport(&self) -> TransportConfig {
        let mut config = TransportConfig::default();
        let Some(mtu) = self.mtu else {
            return config;
        };
        let mut cubic = CubicConfig::default();
        cubic.initial_window(self.window);
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(VarInt::from_u32(ACK_ELICITING_THRESHOLD));
        acks.max_ack_delay(Some(Duration::from_millis(5)));
        config
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
            .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
            .send_window(SEND_WINDOW_BYTES)
            .initial_mtu(mtu)
            .mtu_discovery_config(None::<MtuDiscoveryConfig>)
            .enable_segmentation_offload(self.gso)
            .ack_frequency_config(Some(acks))
            .send_fairness(false)
            .congestion_controller_factory(Arc::new(cubic));
        config
    }

    fn endpoint(
        &self,
        address: std::net::SocketAddrV6,
        server: Option<ServerConfig>,
    ) -> Result<Endpoint> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        let mut config = EndpointConfig::default();
        if let Some(mtu) = self.mtu {
            socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
            socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
            config.max_udp_payload_size(mtu)?;
        }
        socket.bind(&std::net::SocketAddr::V6(address).into())?;
        let socket: UdpSocket = socket.into();
        Ok(Endpoint::new(
            config,
            server,
            socket,
            Arc::new(TokioRuntime),
        )?)
    }
}

pub fn receive(arguments: &Arguments, bulk: &Bulk) -> Result<Received> {
    let settings = Settings::of(arguments)?;
    let crypto = QuicServerConfig::try_from(tls_server(&arguments.directory()?)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(settings.transport()));
    let listen = arguments.listen()?;
    runtime()?.block_on(async {
        let endpoint = settings.endpoint(listen, Some(config))?;
        announce(endpoint.local_addr()?.port())?;
        let mut streams = JoinSet::new();
        for _ in 0..bulk.connections {
            let incoming = endpoint.accept().await.ok_or("the endpoint is closed")?;
            streams.spawn(emptied(incoming, bulk.clone()));
        }
        let mut all = Vec::new();
        while let Some(done) = streams.join_next().await {
            all.push(done??);
        }
        endpoint.wait_idle().await;
        Received::of(all)
    })
}

async fn emptied(incoming: quinn::Incoming, bulk: Bulk) -> Result<Received> {
    let connection = incoming.await?;
    let (mut send, mut receive) = connection.accept_bi().await?;
    let mut sink = bulk.sink();
    while let Some(chunk) = receive.read_chunk(READ_BYTES, true).await? {
        sink.take(&chunk.bytes)?;
    }
    let received = sink.ended()?;
    send.finish()?;
    // The sender closes once it has seen that.
    connection.closed().await;
    Ok(received)
}

pub fn send(arguments: &Arguments, bulk: &Bulk) -> Result<Sent> {
    let settings = Settings::of(arguments)?;
    let crypto = QuicClientConfig::try_from(tls_client(&arguments.directory()?)?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(settings.transport()));
    let to = arguments.to()?;
    runtime()?.block_on(async {
        let endpoint = settings.endpoint(Arguments::from(), None)?;
        let mut streams = JoinSet::new();
        for _ in 0..bulk.connections {
            let connecting = endpoint.connect_with(config.clone(), to.into(), SERVER_NAME)?;
            let bulk = bulk.clone();
            streams.spawn(async move { filled(connecting.await?, bulk).await });
        }
        let mut all = Sent::default();
        while let Some(done) = streams.join_next().await {
            all = all.and(done??);
        }
        endpoint.wait_idle().await;
        Ok(all)
    })
}

async fn filled(connection: Connection, bulk: Bulk) -> Result<Sent> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let mut source = bulk.source()?;
    while let Some(message) = source.next() {
        send.write_chunk(message).await?;
    }
    send.finish()?;
    receive.read_to_end(0).await?;
    connection.close(VarInt::from_u32(0), b"");
    source.sent()
}

/// One thread, as quinn's own performance tool has it: on few cores it is the fastest.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
