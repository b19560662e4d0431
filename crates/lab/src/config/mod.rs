//! `lab.toml`: as it is typed (`raw`), as it is meant (`Lab`), and the files
//! that each consumer reads (`resolve`).

mod check;
mod error;
mod extra;
mod model;
mod network;
mod raw;
mod resolve;
mod size;
mod templates;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, Problem};
pub use model::{
    Auto, BackendChoice, BootWay, DebianSource, DhcpServer, DistributionChoice, Install, Lab,
    Network, Server, Target, UbuntuSource,
};
pub use resolve::{Args, Command, Resolved, run};
pub use size::Size;
pub use templates::{files as template_files, usual as usual_template};
