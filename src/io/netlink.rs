//! Links, addresses and routes through rtnetlink, and word of their changes.
//!
//! Not for: deciding which address or route a link should have.

use std::cell::Cell;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::io::rtmessage::{attributes, messages, read_ip, read_u32, Request};
use crate::io::{sys, IoFailure};

/// A connection to the kernel's network configuration; belongs to one thread.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    number: Cell<u32>,
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    pub index: u32,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
}

impl Netlink {
    /// Opens the connection to the network that the calling thread is in; needs no privilege,
    /// changes do.
    pub fn open() -> Result<Netlink, IoFailure> {
        let open = || -> io::Result<Socket> {
            let socket = raw_socket()?;
            // The kernel answers at once; the limit is for the day it does not.
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(socket)
        };
        let socket = open().map_err(|e| IoFailure::new("cannot open a netlink socket", e))?;
        Ok(Netlink { socket, number: Cell::new(0) })
    }

    /// Sets the link up.
    pub fn set_up(&self, link: &str) -> Result<(), IoFailure> {
        let up = libc::IFF_UP as u32;
        let request = Request::new(libc::RTM_NEWLINK, ACK, &link_body(self.index(link)?, up, up));
        self.change(request, || format!("cannot set {link} up"))
    }

    /// Sets the largest IP packet of the link in bytes.
    pub fn set_mtu(&self, link: &str, mtu: u32) -> Result<(), IoFailure> {
        let request = Request::new(libc::RTM_NEWLINK, ACK, &link_body(self.index(link)?, 0, 0));
        self.change(request.with_u32(libc::IFLA_MTU, mtu), || {
            format!("cannot set the MTU of {link} to {mtu}")
        })
    }

    /// Sets the length of the link's send queue in packets.
    pub fn set_queue_length(&self, link: &str, packets: u32) -> Result<(), IoFailure> {
        let request = Request::new(libc::RTM_NEWLINK, ACK, &link_body(self.index(link)?, 0, 0));
        self.change(request.with_u32(libc::IFLA_TXQLEN, packets), || {
            format!("cannot set the queue length of {link} to {packets}")
        })
    }

    /// Gives the link an address; one that is there already is left as it is. `peer` is the far end of
    /// a point-to-point link (same family).
    pub fn add_address(
        &self,
        link: &str,
        ip: IpAddr,
        prefix: u8,
        peer: Option<IpAddr>,
    ) -> Result<(), IoFailure> {
        // No duplicate detection on our own device: an IPv6 address is usable at once.
        let flags = if ip.is_ipv6() { libc::IFA_F_NODAD as u8 } else { 0 };
        let mut body = vec![family(ip), prefix, flags, libc::RT_SCOPE_UNIVERSE];
        body.extend_from_slice(&self.index(link)?.to_ne_bytes());
        let request = Request::new(libc::RTM_NEWADDR, ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body)
            .with_ip(libc::IFA_LOCAL, ip)
            .with_ip(libc::IFA_ADDRESS, peer.unwrap_or(ip));
        let done = self.change(request, || format!("cannot give {link} the address {ip}/{prefix}"));
        unless(done, libc::EEXIST)
    }

