//! The `rvpn` program: runs the command line and turns its outcome into an exit status.

fn main() -> std::process::ExitCode {
    rvpn::control::cli::run()
}
