//! The steps of the end-to-end test, by what they are about.

pub(crate) mod change;
pub(crate) mod diagnosis;
pub(crate) mod input;
pub(crate) mod life;
pub(crate) mod look;
pub(crate) mod up;
