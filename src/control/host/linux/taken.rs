//! A device that goes on where another process stops: told record by record, and let go at the end.
//!
//! Not here: who tells it (`control::upgrade`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rvpn_uapi::{Errno, Set};

use super::Prepared;
use crate::control::apply;
use crate::control::host::{Device, Holding, Taken};
use crate::control::outcome::Ends;
use crate::control::upgrade::UpgradeError;
use crate::dataplane::handover::{Held, ResumeError, Resumed, Resumption};
use crate::proto::carried::Malformed;

/// A device whose threads stand, and how far it has been told.
pub(super) struct TakenOver {
    prepared: Prepared,
    ends: Ends,
    progress: Progress,
}

enum Progress {
    Nothing,
    Begun(Box<Resumption>),
    Told(Box<Resumed>),
}

impl TakenOver {
    pub(super) const fn new(prepared: Prepared, ends: Ends) -> Self {
        Self { prepared, ends, progress: Progress::Nothing }
    }
}

impl Taken for TakenOver {
    fn configure(&mut self, set: Set) -> Result<(), Errno> {
        self.prepared.tunnel.apply(apply::change(&set)).map_err(|error| {
            tracing::error!("The configuration that was handed over is refused: {error}");
            apply::errno(&error)
        })
    }

    fn begin(&mut self, record: &[u8]) -> Result<(), ResumeError> {
        self.progress = Progress::Begun(Box::new(Resumption::begin(&self.prepared.tunnel, record)?));
        Ok(())
    }

    fn peer(&mut self, record: &[u8]) -> Result<(), ResumeError> {
        match &mut self.progress {
            Progress::Begun(resumption) => resumption.peer(record),
            _ => Err(Malformed.into()),
        }
    }

    fn finish(&mut self) -> Result<(), ResumeError> {
        match std::mem::replace(&mut self.progress, Progress::Nothing) {
            Progress::Begun(resumption) => {
                self.progress = Progress::Told(Box::new(resumption.finish()?));
                Ok(())
            }
            _ => Err(Malformed.into()),
        }
    }

    fn go_on(self: Box<Self>) -> io::Result<(Arc<dyn Device>, Duration)> {
        let Self { prepared, ends, progress } = *self;
        let Progress::Told(resumed) = progress else { return Err(io::ErrorKind::InvalidData.into()) };
        let pause = resumed.go_on(&prepared.threads);
        Ok((Arc::new(prepared.run(&ends)?), pause))
    }
}

impl Holding for Held<'_> {
    fn changes(&self) -> u64 {
        Held::changes(self)
    }

    fn export(&self, send: &mut dyn FnMut(&[u8]) -> Result<(), UpgradeError>) -> Result<(), UpgradeError> {
        Held::export(self, send)
    }

    fn retire(self: Box<Self>) {
        Held::retire(*self);
    }

    fn release_far_ahead(self: Box<Self>) {
        Held::release_far_ahead(*self);
    }
}
