use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

/// The least of a client of Postgres.
pub(crate) struct Session {
    pub(crate) stream: TcpStream,
}

impl Session {
    /// Asks for TLS first, as most clients do, and goes on without.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let mut session = Self { stream: TcpStream::connect(address).unwrap() };
        session.stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
        let mut answer = [0];
        session.stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"N");
        let greeting = b"\0\x03\0\0user\0postgres\0\0";
        session.stream.write_all(&length(greeting)).unwrap();
        session.stream.write_all(greeting).unwrap();
        session.answer().expect("a greeting is answered");
        session
    }

    pub(crate) fn query(&mut self, sql: &str) -> Option<Vec<u8>> {
        self.send_query(sql);
        self.answer()
    }

    pub(crate) fn send_query(&mut self, sql: &str) {
        self.send(b'Q', format!("{sql}\0").as_bytes());
    }

    pub(crate) fn send(&mut self, kind: u8, body: &[u8]) {
        let message = [&[kind], &length(body)[..], body].concat();
        self.stream.write_all(&message).unwrap();
    }

    /// All that the server says until it is ready for the next request; nothing
    /// if it does not get so far.
    pub(crate) fn answer(&mut self) -> Option<Vec<u8>> {
        let mut said = Vec::new();
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).ok()?;
            let rest = u32::from_be_bytes(head[1..].try_into().unwrap()) - 4;
            let mut body = vec![0; usize::try_from(rest).unwrap()];
            self.stream.read_exact(&mut body).unwrap();
            said.extend(body);
            if head[0] == b'Z' {
                return Some(said);
            }
        }
    }
}

fn length(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len() + 4).unwrap().to_be_bytes()
}
