//! In the place of `calls` on processors for which no filter can be made: see [`Lack::Processor`](super::Lack).

use super::Call;

pub(super) fn common() -> Vec<Call> {
    Vec::new()
}

pub(super) fn control() -> Vec<Call> {
    Vec::new()
}

pub(super) fn attempted() -> Vec<Call> {
    Vec::new()
}

pub(super) fn reading() -> Vec<Call> {
    Vec::new()
}
