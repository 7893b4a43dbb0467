//! The configuration protocol. SKELETON.
