use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering::SeqCst},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    carrying::{Fate, Mode, Shared, Trap},
    requests::Wire,
};

/// A network between a client and a server, in the hand of a test.
///
/// Connections to [`address`](Self::address) are carried on to the server, until
/// the test says otherwise. They are cut when the proxy is dropped.
///
/// ```
/// use std::{io::{Read, Write}, net::{TcpListener, TcpStream}};
/// use es_testkit::servers::Proxy;
///
/// let server = TcpListener::bind("127.0.0.1:0")?;
/// let proxy = Proxy::new(server.local_addr()?)?;
/// let mut client = TcpStream::connect(proxy.address())?;
/// let (mut accepted, _) = server.accept()?;
///
/// accepted.write_all(b"hello")?;
/// let mut said = [0; 5];
/// client.read_exact(&mut said)?;
/// assert_eq!(&said, b"hello");
///
/// proxy.cut();
/// assert_eq!(client.read(&mut said)?, 0);
/// assert_eq!(proxy.cuts(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// In front of Postgres it knows where a request ends, and can cut at the moment
/// that matters. The client then does not know what has become of its request;
/// [`cut_before`](Self::cut_before) looks the same to it.
///
/// ```no_run
/// use es_testkit::servers::{PrivatePostgres, Proxy, containing};
///
/// let postgres = PrivatePostgres::start()?;
/// let proxy = Proxy::postgres(([127, 0, 0, 1], postgres.port()).into())?;
/// let url = format!("postgres://postgres@{}/postgres", proxy.address());
/// proxy.cut_after(1, containing("COMMIT")); // done, and the client is not told
/// # Ok::<(), es_testkit::servers::ServerError>(())
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy in front of this address that carries bytes.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub fn new(to: SocketAddr) -> io::Result<Self> {
        Self::start(to, Wire::Bytes)
    }

    /// A proxy in front of a Postgres server. It turns encryption down, as a
    /// server without TLS does.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub fn postgres(to: SocketAddr) -> io::Result<Self> {
        Self::start(to, Wire::Postgres)
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Carries new connections to another address: a failover.
    pub fn to(&self, address: SocketAddr) {
        self.shared.rules.lock().to = address;
    }

    /// Cuts all connections now.
    pub fn cut(&self) {
        self.shared.cut(&mut self.shared.rules.lock());
    }

    /// Closes new connections as soon as they are made.
    pub fn refuse(&self) {
        self.shared.rules.lock().mode = Mode::Refuse;
    }

    /// Takes what both sides say and loses it, on all connections that there are
    /// and those that are still to come. They stay dumb until they are cut,
    /// whether they have lost something or not.
    pub fn swallow(&self) {
        self.shared.rules.lock().swallow();
    }

    /// Ends [`refuse`](Self::refuse) and [`swallow`](Self::swallow) for
    /// connections that are still to come.
    pub fn pass(&self) {
        self.shared.rules.lock().mode = Mode::Pass;
    }

    /// Lets each piece that a client says wait for so long.
    pub fn delay(&self, delay: Duration) {
        self.shared.rules.lock().delay = delay;
    }

    /// Cuts one connection after the server has done what the `n`-th matching
    /// batch asks for, and before the client hears a byte of the answer.
    ///
    /// A batch is what a client of Postgres sends up to and with a Sync or a
    /// simple Query, on any connection; without [`postgres`](Self::postgres),
    /// whatever arrives together. Statements that were prepared earlier are in
    /// it by their name only; their parameters are there in full. One cut waits
    /// at a time: a later call of this, [`cut_before`](Self::cut_before) or
    /// [`cut_and_hold`](Self::cut_and_hold) takes its place. `matches` must not ask the proxy for anything.
    pub fn cut_after(&self, n: u64, matches: impl FnMut(&[u8]) -> bool + Send + 'static) {
        self.set_trap(Trap::new(n, matches, Fate::CutAfter));
    }

    /// Cuts one connection before the server hears a byte of the `n`-th matching
    /// batch. To the client it is the same as [`cut_after`](Self::cut_after).
    pub fn cut_before(&self, n: u64, matches: impl FnMut(&[u8]) -> bool + Send + 'static) {
        self.set_trap(Trap::new(n, matches, Fate::CutBefore));
    }

    /// Cuts one connection, and holds the `n`-th matching batch back: the server
    /// gets it when the test says [`release`](Self::release), and may have heard
    /// others in the meantime. To the client it is the same as
    /// [`cut_before`](Self::cut_before).
    pub fn cut_and_hold(&self, n: u64, matches: impl FnMut(&[u8]) -> bool + Send + 'static) {
        self.set_trap(Trap::new(n, matches, Fate::CutAndHeld));
    }

    /// Lets the server have what was held back.
    pub fn release(&self) {
        self.shared.release(&mut self.shared.rules.lock());
    }

    /// How many batches have been forwarded.
    pub fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(SeqCst)
    }

    /// How many connections have been cut.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(SeqCst)
    }

    fn start(to: SocketAddr, wire: Wire) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(to, wire));
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    fn set_trap(&self, trap: Trap) {
        self.shared.rules.lock().trap = Some(trap);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut rules = self.shared.rules.lock();
        rules.mode = Mode::Closed;
        self.shared.cut(&mut rules);
        self.shared.release(&mut rules);
        drop(rules);
        // Wakes the thread that accepts, which waits for the others.
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

/// Matches what contains these bytes.
///
/// ```
/// use es_testkit::servers::containing;
///
/// assert!(containing("COMMIT")(b"Q\0\0\0\x0bCOMMIT\0"));
/// assert!(!containing("COMMIT")(b"ROLLBACK"));
/// ```
pub fn containing(needle: impl Into<Vec<u8>>) -> impl Fn(&[u8]) -> bool + Send + 'static {
    let needle = needle.into();
    move |said| needle.is_empty() || said.windows(needle.len()).any(|part| part == needle)
}
