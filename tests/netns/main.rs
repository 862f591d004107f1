//! Tests with real kernels: the built binary between network namespaces, across emulated links.
//!
//! They run one after another, because two at once would measure each other. Where the machine does not
//! let us make namespaces, all are skipped and the reason is said. Arguments: words that a test's name must
//! contain; `--list`.
//!
//! The last line is `tests: N passed, N failed, N skipped`; the exit code is 0 when none failed.

#[path = "../lab/mod.rs"]
mod lab;

mod addresses;
mod carries;
mod emulator_works;
mod ends;
mod hostile;
mod keys;
mod links;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Instant;

/// One test: a sentence, and what shows it. The error says what was not so.
pub struct Test(&'static str, fn() -> Outcome);

/// How a test may end.
pub type Outcome = Result<(), Failure>;

/// Why a test did not pass.
#[derive(Debug)]
pub enum Failure {
    Wrong(String),
    /// The machine lacks something.
    Skipped(String),
}

impl From<String> for Failure {
    fn from(what: String) -> Failure {
        Failure::Wrong(what)
    }
}

/// Fails a test unless `fact`; the rest is as in `format!`.
macro_rules! ensure {
    ($fact:expr, $($words:tt)*) => {
        let fact: bool = $fact;
        if !fact {
            return Err($crate::Failure::Wrong(format!($($words)*)));
        }
    };
}
pub(crate) use ensure;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let all = [
        emulator_works::tests(),
        carries::tests(),
        keys::tests(),
        links::tests(),
        addresses::tests(),
        ends::tests(),
        hostile::tests(),
    ];
    let tests: Vec<Test> = all.into_iter().flatten().collect();
    let chosen = tests.iter().filter(|t| words.is_empty() || words.iter().any(|w| t.0.contains(w.as_str())));
    if std::env::args().any(|a| a == "--list") {
        chosen.for_each(|t| println!("{}: test", t.0));
        return ExitCode::SUCCESS;
    }
    let world = lab::space::private_world();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for Test(name, body) in chosen {
        let began = Instant::now();
        let outcome = match &world {
            Ok(()) => catch_unwind(AssertUnwindSafe(body))
                .unwrap_or_else(|_| Err(Failure::Wrong("it panicked, see above".to_string()))),
            Err(why) => Err(Failure::Skipped(why.clone())),
        };
        let took = began.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("passed   {name} ({took:.1} s)");
            }
            Err(Failure::Wrong(why)) => {
                failed += 1;
                println!("FAILED   {name} ({took:.1} s): {why}");
            }
            Err(Failure::Skipped(why)) => {
                skipped += 1;
                println!("skipped  {name}: {why}");
            }
        }
    }
    println!("tests: {passed} passed, {failed} failed, {skipped} skipped");
    ExitCode::from(u8::from(failed > 0))
}
