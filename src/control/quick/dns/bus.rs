//! D-Bus, as much of it as calling a method of a system service takes.
//!
//! ```text
//!   connect -> AUTH EXTERNAL uid -> BEGIN -> Hello -> call -> its answer; signals and the rest are passed over
//! ```
//!
//! The crate `zbus` does all of D-Bus and brings 36 crates, for four methods.
//!
//! Not here: which methods (see `resolved`).
//!
//! Source: D-Bus specification, "Message Protocol", "Type System" and "Authentication Protocol".

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bus_text::{Body, Reader};

/// A connection to the system's bus.
pub(super) struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

/// A service and the interface of it that is called.
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
}

/// The bus itself.
pub(super) const BUS: Service =
    Service { name: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum BusError {
    /// The bus cannot be reached, or says what cannot be understood.
    #[error("the system's bus: {0}")]
    Io(#[from] io::Error),
    /// The service answers with an error.
    #[error("it says: {text} ({name})")]
    Refused {
        /// The error's name.
        name: String,
        /// In words.
        text: String,
    },
}

impl Bus {
    /// Connects to the system's bus, as the user of this process.
    pub(super) fn connect() -> Result<Self, BusError> {
        let stream = UnixStream::connect(address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut bus = Self { stream: BufReader::new(stream), serial: 0 };
        let user: String =
            rustix::process::geteuid().as_raw().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        bus.stream.get_mut().write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") && answer.len() < MAX_LINE_LEN {
            let mut byte = [0];
            bus.stream.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        if !answer.starts_with(b"OK ") {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it does not let us in").into());
        }
        bus.stream.get_mut().write_all(b"BEGIN\r\n")?;
        bus.call(&BUS, "Hello", &Body::default())?;
        Ok(bus)
    }

    /// Calls a method and waits for the answer, of which it returns the body.
    pub(super) fn call(&mut self, service: &Service, method: &str, body: &Body) -> Result<Vec<u8>, BusError> {
        self.serial += 1;
        self.stream.get_mut().write_all(&call_message(service, method, self.serial, body))?;
        loop {
            let answer = read_message(&mut self.stream)?;
            if answer.reply_to != Some(self.serial) {
                continue;
            }
            match answer.kind {
                METHOD_RETURN => return Ok(answer.body),
                ERROR => {
                    let text = Reader::new(&answer.body).string().unwrap_or_default();
                    return Err(BusError::Refused { name: answer.error_name, text });
                }
                _ => {}
            }
        }
    }
}

/// # Layout
/// Byte order, kind, flags, version (a byte each); length of the body, serial number (32 bits each); an array of fields;
/// padding to 8; the body.
fn call_message(service: &Service, method: &str, serial: u32, body: &Body) -> Vec<u8> {
    let mut message = Body::default();
    let order = if cfg!(target_endian = "little") { b'l' } else { b'B' };
    for byte in [order, METHOD_CALL, 0, 1] {
        message.byte(byte);
    }
    message.number(body.as_bytes().len() as u32);
    message.number(serial);
    message.array(8, |fields| {
        let texts = [
            (PATH, "o", service.path),
            (INTERFACE, "s", service.interface),
            (MEMBER, "s", method),
            (DESTINATION, "s", service.name),
        ];
        for (code, signature, text) in texts {
            fields.align(8);
            fields.byte(code);
            fields.signature(signature);
            fields.string(text);
        }
        if !body.types().is_empty() {
            fields.align(8);
            fields.byte(SIGNATURE);
            fields.signature("g");
            fields.signature(body.types());
        }
    });
    message.align(8);
    let mut bytes = message.into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// What of an answer matters.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    kind: u8,
    reply_to: Option<u32>,
    error_name: String,
    body: Vec<u8>,
}

fn read_message(from: &mut impl Read) -> io::Result<Answer> {
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "its answer cannot be read");
    let mut head = [0; 16];
    from.read_exact(&mut head)?;
    let is_ours = head[0] == if cfg!(target_endian = "little") { b'l' } else { b'B' };
    let number = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let (body_len, fields_len) = (number(4), number(12));
    if !is_ours || body_len > MAX_MESSAGE_LEN || fields_len > MAX_MESSAGE_LEN {
        return Err(unreadable());
    }
    let mut rest = vec![0; fields_len.next_multiple_of(8) + body_len];
    from.read_exact(&mut rest)?;
    let body = rest.split_off(fields_len.next_multiple_of(8));
    let mut answer = Answer { kind: head[1], reply_to: None, error_name: String::new(), body };
    let mut fields = Reader::new(&rest[..fields_len]);
    while !fields.is_empty() {
        read_field(&mut fields, &mut answer).ok_or_else(unreadable)?;
    }
    Ok(answer)
}

/// Reads a field of the head; `None` if it is none.
fn read_field(fields: &mut Reader<'_>, answer: &mut Answer) -> Option<()> {
    fields.align(8);
    let code = fields.byte()?;
    match (code, fields.signature()?.as_str()) {
        (REPLY_SERIAL, "u") => answer.reply_to = Some(fields.number()?),
        (ERROR_NAME, "s") => answer.error_name = fields.string()?,
        (_, "u") => drop(fields.number()?),
        (_, "s" | "o") => drop(fields.string()?),
        (_, "g") => drop(fields.signature()?),
        _ => return None,
    }
    Some(())
}

/// The first socket that the environment names, or where it is by convention.
fn address() -> PathBuf {
    let named = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default();
    path_of(&named).map_or_else(|| Path::new("/var/run/dbus/system_bus_socket").to_owned(), PathBuf::from)
}

/// Finds `unix:path=...` in a list of addresses.
fn path_of(addresses: &str) -> Option<&str> {
    let keys = addresses.split(';').filter_map(|address| address.strip_prefix("unix:"));
    keys.flat_map(|keys| keys.split(',')).find_map(|key| key.strip_prefix("path="))
}

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Answers are a truth or a sentence.
const MAX_MESSAGE_LEN: usize = 64 * 1024;
const MAX_LINE_LEN: usize = 1024;
/// A bus, or a service on it, that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let mut body = Body::default();
        body.text("org.x");
        let service = Service { name: "a.b", path: "/c", interface: "d.e" };
        let message = call_message(&service, "F", 7, &body);
        let expected: &[&[u8]] = &[
            b"l\x01\0\x01\x0a\0\0\0\x07\0\0\0\x47\0\0\0",
            b"\x01\x01o\0\x02\0\0\0/c\0\0\0\0\0\0",
            b"\x02\x01s\0\x03\0\0\0d.e\0\0\0\0\0",
            b"\x03\x01s\0\x01\0\0\0F\0\0\0\0\0\0\0",
            b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0",
            b"\x08\x01g\0\x01s\0\0",
            b"\x05\0\0\0org.x\0",
        ];
        // Another machine has another order.
        assert!(cfg!(target_endian = "big") || message == expected.concat(), "{message:?}");
    }

    #[test]
    fn answers_are_read_whatever_comes() {
        let mut error =
            b"l\x03\x01\x01\x07\0\0\0\x02\0\0\0\x14\0\0\0\x05\x01u\0\x07\0\0\0\x04\x01s\0\x03\0\0\0a.b\0\0\0\0\0"
                .to_vec();
        error.extend(b"\x02\0\0\0no\0");
        if cfg!(target_endian = "little") {
            let answer = read_message(&mut &error[..]).expect("an error");
            assert_eq!((answer.kind, answer.reply_to, answer.error_name.as_str()), (ERROR, Some(7), "a.b"));
            assert_eq!(Reader::new(&answer.body).string().as_deref(), Some("no"));
        }
        for at in 0..error.len() {
            assert!(read_message(&mut &error[..at]).is_err());
            for byte in [0, 1, 0x7f, 0xff] {
                let mut other = error.clone();
                other[at] = byte;
                let _ = read_message(&mut &other[..]);
            }
        }
    }

    #[test]
    fn the_address_is_the_first_path() {
        assert_eq!(path_of("unix:abstract=x;unix:guid=1,path=/run/a;unix:path=/run/b"), Some("/run/a"));
        assert_eq!((path_of(""), path_of("tcp:host=x")), (None, None));
    }
}
