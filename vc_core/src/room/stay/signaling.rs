//! The signaling server: what it says, and how we stand with it.

use super::*;

/// As the user was told.
pub(super) enum Server {
    /// It knows us, or did a moment ago. `here`: slots whose owners it is connected with.
    Reached {
        here: u16,
    },
    Lost,
}

impl Stay {
    /// The server answers (again), and does not know us yet.
    pub(crate) fn connected(&mut self, world: &mut World, now: Time) {
        self.given_up();
        if matches!(self.claim, Claim::Code) {
            self.ask_at_door(world, now);
        }
        if self.asked.is_none() {
            self.claim = Claim::Proof;
            self.asked = Some(Asked::Seat);
            world.tell_server(&ToServer::Reclaim { proof: self.proof });
        }
    }

    pub(crate) fn server_lost(&mut self, world: &mut World) {
        if let Server::Reached { .. } = std::mem::replace(&mut self.server, Server::Lost) {
            self.tell_user(world, Event::Signaling { up: false });
        }
    }

    /// The server knows us on this connection, as far as we know.
    pub(crate) fn is_seated(&self) -> bool {
        !matches!(self.asked, Some(Asked::Seat | Asked::Entry(_)))
    }

    /// The server knows us.
    pub(crate) fn seated(&mut self, world: &mut World) {
        world.link.settled();
        self.asked = None;
        self.await_tickets();
        if let Server::Lost = self.server {
            self.server = Server::Reached { here: 0 };
            self.tell_user(world, Event::Signaling { up: true });
        }
        self.evict(world);
        self.ask_for_plate(world);
    }

    /// A message of the signaling server.
    pub(crate) fn signal(&mut self, world: &mut World, now: Time, message: ToClient) {
        if let Some(Asked::Entry(joining)) = self.asked.take_if(|asked| matches!(asked, Asked::Entry(_))) {
            return self.at_door(world, now, joining, message);
        }
        match message {
            ToClient::Seat { slot, proof } => {
                (self.slot, self.proof) = (slot, proof);
                if matches!(self.asked, Some(Asked::Seat)) {
                    self.seated(world);
                }
            }
            ToClient::Tickets { offers } => self.tickets(world, now, offers),
            ToClient::Visitor { visitor, nameplate } => self.door.expect(now, visitor, nameplate),
            ToClient::Admitted { visitor, slot } => match self.door.seated(visitor) {
                Some(record) => self.introduce(world, now, Seated { slot, record }),
                None => world.counters.out_of_turn += 1,
            },
            ToClient::Plate { nameplate } => match self.asked {
                Some(Asked::Plate(form)) if form == nameplate.form() => {
                    self.plate(world, now, form, Some(nameplate));
                }
                Some(_) | None => world.counters.out_of_turn += 1,
            },
            ToClient::Refused(why) => match self.asked {
                Some(Asked::Seat) => self.unseated(world, now, why),
                Some(Asked::Plate(form)) => self.plate(world, now, form, None),
                Some(Asked::Entry(_)) | None => world.counters.out_of_turn += 1,
            },
            ToClient::Mail { from, blob } => match (from, Mail::parse(&blob)) {
                (Party::Slot(slot), Ok(Mail::Packet(packet))) => {
                    self.packet(world, now, Path::Mail(slot), packet);
                }
                (Party::Visitor(visitor), Ok(letter)) => self.visitor(world, now, visitor, &letter),
                _ => world.counters.malformed += 1,
            },
            ToClient::Present { slots } => self.connected_now(now, slots),
            ToClient::Removed { removals } => self.learn_removals(world, now, None, Some(removals)),
            ToClient::Pong => {}
            ToClient::Hello { .. } | ToClient::Created { .. } | ToClient::Joined { .. } => {
                world.counters.out_of_turn += 1
            }
        }
    }

    /// Slots whose owners the server is connected with.
    pub(super) fn here(&self) -> u16 {
        match self.server {
            Server::Reached { here } => here,
            Server::Lost => 0,
        }
    }

    /// Who has just found the server may be reached again; whose connection ended may have ended itself.
    fn connected_now(&mut self, now: Time, slots: u16) {
        let Server::Reached { here } = &mut self.server else { return };
        let before = std::mem::replace(here, slots);
        let (came, went) = (slots & !before, before & !slots);
        let doubted = self.peers.values_mut().filter(|peer| peer.slot().bit() & went != 0);
        doubted.for_each(|peer| peer.doubt(now));
        let back = self.peers.values_mut().filter(|peer| peer.slot().bit() & came != 0);
        back.for_each(Peer::connects);
        // One that is being introduced is tried as it is.
        let tried = |peer: &Peer| peer.is_live() || peer.shaking_since().is_some();
        let lost = self.peers.values_mut().filter(|peer| peer.slot().bit() & came != 0 && !tried(peer));
        lost.for_each(|peer| peer.appear(now));
    }
}

impl World {
    pub(crate) fn tell_server(&mut self, message: &ToServer) {
        if self.link.is_up() {
            self.out.push_back(Output::Signal(SignalOut::Frame(message.encode())));
        }
    }

    /// The server will not have us on this connection: another, after a while.
    pub(super) fn redial(&mut self, now: Time) {
        self.out.push_back(Output::Signal(SignalOut::Hang));
        self.link.down(now, &mut self.rng);
    }
}
