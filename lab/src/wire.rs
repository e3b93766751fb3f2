//! A bad line: a program between a friend and its router that delays, loses, doubles, reorders and holds up frames.
//! This kernel brings no such thing, so two packet sockets and a queue do it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::ns::Ns;

/// How bad, each way. Written `delay=25,jitter=10,spread=normal,loss=2,burst=5,reorder=1,double=1,rate=512,queue=200,
/// stall=300/10000,seed=7`: milliseconds, per cent, kbit/s; each part may be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quality {
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) spread: Spread,
    /// Shares, 0 to 1.
    pub(crate) loss: f64,
    /// Mean packets lost in a row; 1 is loss without memory (else Gilbert-Elliott).
    pub(crate) burst: f64,
    pub(crate) reorder: f64,
    pub(crate) double: f64,
    /// Bytes a second.
    pub(crate) rate: Option<f64>,
    /// No packet waits longer for its turn; what would is dropped.
    pub(crate) queue: Duration,
    /// Nothing moves for so long, each so often, as while Wi-Fi looks for other networks.
    pub(crate) stall: Option<(Duration, Duration)>,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    Uniform,
    Normal,
    Exponential,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            spread: Spread::Uniform,
            loss: 0.0,
            burst: 1.0,
            reorder: 0.0,
            double: 0.0,
            rate: None,
            queue: Duration::from_millis(200),
            stall: None,
            seed: 1,
        }
    }
}

impl FromStr for Quality {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut quality = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| anyhow!("`{part}` is not key=value"))?;
            let number = || -> Result<f64> {
                let number: f64 = value.parse()?;
                anyhow::ensure!(number >= 0.0 && number.is_finite(), "`{part}` is out of range");
                Ok(number)
            };
            match key {
                "delay" => quality.delay = millis(number()?),
                "jitter" => quality.jitter = millis(number()?),
                "spread" => quality.spread = value.parse()?,
                "loss" => quality.loss = number()? / 100.0,
                "burst" => quality.burst = number()?.max(1.0),
                "reorder" => quality.reorder = number()? / 100.0,
                "double" => quality.double = number()? / 100.0,
                "rate" => quality.rate = Some(number()? * 125.0).filter(|rate| *rate > 0.0),
                "queue" => quality.queue = millis(number()?),
                "stall" => {
                    let (long, each) = value.split_once('/').ok_or_else(|| anyhow!("stall=MS/EACH"))?;
                    quality.stall = Some((millis(long.parse()?), millis(each.parse()?)));
                }
                "seed" => quality.seed = number()? as u64,
                _ => bail!("a line has no `{key}`"),
            }
        }
        Ok(quality)
    }
}

impl FromStr for Spread {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "normal" => Ok(Self::Normal),
            "exponential" => Ok(Self::Exponential),
            _ => bail!("jitter is uniform, normal or exponential"),
        }
    }
}

fn millis(number: f64) -> Duration {
    Duration::from_secs_f64(number.clamp(0.0, 1e9) / 1_000.0)
}

/// One direction, told the time: when does this frame come out, how often?
pub(crate) struct Line {
    quality: Quality,
    rng: ChaCha8Rng,
    losing: bool,
    /// When the last frame will have been sent, after the start.
    busy: Duration,
    last_out: Duration,
}

impl Line {
    pub(crate) fn new(quality: Quality, direction: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(quality.seed.wrapping_mul(2).wrapping_add(direction));
        Self { quality, rng, losing: false, busy: Duration::ZERO, last_out: Duration::ZERO }
    }

    /// When the frame of `len` bytes that came at `now` leaves: never, once or twice. Times are since the start.
    pub(crate) fn carry(&mut self, now: Duration, len: usize) -> Vec<Duration> {
        if self.lost() {
            return Vec::new();
        }
        let start = self.awake(self.busy.max(now));
        if start - now > self.quality.queue && self.quality.rate.is_some() {
            return Vec::new();
        }
        let sending = self.quality.rate.map_or(0.0, |rate| len as f64 / rate);
        self.busy = start + Duration::from_secs_f64(sending);
        let mut out = self.busy + self.quality.delay + self.jitter();
        if self.chance(self.quality.reorder) {
            // Overtaken by those that come within the next frames' time.
            out += REORDER;
        } else {
            // Jitter is delay that changes; queues do not reorder.
            out = out.max(self.last_out);
            self.last_out = out;
        }
        if self.chance(self.quality.double) { vec![out, out] } else { vec![out] }
    }

