use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
};

/// Asks to encrypt by TLS or by GSSAPI, before the first message.
const ENCRYPT: [u32; 2] = [80_877_103, 80_877_104];

/// Most bytes of a message, as Postgres has it: at the start, and later.
const LONGEST_START: u32 = 10_000;
const LONGEST: u32 = 1 << 30;

/// What the bytes of a connection mean.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire {
    Bytes,
    Postgres,
}

/// What a client says, in pieces that are forwarded or cut.
///
/// Source: PostgreSQL, *Frontend/Backend Protocol*, Message Flow and Formats.
pub(super) struct Requests<'a> {
    client: BufReader<&'a TcpStream>,
    wire: Wire,
    started: bool,
    /// What was said since the server has been asked for an answer.
    said: Vec<u8>,
    last: Ends,
}

/// What is forwarded at once. If it ends a batch, that is here as a whole.
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) batch: Option<&'a [u8]>,
}

/// What a piece ends.
#[derive(PartialEq)]
enum Ends {
    /// The greeting: who am I, with which password.
    Greeting,
    /// Nothing, but the server has to have it.
    Nothing,
    Batch,
}

impl<'a> Requests<'a> {
    pub(super) fn new(client: &'a TcpStream, wire: Wire) -> Self {
        let client = BufReader::new(client);
        Self { client, wire, started: false, said: Vec::new(), last: Ends::Nothing }
    }

    /// The next piece, or none after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        if self.last != Ends::Nothing {
            self.said.clear();
        }
        let known = self.said.len();
        let read = match self.wire {
            Wire::Bytes => self.bytes(),
            Wire::Postgres if self.started => self.messages(),
            Wire::Postgres => self.start(),
        };
        self.last = match read {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        let batch = (self.last == Ends::Batch).then_some(&self.said[..]);
        Ok(Some(Piece { bytes: &self.said[known..], batch }))
    }

    fn bytes(&mut self) -> io::Result<Ends> {
        let bytes = self.client.fill_buf()?;
        let count = bytes.len();
        self.said.extend_from_slice(bytes);
        self.client.consume(count);
        if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(Ends::Batch) }
    }

    /// The first message, which has no type. Whoever wants to encrypt is told
    /// that the server cannot, or else nothing could be seen here.
    fn start(&mut self) -> io::Result<Ends> {
        loop {
            self.message(LONGEST_START)?;
            let code = self.said.get(4..8).and_then(|code| code.try_into().ok());
            if !code.is_some_and(|code| ENCRYPT.contains(&u32::from_be_bytes(code))) {
                self.started = true;
                return Ok(Ends::Greeting);
            }
            self.client.get_mut().write_all(b"N")?;
            self.said.clear();
        }
    }

    /// Messages up to the first that the server may answer to. Those before it
    /// wait, or the server could answer a part of a batch.
    fn messages(&mut self) -> io::Result<Ends> {
        loop {
            let mut kind = [0];
            self.client.read_exact(&mut kind)?;
            self.said.extend(kind);
            self.message(LONGEST)?;
            match &kind {
                b"P" | b"B" | b"D" | b"E" | b"C" => {}
                b"S" | b"Q" | b"F" => return Ok(Ends::Batch),
                b"p" => return Ok(Ends::Greeting),
                _ => return Ok(Ends::Nothing),
            }
        }
    }

    /// A length, which counts itself, and as many bytes.
    fn message(&mut self, longest: u32) -> io::Result<()> {
        let mut length = [0; 4];
        self.client.read_exact(&mut length)?;
        self.said.extend(length);
        let rest = u32::from_be_bytes(length).checked_sub(4).filter(|rest| *rest <= longest);
        let rest = rest.ok_or(ErrorKind::InvalidData)?;
        let read = (&mut self.client).take(rest.into()).read_to_end(&mut self.said)?;
        if u64::from(rest) > read as u64 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
