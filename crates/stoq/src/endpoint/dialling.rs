//! The client's side: from a name to a connection that both ends have admitted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{handshake_timeout, Shared};
use crate::admission::{self, Alpn, Channel, Expected};
use crate::connection::{self, Connection};
use crate::drive::Drive;
use crate::error::{Error, Kind, Result};
use crate::frame;
use crate::quic::{self, ClientConfig};
use crate::route;
use crate::serving;
use crate::socket::Stack;
use crate::stream::within;
use crate::tickets::Towards;
use crate::tls;
use crate::transport;

/// Whom to reach, where, and for what.
#[derive(Clone, Debug)]
pub struct Destination {
    pub host: String,
    pub port: u16,
    pub alpn: Alpn,
    pub expected: Expected,
}

impl Destination {
    fn towards(&self) -> Towards {
        Towards {
            host: self.host.clone(),
            port: self.port,
            alpn: self.alpn,
            peer: self.expected.peer,
        }
    }
}

impl Shared {
    pub(super) async fn connect(
        self: Arc<Self>,
        destination: Destination,
        patience: Duration,
    ) -> Result<Connection> {
        let reached = within(patience, self.reach(&destination, None))
            .await
            .map_err(handshake_timeout)?;
        self.enter(reached)
    }

    pub(super) async fn connect_and_request(
        self: Arc<Self>,
        destination: Destination,
        service: u16,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<(Connection, Vec<u8>)> {
        let deadline = Instant::now() + patience;
        frame::checked_body(&body)?;
        let mut reached = within(patience, self.reach(&destination, Some((service, &body))))
            .await
            .map_err(handshake_timeout)?;
        let answer = reached.answer.take();
        let connection = self.enter(reached)?;
        let patience = deadline.saturating_duration_since(Instant::now());
        let answer = connection
            .answer_of(service, &body, answer, patience)
            .await?;
        Ok((connection, answer))
    }

    /// Makes a connection of one that was reached.
    fn enter(self: Arc<Self>, reached: Reached) -> Result<Connection> {
        let Reached {
            connection,
            channel,
            peer,
            early,
            partner,
            ..
        } = reached;
        let (key, ending) = self
            .live
            .add(&connection, Some(peer.id), true, &channel, partner)?;
        self.note(&connection, &channel, Some(&peer), true);
        let watched = (self.clone(), connection.clone());
        Drive::spawn_on(connection.shard(), async move {
            let (shared, connection) = watched;
            connection.closed().await;
            shared.live.remove(key);
        });
        Ok(Connection::new(
            connection,
            channel,
            early,
            peer.id,
            peer.owner,
            ending,
            self.services.drive.clone(),
        ))
    }

    /// `asked`: a request that may go out in the first flight, where it changes nothing and a
    /// ticket is held.
    async fn reach(
        &self,
        destination: &Destination,
        asked: Option<(u16, &[u8])>,
    ) -> Result<Reached> {
        let address = resolve(&destination.host, destination.port, self.stack).await?;
        let (terms, tickets) = {
            let terms = self.terms.read();
            (terms.clone(), self.tickets.client(destination.towards()))
        };
        let asked = asked.filter(|(service, body)| serving::may_be_early(*service, body));
        let crypto = tls::client(
            terms.identity.as_deref(),
            destination.alpn,
            (destination.alpn.resumes() && self.tickets.holds()).then(|| tickets.clone() as _),
            asked.is_some(),
        )?;
        let mut config = ClientConfig::new(crypto);
        let start = transport::start(
            Instant::now(),
            address,
            0,
            route::first_link(address.ip()),
            &self.rooms,
        );
        config.transport_config(Arc::new(start.config));
        let connecting = self.quic.connect_with(config, address, tls::SERVER_NAME)?;
        let early = match (asked, tickets.taken()) {
            (Some(asked), Some(server)) => connecting
                .into_0rtt()
                .map(|(connection, accepted)| (connection, accepted, asked, server)),
            _ => Err(connecting),
        };
        let (unfinished, flight) = match early {
            Err(connecting) => (Unfinished::new(connecting.await?), Landed::default()),
            Ok((connection, accepted, (service, body), server)) => {
                let unfinished = Unfinished::new(connection.clone());
                let frame = admission::bind_early(&connection, &terms, server).await?;
                let flight = Flight::open(&connection).await?;
                let flight = flight.send(&frame, service, body, accepted).await;
                if let Some(error) = connection.close_reason() {
                    return Err(error.into());
                }
                (unfinished, flight?)
            }
        };
        let connection = unfinished.connection();
        connection.watch(start.monitor);
        let channel = Channel::of(&connection)?;
        let Landed {
            first,
            answer,
            early,
        } = flight;
        let peer =
            admission::admit_server(&connection, &channel, &terms, destination.expected, first)
                .await?;
        if let Some(admitted) = terms.admitted(&channel, Some(&peer)) {
            tickets.admit(admitted);
        }
        unfinished.keep();
        Ok(Reached {
            partner: terms.partner_of(&channel, Some(&peer)),
            connection,
            channel,
            peer,
            early,
            answer,
        })
    }
}

/// A peer that has admitted us and that we have admitted.
struct Reached {
    connection: quic::Connection,
    channel: Channel,
    peer: hm_x509::PeerIdentity,
    /// Whose agreement let it in, where it is of another network.
    partner: Option<Arc<hm_x509::Partner>>,
    /// The server took the first flight.
    early: bool,
    /// Where the answer to the request in it comes.
    answer: Option<quic::RecvStream>,
}

/// The two streams of a first flight, still unused: the handshake may end at any moment, and what
/// is opened after it is an ordinary stream.
struct Flight {
    binding: (quic::SendStream, quic::RecvStream),
    request: (quic::SendStream, quic::RecvStream),
}

/// What is left of a first flight when the handshake is done.
#[derive(Default)]
struct Landed {
    /// The first stream of the connection, where it is open.
    first: Option<admission::First>,
    answer: Option<quic::RecvStream>,
    /// The server took it.
    early: bool,
}

impl Flight {
    async fn open(connection: &quic::Connection) -> Result<Flight> {
        Ok(Flight {
            binding: connection.open_bi().await?,
            request: connection.open_bi().await?,
        })
    }

