//! What the engine costs for each voice packet: sealed for every friend in a room of `n`, and received by one of them.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sim::{Profile, World};
use vc_core::io::{Config, FrameLen, Input, Output, PathPolicy, Time, VoiceFrame};
use vc_core::room::Room;

/// A room of `n` that has settled on direct paths.
fn room_of(n: usize) -> World {
    let mut world = World::new(7, Profile::clean(10));
    let server = world.server();
    let config = |n: usize| Config { name: format!("friend {n}"), paths: PathPolicy::Auto, forward: true };
    let at = world.net.site(None);
    world.create(config(0), at, server);
    assert!(world.run_till(Duration::from_secs(5), |w| w.clients[0].codes.is_some()));
    let code = world.clients[0].code().unwrap();
    for member in 1..n {
        let at = world.net.site(None);
        world.join(config(member), &code, at, server);
        // The doorkeeper paces its guests: five at once, then one in ten seconds.
        world.run(Duration::from_secs(11));
    }
    world.run(Duration::from_secs(5));
    world
}

fn drain(room: &mut Room) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut sent = Vec::new();
    loop {
        match room.poll() {
            Output::Transmit { to, bytes } => sent.push((to.addr, bytes)),
            Output::Wake(_) => return sent,
            other => drop(black_box(other)),
        }
    }
}

fn frame(time: u32) -> VoiceFrame {
    VoiceFrame { time, len: FrameLen::Ms20, last_of_talk: false, age_ms: 20, opus: vec![7; 80] }
}

fn voice(c: &mut Criterion) {
    for n in [2, 4, 16] {
        let mut world = room_of(n);
        let now = world.now;
        let mut time = 0;
        let listener = world.clients[1].addr;
        let from = world.clients[0].addr;
        drain(&mut world.clients[0].room);
        drain(&mut world.clients[1].room);
        let [talker, hearer] = world.clients.get_disjoint_mut([0, 1]).unwrap();
        let mut say = |now: Time, room: &mut Room| {
            time += 1;
            room.handle(now, Input::Voice(frame(time)));
            drain(room)
        };
        c.bench_function(&format!("send one frame in a room of {n}"), |b| {
            b.iter(|| black_box(say(now, &mut talker.room)).len());
        });
        if n == 2 {
            c.bench_function("receive one frame", |b| {
                b.iter_batched(
                    || {
                        let sent = say(now, &mut talker.room);
                        sent.into_iter().find(|(to, bytes)| *to == listener && bytes.len() > 100).unwrap().1
                    },
                    |bytes| {
                        hearer.room.handle(now, Input::Datagram { from: from.into(), bytes: &bytes });
                        drain(&mut hearer.room).len()
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

criterion_group!(benches, voice);
criterion_main!(benches);
