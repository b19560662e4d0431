//! What the installer is told to do.

use serde::{Deserialize, Serialize};

use crate::{Digest, Mac};

/// One installation: the answer to `GET /plan/<mac>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The machine's name.
    pub machine: String,
    /// The machine's address; the installer compares it with its own.
    pub mac: Mac,
    /// Where the zstd-compressed raw disk image is.
    pub image_url: String,
    /// The digest of the compressed image.
    pub digest: Digest,
    /// Bytes of the compressed image.
    pub compressed_size: u64,
    /// Bytes of the disk image once decompressed.
    pub raw_size: u64,
    /// The disk to write, as `/dev/vda`; `auto` takes the first writable,
    /// non-removable one that is large enough.
    pub disk: String,
    /// What becomes the `NoCloud` seed of the installed system.
    pub seed: SeedUrls,
    /// The cloud-init instance that this installation makes.
    pub instance_id: String,
    /// What proves to `bootd` that a report is this installation's.
    pub token: String,
    /// Where reports are posted to.
    pub events_url: String,
}

/// Where the files of the `NoCloud` seed are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SeedUrls {
    /// `meta-data`.
    pub meta_data: String,
    /// `user-data`.
    pub user_data: String,
    /// `network-config`.
    pub network_config: String,
    /// `vendor-data`.
    pub vendor_data: String,
}
