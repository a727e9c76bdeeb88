//! The server's side: a client from its first packet to its end.

use std::net::Ipv6Addr;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::{handshake_timeout, Shared};
use crate::admission::{self, Alpn, Channel, Terms};
use crate::drive::{self, Drive};
use crate::error::{Error, Kind, Result};
use crate::identity::Identity;
use crate::intake::draining;
use crate::limits::*;
use crate::places::{Party, Place};
use crate::quic::{self, ConnectionError, Incoming, ServerConfig, Shard, TransportConfig};
use crate::request::Origin;
use crate::route;
use crate::serving;
use crate::session;
use crate::stream::within;
use crate::tickets::{ServerTickets, Tickets};
use crate::tls;
use crate::transport;
use crate::PeerId;

/// How to accept.
#[derive(Clone)]
pub(super) struct ServerConfigs {
    pub(super) identity: Arc<Identity>,
    pub(super) any: Arc<ServerConfig>,
}

impl ServerConfigs {
    pub(super) fn new(identity: Arc<Identity>) -> Result<ServerConfigs> {
        // No connection is accepted with this one; it answers what comes before TLS.
        let crypto = tls::server(&identity, Arc::<Tickets>::default().server())?;
        let mut any = ServerConfig::with_crypto(crypto);
        any.transport_config(Arc::new(transport::config(
            Ipv6Addr::UNSPECIFIED.into(),
            STREAMS_FIRST,
        )))
        .max_incoming(HANDSHAKES_MAX);
        Ok(ServerConfigs {
            identity,
            any: Arc::new(any),
        })
    }

    /// For one connection.
    fn of_one(
        &self,
        transport: TransportConfig,
        tickets: Arc<ServerTickets>,
    ) -> Result<Arc<ServerConfig>> {
        let mut config = (*self.any).clone();
        config.transport_config(Arc::new(transport));
        config.crypto = tls::server(&self.identity, tickets)?;
        Ok(Arc::new(config))
    }
}

/// What is known of a client before it is admitted.
#[derive(Default)]
struct Seen {
    connection: Option<quic::Connection>,
    alpn: Option<Alpn>,
    peer: Option<PeerId>,
}

impl Shared {
    pub(super) async fn accept(self: Arc<Self>, shard: Arc<Shard>) {
        while let Some(incoming) = quic::accept(&shard).await {
            let handshakes = self.handshakes.taken();
            if handshakes >= HANDSHAKES_MAX || self.live.count() >= CONNECTIONS_MAX {
                incoming.refuse();
            } else if handshakes >= HANDSHAKES_UNVALIDATED_MAX && incoming.may_retry() {
                // It fails only where the address is validated, which `may_retry` excludes.
                let _ = incoming.retry();
            } else {
                // One party's share is above the number from which on addresses are true ones.
                let party = Party::at(incoming.remote_address().ip());
                match self.handshakes.take(party, 1) {
                    Some(place) => Drive::spawn_on(&shard, self.clone().serve(incoming, place)),
                    None => incoming.refuse(),
                }
            }
        }
    }

