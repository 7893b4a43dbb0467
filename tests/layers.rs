//! The house rules, read off the source text: which room names which, where unsafe and IO are, how long files get.
//!
//! Not a parser: comments and string literals are blanked, then names are sought. `use` trees are flattened, so
//! `use crate::{control::x, proto}` and `use std::{fs, io}` are seen as the paths they mean.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_tree_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "uapi/src", "tests"] {
        rust_files(&root.join(folder), &mut files);
    }
    assert!(files.len() > 20, "only {} files found below {}", files.len(), root.display());

    let mut faults = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a file just listed can be read");
        let path = file.strip_prefix(root).expect("listed below the root").to_string_lossy().into_owned();
        faults.extend(check(&path, &text));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The rooms of `src`, lowest first: a room names itself and those before it.
const ROOMS: [&str; 5] = ["aead", "proto", "dataplane", "platform", "control"];

/// The two files with unsafe code: system calls, and instructions that not every processor has.
const UNSAFE_FILES: [&str; 2] = ["src/platform/linux/sys.rs", "src/aead/dispatch.rs"];

/// What the protocol, which is told the time and handed its bytes, has no use for.
const NOT_IN_PROTO: [&str; 15] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::fs",
    "std::io",
    "std::process",
    "std::env",
    "std::os",
    "std::net::UdpSocket",
    "std::net::Tcp",
];

/// The same for sealing; one atomic flag holds what the process chose.
const NOT_IN_AEAD: [&str; 9] = [
    "std::time",
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::fs",
    "std::io",
    "std::process",
    "std::env",
    "std::net",
];

/// Modules that hold both what the protocol may name and what it may not: never imported whole, nor by `*`.
const WHOLE_MODULES: [&str; 4] = ["std", "std::time", "std::sync", "std::net"];

/// Crates that do what the standard library's names above do.
const IO_CRATES: [&str; 6] = ["tokio", "libc", "rustix", "socket2", "netlink_sys", "tracing"];

/// The configuration protocol is text in and types out. `std::io::Write` is what `write!` to bytes in memory needs.
const NOT_IN_UAPI: [&str; 13] = [
    "std::fs",
    "std::io::Read",
    "std::io::BufRead",
    "std::io::BufReader",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::thread",
    "std::process",
    "std::os",
    "std::net::UdpSocket",
    "std::net::Tcp",
    "std::time::Instant",
];

/// A file of more lines than this is two concepts. Inline test modules are not counted.
const MAX_LINES: usize = 500;

/// Returns what is wrong with one file, each as `path:line: what`.
fn check(path: &str, text: &str) -> Vec<String> {
    let whole = blank_comments_and_strings(text);
    let product = path.starts_with("src/") || path.starts_with("uapi/");
    // Tests may do what the code may not, inline or in a file of their own.
    let code = if is_test_file(path) { String::new() } else { without_inline_tests(&whole) };
    let names = named_paths(&code);
    let mut faults = Vec::new();

    if let Some(room) = room_of(path) {
        let rank = ROOMS.iter().position(|&name| name == room).expect("room_of returns a room");
        for higher in &ROOMS[rank + 1..] {
            forbid(&mut faults, path, &names, &format!("crate::{higher}"), &format!("{room} is below {higher}"));
        }
        if room == "aead" {
            for name in NOT_IN_AEAD.into_iter().chain(IO_CRATES) {
                forbid(&mut faults, path, &names, name, "sealing has no clock, thread, lock or IO");
            }
        }
        if room == "proto" {
            for name in NOT_IN_PROTO {
                forbid(&mut faults, path, &names, name, "the protocol has no clock, thread, lock or IO");
            }
            for name in IO_CRATES {
                forbid(&mut faults, path, &names, name, "the protocol has no clock, thread, lock or IO");
            }
            for (line, name) in names.iter().filter(|(_, name)| WHOLE_MODULES.contains(&name.as_str())) {
                faults.push(format!("{path}:{line}: names all of {name}: name the types, so that this test sees them"));
            }
        }
    }
    if path.starts_with("uapi/") {
        for name in NOT_IN_UAPI.into_iter().chain(IO_CRATES) {
            forbid(&mut faults, path, &names, name, "uapi has no IO");
        }
    }
    if product && !UNSAFE_FILES.contains(&path) {
        for (line, _) in words(&whole).filter(|&(_, word)| word == "unsafe") {
            faults.push(format!("{path}:{line}: unsafe outside {}", UNSAFE_FILES.join(" and ")));
        }
    }
    for (line, name) in named_paths(&whole).iter().filter(|(_, name)| name.ends_with("thread::sleep")) {
        faults.push(format!("{path}:{line}: names {name}: wait for the event itself"));
    }

    let lines = code.lines().count();
    if lines > MAX_LINES {
        faults.push(format!("{path}:{lines}: longer than {MAX_LINES} lines"));
    }
    faults
}

