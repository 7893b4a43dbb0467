//! The ephemeral keys of handshakes, told to who listens at that moment: for captures that are to be opened.
//!
//! A key is told when it is drawn, before its message leaves, and kept by nobody here: without a listener the whole is one
//! load of a flag for each handshake. What a listener gets opens the sessions of these handshakes and no other.
//!
//! Not here: who may listen (`control::asks`).

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::device::Device;
use super::sync::{Mutex, lock};
use crate::proto::keys::{PresharedKey, PrivateKey};

/// Is told our ephemeral key of a handshake and the preshared key that goes with it, from the handshake thread: it must
/// not block.
pub type Tell = Box<dyn Fn(&PrivateKey, &PresharedKey) + Send + Sync>;

/// Those who listen.
#[derive(Default)]
pub(super) struct KeyLog {
    /// The length of the list. Who begins to listen while a handshake begins may miss it, hence relaxed.
    count: AtomicUsize,
    listeners: Mutex<Vec<Weak<Tell>>>,
}

/// Listens until it is dropped.
pub struct KeyListener(Arc<Tell>);

impl fmt::Debug for KeyListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyListener({:p})", self.0)
    }
}

impl KeyLog {
    /// Tells the keys of a handshake that begins.
    pub(super) fn tell(&self, ephemeral: &PrivateKey, preshared_key: &PresharedKey) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut listeners = lock(&self.listeners);
        listeners.retain(|listener| {
            let listener = listener.upgrade();
            listener.iter().for_each(|tell| tell(ephemeral, preshared_key));
            listener.is_some()
        });
        self.count.store(listeners.len(), Ordering::Relaxed);
    }
}

impl Device {
    /// Has `tell` told the keys of each handshake that begins from now on, until what is returned is dropped.
    pub fn log_keys(&self, tell: Tell) -> KeyListener {
        tracing::info!("The keys of handshakes are being captured");
        let listener = Arc::new(tell);
        let mut listeners = lock(&self.key_log.listeners);
        listeners.push(Arc::downgrade(&listener));
        self.key_log.count.store(listeners.len(), Ordering::Relaxed);
        KeyListener(listener)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU8;

    use super::*;

    #[test]
    fn a_key_is_told_to_who_listens_and_to_nobody_after() {
        let (log, last) = (KeyLog::default(), Arc::new(AtomicU8::new(0)));
        let key = |n: u8| PrivateKey::new([n; 32]).expect("not zero");
        log.tell(&key(8), &PresharedKey::default());
        let to = Arc::clone(&last);
        let tell: Tell = Box::new(move |ephemeral, _| to.store(ephemeral.as_bytes()[1], Ordering::Relaxed));
        let listener = Arc::new(tell);
        lock(&log.listeners).push(Arc::downgrade(&listener));
        log.count.store(1, Ordering::Relaxed);
        log.tell(&key(16), &PresharedKey::default());
        assert_eq!(last.load(Ordering::Relaxed), 16);
        drop(listener);
        log.tell(&key(24), &PresharedKey::default());
        assert_eq!((last.load(Ordering::Relaxed), log.count.load(Ordering::Relaxed)), (16, 0));
    }
}
