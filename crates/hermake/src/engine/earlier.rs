//! What an output was before, as far as the store still has it.

use super::Engine;
use crate::fs::Digest;
use crate::fs::tree::{self, Node};
use crate::texts;

impl Engine {
    /// The text of the output at `path` when its tree had the digest `wanted`, if it is one file and not too long.
    pub fn output_text(&self, path: &str, wanted: &Digest) -> Option<String> {
        let makers = self.graph.tasks.iter();
        let maker = makers
            .filter(|t| t.outputs.iter().any(|o| o.path == path))
            .map(|t| t.name.as_str())
            .next()?;
        let digest = self
            .store
            .records()
            .filter(|record| record.task == maker)
            .flat_map(|record| record.outputs)
            .filter(|entries| tree::digest(entries) == *wanted)
            .find_map(|entries| match entries.as_slice() {
                [entry] => match entry.node {
                    Node::File(digest) => Some(digest),
                    _ => None,
                },
                _ => None,
            })?;
        texts::text(&self.store.blob(&digest)).filter(|text| Digest::of(text.as_bytes()) == digest)
    }
}
