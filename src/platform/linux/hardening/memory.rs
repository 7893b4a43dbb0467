//! Where keys could be read afterwards: core dumps, the eyes of other processes, swap.
//!
//! All memory is locked, not a page for keys: keys are also in the contexts of the AEAD library, on stacks, in the text
//! of a request, and a promise that leaves those out is none. It costs nothing where nothing is swapped: pages are
//! locked when they are touched (MCL_ONFAULT), so none is resident that would not be otherwise.
//!
//! Not here: wiping; each holder of a key does that.
//!
//! Sources: prctl(2) PR_SET_DUMPABLE, getrlimit(2), mlockall(2).

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use super::Lack;

/// Forbids core dumps, and other processes of this user to trace this one and to read its memory.
pub(super) fn forbid_dumps() -> Result<String, Lack> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // A second lock on the same door; a core that is piped to a program knows no limit.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok("none".to_owned())
}

/// Locks all memory, that of later too. Only where no limit stands against it: otherwise memory could run out with
/// plenty left, as each thread's stack and each arena of the allocator counts in full.
pub(super) fn lock() -> Result<String, Lack> {
    // Allowed to root, and to whoever has no hard limit; for the others the next line tells.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    if let Some(bytes) = getrlimit(Resource::Memlock).current {
        return Err(Lack::MemoryLimit(bytes));
    }
    match mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT) {
        Ok(()) => Ok("locked".to_owned()),
        Err(rustix::io::Errno::INVAL) => Err(Lack::Kernel("locking pages as they are touched came with Linux 4.4")),
        Err(error) => Err(error.into()),
    }
}