/// Adds a fault for each path that is `name` or begins with it. A last segment counts as a prefix (`Tcp` of
/// `TcpStream`) only where `name` ends in `Tcp`.
fn forbid(faults: &mut Vec<String>, path: &str, names: &[(usize, String)], name: &str, why: &str) {
    for (line, found) in names {
        let rest = found.strip_prefix(name);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || name.ends_with("Tcp")) {
            faults.push(format!("{path}:{line}: names {found}: {why}"));
        }
    }
}

fn room_of(path: &str) -> Option<&'static str> {
    let inside = path.strip_prefix("src/")?;
    ROOMS.into_iter().find(|room| inside.strip_prefix(room).is_some_and(|rest| rest.starts_with('/') || rest == ".rs"))
}

/// `foo/tests.rs` and `foo/tests/…` beside the code, and the integration tests.
fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Blanks comments, string and character literals; keeps every line where it is.
fn blank_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = token_to_blank(bytes, at);
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("whole literals were blanked, byte by byte")
}

/// Returns the end of the comment or literal that begins at `at`, or `at` if none does.
fn token_to_blank(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + rest.windows(2).position(|pair| pair == b"*/").map_or(rest.len(), |end| end + 2);
    }
    if !after_name && let Some(len) = raw_string_len(rest) {
        return at + len;
    }
    match rest[0] {
        b'"' => at + quoted_len(rest, b'"'),
        // A character, not a lifetime: 'x' or an escape.
        b'\'' if rest.len() > 2 && (rest[1] == b'\\' || (rest[2] == b'\'' && rest[1] != b'\'')) => {
            at + quoted_len(rest, b'\'')
        }
        b'\'' if rest.len() > 1 && !rest[1].is_ascii() => at + quoted_len(rest, b'\''),
        _ => at,
    }
}

fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of `r"…"`, `r#"…"#`, `br#"…"#` at the start of `rest`.
fn raw_string_len(rest: &[u8]) -> Option<usize> {
    let prefix = if rest.starts_with(b"br") { 2 } else { usize::from(rest.starts_with(b"r")) };
    if prefix == 0 {
        return None;
    }
    let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &rest[open + 1..];
    Some(open + 1 + body.windows(close.len()).position(|end| end == close).map_or(body.len(), |end| end + close.len()))
}

/// Takes out `#[cfg(test)] mod … { … }`, its lines too.
fn without_inline_tests(code: &str) -> String {
    let mut code = code.to_owned();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let rest = &code[start..];
        let (Some(open), semicolon) = (rest.find('{'), rest.find(';')) else { break };
        if semicolon.is_some_and(|at| at < open) {
            from = start + "#[cfg(test)]".len();
            continue;
        }
        let mut depth = 0;
        let end = rest.char_indices().skip(open).find(|&(_, letter)| {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            depth == 0
        });
        let end = start + end.map_or(rest.len(), |(at, _)| at + 1);
        // The lines after keep their numbers only while the module stands last, as it does in this house.
        code.replace_range(start..end, "");
        from = start;
    }
    code
}

/// Returns every path `a::b::c` of the text with its line; `use` trees are flattened, `super::` is resolved no further
/// than the crate's rooms need: `super::super::control` is seen as `crate::control`.
fn named_paths(code: &str) -> Vec<(usize, String)> {
    let tokens: Vec<(usize, &str)> = words(code).collect();
    let mut names = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = read_tree(&tokens, at, "", &mut names).max(at + 1);
    }
    names
}

