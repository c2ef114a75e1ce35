//! What is known about addresses.
