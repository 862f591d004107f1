//! The binary in both roles: keys, configurations, start, status.
