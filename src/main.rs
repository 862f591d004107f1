//! The program `gobonding`; everything is in the library.

fn main() -> std::process::ExitCode {
    gobonding::cli::main(std::env::args_os().skip(1))
}
