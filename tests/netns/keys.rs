//! Whoever has the wrong key gets no tunnel, and both sides say so in words.

use crate::lab::bed::Bed;
use crate::lab::emulator::scenario::Scenario;
use crate::lab::emulator::schedule::SECOND;
use crate::lab::emulator::sys;
use crate::lab::traffic::{ping, Server};
use crate::lab::tunnel::{keys, Setup, Side, Tunnel, TUN_PROXY4};
use crate::{ensure, Outcome, Test};
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test("a router that the proxy does not know gets no tunnel, and both say why", unknown_router),
        Test("a proxy with another key gets no tunnel, and both say why", wrong_proxy),
    ]
}

/// Words of which a message about a wrong key has one.
const WORDS: [&str; 6] = ["key", "unknown", "refuse", "prove", "signature", "identity"];

fn unknown_router() -> Outcome {
    no_tunnel(|setup| setup.proxy_trusts = keys()[2].public.clone())
}

fn wrong_proxy() -> Outcome {
    no_tunnel(|setup| setup.router_trusts = keys()[2].public.clone())
}

fn no_tunnel(spoil: impl Fn(&mut Setup)) -> Outcome {
    let bed = Bed::new(Scenario::of("keys", &[(20, 10)]))?;
    let mut setup = Setup::of(&bed);
    spoil(&mut setup);
    let mut t = Tunnel::start(&bed.router, &bed.proxy, &setup)?;
    let _server = Server::start(&bed.proxy)?;
    for side in [Side::Router, Side::Proxy] {
        let said =
            crate::lab::wait_until(&format!("{side:?} says what is wrong"), Duration::from_secs(10), || {
                let program = if side == Side::Router { &t.router } else { &t.proxy };
                let said = program.said().to_lowercase();
                said.lines().any(|l| {
                    (l.contains("warn") || l.contains("error")) && WORDS.iter().any(|w| l.contains(w))
                })
            });
        said.map_err(|e| format!("{e}; {}", t.story()))?;
    }
    sys::sleep_until(sys::now() + SECOND);
    for side in [Side::Router, Side::Proxy] {
        ensure!(t.channels_up(side) == 0, "{side:?} has a channel; {}", t.story());
        ensure!(t.program(side).runs(), "{side:?} ended; {}", t.story());
        let lines = t.program(side).said().lines().count();
        ensure!(lines < 60, "{side:?} floods the log: {lines} lines; {}", t.story());
    }
    // The router has no address in the tunnel yet, or nobody answers.
    let answers = ping(&bed.router, TUN_PROXY4, 3, Duration::from_millis(50)).unwrap_or(0);
    ensure!(answers == 0, "something answers through a tunnel that should not be");
    Ok(())
}
