//! System calls that std lacks: namespaces, TUN devices, precise waits, the scheduler.
//!
//! The only place of the laboratory with `unsafe`. Not for: decisions.

use super::schedule::Ns;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

/// CLOCK_MONOTONIC in nanoseconds: the same for all processes of the machine.
pub fn now() -> Ns {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Waits until `fd` can be read, or `at` has come.
pub fn wait_readable(fd: RawFd, at: Ns) {
    let left = at.saturating_sub(now());
    let timeout =
        libc::timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 };
    let mut p = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd and one timespec of ours, both alive during the call; no signal mask.
    unsafe { libc::ppoll(&mut p, 1, &timeout, std::ptr::null()) };
}

/// Sleeps until `at` on CLOCK_MONOTONIC, as exactly as the kernel can.
pub fn sleep_until(at: Ns) {
    let t = libc::timespec { tv_sec: (at / 1_000_000_000) as i64, tv_nsec: (at % 1_000_000_000) as i64 };
    // SAFETY: reads one timespec of ours; an interrupted sleep is only shorter, and callers look at the clock.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &t, std::ptr::null_mut());
    }
}

/// Puts this thread before ordinary ones and its timers to the nanosecond, as far as we may.
pub fn hurry() {
    let p = libc::sched_param { sched_priority: 10 };
    // SAFETY: both calls take numbers or a struct of ours and concern this thread alone; refusal is harmless.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0);
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &p);
    }
}

/// Moves this thread (not the process) into the network namespace `name`.
pub fn enter_namespace(name: &str) -> io::Result<()> {
    let f = File::open(format!("/run/netns/{name}"))?;
    // SAFETY: the descriptor is open and names a network namespace; memory is not concerned.
    match unsafe { libc::setns(f.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a TUN device in this thread's namespace; reads and writes give and take one IP packet, without waiting.
pub fn open_tun(name: &str) -> io::Result<File> {
    let f = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: an ifreq is plain data, and all zeros is a good one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(room)) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives here.
    match unsafe { libc::ioctl(f.as_raw_fd(), libc::TUNSETIFF as _, &mut request) } {
        0 => Ok(f),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to one process of ours.
pub fn signal(pid: u32, signal: i32) {
    // SAFETY: numbers only; the caller owns the process and has not waited for it yet.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// Lets the next program that this thread starts die with it. For `CommandExt::pre_exec`.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: numbers only; allowed between fork and exec.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives this process, which must have one thread, mounts of its own with an empty /run and an empty network;
/// without root a user namespace of its own first, in which it is root.
pub fn unshare_world() -> io::Result<()> {
    // SAFETY: no memory is concerned.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    if uid == 0 && check(unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET)).is_ok() {
        return own_run();
    }
    check(unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET))?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    own_run()
}

fn unshare(flags: libc::c_int) -> libc::c_int {
    // SAFETY: a number; the process has one thread, as the caller promises.
    unsafe { libc::unshare(flags) }
}

fn own_run() -> io::Result<()> {
    let none = std::ptr::null();
    // SAFETY: strings are C literals; the other pointers may be null for these flags.
    check(unsafe { libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) })?;
    let tmpfs = c"tmpfs".as_ptr();
    // SAFETY: as above.
    check(unsafe { libc::mount(tmpfs, c"/run".as_ptr(), tmpfs, 0, none.cast()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
