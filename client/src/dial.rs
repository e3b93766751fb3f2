//! TCP to a server whose port some networks block: its own port first, then 443 of the same host, which nearly every
//! network lets through (docs/PROTOCOL.md, "Blocked ports").

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Which of an address's ports are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// The one that it names.
    Own,
    /// And 443 of the same machine.
    AndOpen,
    /// That before its own, which the network may block: 443 led to the server where the server's own port did not.
    OpenFirst,
}

/// Tries the addresses one after the other, each with a head start before the next, and takes the first that succeeds.
/// Else tells what became of each, in the order in which they failed.
pub(crate) async fn first<T, E, F>(
    addresses: &[SocketAddr],
    ports: Ports,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T, Vec<(SocketAddr, E)>>
where
    T: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut waiting = ways(addresses, ports);
    let mut running = JoinSet::new();
    let mut failed = Vec::new();
    let start = Instant::now();
    loop {
        let due = waiting.front().map(|(after, _)| start + *after);
        tokio::select! {
            biased;
            Some(Ok((address, outcome))) = running.join_next() => match outcome {
                Ok(reached) => return Ok(reached),
                Err(error) => {
                    failed.push((address, error));
                    // Nothing to wait for: its successor's turn.
                    if let Some((after, _)) = waiting.front_mut() {
                        *after = Duration::ZERO;
                    }
                }
            },
            () = sleep_until(due.unwrap_or(start)), if due.is_some() => {
                let Some((_, address)) = waiting.pop_front() else { continue };
                let attempt = attempt(address);
                running.spawn(async move { (address, attempt.await) });
            }
            else => return Err(failed),
        }
    }
}

/// Each with the time after which it is tried in any case.
fn ways(addresses: &[SocketAddr], ports: Ports) -> VecDeque<(Duration, SocketAddr)> {
    let step = |n: usize| ADDRESS_STEP * u32::try_from(n).unwrap_or(u32::MAX);
    let blocked = addresses.iter().filter(|address| address.port() != OPEN_PORT);
    let open: Vec<SocketAddr> = blocked.map(|address| SocketAddr::new(address.ip(), OPEN_PORT)).collect();
    let (sooner, later) = match ports {
        Ports::Own => (addresses, &[][..]),
        Ports::AndOpen => (addresses, &open[..]),
        Ports::OpenFirst => (&open[..], addresses),
    };
    let last = HEAD_START.max(step(sooner.len()));
    let sooner = sooner.iter().enumerate().map(|(n, address)| (step(n), *address));
    let later = later.iter().enumerate().map(|(n, address)| (last + step(n), *address));
    sooner.chain(later).collect()
}

/// HTTPS's: what blocks it blocks the web.
pub(crate) const OPEN_PORT: u16 = 443;
/// Time for the address before (RFC 8305, 8: Connection Attempt Delay).
const ADDRESS_STEP: Duration = Duration::from_millis(250);
/// Most servers are not at 443: one far away should not make us knock at a stranger's door beside it. Two round trips, to
/// connect and to shake hands, around the world.
const HEAD_START: Duration = Duration::from_millis(600);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[derive(Clone, Copy)]
    enum Port {
        Answers,
        Refuses,
        Silent,
    }

    /// Who was reached, or who failed in which order.
    async fn reached(addresses: &[SocketAddr], port: fn(SocketAddr) -> Port) -> Result<SocketAddr, Vec<u16>> {
        let outcome = first(addresses, Ports::AndOpen, |address| async move {
            match port(address) {
                Port::Answers => Ok(address),
                Port::Refuses => Err(()),
                Port::Silent => std::future::pending().await,
            }
        });
        outcome.await.map_err(|failed| failed.iter().map(|(address, ())| address.port()).collect())
    }

    #[tokio::test]
    async fn a_server_that_answers_is_all_that_is_asked() {
        let only = |address: SocketAddr| match address.port() {
            7 => Port::Answers,
            _ => unreachable!(),
        };
        assert_eq!(reached(&[at(7), at(8)], only).await, Ok(at(7)));
    }

    #[tokio::test]
    async fn a_blocked_port_and_a_refused_one_lead_to_443() {
        let blocked = |address: SocketAddr| match address.port() {
            OPEN_PORT => Port::Answers,
            _ => Port::Silent,
        };
        assert_eq!(reached(&[at(7)], blocked).await, Ok(at(OPEN_PORT)));
        let refused = |address: SocketAddr| match address.port() {
            OPEN_PORT => Port::Answers,
            _ => Port::Refuses,
        };
        assert_eq!(reached(&[at(7), at(8)], refused).await, Ok(at(OPEN_PORT)));
    }

    #[tokio::test]
    async fn a_silent_address_does_not_hold_up_the_next() {
        let silent = |address: SocketAddr| match address.port() {
            8 => Port::Answers,
            7 => Port::Silent,
            _ => unreachable!(),
        };
        assert_eq!(reached(&[at(7), at(8)], silent).await, Ok(at(8)));
    }

    #[tokio::test]
    async fn all_failures_are_told_in_order() {
        assert_eq!(reached(&[at(7), at(8)], |_| Port::Refuses).await, Err(vec![7, 8, OPEN_PORT, OPEN_PORT]));
        assert_eq!(reached(&[at(OPEN_PORT)], |_| Port::Refuses).await, Err(vec![OPEN_PORT]));
        assert_eq!(reached(&[], |_| Port::Refuses).await, Err(vec![]));
    }

    #[tokio::test]
    async fn who_is_to_be_tried_at_its_own_port_is_tried_at_no_other() {
        let only = [at(7)];
        let outcome = first(&only, Ports::Own, |address| async move { Err::<(), _>(address.port()) });
        assert_eq!(outcome.await, Err(vec![(at(7), 7)]));
    }

    #[test]
    fn the_open_port_waits_longer_than_all_of_the_servers_own() {
        let ways = ways(&[at(7), at(8)], Ports::AndOpen);
        let times: Vec<u128> = ways.iter().map(|(after, _)| after.as_millis()).collect();
        assert_eq!(times, [0, 250, 600, 850]);
    }

    #[test]
    fn the_open_port_comes_first_where_it_led_to_the_server() {
        let ways = ways(&[at(7)], Ports::OpenFirst);
        let ports: Vec<(u128, u16)> =
            ways.iter().map(|(after, addr)| (after.as_millis(), addr.port())).collect();
        assert_eq!(ports, [(0, OPEN_PORT), (600, 7)]);
    }
}
