//! Requests that wait for a service outside this crate.
//!
//! The I/O thread puts a request here and never waits for whoever takes it. Count and bytes of
//! what is unanswered are bounded for the whole endpoint; beyond, the peer is told to come back.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::admission::Alpn;
use crate::bell::Bell;
use crate::drive::Drive;
use crate::error::{Error, Kind, Result};
use crate::frame::{self, Status};
use crate::limits::{
    ANSWER_SEND_TIMEOUT, PENDING_BYTES_MAX, PENDING_OF_PEER_MAX, PENDING_REQUESTS_MAX,
    PENDING_STRANGERS_MAX, STRANGER_BODY_BYTES_MAX,
};
use crate::places::{Party, Place, Places};
use crate::problem;
use crate::quic::timeout;
use crate::stream::{self, Outlet, Stream};
use crate::tunnel::Opened;
use crate::PeerId;

/// Whose request it is.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `None`: a client of `hm-enrol/1` without keys.
    pub peer: Option<PeerId>,
    pub owner: Option<PeerId>,
    /// The network that its certificate names, where it has shown one.
    pub network: Option<[u8; 32]>,
    pub alpn: Alpn,
    pub channel_binding: [u8; 32],
    /// As whom it counts where room is shared.
    pub(crate) party: Party,
}

/// One request of a peer. Dropped without an answer, it answers that.
pub struct Request {
    pub origin: Origin,
    pub service: u16,
    pub body: Bytes,
    reply: Mutex<Option<Reply>>,
    drive: Arc<Drive>,
}

/// What is left to do for a request.
pub(crate) enum Reply {
    Answer(Outlet, Permit),
    Stream(Arc<Stream>),
    Unidirectional(Arc<Stream>),
    Tunnel(Opened),
}

impl Request {
    pub(crate) fn new(
        origin: Origin,
        service: u16,
        body: Bytes,
        reply: Reply,
        drive: Arc<Drive>,
    ) -> Request {
        Request {
            origin,
            service,
            body,
            reply: Mutex::new(Some(reply)),
            drive,
        }
    }

    /// The byte stream that this request opens, if it opens one and is not refused.
    pub fn stream(&self) -> Option<Arc<Stream>> {
        match &*self.reply.lock() {
            Some(Reply::Stream(stream) | Reply::Unidirectional(stream)) => Some(stream.clone()),
            _ => None,
        }
    }

    /// Whether the stream goes one way, from the peer to here.
    pub fn is_unidirectional(&self) -> bool {
        matches!(&*self.reply.lock(), Some(Reply::Unidirectional(_)))
    }

    /// The stream for a tunnel that this request opens, once.
    pub(crate) fn take_tunnel(&self) -> Option<Opened> {
        let mut reply = self.reply.lock();
        match reply.take() {
            Some(Reply::Tunnel(opened)) => Some(opened),
            other => {
                *reply = other;
                None
            }
        }
    }

    pub(crate) fn drive(&self) -> &Arc<Drive> {
        &self.drive
    }

    /// Sends the answer, or the encoded problem. Does not wait for the peer to take it.
    pub fn answer(&self, status: Status, body: &[u8]) -> Result<()> {
        let body = frame::checked_body(body)?;
        let answered = || Error::new(Kind::Unanswered, "this request has been answered");
        let mut reply = self.reply.lock();
        match (reply.take(), status) {
            (Some(Reply::Answer(outlet, permit)), _) => {
                let frame = frame::answer(status, body);
                self.drive.spawn(deliver(outlet, frame, permit));
                Ok(())
            }
            (Some(Reply::Stream(stream)), Status::Problem) => {
                let problem = Bytes::copy_from_slice(body);
                self.drive
                    .spawn(async move { stream.refuse(&problem).await });
                Ok(())
            }
            (Some(Reply::Unidirectional(stream)), Status::Problem) => {
                self.drive.spawn(async move { stream.stop().await });
                Ok(())
            }
            (Some(Reply::Tunnel(opened)), Status::Problem) => {
                let problem = Bytes::copy_from_slice(body);
                self.drive.spawn(async move {
                    // Dropped unread, the stream tells the peer to send no more.
                    stream::refuse(opened.outlet, problem).await;
                });
                Ok(())
            }
            (
                stream @ Some(Reply::Stream(_) | Reply::Unidirectional(_) | Reply::Tunnel(_)),
                Status::Ok,
            ) => {
                *reply = stream;
                Err(Error::new(
                    Kind::MalformedFrame,
                    "the peer opened a stream, which takes bytes and not an answer",
                ))
            }
            (None, _) => Err(answered()),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // A stream lives on in whoever took it, and refuses by itself where nobody did.
        let owed = matches!(
            &*self.reply.lock(),
            Some(Reply::Answer(..) | Reply::Tunnel(_))
        );
        if owed {
            let error = Error::new(Kind::Unanswered, "the service dropped the request");
            let _ = self.answer(Status::Problem, &problem::encode(&error));
        }
    }
}

async fn deliver(mut outlet: Outlet, frame: Bytes, permit: Permit) {
    // Where the peer is gone or takes nothing, there is nobody left to tell.
    let _ = timeout(ANSWER_SEND_TIMEOUT, async {
        outlet.write_chunk(frame).await?;
        outlet.finish()
    })
    .await;
    drop(permit);
}

/// The requests that nobody has taken yet, and the bounds on all that are unanswered.
pub struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    bell: Bell,
    unanswered: Mutex<Unanswered>,
    /// Of their bodies.
    bytes: Arc<Places>,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    closed: bool,
}

