//! The Internet checksum. SKELETON: helper fills in (RFC 1071, RFC 1624).
