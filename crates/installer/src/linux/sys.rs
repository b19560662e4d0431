//! The system calls that have no safe form in a library. All of the crate's `unsafe` is here.
#![allow(unsafe_code, reason = "ioctl takes an untyped argument")]

use std::{ffi::c_char, fs::File, io, net::Ipv4Addr, os::fd::AsFd};

use rustix::ioctl::{NoArg, Opcode, Setter, Updater, ioctl};

const BLKRRPART: Opcode = 0x125f;
const BLKPG: Opcode = 0x1269;
const BLKZEROOUT: Opcode = 0x127f;
const SIOCADDRT: Opcode = 0x890b;
const SIOCGIFFLAGS: Opcode = 0x8913;
const SIOCSIFFLAGS: Opcode = 0x8914;
const SIOCSIFADDR: Opcode = 0x8916;
const SIOCSIFNETMASK: Opcode = 0x891c;

/// Has the kernel read the disk's partition table again.
pub(super) fn reread_partitions(disk: &File) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument
    Ok(unsafe { ioctl(disk, NoArg::<BLKRRPART>::new()) }?)
}

/// Has the device write zeros from the begin of the disk to `end`.
pub(super) fn zero_out(disk: &File, end: u64) -> io::Result<()> {
    let range: [u64; 2] = [0, end];
    // SAFETY: BLKZEROOUT reads two u64, start and length, and nothing else
    Ok(unsafe { ioctl(disk, Setter::<BLKZEROOUT, _>::new(range)) }?)
}

/// What is done with a partition that the kernel is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    Remove,
}

/// `struct blkpg_partition` of `linux/blkpg.h`.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: i32,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg` of `linux/blkpg.h`.
#[repr(C)]
struct BlkpgArg<'a> {
    op: i32,
    flags: i32,
    length: i32,
    data: &'a BlkpgPartition,
}

/// Tells the kernel of a partition that no table on the disk names, or to forget it.
pub(super) fn partition(
    disk: &File,
    change: Change,
    number: u32,
    start: u64,
    length: u64,
) -> io::Result<()> {
    let signed = |n: u64| i64::try_from(n).map_err(io::Error::other);
    let data = BlkpgPartition {
        start: signed(start)?,
        length: signed(length)?,
        number: i32::try_from(number).map_err(io::Error::other)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let arg = BlkpgArg {
        op: if change == Change::Add { 1 } else { 2 },
        flags: 0,
        length: i32::try_from(size_of::<BlkpgPartition>()).map_err(io::Error::other)?,
        data: &data,
    };
    // SAFETY: BLKPG reads a blkpg_ioctl_arg, which points to a blkpg_partition of
    // the length it says; both live until the call returns
    Ok(unsafe { ioctl(disk, Setter::<BLKPG, _>::new(arg)) }?)
}

/// Gives the NIC an address and brings it up.
pub(super) fn configure(
    socket: impl AsFd,
    nic: &str,
    ip: Ipv4Addr,
    netmask: Ipv4Addr,
) -> io::Result<()> {
    let address = |ip| -> io::Result<_> {
        Ok(libc::ifreq {
            ifr_name: name(nic)?,
            ifr_ifru: libc::__c_anonymous_ifr_ifru {
                ifru_addr: sockaddr(ip),
            },
        })
    };
    // SAFETY: these two read an ifreq with a name and a sockaddr
    unsafe {
        ioctl(&socket, Setter::<SIOCSIFADDR, _>::new(address(ip)?))?;
        ioctl(&socket, Setter::<SIOCSIFNETMASK, _>::new(address(netmask)?))?;
    }
    up(socket, nic)
}

/// Brings the NIC up.
fn up(socket: impl AsFd, nic: &str) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: name(nic)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    // SAFETY: SIOCGIFFLAGS reads the name and writes the flags of an ifreq, so
    // the flags are what the union holds then; SIOCSIFFLAGS reads both
    unsafe {
        ioctl(&socket, Updater::<SIOCGIFFLAGS, _>::new(&mut request))?;
        let up = libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
        request.ifr_ifru.ifru_flags |= up;
        ioctl(&socket, Setter::<SIOCSIFFLAGS, _>::new(request))?;
    }
    Ok(())
}

/// Adds the default route.
pub(super) fn default_route(socket: impl AsFd, gateway: Ipv4Addr) -> io::Result<()> {
    // SAFETY: an rtentry is made of numbers, and of pointers that may be null
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = sockaddr(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: SIOCADDRT reads an rtentry; its rt_dev is null, which means any
    Ok(unsafe { ioctl(socket, Setter::<SIOCADDRT, _>::new(route)) }?)
}

fn name(nic: &str) -> io::Result<[c_char; libc::IFNAMSIZ]> {
    let mut name = [0; libc::IFNAMSIZ];
    if nic.len() >= name.len() {
        return Err(io::Error::other(format!(
            "{nic} is too long for the name of a NIC"
        )));
    }
    for (to, byte) in name.iter_mut().zip(nic.bytes()) {
        *to = c_char::from_ne_bytes([byte]);
    }
    Ok(name)
}

/// `ip` as a `sockaddr_in`, port 0, in the general form that ioctls take.
fn sockaddr(ip: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, byte) in data[2..].iter_mut().zip(ip.octets()) {
        *to = c_char::from_ne_bytes([byte]);
    }
    libc::sockaddr {
        sa_family: 2,
        sa_data: data,
    } // AF_INET
}
