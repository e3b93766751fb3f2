//! The call's end: takes orders in, hands answers and events out.

use std::io;
use std::sync::Arc;

use interprocess::local_socket::ListenerOptions;
use interprocess::local_socket::tokio::prelude::*;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Answered, MAX_REQUEST, PATIENCE, Spot, dir};
use crate::app::obey::Reply;
use crate::failure::Kind;
use crate::note::Note;
use crate::order::{Given, Order, Refusal, alone, refused, too_long};
use crate::ui::{self, Stamped};
use crate::words;

pub(crate) struct Listener {
    socket: LocalSocketListener,
    spot: Spot,
    callers: JoinSet<()>,
    orders: (mpsc::Sender<Asked>, mpsc::Receiver<Asked>),
    events: broadcast::Sender<Arc<str>>,
}

/// An order from outside, and the way back.
pub(crate) struct Asked {
    pub(crate) order: Order,
    pub(crate) reply: Reply,
}

/// What a line asks for.
enum Request {
    Order {
        order: Result<Order, Refusal>,
        /// Where it is called otherwise in the call, or nothing.
        called: Option<&'static str>,
    },
    Events,
    /// No line, so whatever follows is none either.
    Endless,
}

impl Listener {
    /// `events` are the lines that `voicechat ctl events` prints.
    pub(crate) fn open(events: broadcast::Sender<Arc<str>>) -> io::Result<Self> {
        let dir = dir().ok_or(io::ErrorKind::NotFound)?;
        let spot = Spot::of(&dir, std::process::id());
        // Two sets of processes may share the directory and count alike: who lives there stays.
        if spot.connect().is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Spot::sweep(&dir);
        Ok(Self { socket: listen(&spot)?, spot, callers: JoinSet::new(), orders: mpsc::channel(1), events })
    }