    /// The first moment from `at` on at which the line is not held up.
    fn awake(&self, at: Duration) -> Duration {
        let Some((long, each)) = self.quality.stall.filter(|(_, each)| !each.is_zero()) else { return at };
        let phase = Duration::from_nanos((at.as_nanos() % each.as_nanos()) as u64);
        if phase < long { at + (long - phase) } else { at }
    }

    fn lost(&mut self) -> bool {
        let Quality { loss, burst, .. } = self.quality;
        if burst <= 1.0 || loss >= 1.0 {
            return self.chance(loss);
        }
        // Two states; the bad one loses everything and lasts `burst` frames in the mean.
        let recover = 1.0 / burst;
        let fail = recover * loss / (1.0 - loss);
        self.losing = if self.losing { !self.chance(recover) } else { self.chance(fail) };
        self.losing
    }

    fn jitter(&mut self) -> Duration {
        let mean = self.quality.jitter.as_secs_f64();
        let share = match self.quality.spread {
            Spread::Uniform => self.unit(),
            // Twelve even ones make a bell; what is left of zero arrives at once.
            Spread::Normal => ((0..12).map(|_| self.unit()).sum::<f64>() - 6.0).abs(),
            Spread::Exponential => -(1.0 - self.unit()).ln(),
        };
        Duration::from_secs_f64(mean * share)
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A line that frames really take: interface `near` towards the friend, `far` towards the router.
pub(crate) struct Wire {
    pub(crate) ns: Ns,
    quality: Quality,
    stop: Arc<AtomicBool>,
    threads: std::cell::RefCell<Vec<JoinHandle<()>>>,
}

impl Wire {
    pub(crate) fn new(name: String, quality: Quality, seat: u32) -> Result<Self> {
        let quality = Quality { seed: quality.seed.wrapping_add(u64::from(seat) << 32), ..quality };
        Ok(Self { ns: Ns::new(name)?, quality, stop: Arc::default(), threads: Vec::new().into() })
    }

    /// Gives the friend its `eth0` and begins to carry.
    pub(crate) fn connect(&self, friend: &Ns) -> Result<()> {
        self.ns.sh(&format!(
            "ip link add near type veth peer name eth0 netns {}
             ethtool -K near tx off gro off gso off tso off >/dev/null 2>&1
             for end in near far; do
               echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6
               ip link set $end promisc on up
             done",
            friend.name()
        ))?;
        friend.sh("ethtool -K eth0 tx off gro off gso off tso off >/dev/null 2>&1")?;
        let (quality, stop) = (self.quality, Arc::clone(&self.stop));
        let (ready, opened) = channel();
        let thread = self.ns.thread(move || match open() {
            Ok(ends) => {
                let _ = ready.send(Ok(()));
                carry(ends, quality, &stop);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        })?;
        self.threads.borrow_mut().push(thread);
        opened.recv().map_err(|_| anyhow!("the line's thread ended"))?
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.borrow_mut().drain(..) {
            let _ = thread.join();
        }
    }
}

type End = (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>);

fn open() -> Result<[End; 2]> {
    let end = |name: &str| -> Result<End> {
        let interfaces = pnet_datalink::interfaces();
        let interface =
            interfaces.into_iter().find(|i| i.name == name).ok_or_else(|| anyhow!("no {name}"))?;
        let config = Config { read_timeout: Some(WATCH), ..Config::default() };
        match pnet_datalink::channel(&interface, config)? {
            Channel::Ethernet(to, from) => Ok((to, from)),
            _ => bail!("{name} carries no Ethernet"),
        }
    };
    Ok([end("near")?, end("far")?])
}

fn carry([near, far]: [End; 2], quality: Quality, stop: &Arc<AtomicBool>) {
    let start = Instant::now();
    let ways = [(near.1, far.0, 0), (far.1, near.0, 1)];
    std::thread::scope(|scope| {
        for (from, to, direction) in ways {
            let (frames, due) = channel();
            let line = Line::new(quality, direction);
            scope.spawn(move || take(from, &frames, line, start, stop));
            scope.spawn(move || give(to, &due, start));
        }
    });
}

fn take(
    mut from: Box<dyn DataLinkReceiver>,
    frames: &Sender<(Duration, Vec<u8>)>,
    mut line: Line,
    start: Instant,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(frame) = from.next() else { continue };
        for at in line.carry(start.elapsed(), frame.len()) {
            if frames.send((at, frame.to_vec())).is_err() {
                return;
            }
        }
    }
}

fn give(mut to: Box<dyn DataLinkSender>, due: &Receiver<(Duration, Vec<u8>)>, start: Instant) {
    let mut queue: BinaryHeap<Reverse<(Duration, u64, Vec<u8>)>> = BinaryHeap::new();
    let mut count = 0;
    loop {
        let wait = queue.peek().map_or(WATCH, |Reverse((at, ..))| at.saturating_sub(start.elapsed()));
        match due.recv_timeout(wait) {
            Ok((at, frame)) => {
                count += 1;
                queue.push(Reverse((at, count, frame)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(Reverse((at, ..))) = queue.peek()
            && *at <= start.elapsed()
        {
            if let Some(Reverse((_, _, frame))) = queue.pop() {
                to.send_to(&frame, None);
            }
        }
    }
}

/// How late the end of a line may be noticed.
const WATCH: Duration = Duration::from_millis(100);
/// More than the time between two packets of one voice.
const REORDER: Duration = Duration::from_millis(30);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// 20 ms frames of 200 bytes for `count` frames.
    fn run(quality: &str, count: u32) -> (usize, Vec<(Duration, Duration)>) {
        let mut line = Line::new(quality.parse().unwrap(), 0);
        let mut came = Vec::new();
        for n in 0..count {
            let now = Duration::from_millis(20) * n;
            came.extend(line.carry(now, 200).into_iter().map(|at| (now, at)));
        }
        (count as usize - came.len().min(count as usize), came)
    }

    #[test]
    fn a_good_line_delays_and_nothing_else() {
        let (lost, came) = run("delay=25", 100);
        assert_eq!(lost, 0);
        assert!(came.iter().all(|(now, at)| *at - *now == Duration::from_millis(25)));
    }

    #[test]
    fn loss_has_the_share_and_the_runs_that_were_asked_for() {
        for (quality, mean) in [("loss=10", 1.1), ("loss=10,burst=5", 5.0)] {
            let mut line = Line::new(quality.parse().unwrap(), 0);
            let lost: Vec<bool> = (0..50_000).map(|_| line.carry(Duration::ZERO, 200).is_empty()).collect();
            let share = lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64;
            assert!((share - 0.1).abs() < 0.015, "{quality}: {share}");
            let runs = lost.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
            let length = share * lost.len() as f64 / runs as f64;
            assert!((length - mean).abs() < 0.6, "{quality}: {length}");
        }
    }

    #[test]
    fn a_slow_line_queues_up_to_its_bound_and_drops_the_rest() {
        // 200 bytes each 20 ms are 80 kbit/s.
        let (lost, came) = run("rate=40,queue=100", 500);
        assert!(lost > 200 && lost < 260, "{lost}");
        let longest = came.iter().map(|(now, at)| *at - *now).max().unwrap();
        assert!(longest <= Duration::from_millis(141), "{longest:?}");
    }

    #[test]
    fn a_stall_holds_everything_up_and_then_lets_it_go() {
        let (lost, came) = run("stall=300/10000", 600);
        assert_eq!(lost, 0);
        assert_eq!(came.iter().filter(|(now, at)| at > now).count(), 2 * 15);
        assert!(came.iter().all(|(now, at)| *at - *now <= Duration::from_millis(300)));
    }

    #[test]
    fn only_a_line_that_reorders_lets_frames_overtake_each_other() {
        let overtakes = |quality: &str| {
            let (_, came) = run(quality, 1_000);
            came.windows(2).filter(|pair| pair[1].1 < pair[0].1).count()
        };
        assert_eq!(overtakes("jitter=40,spread=exponential"), 0);
        assert!(overtakes("reorder=5") > 20);
        let (_, doubled) = run("double=50", 1_000);
        assert!(doubled.len() > 1_400);
    }
}
