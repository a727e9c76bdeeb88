//! Measures the drive loop alone: TLS with no identity checks, nothing of STOQ above QUIC.
//!
//! ```text
//! engine serve [SHARDS]               prints its port, and serves until it is ended
//! engine sink PORT SECONDS STREAMS    sends; the server counts
//! engine source PORT SECONDS STREAMS  receives
//! engine ping PORT COUNT              64 bytes there and back, one at a time
//! engine flood PORT COUNT DEPTH       the same, so many at a time
//! ```
//! `MTU`, `HOST`, `STREAM_WINDOW`, and `CUBIC` (bytes; Cubic with this initial window) in the
//! environment change what is measured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use stoq::quic::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use stoq::quic::{
    self, ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig,
    Socket, Stack, TransportConfig,
};
use stoq::{Bytes, Drive, Error, Kind, Result};

const ECHO: u8 = 0;
const SINK: u8 = 1;
const SOURCE: u8 = 2;
const CHUNK: usize = 256 * 1024;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn transport(host: IpAddr) -> Arc<TransportConfig> {
    let mut config = stoq::transport::config(host, 4096);
    if let Some(mtu) = variable("MTU") {
        config.initial_mtu(mtu).mtu_discovery_config(None);
    }
    if let Some(window) = variable::<u32>("STREAM_WINDOW") {
        config.stream_receive_window(window.into());
    }
    if let Some(window) = variable::<u64>("SEND_WINDOW") {
        config.send_window(window);
    }
    if let Some(window) = variable("CUBIC") {
        let mut cubic = quic::congestion::CubicConfig::default();
        cubic.initial_window(window);
        config.congestion_controller_factory(Arc::new(cubic));
    }
    Arc::new(config)
}

fn endpoint(
    address: SocketAddrV6,
    shards: usize,
    server: Option<ServerConfig>,
) -> (Arc<Endpoint>, Arc<Drive>) {
    let sockets = Socket::bind_all(address, Stack::Ipv6, shards).unwrap();
    let config = |_| {
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(65_487).unwrap();
        Ok(config)
    };
    let endpoint = Endpoint::new(sockets, config, server.map(Arc::new)).unwrap();
    let drive = Drive::start(endpoint.shards()).unwrap();
    (Arc::new(endpoint), Arc::new(drive))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn serve(shards: usize, host: IpAddr) {
    let keys = hm_crypto::hybrid::SecretKeys::generate().unwrap();
    let leaf = hm_x509::self_signed(&keys).unwrap();
    let mut pkcs8 = hex("302e020100300506032b657004220420");
    pkcs8.extend_from_slice(keys.ed25519().as_bytes());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(leaf)],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8)),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"engine".to_vec()];
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(host));
    let IpAddr::V6(ip) = host else { panic!("IPv6") };
    let (endpoint, drive) = endpoint(SocketAddrV6::new(ip, 0, 0, 0), shards, Some(config));
    println!("{}", endpoint.local_addr().port());
    for shard in endpoint.shards() {
        let accepting = shard.clone();
        Drive::spawn_on(shard, async move {
            while let Some(incoming) = quic::accept(&accepting).await {
                let shard = incoming.shard().clone();
                let Ok(connecting) = incoming.accept() else {
                    continue;
                };
                Drive::spawn_on(&shard, async move {
                    if let Ok(connection) = connecting.await {
                        serve_connection(connection).await;
                    }
                });
            }
        });
    }
    loop {
        std::thread::park();
        drop(drive.clone());
    }
}

async fn serve_connection(connection: Connection) {
    while let Ok((send, receive)) = connection.accept_bi().await {
        Drive::spawn_on(connection.shard(), async move {
            let _ = serve_stream(send, receive).await;
        });
    }
    if std::env::var("VERBOSE").is_ok() {
        eprintln!("server {:?}", connection.stats());
    }
}

async fn serve_stream(mut send: SendStream, mut receive: RecvStream) -> Result<()> {
    let Some(first) = receive.read_chunk(usize::MAX, true).await? else {
        return Ok(());
    };
    match first.bytes.first().copied() {
        Some(ECHO) => {
            let mut chunk = Some(first.bytes);
            while let Some(bytes) = chunk {
                send.write_chunk(bytes).await?;
                chunk = receive.read_chunk(usize::MAX, true).await?.map(|c| c.bytes);
            }
        }
        Some(SINK) => {
            let mut count = first.bytes.len() as u64;
            let start = Instant::now();
            let mut chunks = [const { Bytes::new() }; 32];
            while let Some(read) = receive.read_chunks(&mut chunks).await? {
                count += chunks[..read].iter().map(|c| c.len() as u64).sum::<u64>();
                chunks[..read].fill(Bytes::new());
            }
            let nanoseconds = start.elapsed().as_nanos() as u64;
            send.write_all(&count.to_be_bytes()).await?;
            send.write_all(&nanoseconds.to_be_bytes()).await?;
        }
        Some(SOURCE) => {
            let data = Bytes::from(vec![7; CHUNK]);
            loop {
                send.write_chunk(data.clone()).await?;
            }
        }
        _ => {}
    }
    let _ = send.finish();
    Ok(())
}

struct Client {
    drive: Arc<Drive>,
    connection: Connection,
}