    /// Addresses of the link with their prefix lengths, IPv4 first.
    pub fn addresses(&self, link: &str) -> Result<Vec<(IpAddr, u8)>, IoFailure> {
        let index = self.index(link)?;
        let mut found = Vec::new();
        let request = Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS_BODY]);
        let take = |kind: u16, body: &[u8]| {
            if kind != libc::RTM_NEWADDR || read_u32(body, 4) != Some(index) {
                return;
            }
            let (mut local, mut address) = (None, None);
            for (kind, data) in attributes(body.get(ADDRESS_BODY..).unwrap_or_default()) {
                match kind {
                    libc::IFA_LOCAL => local = read_ip(data),
                    libc::IFA_ADDRESS => address = read_ip(data),
                    _ => {}
                }
            }
            // IPv6 without a peer has no local part.
            found.extend(local.or(address).zip(body.get(1).copied()));
        };
        self.ask(request, take)
            .map_err(|e| IoFailure::new(format!("cannot list the addresses of {link}"), e))?;
        found.sort_by_key(|(ip, _)| ip.is_ipv6());
        Ok(found)
    }

    /// Sends `net/prefix` through the link; an equal route that is there already is left as it is.
    pub fn add_route(
        &self,
        link: &str,
        net: IpAddr,
        prefix: u8,
        metric: Option<u32>,
    ) -> Result<(), IoFailure> {
        let flags = ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let request = self.route(libc::RTM_NEWROUTE, flags, link, (net, prefix), metric)?;
        let done = self.change(request, || format!("cannot route {net}/{prefix} through {link}"));
        unless(done, libc::EEXIST).map_err(|failure| match failure.errno() {
            libc::ENETDOWN => failure.with_remedy("the link is down; set it up first"),
            libc::EINVAL => failure.with_remedy("the network has bits set beyond its prefix length"),
            _ => failure,
        })
    }

    /// Removes the route; one that is not there is no failure.
    pub fn delete_route(
        &self,
        link: &str,
        net: IpAddr,
        prefix: u8,
        metric: Option<u32>,
    ) -> Result<(), IoFailure> {
        let request = self.route(libc::RTM_DELROUTE, ACK, link, (net, prefix), metric)?;
        let done = self.change(request, || format!("cannot remove the route {net}/{prefix} through {link}"));
        unless(done, libc::ESRCH)
    }

    /// Whether a routing table knows a way to `to` through the link.
    ///
    /// Without one a socket bound to the link sends into nothing: the kernel takes every IPv4 address
    /// for a neighbour and reports no error.
    pub fn has_route(&self, link: &str, to: IpAddr) -> Result<bool, IoFailure> {
        let bits = if to.is_ipv4() { 32 } else { 128 };
        let mut body = vec![family(to), bits, 0, 0, 0, 0, 0, 0];
        // The entry of the table is asked for, not the kernel's assumption. IPv6 makes none.
        let flags = if to.is_ipv4() { RTM_F_FIB_MATCH } else { 0 };
        body.extend_from_slice(&flags.to_ne_bytes());
        let request = Request::new(libc::RTM_GETROUTE, 0, &body)
            .with_ip(libc::RTA_DST, to)
            .with_u32(libc::RTA_OIF, self.index(link)?);
        match self.ask(request, |_, _| ()) {
            Ok(()) => Ok(true),
            Err(error) if NO_ROUTE.contains(&error.raw_os_error().unwrap_or(0)) => Ok(false),
            Err(error) => {
                Err(IoFailure::new(format!("cannot look for a route to {to} through {link}"), error))
            }
        }
    }

    /// The link's interface index.
    pub fn index(&self, link: &str) -> Result<u32, IoFailure> {
        self.facts(link).map(|facts| facts.index)
    }

    /// The link's interface index and MTU.
    pub fn facts(&self, link: &str) -> Result<LinkFacts, IoFailure> {
        let mut name = link.as_bytes().to_vec();
        name.push(0);
        let mut facts = None;
        let request = Request::new(libc::RTM_GETLINK, 0, &link_body(0, 0, 0)).with(libc::IFLA_IFNAME, &name);
        let found = self.ask(request, |_, body| {
            let mut all = attributes(body.get(LINK_BODY..).unwrap_or_default());
            let mtu = all.find(|(kind, _)| *kind == libc::IFLA_MTU).and_then(|(_, data)| read_u32(data, 0));
            facts = read_u32(body, 4).zip(mtu).map(|(index, mtu)| LinkFacts { index, mtu });
        });
        let fail = |e| {
            IoFailure::new(format!("cannot find the link {link}"), e).with_remedy("there is no such link")
        };
        found.map_err(fail)?;
        facts.ok_or_else(|| fail(io::Error::from_raw_os_error(libc::ENODEV)))
    }

    fn route(
        &self,
        kind: u16,
        flags: i32,
        link: &str,
        (net, prefix): (IpAddr, u8),
        metric: Option<u32>,
    ) -> Result<Request, IoFailure> {
        let deletes = kind == libc::RTM_DELROUTE;
        // When it deletes, "nowhere" as scope and no protocol match every route.
        let (scope, protocol) = match (deletes, net) {
            (true, _) => (libc::RT_SCOPE_NOWHERE, libc::RTPROT_UNSPEC),
            (false, IpAddr::V4(_)) => (libc::RT_SCOPE_LINK, libc::RTPROT_STATIC),
            (false, IpAddr::V6(_)) => (libc::RT_SCOPE_UNIVERSE, libc::RTPROT_STATIC),
        };
        let unicast = if deletes { libc::RTN_UNSPEC } else { libc::RTN_UNICAST };
        let body = [family(net), prefix, 0, 0, libc::RT_TABLE_MAIN, protocol, scope, unicast, 0, 0, 0, 0];
        let mut request = Request::new(kind, flags, &body)
            .with_ip(libc::RTA_DST, net)
            .with_u32(libc::RTA_OIF, self.index(link)?);
        if let Some(metric) = metric {
            request = request.with_u32(libc::RTA_PRIORITY, metric);
        }
        Ok(request)
    }

    fn change(&self, request: Request, what: impl Fn() -> String) -> Result<(), IoFailure> {
        self.ask(request, |_, _| ()).map_err(|e| IoFailure::new(what(), e))
    }

    /// Sends a request and gives each message of the answer (kind, body) to `take`.
    fn ask(&self, request: Request, mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let number = self.number.get().wrapping_add(1);
        self.number.set(number);
        let bytes = request.finish(number);
        // A dump ends with a message of its own, every other answer with an acknowledgement.
        let is_dump =
            u16::from_ne_bytes([bytes[6], bytes[7]]) & libc::NLM_F_DUMP as u16 == libc::NLM_F_DUMP as u16;
        let is_change = u16::from_ne_bytes([bytes[6], bytes[7]]) & libc::NLM_F_ACK as u16 != 0;
        self.socket.send(&bytes)?;
        let mut answer = vec![0u8; ANSWER_BYTES];
        loop {
            let len = match (&self.socket).read(&mut answer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            for message in messages(&answer[..len]).filter(|message| message.number == number) {
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR => {
                        let errno = read_u32(message.body, 0).map_or(-libc::EPROTO, |n| n as i32);
                        return if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-errno)) };
                    }
                    libc::NLMSG_DONE => return Ok(()),
                    _ => take(message.kind, message.body),
                }
                if !is_dump && !is_change {
                    return Ok(());
                }
            }
        }
    }
}