    async fn send(
        self,
        frame: &[u8],
        service: u16,
        body: &[u8],
        accepted: quic::ZeroRttAccepted,
    ) -> Result<Landed> {
        let Flight {
            mut binding,
            request,
        } = self;
        if request.0.is_early() {
            // Where the server does not take it, both streams are void and their errors say so.
            let bound = binding.0.write_all(frame).await;
            let answer = connection::asked(request, service, body).await;
            if !accepted.await {
                return Ok(Landed::default());
            }
            bound?;
            return Ok(Landed {
                first: Some(binding),
                answer: Some(answer?),
                early: true,
            });
        }
        // The handshake was faster than the signature.
        let accepted = accepted.await;
        if binding.0.is_early() && !accepted {
            return Ok(Landed {
                first: Some(request),
                ..Landed::default()
            });
        }
        Ok(Landed {
            first: Some(binding),
            answer: Some(connection::asked(request, service, body).await?),
            early: false,
        })
    }
}

/// Closes a connection whose admission was given up.
struct Unfinished {
    connection: quic::Connection,
    kept: bool,
}

impl Unfinished {
    fn new(connection: quic::Connection) -> Unfinished {
        Unfinished {
            connection,
            kept: false,
        }
    }

    fn connection(&self) -> quic::Connection {
        self.connection.clone()
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            let error = Error::new(Kind::HandshakeTimeout, "the client gave up");
            admission::close(&self.connection, &error);
        }
    }
}

/// The first IPv6 address of `host`, which may be one; for a dual stack the first IPv4 address
/// where there is none.
async fn resolve(host: &str, port: u16, stack: Stack) -> Result<SocketAddr> {
    let invalid = |why: String| Error::new(Kind::InvalidAddress, why);
    let known: Vec<IpAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| invalid(format!("{host}: {error}")))?
            .map(|address| address.ip())
            .collect(),
    };
    reachable(&known, stack)
        .map(|address| SocketAddrV6::new(address, port, 0, 0).into())
        .ok_or_else(|| invalid(format!("{host} has no IPv6 address")))
}

/// The one of `known` to send to.
fn reachable(known: &[IpAddr], stack: Stack) -> Option<Ipv6Addr> {
    let six = known
        .iter()
        .find_map(|address| match address.to_canonical() {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
    let four = || {
        known
            .iter()
            .find_map(|address| match address.to_canonical() {
                IpAddr::V4(address) => Some(address.to_ipv6_mapped()),
                IpAddr::V6(_) => None,
            })
    };
    match stack {
        Stack::Ipv6 => six,
        Stack::Dual => six.or_else(four),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_for_a_dual_stack_and_comes_second() {
        let parse = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
        let six: Ipv6Addr = "2001:db8::1".parse().unwrap();
        for four in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(reachable(&parse(&[four]), Stack::Ipv6), None);
            assert_eq!(reachable(&parse(&[four]), Stack::Dual), Some(mapped));
            let both = parse(&[four, "2001:db8::1"]);
            assert_eq!(reachable(&both, Stack::Ipv6), Some(six));
            assert_eq!(reachable(&both, Stack::Dual), Some(six));
        }
    }
}
