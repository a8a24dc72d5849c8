//! A network that cuts, delays and swallows.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use es_testkit::servers::{Proxy, containing};

/// Says everything again, after its letter.
fn echo(letter: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut byte = [letter, 0];
                while (&stream).read_exact(&mut byte[1..]).is_ok() {
                    (&stream).write_all(&byte).unwrap();
                }
            });
        }
    });
    address
}

/// Whether a new connection is carried, and to which letter.
fn reached(proxy: &Proxy) -> Option<u8> {
    heard(&mut TcpStream::connect(proxy.address()).unwrap())
}

fn heard(stream: &mut TcpStream) -> Option<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"?").ok()?;
    let mut said = [0; 2];
    stream.read_exact(&mut said).ok().map(|()| said[0])
}

#[test]
fn a_failover_leads_new_connections_elsewhere() {
    let proxy = Proxy::new(echo(b'a')).unwrap();
    let mut old = TcpStream::connect(proxy.address()).unwrap();
    assert_eq!(heard(&mut old), Some(b'a'));
    proxy.to(echo(b'b'));
    assert_eq!(reached(&proxy), Some(b'b'));
    assert_eq!(heard(&mut old), Some(b'a'));
    assert_eq!(proxy.forwarded(), 3);
}

#[test]
fn a_cut_ends_what_is_connected_and_nothing_that_comes() {
    let proxy = Proxy::new(echo(b'a')).unwrap();
    let mut old = TcpStream::connect(proxy.address()).unwrap();
    assert_eq!(heard(&mut old), Some(b'a'));
    proxy.cut();
    assert_eq!(heard(&mut old), None);
    assert_eq!(reached(&proxy), Some(b'a'));
    assert_eq!(proxy.cuts(), 1);
}

#[test]
fn who_is_refused_may_come_again_later() {
    let proxy = Proxy::new(echo(b'a')).unwrap();
    proxy.refuse();
    assert_eq!(reached(&proxy), None);
    proxy.pass();
    assert_eq!(reached(&proxy), Some(b'a'));
}

#[test]
fn what_is_swallowed_never_arrives() {
    let proxy = Proxy::new(echo(b'a')).unwrap();
    let mut old = TcpStream::connect(proxy.address()).unwrap();
    assert_eq!(heard(&mut old), Some(b'a'));
    proxy.swallow();
    old.write_all(b"?").unwrap();
    old.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(old.read_exact(&mut [0; 2]).is_err());
    proxy.pass();
    assert_eq!(reached(&proxy), Some(b'a'));
    assert!(old.read_exact(&mut [0; 2]).is_err());
    assert_eq!(proxy.forwarded(), 2);
}

/// Whoever carries it may not have seen that it was to be swallowed for a moment.
#[test]
fn what_was_connected_while_all_was_swallowed_is_dumb() {
    let proxy = Proxy::new(echo(b'a')).unwrap();
    let mut old = TcpStream::connect(proxy.address()).unwrap();
    assert_eq!(heard(&mut old), Some(b'a'));
    proxy.swallow();
    proxy.pass();
    old.write_all(b"?").unwrap();
    old.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(old.read_exact(&mut [0; 2]).is_err());
    assert_eq!(reached(&proxy), Some(b'a'));
    assert_eq!(proxy.forwarded(), 2);
}

/// What a server has heard on each of its connections, once they have ended.
fn hears() -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::sync_channel(2);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).unwrap();
                tell.send(heard)
            });
        }
    });
    (address, told)
}

#[test]
fn what_is_held_back_arrives_after_what_was_said_later() {
    let (server, heard) = hears();
    let proxy = Proxy::new(server).unwrap();
    proxy.cut_and_hold(1, containing("first"));
    let say = |what: &str| {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.write_all(what.as_bytes()).unwrap();
        client
    };
    let mut client = say("first");
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the client sees the end");
    drop(say("second"));
    assert_eq!(heard.recv().unwrap(), b"second");
    proxy.release();
    assert_eq!(heard.recv().unwrap(), b"first");
    assert_eq!((proxy.cuts(), proxy.forwarded()), (1, 2));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a delay is measured")]
fn a_delay_is_waited_for() {
    let proxy = Proxy::new(echo(b'a')).unwrap();
    proxy.delay(Duration::from_millis(50));
    let asked = std::time::Instant::now();
    assert_eq!(reached(&proxy), Some(b'a'));
    assert!(asked.elapsed() >= Duration::from_millis(50));
}

#[test]
fn a_dropped_proxy_ends_its_connections() {
    let proxy = Proxy::new(echo(b'a')).unwrap();
    let mut old = TcpStream::connect(proxy.address()).unwrap();
    assert_eq!(heard(&mut old), Some(b'a'));
    drop(proxy);
    assert_eq!(heard(&mut old), None);
}
