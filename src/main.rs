//! The binary `lockstep`: everything is in the library.

fn main() -> std::process::ExitCode {
    lockstep::cli::main()
}
