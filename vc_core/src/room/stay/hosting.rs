//! Forwarding for friends who cannot meet. A friend that forwards runs the very machine that a relay runs, and knows no
//! more: what passes is sealed for somebody else.

use super::*;
use crate::crypto::ticket::{RelayKey, TicketBody};
use crate::net::forward::{Forwarder, Limits, Quota, Verdict as Forwarding};
use crate::protocol::packet::Bind;
use crate::room::election::{Standing, elect, worth};

#[derive(Default)]
pub(super) struct Hosting {
    elected: Vec<MemberId>,
    /// Who would be elected now, and since when.
    contender: Option<(Vec<MemberId>, Time)>,
    due: Time,
    /// When others were last told whom we reach.
    told: Time,
    post: Option<Post>,
}

/// Our work as a forwarder.
struct Post {
    forwarder: Forwarder,
    key: RelayKey,
    id: [u8; 4],
    /// A leaver's tickets must not outlive its place in the roster: they name its slot and this tag.
    room: [u8; 8],
    places: BTreeMap<MemberId, Given>,
    /// Not elected any more: what is under way still passes until then.
    ends: Option<Time>,
}

/// What a friend was given: a ticket for its slot, and when.
struct Given {
    slot: Slot,
    /// Of the last ticket.
    body: [u8; 32],
    /// `None` when it needs another.
    at: Option<Time>,
    /// Until it is offered its place again, if it does not take it: it may not want it.
    pause: Duration,
}

impl Stay {
    /// A packet for the forwarder. Nobody but friends reaches it, and from nowhere but where they are.
    pub(super) fn forward(&mut self, world: &mut World, now: Time, from: Hop, bytes: &[u8]) {
        let bind = match Packet::parse(bytes) {
            Ok(Packet::Bind(bind)) => Some(bind),
            _ => None,
        };
        let friend = self.friend_at(now, from, bind.as_ref());
        let (Some(post), Some(id)) = (&mut self.hosting.post, friend) else {
            return world.counters.unknown += 1;
        };
        if let Some(bind) = bind
            && !TicketBody::decode(&bind.body).is_some_and(|body| post.is_given(&id, body.slot))
        {
            return world.counters.stranger += 1;
        }
        match post.forwarder.handle(now, seconds(now), from, bytes) {
            Forwarding::Drop(_) => world.counters.out_of_turn += 1,
            Forwarding::Reply(bytes) => world.out.push_back(Output::Transmit { to: from, bytes }),
            // A place outlives its owner's stay; nothing is carried there any more.
            Forwarding::Forward { to, .. } if self.friend_at(now, to, None).is_none() => {
                world.counters.out_of_turn += 1;
            }
            Forwarding::Forward { to, header, inner } => {
                let bytes = [&header[..], bytes.get(inner).unwrap_or_default()].concat();
                world.out.push_back(Output::Transmit { to, bytes });
            }
        }
    }

    /// Who is there: a friend that proved it to us, or beside where one did, the owner of a place or of a ticket. Where two
    /// routers map by destination, a friend sends from another port to us than we know; from another machine, a place
    /// would be a stranger's, and an answer to a ticket that is seen on its way here would go to anybody.
    fn friend_at(&self, now: Time, hop: Hop, bind: Option<&Bind>) -> Option<MemberId> {
        let proven = self.peers.values().find(|peer| peer.is_proven(hop)).map(Peer::id);
        proven.or_else(|| {
            let post = self.hosting.post.as_ref()?;
            let id = post.holder(now, hop).or_else(|| post.bearer(&bind?.body))?;
            self.peers.get(&id).is_some_and(|peer| peer.is_proven_beside(hop)).then_some(id)
        })
    }

    /// Somebody reaches others than before, or changed its mind about forwarding: elect soon, when it has settled.
    pub(super) fn stir(&mut self, now: Time) {
        self.hosting.due = self.hosting.due.min(now + STIRRED);
    }

    pub(super) fn tick_hosting(&mut self, world: &mut World, now: Time) {
        if world.policy != PathPolicy::Auto {
            return;
        }
        let direct = self.direct_mask();
        if direct != self.state.direct && self.hosting.told + TELL_PAUSE <= now {
            self.hosting.told = now;
            self.set_state(|state| state.direct = direct);
            self.stir(now);
        }
        if self.hosting.due <= now {
            self.hosting.due = now + ELECTION;
            self.elect(now);
        }
        self.take_post(world, now);
    }

