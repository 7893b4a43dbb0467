//! Linux. SKELETON: helper fills in.
