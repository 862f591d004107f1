//! Sliding window over packet numbers.
