//! The Firstwake server.
mod mqtt;
