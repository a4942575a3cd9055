//! Who is to hear that there is something to read.

use parking_lot::RwLock;

type Notify = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(crate) struct Notifier {
    subscribers: RwLock<Vec<Notify>>,
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").field("subscribers", &self.subscribers.read().len()).finish()
    }
}

impl Notifier {
    pub fn subscribe(&self, notify: Notify) {
        self.subscribers.write().push(notify);
    }

    pub fn notify(&self) {
        self.subscribers.read().iter().for_each(|notify| notify());
    }
}
