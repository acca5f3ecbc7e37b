//! What integration tests share. Each test file uses a part of it.

#![allow(dead_code, reason = "every test file compiles this for itself and uses a part of it")]

pub mod incidents;
pub mod outbox;
pub mod receiver;
pub mod transport;
