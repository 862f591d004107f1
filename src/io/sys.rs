//! The only unsafe code: thin safe wrappers over single system calls.
#![allow(unsafe_code, reason = "system calls that neither std nor socket2 offers; each block has its proof")]