#[derive(Default)]
struct Unanswered {
    requests: usize,
    strangers: usize,
    of_parties: HashMap<Party, usize>,
}

/// A place among the unanswered requests.
pub struct Permit {
    queue: Arc<Queue>,
    alpn: Alpn,
    party: Party,
    /// Given back with it.
    _bytes: Place,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut unanswered = self.queue.unanswered.lock();
        unanswered.requests -= 1;
        unanswered.strangers -= usize::from(self.alpn.is_outside());
        if let Entry::Occupied(mut held) = unanswered.of_parties.entry(self.party) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

impl Queue {
    pub fn new() -> io::Result<Queue> {
        Ok(Queue {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            bell: Bell::new()?,
            unanswered: Mutex::default(),
            bytes: Places::new(PENDING_BYTES_MAX),
        })
    }

    /// A place for a request of `bytes`, taken before its body is read. One peer, over however many
    /// connections, leaves places for others, and room for their bodies: it may announce many and
    /// send none of them.
    pub fn admit(self: &Arc<Self>, origin: &Origin, bytes: usize) -> Result<Permit> {
        let (alpn, party) = (origin.alpn, origin.party);
        let stranger = alpn.is_outside();
        if stranger && bytes > STRANGER_BODY_BYTES_MAX {
            return Err(Error::new(
                Kind::TooLarge,
                format!("{bytes} bytes, at most {STRANGER_BODY_BYTES_MAX} are taken here"),
            ));
        }
        let mut unanswered = self.unanswered.lock();
        let held = unanswered.of_parties.get(&party).copied().unwrap_or(0);
        if held >= PENDING_OF_PEER_MAX {
            return Err(Error::new(
                Kind::Overloaded,
                format!("{held} requests of this peer wait for an answer"),
            ));
        }
        let full = unanswered.requests >= PENDING_REQUESTS_MAX
            || (stranger && unanswered.strangers >= PENDING_STRANGERS_MAX);
        let room = self.bytes.take(party, bytes).filter(|_| !full);
        let Some(room) = room else {
            return Err(Error::new(
                Kind::Overloaded,
                format!(
                    "{} requests with {} bytes wait for an answer",
                    unanswered.requests,
                    self.bytes.taken()
                ),
            ));
        };
        unanswered.requests += 1;
        unanswered.strangers += usize::from(stranger);
        *unanswered.of_parties.entry(party).or_default() += 1;
        Ok(Permit {
            queue: self.clone(),
            alpn,
            party,
            _bytes: room,
        })
    }

    pub fn put(&self, request: Request) {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return;
        }
        waiting.requests.push_back(request);
        drop(waiting);
        self.arrived.notify_one();
        self.bell.ring();
    }

    /// The next request; `None` after `patience`. Blocks the calling thread.
    pub fn next(&self, patience: Duration) -> Result<Option<Request>> {
        let deadline = Instant::now() + patience;
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(request) = waiting.requests.pop_front() {
                return Ok(Some(request));
            }
            if waiting.closed {
                return Err(crate::drive::closed());
            }
            if self.arrived.wait_until(&mut waiting, deadline).timed_out() {
                return Ok(waiting.requests.pop_front());
            }
        }
    }

    /// Up to `count` requests that have arrived. The bell rings on where more are left.
    pub fn take(&self, count: usize) -> Result<Vec<Request>> {
        self.bell.silence();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(crate::drive::closed());
        }
        let count = count.min(waiting.requests.len());
        let taken = waiting.requests.drain(..count).collect();
        if !waiting.requests.is_empty() {
            self.bell.ring();
        }
        Ok(taken)
    }

    /// Readable while requests wait, and after the endpoint has closed.
    pub fn fd(&self) -> RawFd {
        self.bell.fd()
    }

    /// Requests that wait to be taken, requests unanswered, and the bytes of these.
    pub fn load(&self) -> (usize, usize, usize) {
        let waiting = self.waiting.lock().requests.len();
        let unanswered = self.unanswered.lock();
        (waiting, unanswered.requests, self.bytes.taken())
    }

    pub fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        let dropped = std::mem::take(&mut waiting.requests);
        drop(waiting);
        self.arrived.notify_all();
        self.bell.ring();
        drop(dropped);
    }
}
