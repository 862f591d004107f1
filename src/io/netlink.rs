//! Links, addresses and routes through rtnetlink, and word of their changes.
//!
//! Not for: deciding which address or route a link should have.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use crate::io::IoFailure;

/// A connection to the kernel's network configuration.
#[derive(Debug)]
pub struct Netlink {}

impl Netlink {
    /// Opens the connection; needs no privilege, changes do.
    pub fn open() -> Result<Netlink, IoFailure> {
        todo!()
    }

    /// Sets the link up.
    pub fn set_up(&self, link: &str) -> Result<(), IoFailure> {
        let _ = link;
        todo!()
    }

    /// Sets the largest IP packet of the link in bytes.
    pub fn set_mtu(&self, link: &str, mtu: u32) -> Result<(), IoFailure> {
        let _ = (link, mtu);
        todo!()
    }

    /// Sets the length of the link's send queue in packets.
    pub fn set_queue_length(&self, link: &str, packets: u32) -> Result<(), IoFailure> {
        let _ = (link, packets);
        todo!()
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
        let _ = (link, ip, prefix, peer);
        todo!()
    }

    /// Addresses of the link with their prefix lengths.
    pub fn addresses(&self, link: &str) -> Result<Vec<(IpAddr, u8)>, IoFailure> {
        let _ = link;
        todo!()
    }

    /// Sends `net/prefix` through the link; an equal route that is there already is left as it is.
    pub fn add_route(
        &self,
        link: &str,
        net: IpAddr,
        prefix: u8,
        metric: Option<u32>,
    ) -> Result<(), IoFailure> {
        let _ = (link, net, prefix, metric);
        todo!()
    }

    /// Removes the route; one that is not there is no failure.
    pub fn delete_route(
        &self,
        link: &str,
        net: IpAddr,
        prefix: u8,
        metric: Option<u32>,
    ) -> Result<(), IoFailure> {
        let _ = (link, net, prefix, metric);
        todo!()
    }

    /// The link's interface index.
    pub fn index(&self, link: &str) -> Result<u32, IoFailure> {
        let _ = link;
        todo!()
    }
}

/// Word of changes of links, addresses and routes; poll its descriptor.
#[derive(Debug)]
pub struct LinkWatch {}

impl LinkWatch {
    /// Subscribes; changes after this are seen.
    pub fn open() -> Result<LinkWatch, IoFailure> {
        todo!()
    }

    /// Empties the queue; whether anything changed (an overflow counts as a change).
    pub fn drain(&self) -> bool {
        todo!()
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
}
