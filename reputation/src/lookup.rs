//! Reading base and overlay together.
