//! rvpn(8), from the definition of the command line.
//!
//! `clap_mangen` makes a page for every command; one page for all is what wg(8) and ip(8) have taught people to look
//! for, and `/` finds everything in it.

use clap::{Arg, Command};
use roff::{Inline, Roff, bold, italic, roman};

use super::{entry, prose, sentence, title, words};

/// Makes the page.
pub(super) fn page(mut command: Command) -> Roff {
    // Fills in what clap derives, such as the names of values.
    command.build();
    let mut page = title("rvpn", "8", "System Administration", &about(&command));
    page.control("SH", ["SYNOPSIS"]);
    page.text(synopsis("rvpn", &command));
    for subcommand in commands(&command) {
        page.control("br", []);
        page.text(synopsis(&format!("rvpn {}", subcommand.get_name()), subcommand));
    }
    page.control("SH", ["DESCRIPTION"]);
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    // Its first paragraph is the short one, which is the NAME.
    prose(&mut page, long.split_once("\n\n").map_or(&*long, |(_, rest)| rest));
    page.control("SH", ["OPTIONS"]);
    arguments(&mut page, &command);
    page.control("SH", ["COMMANDS"]);
    for subcommand in commands(&command) {
        let heading: String =
            synopsis(&format!("rvpn {}", subcommand.get_name()), subcommand).iter().map(plain).collect();
        page.control("SS", [heading.trim()]);
        page.text(words(&sentence(&about(subcommand))));
        arguments(&mut page, subcommand);
    }
    if let Some(after) = command.get_after_help() {
        sections(&mut page, &after.to_string());
    }
    signals(&mut page);
    files(&mut page);
    page.control("SH", ["EXIT STATUS"]);
    page.text(words(
        "0 if it was done, 1 if not; standard error then has the reason. `rvpn doctor` ends with 1 if something is wrong, too.",
    ));
    page.control("SH", ["SEE ALSO"]);
    page.text(words("`rvpn.conf`(5), `wg`(8), `wg-quick`(8), `ip-link`(8), `systemd.service`(5)"));
    page
}

fn commands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// Those that are particular to the command: each has `--help`.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
}

fn synopsis(name: &str, command: &Command) -> Vec<Inline> {
    let mut line = vec![bold(name)];
    let arguments = || own_arguments(command).filter(|argument| argument.get_id() != "version");
    for argument in arguments().filter(|argument| !argument.is_positional()) {
        line.push(roman(" ["));
        line.extend(option(argument, "|"));
        line.push(roman("]"));
    }
    for argument in arguments().filter(|argument| argument.is_positional()) {
        let (before, after) = if argument.is_required_set() { (" ", "") } else { (" [", "]") };
        line.extend([roman(before), italic(value(argument)), roman(after)]);
        if argument.is_trailing_var_arg_set() {
            line.push(roman("..."));
        }
    }
    line
}

/// `-f, --foreground`, `--out FILE`, `--watch[=SECONDS]`
fn option(argument: &Arg, separator: &str) -> Vec<Inline> {
    let mut line = Vec::new();
    if let Some(short) = argument.get_short() {
        line.extend([bold(format!("-{short}")), roman(separator)]);
    }
    line.extend(argument.get_long().map(|long| bold(format!("--{long}"))));
    let values = argument.get_num_args().unwrap_or_default();
    if values.takes_values() && values.min_values() == 0 {
        line.extend([roman("[="), italic(value(argument)), roman("]")]);
    } else if values.takes_values() {
        line.extend([roman(" "), italic(value(argument))]);
    }
    line
}

fn value(argument: &Arg) -> String {
    argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default()
}

fn arguments(page: &mut Roff, command: &Command) {
    for argument in own_arguments(command) {
        let term = if argument.is_positional() { vec![italic(value(argument))] } else { option(argument, ", ") };
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let mut paragraphs = help.split("\n\n");
        entry(page, term, &paragraphs.next().unwrap_or_default().replace('\n', " "));
        for paragraph in paragraphs {
            page.control("IP", []);
            page.text(words(&sentence(&paragraph.replace('\n', " "))));
        }
        let names: Vec<_> =
            argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        if argument.get_num_args().is_some_and(|values| values.takes_values()) && !names.is_empty() {
            page.text(words(&format!("One of {}.", names.join(", "))));
        }
    }
}

/// The text after the help: `Heading:`, then lines of a term and, apart by two spaces or on lines further in, its text.
fn sections(page: &mut Roff, text: &str) {
    let mut entries: Vec<(&str, String)> = Vec::new();
    let flush = |page: &mut Roff, entries: &mut Vec<(&str, String)>| {
        for (term, text) in entries.drain(..) {
            entry(page, vec![bold(term)], &text);
        }
    };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        match indent {
            0 => {
                flush(page, &mut entries);
                page.control("SH", [line.trim_end_matches(':').to_uppercase().as_str()]);
            }
            1..=2 => {
                let (term, text) = line.split_once("  ").unwrap_or((line, ""));
                entries.push((term, text.trim().to_owned()));
            }
            _ => {
                if let Some((_, text)) = entries.last_mut() {
                    *text = format!("{text} {line}").trim().to_owned();
                }
            }
        }
    }
    flush(page, &mut entries);
}

fn signals(page: &mut Roff) {
    page.control("SH", ["SIGNALS"]);
    for (name, text) in [
        ("SIGTERM, SIGINT", "The daemon ends, and its interface and socket go"),
        ("SIGHUP", "All files of peers are read again"),
        ("SIGUSR1", "Sessions and learnt endpoints of all peers are dropped, as by `rvpn forget INTERFACE all`"),
    ] {
        entry(page, vec![bold(name)], text);
    }
}

fn files(page: &mut Roff) {
    page.control("SH", ["FILES"]);
    for (name, text) in [
        ("/var/run/wireguard/INTERFACE.sock", "The configuration socket of an interface, for its owner alone"),
        ("/etc/wireguard/INTERFACE.conf", "The configuration that the service `rvpn@INTERFACE` starts with"),
        ("/etc/rvpn/INTERFACE.d", "Files of peers, NAME.conf, which `rvpn up INTERFACE` has followed if it is there"),
        ("/dev/net/tun", "What the daemon opens the interface with; it needs CAP_NET_ADMIN"),
    ] {
        entry(page, vec![bold(name)], text);
    }
}

fn plain(inline: &Inline) -> &str {
    match inline {
        Inline::Roman(text) | Inline::Bold(text) | Inline::Italic(text) => text,
        Inline::LineBreak => " ",
    }
}
