//! The ring against the kernel, over sockets of this machine. A ring that was made disabled is one
//! that the kernel refuses to serve, until it is enabled.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::rc::{Rc, Weak};

use super::buffers::Shared;
use super::*;

const MARK: u64 = 40;
const WAIT: Duration = Duration::from_secs(5);
const LENT: usize = 512;

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A ring, a socket it receives from by address, and somebody who sends to it.
fn receiving() -> (Ring, UdpSocket, UdpSocket) {
    let mut ring = Ring::new().unwrap();
    let ((ours, address), (theirs, _)) = (socket(), socket());
    theirs.connect(address).unwrap();
    ring.receive_with_address(ours.as_raw_fd(), MARK);
    ring.enter(Duration::ZERO, true).unwrap();
    (ring, ours, theirs)
}

/// The next datagram.
fn take(ring: &mut Ring) -> Received {
    for _ in 0..100 {
        if let Some(done) = ring.next() {
            assert!(done.result > 0 && done.more, "{}", done.result);
            return done.received.unwrap();
        }
        ring.enter(Duration::from_millis(50), true).unwrap();
    }
    panic!("nothing has come");
}

fn number_in(received: &mut Received) -> u32 {
    let (_, range) = received.with_address().unwrap();
    u32::from_be_bytes(received.bytes()[range].try_into().unwrap())
}

/// What has come to a socket, until nothing comes any more.
fn all(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut bytes = [0; 2048];
    std::iter::from_fn(|| {
        socket
            .recv(&mut bytes)
            .ok()
            .map(|len| bytes[..len].to_vec())
    })
    .collect()
}

fn memory(ring: &Ring) -> Weak<Shared> {
    Rc::downgrade(ring.buffers.shared())
}

/// A ring that the kernel refuses to serve.
fn disabled() -> Ring {
    Ring::of(IoUring::builder().setup_r_disabled()).unwrap()
}

fn enable(ring: &Ring) {
    ring.ring.submitter().register_enable_rings().unwrap();
}

#[test]
fn what_is_given_back_is_lent_again_and_nothing_is_lost() {
    let (mut ring, ours, theirs) = receiving();
    let (listener, listens_at) = socket();
    let to = KernelAddress::new(listens_at, listens_at.ip());
    let mut seen = vec![0_u32; usize::from(BUFFERS)];
    // Several times as many as are lent: each third is dropped, each third sent on, and of each third
    // there is no such part to send.
    for n in 0..4 * LENT as u32 {
        theirs.send(&n.to_be_bytes()).unwrap();
        let mut received = take(&mut ring);
        assert_eq!(number_in(&mut received), n);
        seen[usize::from(received.number())] += 1;
        let (_, range) = received.with_address().unwrap();
        match n % 3 {
            0 => drop(received),
            1 => {
                ring.send_from(ours.as_raw_fd(), received, range, Some(&to));
                ring.enter(Duration::ZERO, true).unwrap();
                let mut bytes = [0; 8];
                assert_eq!(listener.recv(&mut bytes).unwrap(), 4);
                assert_eq!(bytes[..4], n.to_be_bytes());
            }
            _ => ring.send_from(ours.as_raw_fd(), received, 0..range.end + 1, Some(&to)),
        }
    }
    ring.enter(Duration::ZERO, true).unwrap();
    assert_eq!(ring.buffers_free(), LENT, "all are with the kernel again");
    assert_eq!(seen.iter().filter(|n| **n > 0).count(), LENT);
    assert!(seen.iter().all(|n| *n == 0 || *n >= 3), "used in turn");
    assert_eq!(ring.take_failed(), 4 * LENT as u64 / 3);
}

#[test]
fn a_buffer_has_one_owner() {
    let (mut ring, _ours, theirs) = receiving();
    let next = |ring: &mut Ring, n: u32| {
        theirs.send(&n.to_be_bytes()).unwrap();
        take(ring)
    };
    // Each has been lent and given back before.
    for n in 0..2 * LENT as u32 {
        drop(next(&mut ring, n));
    }
    let mut held: Vec<Received> = (0..LENT as u32).map(|n| next(&mut ring, n)).collect();
    assert_eq!(ring.buffers_free(), 0);
    for (n, received) in held.iter_mut().enumerate() {
        assert_eq!(number_in(received), n as u32, "nobody has written to it");
    }
    let mut numbers: Vec<u16> = held.iter().map(Received::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), LENT);

    // There is none for another datagram, which waits in the socket.
    theirs.send(&[7; 4]).unwrap();
    ring.enter(WAIT, true).unwrap();
    let done = ring.next().unwrap();
    assert_eq!((done.result, done.more), (-libc::ENOBUFS, false));
    drop(held);
    ring.enter(Duration::ZERO, true).unwrap();
    assert_eq!(ring.buffers_free(), LENT);
}

