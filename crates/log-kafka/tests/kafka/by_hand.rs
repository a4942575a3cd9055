//! A member of a group that does what the test says and no more: requests of Kafka's protocol, written by hand. It leads the group where it joins
//! first, and is then the one that says who is assigned what, or does not say it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const JOIN_GROUP: (i16, i16) = (11, 5);
const SYNC_GROUP: (i16, i16) = (14, 3);
const LEAVE_GROUP: (i16, i16) = (13, 3);
const INSTANCE: &str = "by-hand";
/// It is not heard of in between.
const SESSION: Duration = Duration::from_secs(60);

pub struct ByHand {
    connection: TcpStream,
    group: String,
    topic: String,
    pub id: String,
    generation: i32,
}

impl ByHand {
    pub fn new(bootstrap: &str, service: &str) -> ByHand {
        let connection = TcpStream::connect(bootstrap).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (group, topic) = (format!("millpond-{service}-members"), format!("_millpond-{service}-members"));
        ByHand { connection, group, topic, id: String::new(), generation: -1 }
    }

    /// The group waits for its other members from here on, and for what is assigned to them afterwards. The ids of all.
    pub fn join(&mut self) -> Vec<String> {
        let mut answer = self.ask_to_join(INSTANCE);
        self.generation = answer.int();
        let (_protocol, leader) = (answer.text(), answer.text());
        self.id = answer.text();
        assert_eq!(leader, self.id, "it leads");
        (0..answer.int())
            .map(|_| {
                let (id, _instance, _subscription) = (answer.text(), answer.text(), answer.bytes());
                id
            })
            .collect()
    }

    /// The process of that instance has asked to join, and has not heard the answer.
    pub fn join_unheard(&mut self, instance: &str) {
        self.ask_to_join(instance);
    }

    fn ask_to_join(&mut self, instance: &str) -> Answer {
        let mut subscription = Vec::new();
        number(&mut subscription, 0_i16.to_be_bytes());
        number(&mut subscription, 1_i32.to_be_bytes());
        text(&mut subscription, &self.topic);
        number(&mut subscription, (-1_i32).to_be_bytes());
        let mut request = Vec::new();
        text(&mut request, &self.group);
        let session_ms = i32::try_from(SESSION.as_millis()).unwrap();
        number(&mut request, session_ms.to_be_bytes());
        number(&mut request, session_ms.to_be_bytes());
        text(&mut request, &self.id);
        text(&mut request, instance);
        text(&mut request, "consumer");
        number(&mut request, 1_i32.to_be_bytes());
        text(&mut request, "cooperative-sticky");
        bytes(&mut request, &subscription);
        self.send(JOIN_GROUP, &request);
        let mut answer = self.receive();
        assert_eq!(answer.short(), 0, "JoinGroup");
        answer
    }

    /// Assigns the partition to that member, and nothing to the others.
    pub fn assign(&mut self, members: &[String], owner: &str) {
        assert_eq!(self.try_assign(members, owner), 0, "SyncGroup");
    }

    /// Gives the broker's error: another member may just have come.
    pub fn try_assign(&mut self, members: &[String], owner: &str) -> i16 {
        let mut request = Vec::new();
        text(&mut request, &self.group);
        number(&mut request, self.generation.to_be_bytes());
        text(&mut request, &self.id);
        text(&mut request, INSTANCE);
        number(&mut request, i32::try_from(members.len()).unwrap().to_be_bytes());
        for member in members {
            let mut assignment = Vec::new();
            number(&mut assignment, 0_i16.to_be_bytes());
            number(&mut assignment, i32::from(member == owner).to_be_bytes());
            if member == owner {
                text(&mut assignment, &self.topic);
                number(&mut assignment, 1_i32.to_be_bytes());
                number(&mut assignment, 0_i32.to_be_bytes());
            }
            number(&mut assignment, (-1_i32).to_be_bytes());
            text(&mut request, member);
            bytes(&mut request, &assignment);
        }
        self.send(SYNC_GROUP, &request);
        self.receive().short()
    }

    /// Has the process of that instance thrown out, which hears of it at its next heartbeat.
    pub fn throw_out(&mut self, instance: &str) {
        let mut request = Vec::new();
        text(&mut request, &self.group);
        number(&mut request, 1_i32.to_be_bytes());
        text(&mut request, "");
        text(&mut request, instance);
        self.send(LEAVE_GROUP, &request);
        let mut answer = self.receive();
        assert_eq!((answer.short(), answer.int()), (0, 1), "LeaveGroup");
        let (_id, _instance) = (answer.text(), answer.text());
        assert_eq!(answer.short(), 0, "LeaveGroup of {instance}");
    }

    fn send(&mut self, (api, version): (i16, i16), body: &[u8]) {
        let mut request = Vec::new();
        number(&mut request, api.to_be_bytes());
        number(&mut request, version.to_be_bytes());
        number(&mut request, 0_i32.to_be_bytes());
        text(&mut request, "by-hand");
        request.extend_from_slice(body);
        let mut framed = Vec::new();
        bytes(&mut framed, &request);
        self.connection.write_all(&framed).unwrap();
    }

    /// Behind the correlation id and the throttle time.
    fn receive(&mut self) -> Answer {
        let mut length = [0; 4];
        self.connection.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.connection.read_exact(&mut answer).unwrap();
        Answer { bytes: answer, next: 8 }
    }
}

struct Answer {
    bytes: Vec<u8>,
    next: usize,
}

impl Answer {
    fn take(&mut self, count: usize) -> &[u8] {
        self.next += count;
        &self.bytes[self.next - count..self.next]
    }

    fn short(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    /// Null is empty.
    fn text(&mut self) -> String {
        let length = usize::try_from(self.short()).unwrap_or_default();
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.int()).unwrap_or_default();
        self.take(length).to_vec()
    }
}

fn number<const N: usize>(to: &mut Vec<u8>, bytes: [u8; N]) {
    to.extend_from_slice(&bytes);
}

fn text(to: &mut Vec<u8>, text: &str) {
    number(to, i16::try_from(text.len()).unwrap().to_be_bytes());
    to.extend_from_slice(text.as_bytes());
}

fn bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    number(to, i32::try_from(bytes.len()).unwrap().to_be_bytes());
    to.extend_from_slice(bytes);
}
