//! The stock `wg` as the judge of the one that is built in: same words, same output, same exit codes.
//!
//! Both are run on the same socket and the same files. What they print must agree to the byte, and what they send must
//! mean the same. Where there is no `wg`, or no right to the directory in which it looks, these tests say so and pass.

#[path = "golden/world.rs"]
mod world;

#[path = "golden/change.rs"]
mod change;
#[path = "golden/corpus.rs"]
mod corpus;
#[path = "golden/keys.rs"]
mod keys;
#[path = "golden/show.rs"]
mod show;
