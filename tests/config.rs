//! The configuration from outside: the files that are shipped, what mistakes look like, and that secrets
//! stay secret.

use std::path::Path;

use driftline::config::{self, Config, ConfigErrors, Purpose};

const WHSEC: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDAAAAAAAA";

/// Every variable has a value that fits its use, and that must never be seen.
fn environment(name: &str) -> Option<String> {
    Some(match name {
        "UNSET" => return None,
        name if name.contains("URL") => "https://hooks.example.com/services/seen-url".to_owned(),
        name if name.contains("ROUTING") => "0123456789abcdef0123456789abcdef".to_owned(),
        name if name.contains("SECRET") => WHSEC.to_owned(),
        _ => "seen-value".to_owned(),
    })
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    config::parse_for("driftline.toml", text, &environment, Purpose::Send)
}

#[test]
fn draft() {
    let text = std::fs::read_to_string("config/driftline.toml").unwrap();
    match config::parse("config/driftline.toml", &text, &environment) {
        Ok(c) => println!("{} {:#?}", c.id, c),
        Err(e) => println!("{}", e.render(false)),
    }
}
