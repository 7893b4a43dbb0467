//! The five timers of a peer: told what happened, answering what is due. SKELETON: helper fills in (protocol.md 8).
