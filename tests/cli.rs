//! The program as its callers see it: usage, exit codes, errors. Nothing here needs a right or makes an interface.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the program with these arguments and no environment but `variables`.
fn rvpn(arguments: &[&str], variables: &[(&str, &str)], run_dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rvpn"))
        .args(arguments)
        .env_clear()
        .env("RVPN_RUN_DIR", run_dir)
        .envs(variables.iter().copied())
        .stdin(File::open("/dev/null").expect("always there"))
        .output()
        .expect("it runs")
}

/// Runs the program and returns exit code, standard output and standard error.
fn outcome(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let output = rvpn(arguments, variables, directory.path());
    let left = std::fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(left, 0, "a program that does not run leaves no socket");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn no_arguments_show_the_usage_and_succeed() {
    let (code, out, err) = outcome(&[], &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("Usage: rvpn [OPTIONS] <INTERFACE>"), "{out}");
}

#[test]
fn help_explains_the_environment() {
    for option in ["-h", "--help"] {
        let (code, out, err) = outcome(&[option], &[]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        for variable in ["LOG_LEVEL", "WG_PROCESS_FOREGROUND", "WG_TUN_FD", "WG_UAPI_FD"] {
            assert!(out.contains(variable), "{out}");
        }
    }
}

#[test]
fn help_lists_the_commands() {
    let (_, out, _) = outcome(&["--help"], &[]);
    for command in ["show", "showconf", "set", "setconf", "addconf", "syncconf", "genkey", "genpsk", "pubkey", "pair"] {
        assert!(out.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}: {out}");
        let (code, help, err) = outcome(&[command, "--help"], &[]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{command}");
        assert!(help.contains(&format!("Usage: rvpn {command}")), "{help}");
    }
}

#[test]
fn commands_fail_in_a_sentence_where_there_is_no_such_interface() {
    for arguments in [&["show", "wg7"][..], &["showconf", "wg7"], &["set", "wg7", "fwmark", "1"]] {
        let (code, out, err) = outcome(arguments, &[]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(err.starts_with("rvpn: wg7: no WireGuard runs on it") && err.lines().count() == 1, "{err}");
    }
    assert_eq!(outcome(&["show"], &[]), (Some(0), String::new(), String::new()));
}

#[test]
fn pair_prints_two_files_and_a_code() {
    let (code, out, err) = outcome(&["pair", "vpn.example.com:51820"], &[]);
    assert_eq!((code, err.as_str(), out.matches("[Interface]").count()), (Some(0), "", 2));
    let (_, with_code, _) = outcome(&["pair", "vpn.example.com:51820", "--qr"], &[]);
    assert!(with_code.contains('▀') && with_code.lines().count() > out.lines().count() + 20, "{with_code}");
    let (code, out, err) = outcome(&["pair", "vpn.example.com"], &[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("`vpn.example.com`: expected a host and a port"), "{err}");
}

#[test]
fn the_version_is_that_of_the_package() {
    let (code, out, _) = outcome(&["--version"], &[]);
    assert_eq!((code, out), (Some(0), format!("rvpn {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_usage_says_what_and_what_to_do_and_fails() {
    for (arguments, named) in
        [(&["--fast", "wg0"][..], "--fast"), (&["-v"], "-v"), (&["-f"], "<INTERFACE>"), (&["wg0", "wg1"], "wg1")]
    {
        let (code, out, err) = outcome(arguments, &[]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(err.contains(named) && err.contains("--help"), "{err}");
    }
}

#[test]
fn a_name_that_cannot_be_is_refused_with_its_rule() {
    for (name, rule) in [
        ("", "1 to 15 characters"),
        ("a-very-long-name", "1 to 15 characters"),
        ("../wg0", "`/`"),
        ("wg 0", "printable"),
        ("show", "it is a command of rvpn"),
    ] {
        let (code, _, err) = outcome(&["-f", name], &[]);
        assert_eq!(code, Some(1), "{name:?}");
        assert!(err.starts_with(&format!("rvpn: `{name}` cannot be")) && err.contains(rule), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

#[test]
fn a_bad_number_of_a_file_is_named_with_its_variable() {
    let (code, _, err) = outcome(&["wg0"], &[("WG_TUN_FD", "three")]);
    assert_eq!(code, Some(1));
    assert_eq!(err, "rvpn: WG_TUN_FD=three: expected the number of an open file, as in 3\n");
    let (code, _, err) = outcome(&["wg0"], &[("WG_TUN_FD", "77")]);
    assert_eq!(code, Some(1));
    assert_eq!(err, "rvpn: WG_TUN_FD=77: there is no open file of this number\n");
}

/// Standard input is `/dev/null`: the first process takes it over, and the second finds that it is no TUN.
#[test]
fn what_fails_in_the_background_is_told_in_the_foreground() {
    for arguments in [&["wg0"][..], &["-f", "wg0"]] {
        for level in ["", "error"] {
            let (code, out, err) = outcome(arguments, &[("WG_TUN_FD", "0"), ("LOG_LEVEL", level)]);
            assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
            assert!(err.starts_with("rvpn: WG_TUN_FD: not a TUN interface"), "{err}");
            assert_eq!(err.lines().count(), 1, "said once: {err}");
        }
    }
}
