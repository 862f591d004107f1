//! Programs end and start again: cleanly by SIGTERM, or as a crash does it.

use crate::lab::bed::Bed;
use crate::lab::emulator::scenario::Scenario;
use crate::lab::space::Space;
use crate::lab::traffic::{ping, Load, Server, Stream};
use crate::lab::tunnel::{Setup, Side, Tunnel, DEVICE, TUN_PROXY4};
use crate::lab::wait_until;
use crate::{ensure, Outcome, Test};
use gobonding::monitor::snapshot::SessionState;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test("SIGTERM ends a side within a second, the device is gone and the peer told", clean_end),
        Test("a proxy that crashed and came back carries the same TCP connection on", || crash(Side::Proxy)),
        Test("a router that crashed and came back carries the same TCP connection on", || {
            crash(Side::Router)
        }),
        Test("a proxy that comes after the router is found", proxy_comes_late),
    ]
}

fn space(bed: &Bed, side: Side) -> &Space {
    match side {
        Side::Router => &bed.router,
        Side::Proxy => &bed.proxy,
    }
}

fn clean_end() -> Outcome {
    let bed = Bed::new(Scenario::of("end", &[(20, 10), (20, 20)]))?;
    for (side, other) in [(Side::Router, Side::Proxy), (Side::Proxy, Side::Router)] {
        let mut t = Tunnel::up(&bed, &Setup::of(&bed))?;
        let (status, took) = t.program(side).stop(Duration::from_secs(5))?;
        ensure!(status.code() == Some(0), "{side:?} ended with {status}; {}", t.story());
        ensure!(took <= Duration::from_secs(1), "{side:?} took {took:?} to end; {}", t.story());
        ensure!(!space(&bed, side).has_device(DEVICE), "{side:?} has left its device behind");
        let files = std::fs::read_dir(&t.folder).map_err(|e| e.to_string())?.flatten();
        let sockets = files.filter(|f| f.path().extension().is_some_and(|x| x == "sock")).count();
        ensure!(sockets == 1, "{side:?} has left its status socket behind");
        t.wait_row(other, "it knows that the peer has gone", Duration::from_secs(1), |row| {
            row.session != SessionState::Established
        })?;
        ensure!(t.program(other).runs(), "{other:?} ended, too; {}", t.story());
        let (status, _) = t.program(other).stop(Duration::from_secs(2))?;
        ensure!(status.code() == Some(0), "{other:?} alone ended with {status}; {}", t.story());
        ensure!(!space(&bed, other).has_device(DEVICE), "{other:?} has left its device behind");
    }
    Ok(())
}

fn crash(side: Side) -> Outcome {
    let bed = Bed::new(Scenario::of("crash", &[(20, 10), (20, 20)]))?;
    let mut t = Tunnel::up(&bed, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    let s = Stream::start(&bed.router, TUN_PROXY4, Load::Download, Duration::from_secs(5))?;
    wait_until("the download runs", Duration::from_secs(5), || s.bytes() > 1_000_000)?;
    t.program(side).kill();
    let place = space(&bed, side);
    wait_until("the device goes with the process", Duration::from_secs(1), || !place.has_device(DEVICE))?;
    t.restart(place, side)?;
    t.wait_channels(2, Duration::from_secs(15))?;
    let answers = ping(&bed.router, TUN_PROXY4, 10, Duration::from_millis(20))?;
    ensure!(answers >= 9, "{answers} of 10 pings answered after the restart; {}", t.story());
    let before = s.bytes();
    let goes_on =
        wait_until("the TCP connection goes on", Duration::from_secs(15), || s.bytes() > before + 1_000_000);
    goes_on.map_err(|e| format!("{e} (broken: {}); {}", s.is_broken(), t.story()))?;
    Ok(())
}

fn proxy_comes_late() -> Outcome {
    let bed = Bed::new(Scenario::of("late", &[(20, 10)]))?;
    let mut t = Tunnel::start(&bed.router, &bed.proxy, &Setup::of(&bed))?;
    t.proxy.kill();
    crate::lab::emulator::sys::sleep_until(crate::lab::emulator::sys::now() + 3_000_000_000);
    ensure!(t.router.runs(), "the router ended because the proxy is away; {}", t.story());
    t.restart(&bed.proxy, Side::Proxy)?;
    t.wait_channels(1, Duration::from_secs(10))?;
    Ok(())
}