    /// The next order. Callers are served meanwhile.
    pub(crate) async fn next(&mut self) -> Asked {
        loop {
            tokio::select! {
                Some(asked) = self.orders.1.recv() => return asked,
                Some(_) = self.callers.join_next() => {}
                caller = self.socket.accept() => match caller {
                    // One who hangs up in the middle has had what it wanted.
                    Ok(caller) if self.callers.len() < MAX_CALLERS => {
                        let (orders, events) = (self.orders.0.clone(), self.events.clone());
                        self.callers.spawn(async move { drop(serve(caller, orders, events).await) });
                    }
                    Ok(caller) if self.callers.len() < 2 * MAX_CALLERS => {
                        self.callers.spawn(async move { drop(refuse(caller).await) });
                    }
                    // So many at once are no people.
                    Ok(_) => {}
                    // Out of descriptors, most likely: they come back.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.spot.remove();
    }
}

/// Nobody finds it before it answers.
#[cfg(unix)]
fn listen(spot: &Spot) -> io::Result<LocalSocketListener> {
    let made = Spot(spot.0.with_extension("new"));
    made.remove();
    let socket = ListenerOptions::new().name(made.name()?).reclaim_name(false).create_tokio()?;
    std::fs::rename(&made.0, &spot.0).inspect_err(|_| made.remove())?;
    Ok(socket)
}

#[cfg(windows)]
fn listen(spot: &Spot) -> io::Result<LocalSocketListener> {
    let socket = for_owner_alone(ListenerOptions::new().name(spot.name()?))?.create_tokio()?;
    std::fs::write(&spot.0, "")?;
    Ok(socket)
}

async fn serve(
    caller: LocalSocketStream,
    orders: mpsc::Sender<Asked>,
    events: broadcast::Sender<Arc<str>>,
) -> io::Result<()> {
    let (requests, mut answers) = (&caller, &caller);
    let mut requests = BufReader::new(requests);
    while let Some(request) = next(&mut requests).await? {
        match request {
            Request::Events => return stream(events.subscribe(), &mut requests, &mut answers).await,
            Request::Order { order: Ok(order), called } => {
                let (to, answer) = oneshot::channel();
                let reply: Reply = Box::new(move |_, answer| {
                    // The caller may have gone.
                    let _ = to.send(answer);
                });
                if orders.send(Asked { order, reply }).await.is_err() {
                    return Ok(());
                }
                match answer.await {
                    Ok(Ok(note)) => say(&mut answers, 0, note.outside(called)).await?,
                    Ok(Err(refusal)) => {
                        let note = Note::from(refusal).outside(called);
                        say(&mut answers, Kind::Refused.status(), note).await?;
                    }
                    Err(_) => return Ok(()),
                }
            }
            Request::Order { order: Err(refusal), called } => {
                let note = Note::from(refusal).outside(called);
                say(&mut answers, Kind::Usage.status(), note).await?;
            }
            Request::Endless => return say(&mut answers, Kind::Usage.status(), too_long().into()).await,
        }
    }
    Ok(())
}

async fn refuse(caller: LocalSocketStream) -> io::Result<()> {
    // Who hangs up on an unread request may take the answer away with it.
    next(&mut BufReader::new(&caller)).await?;
    let refusal = Refusal { order: None, why: TOO_MANY.to_owned() };
    say(&mut &caller, Kind::Refused.status(), refusal.into()).await
}

async fn next(requests: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Request>> {
    let mut line = String::new();
    let mut bounded = requests.take(MAX_REQUEST as u64);
    if timeout(PATIENCE, bounded.read_line(&mut line)).await?? == 0 {
        return Ok(None);
    }
    let Some(line) = line.strip_suffix('\n') else { return Ok(Some(Request::Endless)) };
    Ok(Some(request(line.trim())))
}

/// Why a line is no order, as far as this program knows orders.
pub(super) fn misfit(line: &str) -> Option<Refusal> {
    match request(line.trim()) {
        Request::Order { order, .. } => order.err(),
        Request::Events | Request::Endless => None,
    }
}

fn request(line: &str) -> Request {
    match line.split_once(char::is_whitespace).unwrap_or((line, "")) {
        ("events", "") => Request::Events,
        ("say", text) if text.trim().is_empty() => {
            let usage = Given::Outside.typed("say TEXT");
            Request::Order { order: Err(refused("say", format!("It is {usage}."))), called: Some("say") }
        }
        ("say", text) => Request::Order { order: Order::said(text.trim_start()), called: Some("say") },
        ("leave", "") => Request::Order { order: Ok(Order::Quit), called: Some("leave") },
        ("events", _) => takes_nothing("events"),
        ("leave", _) => takes_nothing("leave"),
        _ => Request::Order { order: Order::words(line, Given::Outside), called: None },
    }
}

fn takes_nothing(name: &'static str) -> Request {
    let order = Err(refused(name, alone(name, Given::Outside)));
    Request::Order { order, called: Some(name) }
}

async fn say(answers: &mut (impl AsyncWrite + Unpin), status: u8, note: Note) -> io::Result<()> {
    let text = words::answer(&note, Given::Outside).unwrap_or_default();
    let answered = Answered { status, text, event: Stamped::now(&note) };
    let mut line = serde_json::to_vec(&answered)?;
    line.push(b'\n');
    timeout(PATIENCE, answers.write_all(&line)).await?
}

/// Until the caller hangs up.
async fn stream(
    mut events: broadcast::Receiver<Arc<str>>,
    requests: &mut (impl AsyncBufRead + Unpin),
    answers: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut nothing = [0];
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(line) => timeout(PATIENCE, answers.write_all(line.as_bytes())).await??,
                // One who reads too slowly misses some, and is told.
                Err(broadcast::error::RecvError::Lagged(lines)) => {
                    let missed = ui::json(&Note::Missed { lines });
                    timeout(PATIENCE, answers.write_all(missed.as_bytes())).await??;
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            _ = requests.read(&mut nothing) => return Ok(()),
        }
    }
}

/// No other user of this machine may as much as connect.
#[cfg(windows)]
fn for_owner_alone(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    use interprocess::os::windows::local_socket::ListenerOptionsExt;
    use interprocess::os::windows::security_descriptor::SecurityDescriptor;
    // All rights to the owner, none to anybody else; nothing is inherited.
    let owner = widestring::u16cstr!("D:P(A;;GA;;;OW)");
    Ok(options.security_descriptor(SecurityDescriptor::deserialize(owner)?))
}

/// Keys of a desktop, a status bar and a streaming program, many times over.
const MAX_CALLERS: usize = 16;
const TOO_MANY: &str = "Too many programs talk to this call at once. End some of them, and try again.";
/// Descriptors come back when anything else is closed; a person does not notice so short a wait.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
