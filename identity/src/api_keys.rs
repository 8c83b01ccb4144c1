//! API keys of machines.
