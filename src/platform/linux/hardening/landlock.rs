//! Landlock: no file but those of peers, to be read; no TCP, no signal to another process, no abstract socket; the
//! files of sockets may be removed.
//!
//! What is open stays open: TUN, sockets, standard error. UDP and netlink are not Landlock's business.
//!
//! Source: landlock(7), Linux Documentation/userspace-api/landlock.rst.

use std::path::Path;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::{Lack, Needs};

/// Confines the calling thread and those it will start, as far as the kernel can; returns how far that is.
pub(super) fn confine(needs: &Needs<'_>) -> Result<String, Lack> {
    let sockets = [needs.socket_directory].into_iter().chain(needs.metrics_directory);
    let sockets = sockets.map(|path| (path, AccessFs::RemoveFile.into()));
    let peers = needs.peers_directory.map(|path| (path, AccessFs::ReadFile | AccessFs::ReadDir));
    confine_to(sockets.chain(peers))
}

/// The same for the process that looks names up: it may read files.
pub(super) fn confine_names() -> Result<String, Lack> {
    confine_to([(Path::new("/"), AccessFs::ReadFile.into())])
}

fn confine_to<'a>(allowed: impl IntoIterator<Item = (&'a Path, BitFlags<AccessFs>)>) -> Result<String, Lack> {
    let rules = allowed.into_iter().map(|(path, access)| Ok::<_, Lack>(PathBeneath::new(PathFd::new(path)?, access)));
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(rules)?
        .restrict_self()?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced, _) => Ok("files, TCP, signals".to_owned()),
        (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi, .. }) => {
            Ok(match effective_abi {
                ABI::V4 | ABI::V5 => "files, TCP; signals from Linux 6.12 on".to_owned(),
                _ => "files; TCP from Linux 6.7 on".to_owned(),
            })
        }
        (_, LandlockStatus::NotEnabled) => Err(Lack::Kernel("it was left out at boot: see `lsm=`")),
        _ => Err(Lack::Kernel("Landlock came with Linux 5.13")),
    }
}

/// What these rules were written for; later kernels may refuse more, once somebody has looked whether that does harm.
const KNOWN: ABI = ABI::V6;
