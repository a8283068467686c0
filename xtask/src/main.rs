//! The commands of this workspace: `cargo xtask COMMAND`.

mod bench;
mod demo;
mod docs;
mod flags;
mod fmt;
mod lint;
mod loom;
mod mutants;
mod package;
mod pool;
mod process;
mod test;
mod test_all;
mod tidy;
mod tsan;
mod workspace;

use std::process::ExitCode;

use flags::Command;
use process::{Check, Colour, Outcome};

fn main() -> ExitCode {
    let command = match flags::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(refusal) => {
            eprintln!("error: {refusal}");
            return ExitCode::from(2);
        }
    };
    let check = Check::new(workspace::root(), Colour::of_terminal());
    let outcome = match command {
        Command::Help => {
            print!("{}", flags::help());
            return ExitCode::SUCCESS;
        }
        Command::TestAll { quick } => return test_all::run(&check, quick),
        Command::Ci => return test_all::run(&check.with(Colour::Never), false),
        Command::Fmt => fmt::run(&check),
        Command::Lint => lint::run(&check),
        Command::Test => test::run(&check),
        Command::Loom { package, mutants } => loom::run(&check, package.as_deref(), mutants),
        Command::Tsan => tsan::run(&check),
        Command::Docs => docs::run(&check),
        Command::Tidy => tidy::run(&check),
        Command::Package => package::run(&check),
        Command::Demo => demo::run(&check),
        Command::Bench { area, json } => bench::run(&check, area.as_deref(), json),
    };
    match outcome {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped(why)) => {
            eprintln!("skipped: {why}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
