//! Special-purpose address space.
