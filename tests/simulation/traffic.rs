//! What the ends of a path have to say to each other.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::world::World;

/// A manner of talking, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// A packet in a long while, and its answer.
    Idle,
    /// Nothing but persistent keepalives, if they are on.
    Silent,
    /// One side talks, the other never answers.
    OneWay(usize),
    /// More packets at once than may wait for a key, then nothing for minutes.
    Bursts,
    /// Both talk, at their leisure or several times a second.
    Bidirectional,
}

impl Traffic {
    /// Draws one.
    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..8) {
            0 | 1 => Self::Idle,
            2 => Self::Silent,
            3 | 4 => Self::OneWay(rng.random_range(0..2)),
            5 => Self::Bursts,
            _ => Self::Bidirectional,
        }
    }

    /// Says something on path `p`; returns how long to pause then.
    pub(crate) fn say(self, world: &mut World, p: usize, rng: &mut StdRng) -> Duration {
        let len = rng.random_range(8..1_300);
        let millis = match self {
            Self::Idle => {
                world.send_on(p, 0, len);
                world.run(Duration::from_secs(1));
                world.send_on(p, 1, len);
                rng.random_range(10_000..900_000)
            }
            Self::Silent => 600_000,
            Self::OneWay(side) => {
                world.send_on(p, side, len);
                [300, 3_000, 30_000][rng.random_range(0..3)]
            }
            Self::Bursts => {
                let side = rng.random_range(0..2);
                (0..rng.random_range(1..200)).for_each(|_| {
                    world.send_on(p, side, len);
                });
                rng.random_range(1_000..300_000)
            }
            Self::Bidirectional => {
                for side in [0, 1] {
                    (0..rng.random_range(0..10)).for_each(|_| {
                        world.send_on(p, side, len);
                    });
                }
                [300, 2_000, 10_000, 40_000][rng.random_range(0..4)]
            }
        };
        Duration::from_millis(rng.random_range(1..=millis))
    }
}
