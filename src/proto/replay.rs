//! The anti-replay window of RFC 6479. SKELETON: helper fills in.

/// 8192 bits, of which 8128 are effective, behind the highest accepted counter.
#[derive(Debug)]
pub struct ReplayWindow {}

impl ReplayWindow {
    /// Makes an empty window.
    pub fn new() -> Self {
        unimplemented!()
    }

    /// Accepts `counter` at most once. Call only for authentic packets, in arrival order.
    pub fn accept(&mut self, counter: u64) -> bool {
        let _ = counter;
        unimplemented!()
    }
}
