//! The service from outside: the binary, a real Postgres, a payment provider in this process.
//! `DATABASE_URL` names a migrated database, of which each test takes a copy.

mod body;
mod health;
mod invoices;
mod payments;
mod settings;
mod subscriptions;
mod testkit;
