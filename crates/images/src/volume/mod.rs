//! FAT volumes written by a library: the server's seed, the content disk and
//! the EFI system partition. No host tool and no root is needed, and the same
//! files always give the same bytes.

mod cli;
mod fat;

pub use cli::{Args, run};
pub use fat::{Entry, FatError, Volume};
