//! `rvpn capture`: what passes an interface, or its UDP port, as a file.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use rustix::net::netdevice;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rvpn_uapi::Ask;

use super::failure::Failure;
use super::warn;
use crate::control::capture::pcapng::Pcapng;
use crate::control::capture::{Capture, keys};
use crate::control::client::Client;
use crate::control::server::interface_index;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What is in the tunnel; the default. Segments may be merged, as the kernel hands them over.
    #[arg(long, conflicts_with = "outer")]
    inner: bool,
    /// What is around it: the datagrams of its UDP port, on all interfaces.
    #[arg(long)]
    outer: bool,
    /// With --outer: write the keys into the file, those of the interface and those of each handshake that begins while
    /// this runs, so that Wireshark opens what is sent after one.
    ///
    /// Whoever has the file can then read it, and use the private key of the interface.
    #[arg(long, requires = "outer")]
    keys: bool,
    /// End after so many packets; by default on SIGINT.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The interface.
    interface: OsString,
    /// The file, mode 0600, which is written over; `-` is standard output.
    file: OsString,
}

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let interface = arguments.interface.to_string_lossy().into_owned();
    let failed = |action| {
        let word = interface.clone();
        move |error: io::Error| Failure::Word { word, expected: format!("cannot {action}: {}", explained(&error)) }
    };
    let (capture, lasting) = if arguments.outer {
        let status = client.status(&arguments.interface)?;
        if status.listen_port == 0 {
            return Err(Failure::Word { word: interface, expected: "it has no UDP port; bring it up".to_owned() });
        }
        let stream = arguments.keys.then(|| listen(arguments, client)).transpose()?;
        let capture = Capture::outer(status.listen_port, stream).map_err(failed("capture"))?;
        (capture, arguments.keys.then(|| keys::lasting(&status)))
    } else {
        let index = interface_index(&interface).ok_or_else(|| Failure::Word {
            word: interface.clone(),
            expected: "no such interface in this network namespace".to_owned(),
        })?;
        (Capture::inner(index).map_err(failed("capture"))?, None)
    };
    let mut file = Pcapng::new(open(&arguments.file)?, concat!("rvpn ", env!("CARGO_PKG_VERSION")))
        .map_err(failed("write the capture"))?;
    if let Some(lasting) = lasting {
        warn("the capture has the private key of the interface in it; `wg set` a new one before others get the file");
        file.secrets(&lasting).map_err(failed("write the capture"))?;
    }
    // Without the interface there is nothing to come.
    let goes_on = || arguments.outer || interface_index(&interface).is_some();
    let done = capture.run(&mut file, arguments.count, name_of, goes_on);
    match done.and_then(|_| file.finish()) {
        // Whoever read standard output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Failure::Word { word: interface, expected: "the daemon has ended, and the keys with it".to_owned() })
        }
        result => result.map(drop).map_err(failed("capture")),
    }
}

/// Asks the daemon for the keys of handshakes.
fn listen(arguments: &Arguments, client: &Client) -> Result<UnixStream, Failure> {
    let mut stream = client.open(&arguments.interface, &Ask::new("capture"))?;
    let mut answer = [0; ACCEPTED.len()];
    match stream.read_exact(&mut answer) {
        Ok(()) if answer == *ACCEPTED => Ok(stream),
        _ => Err(Failure::Word {
            word: arguments.interface.to_string_lossy().into_owned(),
            expected:
                "whoever runs it does not give keys of handshakes: not rvpn, or an older one, or you are not root"
                    .to_owned(),
        }),
    }
}

const ACCEPTED: &[u8; 9] = b"errno=0\n\n";

/// The file, for its owner alone.
fn open(file: &OsString) -> Result<Box<dyn Write>, Failure> {
    if file == "-" {
        return Ok(Box::new(io::stdout()));
    }
    let opened: io::Result<File> = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    let opened = opened.map_err(|source| Failure::File { file: file.clone(), action: "make", source })?;
    Ok(Box::new(opened))
}

fn name_of(interface: u32) -> String {
    let name = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .and_then(|socket| netdevice::index_to_name(&socket, interface));
    name.unwrap_or_else(|_| format!("if{interface}"))
}

fn explained(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied: run as root, or with CAP_NET_RAW".to_owned(),
        _ => crate::control::error::reason(error),
    }
}