fn dial(host: IpAddr, port: u16) -> Client {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"engine".to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(transport(host));
    let (endpoint, drive) = endpoint("[::]:0".parse().unwrap(), 1, None);
    let connecting = endpoint
        .connect_with(config, SocketAddr::new(host, port), "engine")
        .unwrap();
    let connection = drive.wait(async { Ok(connecting.await?) }).unwrap();
    Client { drive, connection }
}

impl Client {
    fn sink(&self, duration: Duration, streams: usize) {
        let until = Instant::now() + duration;
        let threads: Vec<_> = (0..streams)
            .map(|_| {
                let (drive, connection) = (self.drive.clone(), self.connection.clone());
                std::thread::spawn(move || {
                    let sent = drive.wait(async {
                        let (mut send, mut receive) = connection.open_bi().await?;
                        let data = Bytes::from(vec![SINK; CHUNK]);
                        while Instant::now() < until {
                            send.write_chunk(data.clone()).await?;
                        }
                        let _ = send.finish();
                        let mut answer = [0; 16];
                        receive.read_exact(&mut answer).await?;
                        Ok(answer)
                    });
                    let answer = sent.unwrap();
                    let count = u64::from_be_bytes(answer[..8].try_into().unwrap());
                    let nanoseconds = u64::from_be_bytes(answer[8..].try_into().unwrap());
                    count as f64 * 8.0 / nanoseconds as f64
                })
            })
            .collect();
        let rates = threads.into_iter().map(|thread| thread.join().unwrap());
        println!("{:.2} Gbit/s", rates.sum::<f64>());
    }

    fn source(&self, duration: Duration, streams: usize) {
        let start = Instant::now();
        let threads: Vec<_> = (0..streams)
            .map(|_| {
                let (drive, connection) = (self.drive.clone(), self.connection.clone());
                std::thread::spawn(move || {
                    drive
                        .wait(async {
                            let (mut send, mut receive) = connection.open_bi().await?;
                            send.write_all(&[SOURCE]).await?;
                            let mut count = 0;
                            let mut chunks = [const { Bytes::new() }; 32];
                            while start.elapsed() < duration {
                                let Some(read) = receive.read_chunks(&mut chunks).await? else {
                                    break;
                                };
                                count += chunks[..read].iter().map(Bytes::len).sum::<usize>();
                                chunks[..read].fill(Bytes::new());
                            }
                            Ok(count)
                        })
                        .unwrap()
                })
            })
            .collect();
        let count: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        let seconds = start.elapsed().as_secs_f64();
        println!("{:.2} Gbit/s", count as f64 * 8e-9 / seconds);
    }

    fn ping(&self, count: usize) {
        let mut times: Vec<u64> = (0..count)
            .map(|_| {
                let start = Instant::now();
                self.drive.wait(echo(&self.connection)).unwrap();
                start.elapsed().as_nanos() as u64
            })
            .collect();
        times.sort_unstable();
        let at = |share: f64| times[((count - 1) as f64 * share) as usize] as f64 / 1e3;
        println!(
            "p5 {:.1} p25 {:.1} p50 {:.1} p90 {:.1} p99 {:.1} max {:.1} us",
            at(0.05),
            at(0.25),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }

    /// `depth` requests under way at a time, from one thread.
    fn flood(&self, count: usize, depth: usize) {
        let start = Instant::now();
        let (connection, each) = (&self.connection, count / depth);
        let done = self.drive.wait(async {
            let mut running: Vec<_> = (0..depth)
                .map(|_| {
                    Box::pin(async move {
                        for _ in 0..each {
                            echo(connection).await?;
                        }
                        Ok::<(), Error>(())
                    })
                })
                .collect();
            std::future::poll_fn(|context| {
                let mut at = 0;
                while at < running.len() {
                    match std::future::Future::poll(running[at].as_mut(), context) {
                        std::task::Poll::Ready(_) => drop(running.swap_remove(at)),
                        std::task::Poll::Pending => at += 1,
                    }
                }
                match running.is_empty() {
                    true => std::task::Poll::Ready(Ok(())),
                    false => std::task::Poll::Pending,
                }
            })
            .await
        });
        done.unwrap();
        let seconds = start.elapsed().as_secs_f64();
        println!("{:.0} requests/s", (each * depth) as f64 / seconds);
    }
}

async fn echo(connection: &Connection) -> Result<()> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[ECHO; 64]).await?;
    let _ = send.finish();
    let mut answer = [0; 64];
    receive.read_exact(&mut answer).await?;
    match receive.read_chunk(1, true).await? {
        None => Ok(()),
        Some(_) => Err(Error::new(Kind::MalformedFrame, "too long")),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| -> u64 {
        arguments
            .get(at)
            .map_or(default, |text| text.parse().unwrap())
    };
    let host: IpAddr = variable("HOST").unwrap_or_else(|| "::1".parse().unwrap());
    let command = arguments.first().map_or("", String::as_str);
    if command == "serve" {
        return serve(number(1, 1) as usize, host);
    }
    let client = dial(host, number(1, 0) as u16);
    match command {
        "sink" => client.sink(Duration::from_secs(number(2, 3)), number(3, 1) as usize),
        "source" => client.source(Duration::from_secs(number(2, 3)), number(3, 1) as usize),
        "ping" => client.ping(number(2, 10_000) as usize),
        "flood" => client.flood(number(2, 100_000) as usize, number(3, 64) as usize),
        _ => panic!("serve, sink, source, ping or flood"),
    }
    if std::env::var("VERBOSE").is_ok() {
        println!("{:?}", client.connection.stats());
    }
}
