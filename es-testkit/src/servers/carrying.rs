use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::requests::{Piece, Requests, Wire};

/// What the threads of a proxy have in common.
#[derive(Debug)]
pub(super) struct Shared {
    wire: Wire,
    pub(super) rules: Mutex<Rules>,
    /// Wakes whoever holds something back.
    pub(super) released: Condvar,
    pub(super) forwarded: AtomicU64,
    pub(super) cuts: AtomicU64,
}

/// What the test has said, and whom it concerns.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) to: SocketAddr,
    pub(super) mode: Mode,
    pub(super) delay: Duration,
    pub(super) trap: Option<Trap>,
    pub(super) is_holding: bool,
    links: Vec<Arc<Link>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Pass,
    Refuse,
    Swallow,
    Closed,
}

type Matches = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// Springs at the last of so many batches that match.
pub(super) struct Trap {
    left: u64,
    matches: Matches,
    cut: Fate,
}

/// What becomes of a piece.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Forwarded,
    Swallowed,
    CutBefore,
    CutAfter,
    CutAndHeld,
}

/// A client, its server, and whether what they say gets lost.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    swallowed: AtomicBool,
}

impl Shared {
    pub(super) fn new(to: SocketAddr, wire: Wire) -> Self {
        let (mode, delay) = (Mode::Pass, Duration::ZERO);
        let (trap, is_holding, links) = (None, false, Vec::new());
        let rules = Mutex::new(Rules { to, mode, delay, trap, is_holding, links });
        let (released, forwarded, cuts) = (Condvar::new(), AtomicU64::new(0), AtomicU64::new(0));
        Self { wire, rules, released, forwarded, cuts }
    }

    pub(super) fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            for client in listener.incoming().flatten() {
                let Rules { mode, to, .. } = *self.rules.lock();
                match mode {
                    Mode::Closed => break,
                    Mode::Refuse => drop(client),
                    Mode::Pass | Mode::Swallow => {
                        // A server that is away, or a client that goes, ends the connection.
                        scope.spawn(move || self.carry(client, to));
                    }
                }
            }
        });
    }

    fn carry(&self, client: TcpStream, to: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(to)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let link = Arc::new(Link { client, server, swallowed: AtomicBool::new(false) });
        if !self.join(&link) {
            return Ok(());
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let _ = self.answers(&link);
                link.cut();
            });
            if self.requests(&link).is_err() {
                link.cut();
            }
        });
        self.rules.lock().links.retain(|other| !Arc::ptr_eq(other, &link));
        Ok(())
    }

    /// A proxy that was closed in the meantime carries nothing.
    fn join(&self, link: &Arc<Link>) -> bool {
        let mut rules = self.rules.lock();
        link.swallowed.store(rules.mode == Mode::Swallow, SeqCst);
        let open = rules.mode != Mode::Closed;
        rules.links.extend(open.then(|| Arc::clone(link)));
        open
    }

    fn requests(&self, link: &Link) -> io::Result<()> {
        let mut requests = Requests::new(&link.client, self.wire);
        while let Some(piece) = requests.next()? {
            let delay = self.rules.lock().delay;
            thread::sleep(delay);
            let fate = self.fate(link, &piece);
            match fate {
                Fate::Swallowed => continue,
                Fate::CutBefore => return Err(ErrorKind::ConnectionAborted.into()),
                Fate::Forwarded | Fate::CutAfter | Fate::CutAndHeld => {
                    if fate == Fate::CutAndHeld {
                        link.leave_client();
                        self.hold();
                    }
                    // Before anybody can have an answer to it.
                    self.forwarded.fetch_add(u64::from(piece.batch.is_some()), SeqCst);
                    (&link.server).write_all(piece.bytes)?;
                }
            }
            if fate != Fate::Forwarded {
                break;
            }
        }
        // The server does what it has got, and then ends the connection.
        link.server.shutdown(Shutdown::Write)
    }

    fn answers(&self, link: &Link) -> io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = (&link.server).read(&mut bytes)?;
            if count == 0 {
                return Ok(());
            }
            if !link.swallowed.load(SeqCst) {
                (&link.client).write_all(&bytes[..count])?;
            }
        }
    }

    fn fate(&self, link: &Link, piece: &Piece<'_>) -> Fate {
        let mut rules = self.rules.lock();
        if link.swallowed.load(SeqCst) {
            return Fate::Swallowed;
        }
        let Some(cut) = piece.batch.and_then(|batch| rules.spring(batch)) else {
            return Fate::Forwarded;
        };
        self.cuts.fetch_add(1, SeqCst);
        link.swallowed.store(true, SeqCst);
        cut
    }

    /// Waits until it may go on.
    fn hold(&self) {
        let mut rules = self.rules.lock();
        self.released.wait_while(&mut rules, |rules| rules.is_holding);
    }

    pub(super) fn release(&self, rules: &mut Rules) {
        rules.is_holding = false;
        self.released.notify_all();
    }

    pub(super) fn cut(&self, rules: &mut Rules) {
        for link in rules.links.drain(..) {
            link.cut();
            self.cuts.fetch_add(1, SeqCst);
        }
    }
}

impl Rules {
    /// What is said from now on gets lost, whoever has to carry it and sleeps.
    pub(super) fn swallow(&mut self) {
        self.mode = Mode::Swallow;
        for link in &self.links {
            link.swallowed.store(true, SeqCst);
        }
    }

    /// Whether and how this batch is cut.
    fn spring(&mut self, batch: &[u8]) -> Option<Fate> {
        let trap = self.trap.as_mut()?;
        if !(trap.matches)(batch) {
            return None;
        }
        trap.left = trap.left.saturating_sub(1);
        if trap.left > 0 {
            return None;
        }
        let cut = self.trap.take()?.cut;
        self.is_holding |= cut == Fate::CutAndHeld;
        Some(cut)
    }
}

impl Link {
    /// The client sees the end of the connection, and the server does not.
    fn leave_client(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
    }

    /// Both sides see the end of the connection; who has ended it already does
    /// not mind.
    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Trap {
    pub(super) fn new(
        left: u64,
        matches: impl FnMut(&[u8]) -> bool + Send + 'static,
        cut: Fate,
    ) -> Self {
        Self { left, matches: Box::new(matches), cut }
    }
}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trap").field("left", &self.left).field("cut", &self.cut).finish()
    }
}