/// Reads one path with its braces from token `at`, under `prefix`; returns the token after it.
fn read_tree(tokens: &[(usize, &str)], mut at: usize, prefix: &str, names: &mut Vec<(usize, String)>) -> usize {
    let Some(&(line, first)) = tokens.get(at) else { return at };
    if !first.starts_with(|letter: char| letter.is_alphabetic() || letter == '_') {
        return at;
    }
    let mut path = join(prefix, first);
    at += 1;
    while tokens.get(at).is_some_and(|&(_, token)| token == "::") {
        match tokens.get(at + 1) {
            Some(&(_, "{")) => {
                at += 2;
                while tokens.get(at).is_some_and(|&(_, token)| token != "}") {
                    at = read_tree(tokens, at, &path, names).max(at + 1);
                }
                return at + 1;
            }
            Some(&(_, name)) if name.starts_with(|letter: char| letter.is_alphabetic() || letter == '_') => {
                path = join(&path, name);
                at += 2;
            }
            _ => break,
        }
    }
    names.push((line, path));
    at
}

fn join(prefix: &str, name: &str) -> String {
    let climbed = matches!(prefix, "super" | "crate" | "self");
    match name {
        "super" => "super".to_owned(),
        "self" if !prefix.is_empty() => prefix.to_owned(),
        room if climbed && ROOMS.contains(&room) => format!("crate::{room}"),
        "core" | "alloc" if prefix.is_empty() => "std".to_owned(),
        _ if prefix.is_empty() => name.to_owned(),
        _ => format!("{prefix}::{name}"),
    }
}

/// Returns the identifiers, `::` and single other characters, each with its line from 1.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(index, line)| {
        let mut rest = line;
        std::iter::from_fn(move || {
            rest = rest.trim_start();
            let first = rest.chars().next()?;
            let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
            let len = if is_name(first) {
                rest.find(|letter| !is_name(letter)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (word, after) = rest.split_at(len);
            rest = after;
            Some((index + 1, word))
        })
    })
}

mod the_checker {
    use super::check;

    #[track_caller]
    fn refuses(path: &str, text: &str, what: &str) {
        let faults = check(path, text);
        assert!(faults.len() == 1 && faults[0].contains(what), "expected one fault with {what:?}, found {faults:?}");
    }

    #[track_caller]
    fn allows(path: &str, text: &str) {
        assert_eq!(check(path, text), Vec::<String>::new());
    }

    #[test]
    fn refuses_a_higher_room_however_it_is_written() {
        refuses("src/proto/peer.rs", "use crate::dataplane::io;", "src/proto/peer.rs:1: names crate::dataplane::io");
        refuses("src/proto/peer.rs", "\nfn f() { crate::control::run() }", "peer.rs:2");
        refuses("src/dataplane/send.rs", "use crate::{proto::keys, platform::linux};", "crate::platform::linux");
        refuses("src/dataplane/send.rs", "use super::super::platform::linux;", "crate::platform");
        refuses("src/platform/linux/tun.rs", "use crate::{\n    control::{cli},\n};", "control::cli");
        refuses("src/proto.rs", "use crate::control;", "proto is below control");
        refuses("src/aead/batch.rs", "use crate::proto::keys;", "aead is below proto");
    }

    #[test]
    fn allows_the_own_room_and_the_lower_ones() {
        allows("src/control/daemon.rs", "use crate::{platform, dataplane::device, proto};\nuse super::server;");
        allows("src/platform/linux/udp.rs", "use crate::dataplane::io::Udp;");
        allows("src/lib.rs", "pub mod control;\npub mod proto;");
        allows("src/proto/peer.rs", "fn control(dataplane: u8) -> u8 { dataplane }");
    }