#[test]
fn fewer_are_lent_when_fewer_are_needed() {
    let (mut ring, _ours, theirs) = receiving();
    ring.lend_for(LENT);
    assert_eq!(ring.buffers_free(), 2 * LENT);
    ring.lend_for(0);
    for n in 0..LENT as u32 {
        theirs.send(&n.to_be_bytes()).unwrap();
        drop(take(&mut ring));
    }
    ring.enter(Duration::ZERO, true).unwrap();
    assert_eq!(ring.buffers_free(), LENT);
}

#[test]
fn a_packet_stays_as_it_is_while_its_send_is_queued() {
    let mut ring = Ring::new().unwrap();
    let ((ours, _), (listener, listens_at)) = (socket(), socket());
    let to = KernelAddress::new(listens_at, listens_at.ip());
    let send = |ring: &mut Ring, n: u8| ring.send_copy(ours.as_raw_fd(), &[n], Some(&to));
    for n in 0..10 {
        send(&mut ring, n);
    }
    while !ring.ring.submission().is_full() {
        ring.cancel(MARK);
    }
    // Room has to be made for the first of these.
    for n in 10..40 {
        send(&mut ring, n);
    }
    ring.enter(Duration::ZERO, true).unwrap();
    let expected: Vec<Vec<u8>> = (0..40).map(|n| vec![n]).collect();
    assert_eq!(all(&listener), expected);
    assert_eq!((ring.take_failed(), ring.take_refusals()), (0, 0));
}

#[test]
fn a_kernel_that_refuses_is_not_asked_without_end_and_loses_no_receive() {
    let mut ring = disabled();
    let ((ours, address), (theirs, _)) = (socket(), socket());
    let to = KernelAddress::new(address, address.ip());
    let more = 5_u64;
    for _ in 0..u64::from(SUBMISSIONS) + more {
        ring.send_copy(theirs.as_raw_fd(), &[1; 4], Some(&to));
    }
    assert!(ring.refuses, "it is known, so nobody asks again");
    assert_eq!(ring.take_failed(), more);
    ring.receive_with_address(ours.as_raw_fd(), MARK);
    ring.cancel(MARK + 1);
    assert_eq!(ring.refused.len(), 2, "these wait");
    assert!(ring.take_refusals() > 0);
    for _ in 0..10 {
        assert!(ring.enter(Duration::ZERO, false).is_err());
        assert!(!ring.has_submitted_all());
        assert!(ring.next().is_none());
    }
    enable(&ring);
    ring.enter(Duration::ZERO, true).unwrap();
    ring.enter(Duration::ZERO, true).unwrap();
    assert!(ring.has_submitted_all());
    let received = take(&mut ring);
    assert!(received.part(&(0..4)).is_some());
}

#[test]
fn a_ring_that_ends_ends_its_receives_first() {
    let (mut ring, ours, theirs) = receiving();
    let (connected, _) = socket();
    connected.connect(theirs.local_addr().unwrap()).unwrap();
    ring.receive(connected.as_raw_fd(), MARK + 1);
    ring.read_event(connected.as_raw_fd(), MARK + 2);
    ring.enter(Duration::ZERO, true).unwrap();
    theirs.send(&[1; 4]).unwrap();
    let mut held = take(&mut ring);
    assert_eq!(ring.under_way, 3);
    assert!(ring.drain());
    assert_eq!(ring.under_way, 0);
    // What it does not receive any more stays in the socket.
    theirs.send(&[2; 4]).unwrap();
    assert_eq!(all(&ours), [[2; 4]]);

    ring.receive(connected.as_raw_fd(), MARK);
    let memory = memory(&ring);
    drop(ring);
    assert_eq!(memory.strong_count(), 1, "the token keeps it");
    let (_, range) = held.with_address().unwrap();
    assert_eq!(held.bytes()[range], [1; 4]);
    drop(held);
    assert_eq!(memory.strong_count(), 0, "it is unmapped");
}

#[test]
fn memory_that_the_kernel_may_use_is_never_unmapped() {
    let mut ring = disabled();
    let (ours, _) = socket();
    ring.receive(ours.as_raw_fd(), MARK);
    let memory = memory(&ring);
    drop(ring);
    assert_eq!(memory.strong_count(), 1);
}

#[test]
fn a_receive_that_has_ended_by_itself_is_not_waited_for() {
    let mut ring = Ring::new().unwrap();
    // Not a socket: the receive ends at once.
    let file = std::fs::File::open("/dev/null").unwrap();
    ring.receive(file.as_raw_fd(), MARK);
    ring.enter(WAIT, true).unwrap();
    let done = ring.next().unwrap();
    assert!(done.result < 0 && !done.more && done.received.is_none());
    assert_eq!(ring.under_way, 0);
}
