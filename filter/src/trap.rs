//! For test builds only: makes the VM trap where the configuration says.
