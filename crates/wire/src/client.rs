//! The client's side: what the command line and the tests speak to a broker.

mod codec;
mod connection;

pub use codec::{decode_response, encode_request};
pub use connection::{Connection, ConnectionError};