    /// One connection of a client, from its first packet to its end.
    async fn serve(self: Arc<Self>, incoming: Incoming, handshake: Place) {
        let remote = incoming.remote_address();
        let mut seen = Seen::default();
        // Boxed, because admission takes ten times the room of what is left of this task after it.
        let admitted = within(HANDSHAKE_TIMEOUT, Box::pin(self.admit(incoming, &mut seen)))
            .await
            .map_err(handshake_timeout);
        drop(handshake);
        let (connection, origin, key, place) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                if let Some(connection) = &seen.connection {
                    admission::close(connection, &error);
                }
                self.record(remote, seen.alpn, seen.peer, error);
                return;
            }
        };
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Drive::spawn_on(
            connection.shard(),
            serving::serve_aside(self.services.clone(), origin.clone(), connection.clone()),
        );
        let ended = loop {
            match connection.accept_bi().await {
                Ok((send, receive)) => {
                    let (services, origin) = (self.services.clone(), origin.clone());
                    Drive::spawn_on(
                        connection.shard(),
                        serving::serve(services, origin, send, receive),
                    );
                }
                Err(error) => break error,
            }
        };
        drop(place);
        self.live.remove(key);
        // A peer that may not stay with us has been recorded; one with which we may not stay has
        // told us only now.
        if let error @ ConnectionError::ApplicationClosed(_) = ended {
            let error = Error::from(error);
            if error.kind().is_some_and(Kind::is_refusal) {
                self.record(remote, seen.alpn, origin.peer, error);
            }
        }
    }

    async fn admit(
        &self,
        incoming: Incoming,
        seen: &mut Seen,
    ) -> Result<(quic::Connection, Origin, u64, Place)> {
        let (terms, configs, tickets) = {
            // Read together, so that TLS certificate, binding and tickets are of one identity.
            let terms = self.terms.read();
            (
                terms.clone(),
                self.server.read().clone(),
                self.tickets.server(),
            )
        };
        let configs = configs.ok_or_else(drive::closed)?;
        let remote = incoming.remote_address();
        let start = transport::start(
            Instant::now(),
            remote,
            STREAMS_FIRST,
            route::first_link(remote.ip()),
            &self.rooms,
        );
        let config = configs.of_one(start.config, tickets.clone())?;
        let (connection, established) = match incoming.accept_with(config)?.into_0rtt() {
            Ok(both) => both,
            Err(connecting) => {
                return Err(connecting
                    .await
                    .err()
                    .map_or_else(drive::closed, Error::from))
            }
        };
        connection.watch(start.monitor);
        seen.connection = Some(connection.clone());
        let mut opening = admission::opening(&connection).await?;
        let early = match opening.early(&connection, &terms, tickets.taken()).await {
            Ok(early) => early,
            Err(error) => {
                // A close before the handshake is done would lose the reason (RFC 9000 section
                // 10.2.3), and one after the streams are dropped could come behind their end.
                established.await;
                admission::close(&connection, &error);
                return Err(error);
            }
        };
        let (admitted, admission) = watch::channel(None);
        let serving = self.serve_early(&connection, &terms, early, &admission);
        let finishing = async {
            established.await;
            let channel = Channel::of(&connection)?;
            seen.alpn = Some(channel.alpn);
            seen.peer = channel.claimed_id();
            if self.services.intake.is_closed() {
                admission::close(&connection, &draining());
                return Err(draining());
            }
            // Before the signatures: it has proven the keys in its certificate, and where it is let in
            // no further, the place is free again.
            let party = terms.party(channel.alpn, channel.claimed_id(), remote);
            let place = self.place(party)?;
            let peer = opening
                .admit(&connection, &channel, &terms, tickets.taken())
                .await?;
            Ok((channel, peer, place))
        };
        let (channel, peer, place) = tokio::select! {
            biased;
            finished = finishing => finished?,
            error = serving => return Err(error),
        };
        let id = peer.as_ref().map(|peer| peer.id);
        let partner = terms.partner_of(&channel, peer.as_ref());
        let (key, _) = self.live.add(&connection, id, false, &channel, partner)?;
        self.note(&connection, &channel, peer.as_ref(), false);
        if let Some(admitted) = terms.admitted(&channel, peer.as_ref()) {
            tickets.admit(admitted);
        }
        self.resumed
            .fetch_add(channel.resumed.into(), Ordering::Relaxed);
        let origin = Origin {
            peer: id,
            owner: peer.as_ref().and_then(|peer| peer.owner),
            network: peer.and_then(|peer| peer.network),
            alpn: channel.alpn,
            channel_binding: channel.binding,
            party: terms.party(channel.alpn, id, remote),
        };
        admitted.send_replace(Some(origin.clone()));
        session::release(&connection);
        Ok((connection, origin, key, place))
    }

    /// Serves streams of a client that has bound its first flight, until it is dropped; the reason
    /// where the connection ends before.
    async fn serve_early(
        &self,
        connection: &quic::Connection,
        terms: &Terms,
        early: Option<(Alpn, hm_x509::PeerIdentity)>,
        admission: &watch::Receiver<Option<Origin>>,
    ) -> Error {
        let Some((alpn, peer)) = early else {
            return std::future::pending().await;
        };
        let origin = Origin {
            peer: Some(peer.id),
            owner: peer.owner,
            network: peer.network,
            alpn,
            // It is not known before the handshake is done, and nothing that is served until then
            // asks for it.
            channel_binding: [0; 32],
            party: terms.party(alpn, Some(peer.id), connection.remote_address()),
        };
        loop {
            match connection.accept_bi().await {
                Ok((send, receive)) => {
                    let serving = serving::serve_early(
                        self.services.clone(),
                        origin.clone(),
                        admission.clone(),
                        self.early.clone(),
                        send,
                        receive,
                    );
                    Drive::spawn_on(connection.shard(), serving);
                }
                Err(error) => return error.into(),
            }
        }
    }
}
