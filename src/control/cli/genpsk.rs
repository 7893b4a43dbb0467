//! `rvpn genpsk`: a new preshared key.

use rand::Rng;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::genkey::{Arguments, write_key};

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut key = Zeroizing::new([0; 32]);
    UnwrapErr(SysRng).fill_bytes(&mut *key);
    write_key(&key, arguments)
}