    pub(super) fn hosting_wake(&self, world: &World, now: Time) -> Option<(Time, &'static str)> {
        if world.policy != PathPolicy::Auto || self.peers.is_empty() {
            return None;
        }
        let tell = (self.direct_mask() != self.state.direct).then(|| self.hosting.told + TELL_PAUSE);
        // One friend is reached or not: there is nobody to bridge to.
        let elect = (self.peers.len() > 1).then_some(self.hosting.due);
        let post = self.hosting.post.as_ref();
        let ends = post.and_then(|post| post.ends.or(post.forwarder.next_expiry()));
        let open = post.filter(|post| post.ends.is_none());
        let offers = open.and_then(|post| {
            let served = self.peers.values().filter(|peer| post.serves(peer));
            served.map(|peer| post.due(now, peer)).min()
        });
        [tell, elect, ends, offers].into_iter().flatten().min().map(|at| (at, "forwarding"))
    }

    fn direct_mask(&self) -> u16 {
        // The server may give two members one slot. Who is silent may need somebody to carry for it.
        let direct = self.peers.values().filter(|peer| peer.is_live() && peer.is_reached_directly());
        direct.fold(0, |mask, peer| mask | peer.slot().bit())
    }

    fn standings(&self) -> Vec<Standing> {
        let me = Standing {
            id: self.me,
            slot: self.slot,
            direct: self.state.direct,
            willing: self.state.forwards,
            founder: self.is_creator(),
        };
        let others = self.peers.values().filter(|peer| peer.is_live()).map(|peer| Standing {
            id: peer.id(),
            slot: peer.slot(),
            direct: peer.state().direct,
            willing: peer.state().forwards,
            founder: peer.id() == self.creator,
        });
        others.chain([me]).collect()
    }

    /// A failure is mended at once. Any other change waits until it has been due for a while, but is made in the end also
    /// where it betters nothing: those who saw different failures would else wait for each other for ever.
    fn elect(&mut self, now: Time) {
        let members = self.standings();
        let best = elect(&members);
        let Hosting { elected, contender, .. } = &mut self.hosting;
        if best == *elected {
            *contender = None;
            return;
        }
        let fit = |id: &MemberId| worth(&members, &[*id]) > (0, 0);
        let failed = elected.is_empty() || !elected.iter().all(fit);
        let since = match contender.take() {
            Some((who, since)) if who == best => since,
            _ => now,
        };
        if (failed && !best.is_empty()) || now - since >= BETTER_FOR {
            *elected = best;
        } else {
            *contender = Some((best, since));
        }
    }

    fn take_post(&mut self, world: &mut World, now: Time) {
        let elected = self.hosting.elected.contains(&self.me) && self.state.forwards;
        match &mut self.hosting.post {
            None if elected => self.hosting.post = Some(Post::new(world)),
            None => return,
            Some(post) if elected => {
                if post.ends.take().is_some() {
                    post.places.values_mut().for_each(|given| (given.at, given.pause) = (None, REPEAT));
                }
            }
            Some(post) if post.ends.is_none() => {
                post.ends = Some(now + UNDER_WAY);
                for id in post.places.keys() {
                    if let Some(peer) = self.peers.get_mut(id) {
                        peer.tell(&Control::Withdraw);
                    }
                }
            }
            Some(post) if post.ends.is_some_and(|end| end <= now) => {
                self.hosting.post = None;
                return;
            }
            Some(_) => {}
        }
        let Some(post) = self.hosting.post.as_mut() else { return };
        if post.forwarder.next_expiry().is_some_and(|at| at <= now) {
            post.forwarder.expire(now);
        }
        let peers = &self.peers;
        post.retain(|id, slot| peers.get(id).is_some_and(|peer| peer.slot() == slot && !peer.is_away()));
        if post.ends.is_some() {
            return;
        }
        let due: Vec<MemberId> = (self.peers.values())
            .filter(|peer| post.serves(peer) && post.due(now, peer) <= now)
            .map(Peer::id)
            .collect();
        for id in due {
            // Two of them may say that they have one slot.
            let Some(peer) = self.peers.get_mut(&id).filter(|peer| post.serves(peer)) else { continue };
            let pause = match post.places.get(&id) {
                Some(given) if !post.is_taken(now, peer) => (given.pause * 2).min(RENEWAL),
                _ => REPEAT,
            };
            let ticket = post.ticket(now, peer.slot(), &mut world.rng);
            post.places.insert(id, Given { slot: peer.slot(), body: ticket.body, at: Some(now), pause });
            peer.tell(&Control::Offer { body: ticket.body, kb: *ticket.kb.as_bytes() });
        }
    }
}

