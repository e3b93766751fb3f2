//! What one connection may say when. A request exists only for a connection that stands where it makes sense, and it
//! carries what that standing implies; everything else is a refusal.

use vc_core::crypto::keys::PublicKey;
use vc_core::protocol::codec::Wire;
use vc_core::protocol::member::{MemberId, Slot};
use vc_core::protocol::removal::Removals;
use vc_core::protocol::signal::{Form, Nameplate, Party, Reclaim, Refusal, ToServer, VERSION};

use crate::seats::Nonce;

#[derive(Clone, Copy)]
pub(crate) enum Standing {
    /// Nothing said yet.
    New,
    Greeted,
    /// Waits at the door of a room.
    Visitor {
        room: Nonce,
        id: u32,
    },
    Seated(Place),
}

#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) room: Nonce,
    pub(crate) slot: Slot,
}

pub(crate) enum Request {
    Greet,
    Ping,
    Create(Form, PublicKey),
    Knock(Nameplate),
    Return(Reclaim),
    /// By a visitor, who may write to the doorkeeper only.
    MailDoor {
        room: Nonce,
        id: u32,
        to: Slot,
        blob: Vec<u8>,
    },
    Withdraw {
        room: Nonce,
        id: u32,
    },
    Mail {
        from: Place,
        to: Party,
        blob: Vec<u8>,
    },
    Admit {
        by: Place,
        visitor: u32,
        taken: u16,
        id: MemberId,
    },
    Tickets(Place),
    NewCode(Place, Form),
    Leave(Place),
    Evict(Place, Removals),
}

impl Standing {
    /// A refusal here ends the connection: what speaks out of turn is not a client of ours.
    pub(crate) fn read(self, bytes: &[u8]) -> Result<Request, Refusal> {
        let message = ToServer::decode(bytes).map_err(|_| Refusal::OutOfTurn)?;
        match (self, message) {
            (Self::New, ToServer::Hello { version: VERSION }) => Ok(Request::Greet),
            (Self::New, ToServer::Hello { .. }) => Err(Refusal::Version),
            (Self::New, _) => Err(Refusal::OutOfTurn),
            (_, ToServer::Ping) => Ok(Request::Ping),
            (Self::Greeted, message) => greeted(message),
            (Self::Visitor { room, id }, message) => visitor(room, id, message),
            (Self::Seated(place), message) => seated(place, message),
        }
    }
}

fn greeted(message: ToServer) -> Result<Request, Refusal> {
    match message {
        ToServer::Create { form, warden } => Ok(Request::Create(form, warden)),
        ToServer::Join { nameplate } => Ok(Request::Knock(nameplate)),
        ToServer::Reclaim { proof } => Ok(Request::Return(proof)),
        _ => Err(Refusal::OutOfTurn),
    }
}

fn visitor(room: Nonce, id: u32, message: ToServer) -> Result<Request, Refusal> {
    match message {
        ToServer::Mail { to: Party::Slot(to), blob } => Ok(Request::MailDoor { room, id, to, blob }),
        ToServer::Leave => Ok(Request::Withdraw { room, id }),
        _ => Err(Refusal::OutOfTurn),
    }
}

fn seated(place: Place, message: ToServer) -> Result<Request, Refusal> {
    match message {
        ToServer::Mail { to, blob } => Ok(Request::Mail { from: place, to, blob }),
        ToServer::Admit { visitor, taken, id } => Ok(Request::Admit { by: place, visitor, taken, id }),
        ToServer::Tickets => Ok(Request::Tickets(place)),
        ToServer::NewCode { form } => Ok(Request::NewCode(place, form)),
        ToServer::Leave => Ok(Request::Leave(place)),
        ToServer::Evict { removals } => Ok(Request::Evict(place, removals)),
        _ => Err(Refusal::OutOfTurn),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use vc_core::crypto::keys::StaticKey;

    #[test]
    fn each_standing_takes_its_own_messages_and_refuses_the_rest() {
        let slot = Slot::new(1).unwrap();
        let removals = Removals::with(&StaticKey::from_bytes([1; 32]), None, MemberId([1; 8]));
        let messages = [
            ToServer::Hello { version: VERSION },
            ToServer::Create { form: Form::Link, warden: PublicKey([1; 32]) },
            ToServer::Join { nameplate: Nameplate::Spoken(1) },
            ToServer::Mail { to: Party::Slot(slot), blob: vec![1] },
            ToServer::Mail { to: Party::Visitor(1), blob: vec![1] },
            ToServer::Admit { visitor: 1, taken: 0, id: MemberId([1; 8]) },
            ToServer::Tickets,
            ToServer::Reclaim { proof: [0; 91] },
            ToServer::NewCode { form: Form::Link },
            ToServer::Leave,
            ToServer::Ping,
            ToServer::Evict { removals },
        ];
        let place = Place { room: [0; 16], slot };
        for (standing, allowed) in [
            (Standing::New, "100000000000"),
            (Standing::Greeted, "011000010010"),
            (Standing::Visitor { room: [0; 16], id: 1 }, "000100000110"),
            (Standing::Seated(place), "000111101111"),
        ] {
            let takes: String =
                messages.iter().map(|m| if standing.read(&m.encode()).is_ok() { '1' } else { '0' }).collect();
            assert_eq!(takes, allowed);
        }
    }

    #[test]
    fn another_version_is_told_so_and_garbage_is_out_of_turn() {
        let hello = ToServer::Hello { version: VERSION + 1 }.encode();
        assert_eq!(Standing::New.read(&hello).err(), Some(Refusal::Version));
        assert_eq!(Standing::Greeted.read(&[0xff]).err(), Some(Refusal::OutOfTurn));
        assert_eq!(Standing::Greeted.read(&[]).err(), Some(Refusal::OutOfTurn));
    }
}
