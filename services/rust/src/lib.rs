//! The billing API: subscriptions, invoices and their payments.
//!
//! Reading order is call order: `main` -> [`api`] -> ([`paying`]) -> [`billing`] ->
//! [`postgres`] and [`payments`].
//! What is set to the same value as in the Go service, and why, is in the contract's table "Parity".

pub mod api;
pub mod billing;
pub mod config;
pub mod logging;
pub mod paying;
pub mod payments;
pub mod postgres;
