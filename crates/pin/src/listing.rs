//! The image server's folders and lists of digests.

/// Names of the dated folders in a listing, newest first: `release-20240423`,
/// and `release-20240423.1` if there were two on one day.
pub(crate) fn dated(html: &str) -> Vec<String> {
    let mut found: Vec<(u32, u32, String)> = html
        .split("release-")
        .skip(1)
        .filter_map(|rest| {
            let end = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            // A folder's name ends with a slash, a file's does not.
            if !rest[end..].starts_with('/') {
                return None;
            }
            let serial = &rest[..end];
            let (date, again) = serial.split_once('.').unwrap_or((serial, "0"));
            if date.len() != 8 {
                return None;
            }
            Some((
                date.parse().ok()?,
                again.parse().ok()?,
                format!("release-{serial}"),
            ))
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().rev().map(|(.., name)| name).collect()
}

/// The digest and the whole name of the one file in `sums` (the text of a
/// `SHA256SUMS`) whose name ends with `suffix`.
pub(crate) fn entry(sums: &str, suffix: &str) -> Option<(String, String)> {
    sums.lines().find_map(|line| {
        let (digest, name) = line.split_once([' ', '\t'])?;
        let name = name.trim_start_matches([' ', '\t', '*']).trim_end();
        let digest = digest.to_ascii_lowercase();
        let whole = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
        // It becomes part of an address: nothing that leads elsewhere.
        let plain = !name.contains("..")
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-/+~".contains(&b));
        (whole && plain && name.ends_with(suffix)).then(|| (digest, name.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_sorted_by_date_and_other_names_left_out() {
        let html = r#"<a href="release/">release/</a> <a href="release-20240423/">release-20240423/</a>
            <a href="release-20260108/">r</a> <a href="release-20260108.1/">r</a>
            <a href="release-20250101.txt">x</a> <a href="release-2024/">y</a>
            <a href="release-notes/">z</a>"#;
        assert_eq!(
            dated(html),
            ["release-20260108.1", "release-20260108", "release-20240423"]
        );
        assert!(dated("").is_empty());
    }

    #[test]
    fn an_entry_is_found_by_its_end_in_both_forms() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        let sums = format!(
            "{a} *ubuntu-24.04-server-cloudimg-amd64.img\n{b}  x-amd64.img.zst\nshort *y-amd64.img\n"
        );
        assert_eq!(
            entry(&sums, "-server-cloudimg-amd64.img"),
            Some((a, "ubuntu-24.04-server-cloudimg-amd64.img".to_owned()))
        );
        assert_eq!(
            entry(&sums, ".zst"),
            Some(("b".repeat(64), "x-amd64.img.zst".to_owned()))
        );
        assert_eq!(entry(&sums, "-arm64.img"), None);
        assert_eq!(
            entry(&format!("{} *../up-arm64.img", "a".repeat(64)), "arm64.img"),
            None
        );
    }
}
