//! Command line of `hermake`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hermake::cli::main()
}
