//! `rvpn manual`: the manual pages. `rvpn manual | man -l -` reads one.
//!
//! rvpn(8) is the definition of the command line in another form, so that it cannot say anything else than `--help`
//! does; rvpn.conf(5) is made of the table of keys that stands beside the parser.
//!
//! Not here: what is wrong with them, which `tests/packaging` asks mandoc(1) and man(1).
//!
//! Source: man-pages(7) for the order of the sections, man(7) for the macros.

mod commands;
mod file_format;

use std::io::{self, Write};

use clap::{CommandFactory, ValueEnum};
use roff::{Inline, Roff, bold, roman};

use super::failure::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which page.
    #[arg(default_value = "rvpn.8")]
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    /// The program.
    #[value(name = "rvpn.8")]
    Program,
    /// Its files.
    #[value(name = "rvpn.conf.5")]
    FileFormat,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let page = match arguments.page {
        Page::Program => commands::page(super::Arguments::command()),
        Page::FileFormat => file_format::page(),
    };
    Ok(io::stdout().write_all(page.render().as_bytes())?)
}

/// Begins a page.
fn title(name: &str, section: &str, manual: &str, what: &str) -> Roff {
    let mut page = Roff::new();
    let source = concat!("rvpn ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [name.to_uppercase().as_str(), section, DAY, source, manual]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {what}"))]);
    page
}

/// The day of this version: a page has one, and that of the build would make every build another one.
const DAY: &str = "2026-11-21";

/// Writes text: paragraphs apart by an empty line, what is in backticks in bold.
fn prose(page: &mut Roff, text: &str) {
    for (index, paragraph) in text.split("\n\n").enumerate() {
        if index > 0 {
            page.control("PP", []);
        }
        page.text(words(&sentence(&paragraph.replace('\n', " "))));
    }
}

fn words(text: &str) -> Vec<Inline> {
    text.split('`').enumerate().map(|(index, part)| if index % 2 == 0 { roman(part) } else { bold(part) }).collect()
}

/// Ends a text as a sentence: clap takes the stop from the end of a short help.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', ':', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// A term, and below it what it means.
fn entry(page: &mut Roff, term: Vec<Inline>, text: &str) {
    page.control("TP", []);
    page.text(term);
    page.text(words(&sentence(text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> String {
        commands::page(crate::control::cli::Arguments::command()).render()
    }

    #[test]
    fn every_command_option_and_variable_is_in_the_page() {
        let page = program().replace('\\', "");
        for command in
            crate::control::cli::Arguments::command().get_subcommands().filter(|command| !command.is_hide_set())
        {
            let heading = format!(".SS \"rvpn {}", command.get_name());
            let named = page.lines().any(|line| {
                line.strip_prefix(&heading).is_some_and(|rest| rest.is_empty() || rest.starts_with(['"', ' ']))
            });
            let alone = page.lines().any(|line| line == format!(".SS rvpn {}", command.get_name()));
            assert!(named || alone, "{}: {page}", command.get_name());
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{option}")), "{option}");
            }
        }
        for text in ["LOG_LEVEL", "WG_TUN_FD", "RVPN_WORKERS", "WG_HIDE_KEYS", "--foreground", "ip link delete wg0"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        for hidden in ["completions", "manual"] {
            assert!(!page.contains(&format!("rvpn {hidden}")), "{hidden}");
        }
    }

    #[test]
    fn text_in_backticks_is_bold_and_ends_as_a_sentence() {
        let mut page = Roff::new();
        prose(&mut page, "As `wg` does\n\n.not a request");
        assert_eq!(page.to_roff(), "As \\fBwg\\fR does.\n.PP\n\\&.not a request.\n");
    }
}
