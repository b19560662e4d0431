//! What is fetched from other machines, against servers on this one, and made
//! of it.

mod download;
mod server;
mod target;
