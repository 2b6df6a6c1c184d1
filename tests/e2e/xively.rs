//! `/v2`: what firmware and apps that were written for Xively ask.

mod activation;
mod bridge;
mod feeds;
mod hostile;
mod products;
