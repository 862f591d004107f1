//! Splitting the kernel's super-packets into packets of one segment each, and merging neighbours back.
//!
//! Not for: reading or writing the device (`tun`).
