//! A leg's two sockets: bound, marked, connected; and addresses as the kernel writes them.
//!
//! This file is one of five in the crate that may be unsafe: it talks to the kernel in its own
//! structures.

#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

/// Room for an address of either family.
pub(crate) const ADDRESS_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// An address in the kernel's form. Boxed by its owner while the kernel may read it.
#[derive(Clone, Copy)]
pub(crate) struct KernelAddress {
    bytes: libc::sockaddr_in6,
    len: u32,
}

/// A leg's two sockets.
pub(crate) struct Pair {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
}

impl Pair {
    /// Binds the pair at an even port and the odd one above it.
    pub(crate) fn bind(address: IpAddr, even: u16, dscp: u8) -> io::Result<Pair> {
        Ok(Pair {
            rtp: bind(address, even, dscp)?,
            rtcp: bind(address, even + 1, dscp)?,
        })
    }
}

fn bind(address: IpAddr, port: u16, dscp: u8) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, port))?;
    socket.set_nonblocking(true)?;
    let tos = libc::c_int::from(dscp) << 2;
    if address.is_ipv6() {
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, tos)?;
    } else {
        set_option(&socket, libc::IPPROTO_IP, libc::IP_TOS, tos)?;
    }
    Ok(socket)
}

fn set_option(
    socket: &UdpSocket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the pointer and length are those of a live integer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as u32,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Connects to `to`, or to nobody.
pub(crate) fn connect(socket: &UdpSocket, to: Option<&KernelAddress>) -> io::Result<()> {
    let nobody = KernelAddress::nobody();
    let to = to.unwrap_or(&nobody);
    // SAFETY: the descriptor is open; the pointer and length are those of a live address.
    let result = unsafe { libc::connect(socket.as_raw_fd(), to.as_ptr(), to.len()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

impl KernelAddress {
    /// In the family of a socket bound to `local`: a socket of IPv6 reaches IPv4 by mapped
    /// addresses; one of IPv4 does not reach IPv6, and the send fails and is counted.
    pub(crate) fn new(address: SocketAddr, local: IpAddr) -> KernelAddress {
        match (address, local) {
            (SocketAddr::V4(v4), IpAddr::V6(_)) => {
                let mapped = v4.ip().to_ipv6_mapped();
                KernelAddress::v6(&SocketAddrV6::new(mapped, v4.port(), 0, 0))
            }
            (SocketAddr::V4(v4), IpAddr::V4(_)) => KernelAddress::v4(&v4),
            (SocketAddr::V6(v6), _) => KernelAddress::v6(&v6),
        }
    }

    fn v4(address: &SocketAddrV4) -> KernelAddress {
        let v4 = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(address.ip().octets()),
            },
            sin_zero: [0; 8],
        };
        let mut bytes = KernelAddress::nobody().bytes;
        // SAFETY: `sockaddr_in` is smaller than `sockaddr_in6` and needs no larger alignment.
        unsafe { (&raw mut bytes).cast::<libc::sockaddr_in>().write(v4) };
        KernelAddress {
            bytes,
            len: size_of::<libc::sockaddr_in>() as u32,
        }
    }

    fn v6(address: &SocketAddrV6) -> KernelAddress {
        let mut bytes = KernelAddress::nobody().bytes;
        bytes.sin6_family = libc::AF_INET6 as u16;
        bytes.sin6_port = address.port().to_be();
        bytes.sin6_addr.s6_addr = address.ip().octets();
        bytes.sin6_flowinfo = address.flowinfo();
        bytes.sin6_scope_id = address.scope_id();
        KernelAddress {
            bytes,
            len: ADDRESS_BYTES as u32,
        }
    }

    /// `AF_UNSPEC`: what undoes a connect.
    fn nobody() -> KernelAddress {
        // SAFETY: all zeros is a valid value of this plain structure of integers.
        let bytes = unsafe { MaybeUninit::<libc::sockaddr_in6>::zeroed().assume_init() };
        KernelAddress {
            bytes,
            len: ADDRESS_BYTES as u32,
        }
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.bytes).cast()
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }
}

/// Reads an address the kernel wrote. IPv4 that came in by a socket of IPv6 becomes plain again.
pub(crate) fn read_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    if family == libc::AF_INET as u16 {
        let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
        return Some(SocketAddr::new(IpAddr::from(ip), port));
    }
    if family != libc::AF_INET6 as u16 {
        return None;
    }
    let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
    let ip = Ipv6Addr::from(ip);
    match ip.to_canonical() {
        IpAddr::V4(v4) => Some(SocketAddr::new(IpAddr::V4(v4), port)),
        IpAddr::V6(_) => {
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
        }
    }
}
