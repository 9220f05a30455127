//! The reference participants of an online shop, each on a database of its own.

pub mod callbacks;
pub mod catalog;
pub mod channel;
pub mod clock;
pub mod coupons;
mod databases;
pub mod db;
pub mod equation;
pub mod gateway;
mod heard;
pub mod ids;
pub mod inventory;
pub mod lines;
pub mod money;
pub mod orders;
pub mod payments;
pub mod points;
pub mod price;
pub mod publishing;
pub mod push;
pub mod red_packets;
mod refusals;
pub mod requests;
pub mod sale;
pub mod shares;
pub mod shop;
pub mod vouchers;
pub mod warehouse;

pub use databases::PARTICIPANTS;
pub use sale::{Sale, Wallet};
pub use shop::{Ledger, Settings, Shop};

#[cfg(test)]
mod tests;