/// We may forward for it.
fn is_served(peer: &Peer) -> bool {
    peer.is_live() && peer.is_reached_directly() && !peer.is_relay_only()
}

impl Post {
    fn new(world: &mut World) -> Self {
        let rng = &mut world.rng;
        let key = RelayKey::new(Secret::random(rng));
        let (mut id, mut room, mut seed) = ([0; 4], [0; 8], [0; 32]);
        rng.fill_bytes(&mut id);
        rng.fill_bytes(&mut room);
        rng.fill_bytes(&mut seed);
        let limits = Limits { rooms: 1, classes: vec![Quota::default()], total: TOTAL };
        let forwarder = Forwarder::new(key.clone(), id, limits, seed);
        Self { forwarder, key, id, room, places: BTreeMap::new(), ends: None }
    }

    /// When this friend is offered its place (again). An offer may come to nothing: before the friend reaches us
    /// itself, or if it gave us up while it was away.
    fn due(&self, now: Time, peer: &Peer) -> Time {
        match self.places.get(&peer.id()) {
            Some(Given { at: Some(at), .. }) if self.is_taken(now, peer) => *at + RENEWAL,
            Some(Given { at: Some(at), pause, .. }) => *at + *pause,
            Some(Given { at: None, .. }) | None => now,
        }
    }

    /// We may forward for it, and nobody else has its place: whoever says that it sits where another does takes nothing
    /// from that one.
    fn serves(&self, peer: &Peer) -> bool {
        let others = self.places.iter().filter(|(id, _)| **id != peer.id());
        is_served(peer) && others.map(|(_, given)| given.slot).all(|slot| slot != peer.slot())
    }

    fn is_given(&self, id: &MemberId, slot: u8) -> bool {
        self.places.get(id).is_some_and(|given| given.slot.index() == usize::from(slot))
    }

    /// Whose ticket this is. Nobody else was told of it.
    fn bearer(&self, body: &[u8; 32]) -> Option<MemberId> {
        self.places.iter().find(|(_, given)| given.body == *body).map(|(id, _)| *id)
    }

    /// Whose place is there.
    fn holder(&self, now: Time, hop: Hop) -> Option<MemberId> {
        let slot = self.forwarder.holder(now, &self.room, hop)?;
        self.places.iter().find(|(_, given)| given.slot == slot).map(|(id, _)| *id)
    }

    fn is_taken(&self, now: Time, peer: &Peer) -> bool {
        self.forwarder.present(now, &self.room) & peer.slot().bit() != 0
    }

    /// Who is gone keeps no place: its slot is another's soon, and what is sealed for that one is not for this one to see.
    fn retain(&mut self, stays: impl Fn(&MemberId, Slot) -> bool) {
        for (_, given) in self.places.extract_if(.., |id, given| !stays(id, given.slot)) {
            self.forwarder.vacate(&self.room, given.slot);
        }
    }

    fn ticket(&self, now: Time, slot: Slot, rng: &mut Rng) -> Ticket {
        let mut serial = [0; 8];
        rng.fill_bytes(&mut serial);
        self.key.mint(&TicketBody {
            relay: self.id,
            room: self.room,
            slot: slot.index() as u8,
            slots: MAX_MEMBERS as u8,
            class: 0,
            not_after: seconds(now).saturating_add(LIFE.as_secs() as u32),
            serial,
        })
    }
}

/// Our own clock dates our own tickets.
fn seconds(now: Time) -> u32 {
    u32::try_from((now - Time::ZERO).as_secs()).unwrap_or(u32::MAX)
}

const ELECTION: Duration = Duration::from_secs(10);
/// Probes that still find a direct path mostly do so within this.
const STIRRED: Duration = Duration::from_secs(3);
/// Masks change in bursts, when somebody comes.
const TELL_PAUSE: Duration = Duration::from_secs(1);
/// Another forwarder is worth the change if it stays the one.
const BETTER_FOR: Duration = Duration::from_secs(20);
/// Everybody has moved by then.
const UNDER_WAY: Duration = Duration::from_secs(5);
const LIFE: Duration = Duration::from_secs(3_600);
const RENEWAL: Duration = Duration::from_secs(1_800);
/// All tries of a BIND on a bad line.
const REPEAT: Duration = Duration::from_secs(10);
/// 5 Mbit/s: what a home's uplink can spare; voice for some 80 pairs that talk one at a time.
const TOTAL: Rate = Rate::per_second(625_000, 256 << 10);
