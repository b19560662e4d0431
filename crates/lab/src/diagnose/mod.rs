//! What usually stops a machine where it stands, and what shows it: from one
//! table, which `docs/troubleshooting.md` shows too.

#[cfg(test)]
mod cases;
mod console;
#[cfg(test)]
mod doc;
mod evidence;
mod saved;
mod table;

pub(crate) use console::{last_lines, plain};
pub use evidence::{Line, Source};
pub use saved::Saved;
pub use table::Diagnosis;
pub(crate) use table::{Names, diagnose};
