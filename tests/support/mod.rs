//! A checkout of its own for the end-to-end test, and how it is driven: by
//! `make`, as a user would.

mod checkout;
mod outcome;

pub use checkout::Checkout;
pub use outcome::Outcome;
