//! The call's end: takes orders in, hands answers and events out.

use std::io;
use std::sync::Arc;

use interprocess::local_socket::ListenerOptions;
use interprocess::local_socket::tokio::prelude::*;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Answered, MAX_REQUEST, Spot, dir};
use crate::app::obey::Reply;
use crate::note::Note;
use crate::order::{Answer, Order, Refusal};
use crate::words::Words;

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
    Order(Result<Order, Refusal>),
    Events,
}

impl Listener {
    /// `events` are the lines that `voicechat ctl events` prints.
    pub(crate) fn open(events: broadcast::Sender<Arc<str>>) -> io::Result<Self> {
        let dir = dir().ok_or(io::ErrorKind::NotFound)?;
        let spot = Spot::of(&dir, std::process::id());
        // Left by an earlier process of this number.
        spot.remove();
        let options = ListenerOptions::new().name(spot.name()?);
        #[cfg(windows)]
        let options = {
            std::fs::write(&spot.0, "")?;
            for_owner_alone(options)?
        };
        Ok(Self {
            socket: options.create_tokio()?,
            spot,
            callers: JoinSet::new(),
            orders: mpsc::channel(1),
            events,
        })
    }

    /// The next order. Callers are served meanwhile.
    pub(crate) async fn next(&mut self) -> Asked {
        loop {
            tokio::select! {
                Some(asked) = self.orders.1.recv() => return asked,
                Some(_) = self.callers.join_next() => {}
                caller = self.socket.accept(), if self.callers.len() < MAX_CALLERS => match caller {
                    Ok(caller) => {
                        let (orders, events) = (self.orders.0.clone(), self.events.clone());
                        self.callers.spawn(async move {
                            // One who hangs up in the middle has had what it wanted.
                            let _ = serve(caller, orders, events).await;
                        });
                    }
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
            Request::Order(Ok(order)) => {
                let (to, answer) = oneshot::channel();
                let reply: Reply = Box::new(move |_, answer| {
                    // The caller may have gone.
                    let _ = to.send(answer);
                });
                if orders.send(Asked { order, reply }).await.is_err() {
                    return Ok(());
                }
                let Ok(answer) = answer.await else { return Ok(()) };
                say(&mut answers, answer).await?;
            }
            Request::Order(Err(refusal)) => say(&mut answers, Err(refusal)).await?,
        }
    }
    Ok(())
}

async fn next(requests: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if requests.take(MAX_REQUEST).read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let line = line.trim();
    Ok(Some(match line.split_once(char::is_whitespace).unwrap_or((line, "")) {
        ("events", "") => Request::Events,
        ("say", text) => Request::Order(Order::said(text.trim_start())),
        ("status", "") => Request::Order(Ok(Order::Stats)),
        ("leave", "") => Request::Order(Ok(Order::Quit)),
        _ => Request::Order(Order::words(line)),
    }))
}

async fn say(answers: &mut (impl AsyncWrite + Unpin), answer: Answer) -> io::Result<()> {
    let done = answer.is_ok();
    let note = answer.unwrap_or_else(Note::from);
    let text = Words::of(&note).map(Words::text).unwrap_or_default();
    let answered = Answered { done, text, event: serde_json::to_value(&note)? };
    let mut line = serde_json::to_vec(&answered)?;
    line.push(b'\n');
    answers.write_all(&line).await
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
                Ok(line) => answers.write_all(line.as_bytes()).await?,
                // One who reads too slowly misses some.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
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
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
