//! A server that has given a seat away.

use std::cell::RefCell;
use std::rc::Rc;

use signaling::ConnId;
use sim::World;
use sim::node::{Operator, Turn};
use vc_core::protocol::codec::Wire;
use vc_core::protocol::signal::{Refusal, ToClient, ToServer};

use super::SERVER;

/// Refuses the first claim, and counts who comes by the door.
struct Forgetful {
    refuses: bool,
    joins: Rc<RefCell<u32>>,
}

impl Operator for Forgetful {
    fn frame(&mut self, conn: ConnId, bytes: Vec<u8>) -> Vec<Turn> {
        match ToServer::decode(&bytes) {
            Ok(ToServer::Reclaim { .. }) if self.refuses => {
                self.refuses = false;
                return vec![Turn::Out(conn, ToClient::Refused(Refusal::BadProof))];
            }
            Ok(ToServer::Join { .. }) => *self.joins.borrow_mut() += 1,
            _ => {}
        }
        vec![Turn::In(conn, bytes)]
    }
}

/// The seat of whoever returns next is another's. How often somebody came by the door since.
pub(crate) fn forget_a_seat(world: &mut World) -> Rc<RefCell<u32>> {
    let joins = Rc::new(RefCell::new(0));
    world.servers[SERVER].operator = Some(Box::new(Forgetful { refuses: true, joins: joins.clone() }));
    joins
}
