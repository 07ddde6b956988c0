//! A driver of rdkafka, the Rust client over librdkafka; the protocol is in `../README.md`.

mod delivery;
mod driver;
mod refusal;
mod topics;

use std::io::{BufRead, Write};

use driver::Driver;
use serde_json::Value;

fn main() -> std::io::Result<()> {
    let Some(bootstrap) = std::env::args().nth(1) else {
        eprintln!("usage: compat-rdkafka BOOTSTRAP");
        std::process::exit(2);
    };
    let mut driver = Driver::new(bootstrap);
    let mut answers = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = driver.answer(&request).unwrap_or_else(|refusal| refusal.answer());
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}