    #[test]
    fn refuses_clock_thread_lock_and_io_in_proto() {
        for name in [
            "std::time::Instant",
            "std::time::SystemTime",
            "std::thread",
            "std::sync::Mutex",
            "std::sync::RwLock",
            "std::sync::atomic::AtomicU64",
            "core::sync::atomic::AtomicU64",
            "std::fs::File",
            "std::io::Read",
            "std::net::UdpSocket",
            "std::net::TcpStream",
            "tokio::time",
            "libc::c_int",
        ] {
            refuses("src/proto/timers.rs", &format!("use {name};"), "no clock");
        }
        refuses("src/proto/timers.rs", "use std::{net::IpAddr, sync::{Arc, Mutex}};", "std::sync::Mutex");
        allows(
            "src/proto/timers.rs",
            "use std::time::Duration;\nuse std::sync::Arc;\nuse std::net::{IpAddr, SocketAddr};",
        );
        refuses("src/proto/timers.rs", "use std::sync::*;", "names all of std::sync");
        refuses("src/proto/timers.rs", "use std::time::{self, Duration};", "names all of std::time");
        allows("src/dataplane/send.rs", "use std::sync::Mutex;");
        allows("src/proto/time.rs", "struct Instant; impl Instant { fn f() -> Instant { Instant } }");
    }

    #[test]
    fn refuses_unsafe_outside_its_file() {
        refuses("src/platform/linux/udp.rs", "fn f() { unsafe { g() } }", "unsafe outside");
        refuses("uapi/src/lib.rs", "#[cfg(test)]\nmod tests { fn f() { unsafe { g() } } }", "unsafe outside");
        refuses("src/aead/batch.rs", "fn f() { unsafe { g() } }", "unsafe outside");
        allows("src/platform/linux/sys.rs", "fn f() { unsafe { g() } }");
        allows("src/aead/dispatch.rs", "fn f() { unsafe { g() } }");
        allows("src/lib.rs", "#![deny(unsafe_code)]\n// unsafe\nconst A: &str = \"unsafe\";");
    }

    #[test]
    fn refuses_io_in_uapi_and_sleep_anywhere() {
        refuses("uapi/src/lib.rs", "use std::io::Read;", "uapi has no IO");
        refuses("tests/device.rs", "fn f() { std::thread::sleep(d) }", "wait for the event");
        refuses("tests/device.rs", "fn f() { thread::sleep(d) }", "wait for the event");
        refuses("src/dataplane/send.rs", "#[cfg(test)]\nmod tests { fn f() { thread::sleep(d) } }", "wait for");
        refuses("tests/device.rs", "use std::thread::sleep;", "wait for the event");
        refuses("src/dataplane/workers.rs", "use std::{thread::{self, sleep}};", "wait for the event");
    }

    #[test]
    fn counts_the_lines_of_code_without_inline_tests() {
        let lines = "fn f() {}\n".repeat(500);
        allows("src/dataplane/send.rs", &lines);
        allows("src/dataplane/send.rs", &format!("{lines}#[cfg(test)]\nmod tests {{\n{lines}}}"));
        refuses("src/dataplane/send.rs", &format!("{lines}fn g() {{}}\n"), "longer than 500");
        allows("src/dataplane/send/tests.rs", &format!("{lines}{lines}"));
        allows("src/dataplane/send.rs", &format!("#[cfg(test)]\nmod tests;\n{}", "fn f() {}\n".repeat(498)));
    }

    #[test]
    fn is_blind_to_comments_literals_and_inline_tests() {
        allows("src/proto/peer.rs", "/// See [`crate::dataplane`].\n/* std::thread */ // std::fs");
        allows(
            "src/proto/peer.rs",
            "const A: &str = \"std::fs \\\" std::io\"; const B: &str = r#\"crate::control \"quoted\"\"#;",
        );
        allows("src/proto/peer.rs", "const Q: char = '\"'; fn f<'a>(x: &'a u8) -> &'a u8 { x } const R: char = '\\'';");
        allows("src/proto/peer.rs", "#[cfg(test)]\nmod tests {\n    use std::thread;\n    fn f() { if true { } }\n}");
        refuses("src/proto/peer.rs", "const Q: char = '\"'; use std::fs; const R: char = '\"';", "std::fs");
        allows("src/proto/peer/tests.rs", "use std::thread;");
        allows("tests/device.rs", "use std::thread;");
        refuses("src/proto/peer.rs", "#[cfg(test)]\nmod tests { }\nuse std::thread;", "std::thread");
    }
}