/// Word of changes of links, addresses and routes; poll its descriptor.
#[derive(Debug)]
pub struct LinkWatch {
    socket: Socket,
}

impl LinkWatch {
    /// Subscribes for the network that the calling thread is in; changes after this are seen.
    pub fn open() -> Result<LinkWatch, IoFailure> {
        let open = || -> io::Result<Socket> {
            let socket = raw_socket()?;
            socket.set_nonblocking(true)?;
            let groups = libc::RTMGRP_LINK
                | libc::RTMGRP_IPV4_IFADDR
                | libc::RTMGRP_IPV4_ROUTE
                | libc::RTMGRP_IPV6_IFADDR
                | libc::RTMGRP_IPV6_ROUTE;
            sys::bind_netlink(socket.as_fd(), groups as u32)?;
            Ok(socket)
        };
        let socket = open().map_err(|e| IoFailure::new("cannot watch links through netlink", e))?;
        Ok(LinkWatch { socket })
    }

    /// Empties the queue; whether anything changed (an overflow counts as a change).
    pub fn drain(&self) -> bool {
        let mut changed = false;
        // What changed is not read, so a message may be cut.
        let mut message = [0u8; 64];
        loop {
            match (&self.socket).read(&mut message) {
                Ok(_) => changed = true,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return changed,
            }
        }
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn raw_socket() -> io::Result<Socket> {
    let route = Protocol::from(libc::NETLINK_ROUTE);
    Socket::new(Domain::from(libc::AF_NETLINK), Type::from(libc::SOCK_RAW), Some(route))
}

/// `ifinfomsg`: family, padding, type, index, flags, which flags change.
fn link_body(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for word in [index, flags, change] {
        body.extend_from_slice(&word.to_ne_bytes());
    }
    body
}

fn family(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

/// Takes one error for a success: the wanted state is there already.
fn unless(done: Result<(), IoFailure>, errno: i32) -> Result<(), IoFailure> {
    match done {
        Err(failure) if failure.errno() == errno => Ok(()),
        other => other,
    }
}

const ACK: i32 = libc::NLM_F_ACK;
/// Size of `ifinfomsg`.
const LINK_BODY: usize = 16;
/// Size of `ifaddrmsg`.
const ADDRESS_BODY: usize = 8;
/// Linux `rtnetlink.h`, since 4.13.
const RTM_F_FIB_MATCH: u32 = 0x2000;
/// What the kernel says when no table has the way.
const NO_ROUTE: [i32; 4] = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::ESRCH, libc::EACCES];
/// The kernel's largest messages.
const ANSWER_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn the_loopback_link_is_found_and_a_missing_one_is_named() {
        let netlink = Netlink::open().expect("netlink");
        assert_eq!(netlink.index("lo").expect("there is a loopback"), 1);
        let failure = netlink.index("nolink7").expect_err("no such link");
        assert!(failure.to_string().contains("nolink7"), "{failure}");
    }

    #[test]
    fn what_is_set_in_a_new_network_is_there() {
        in_new_network(|| {
            let netlink = Netlink::open().expect("netlink");
            let watch = LinkWatch::open().expect("watch");
            let (ip, far): (IpAddr, IpAddr) =
                (Ipv4Addr::new(10, 9, 8, 7).into(), Ipv4Addr::new(10, 9, 8, 6).into());
            let ip6: IpAddr = "fd00:9::7".parse().expect("an address");
            assert!(!watch.drain());
            netlink.set_up("lo").expect("up");
            assert!(watch.drain() && !watch.drain());
            netlink.set_mtu("lo", 1_440).expect("MTU");
            assert_eq!(netlink.facts("lo").expect("the link"), LinkFacts { index: 1, mtu: 1_440 });
            netlink.set_queue_length("lo", 500).expect("queue length");
            for _ in 0..2 {
                netlink.add_address("lo", ip, 32, Some(far)).expect("IPv4");
                netlink.add_address("lo", ip6, 64, None).expect("IPv6");
            }
            let addresses = netlink.addresses("lo").expect("list");
            assert!(addresses.contains(&(ip, 32)) && addresses.contains(&(ip6, 64)), "{addresses:?}");
            for (net, prefix, inside) in [
                (IpAddr::from(Ipv4Addr::new(192, 0, 2, 0)), 24, IpAddr::from(Ipv4Addr::new(192, 0, 2, 9))),
                ("2001:db8::".parse().expect("a net"), 32, "2001:db8::9".parse().expect("an address")),
                (Ipv4Addr::UNSPECIFIED.into(), 0, Ipv4Addr::new(198, 51, 100, 1).into()),
                (Ipv6Addr::UNSPECIFIED.into(), 0, "2001:470::1".parse().expect("an address")),
            ] {
                assert!(!netlink.has_route("lo", inside).expect("asked"), "{net} before");
                for _ in 0..2 {
                    netlink.add_route("lo", net, prefix, Some(77)).expect("route");
                }
                assert!(netlink.has_route("lo", inside).expect("asked"), "{net} there");
                for _ in 0..2 {
                    netlink.delete_route("lo", net, prefix, Some(77)).expect("removed");
                }
                assert!(!netlink.has_route("lo", inside).expect("asked"), "{net} after");
            }
        });
    }

    /// Runs `test` where it can do no harm, or says why not.
    fn in_new_network(test: fn()) {
        let run = move || match sys::enter_new_network() {
            Ok(()) => test(),
            Err(error) => eprintln!("skipped: no new network namespace: {error}"),
        };
        std::thread::spawn(run).join().expect("the test's thread");
    }
}
