//! A log's life beside appends: when segments roll, when they are deleted, and when their files go.

mod machine;
mod removal;
mod restart;
mod retention;
mod rolls;
mod timestamps;
