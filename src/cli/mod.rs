//! (being written)

pub mod test_alert;
