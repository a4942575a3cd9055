//! The network between two servers: it can be cut, and it can stand still.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone, Copy)]
struct State {
    /// Connections of before are cut.
    cuts: u32,
    /// Of each connection so many bytes of answers pass, and then nothing in either direction.
    still_after: usize,
    /// The same, and then it breaks.
    break_after: usize,
}

const WHOLE: State = State { cuts: 0, still_after: usize::MAX, break_after: usize::MAX };

pub struct Link {
    pub address: String,
    state: watch::Sender<State>,
    /// How many connections there are.
    open: Arc<watch::Sender<usize>>,
    accepting: JoinHandle<()>,
}

impl Link {
    pub async fn to(server: &str) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, server) = (listener.local_addr().unwrap().to_string(), server.to_string());
        let (state, states) = watch::channel(WHOLE);
        let open = Arc::new(watch::Sender::new(0));
        let counted = Arc::clone(&open);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, states, counted) = (server.clone(), states.clone(), Arc::clone(&counted));
                counted.send_modify(|open| *open += 1);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        pass(client, server, states).await;
                    }
                    counted.send_modify(|open| *open -= 1);
                });
            }
        });
        Link { address, state, open, accepting }
    }

    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    pub fn stand_still_after(&self, bytes: usize) {
        self.state.send_modify(|state| *state = State { still_after: bytes, cuts: state.cuts, ..WHOLE });
    }

    pub fn break_after(&self, bytes: usize) {
        self.state.send_modify(|state| *state = State { break_after: bytes, cuts: state.cuts, ..WHOLE });
    }

    pub fn mend(&self) {
        self.state.send_modify(|state| *state = State { cuts: state.cuts, ..WHOLE });
    }

    pub async fn has(&self, connections: usize) {
        let has = async { self.open.subscribe().wait_for(|open| *open == connections).await.map(|_| ()) };
        let open = || *self.open.borrow();
        tokio::time::timeout(Duration::from_secs(20), has).await.unwrap_or_else(|_| panic!("{} connections", open())).unwrap();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Until one of the two goes away or the link gives way.
async fn pass(mut client: TcpStream, mut server: TcpStream, mut states: watch::Receiver<State>) {
    let cuts = states.borrow().cuts;
    let (mut asked, mut answered) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let mut passed = 0;
    loop {
        let state = *states.borrow_and_update();
        if state.cuts > cuts || passed > state.break_after {
            return;
        }
        let still = passed >= state.still_after;
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            read = client.read(&mut asked) => match read {
                Ok(read) if read > 0 => {
                    // What comes while nothing passes is lost: nobody gets to see what is behind it.
                    if !still && server.write_all(&asked[..read]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut answered), if !still => match read {
                Ok(read) if read > 0 => {
                    passed += read;
                    if client.write_all(&answered[..read]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
