//! Linux. SKELETON: helper fills in.

pub mod alarm;
