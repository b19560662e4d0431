//! What Make's own options mean for a task: `make -n` says what would run, `-s` is silent, and so on.

/// Options of Make that concern us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one option of Make")]
pub struct MakeFlags {
    /// `-n`
    pub dry: bool,
    /// `-q`
    pub question: bool,
    /// `-s`
    pub silent: bool,
    /// `-B`
    pub force: bool,
    /// `-k`
    pub keep_going: bool,
    /// `-O`, but for `-Onone` and `-Oline`
    pub group: bool,
}

impl MakeFlags {
    /// Parses `MAKEFLAGS`: its first word, if it has neither dash nor `=`, holds the short options; options with
    /// a value have words of their own; what follows `--` are variables.
    pub fn parse(text: &str) -> Self {
        let mut flags = Self::default();
        let options = text.split(' ').take_while(|word| *word != "--");
        for option in
            options.filter_map(|w| w.strip_prefix("-O").or(w.strip_prefix("--output-sync=")))
        {
            flags.group = !matches!(option, "none" | "line");
        }
        if text.starts_with([' ', '-']) {
            return flags;
        }
        let letters = text.split(' ').next().unwrap_or("");
        if letters.contains(['=', '-']) {
            return flags;
        }
        for letter in letters.chars() {
            match letter {
                'n' => flags.dry = true,
                'q' => flags.question = true,
                's' => flags.silent = true,
                'B' => flags.force = true,
                'k' => flags.keep_going = true,
                _ => {}
            }
        }
        flags
    }

    /// Those of the Make that started us.
    pub fn here() -> Self {
        if std::env::var_os("MAKELEVEL").is_none() {
            return Self::default();
        }
        std::env::var("MAKEFLAGS").map_or(Self::default(), |f| Self::parse(&f))
    }
}

#[cfg(test)]
mod tests {
    use super::MakeFlags;

    #[test]
    fn forms_of_all_versions() {
        let n = MakeFlags {
            dry: true,
            ..MakeFlags::default()
        };
        assert_eq!(MakeFlags::parse("n"), n);
        assert_eq!(MakeFlags::parse("n -j4 --jobserver-auth=3,4"), n);
        assert_eq!(
            MakeFlags::parse(" -j4 --jobserver-auth=fifo:/tmp/n -- A=n"),
            MakeFlags::default()
        );
        assert_eq!(
            MakeFlags::parse("--jobserver-fds=3,4 -j"),
            MakeFlags::default()
        );
        assert_eq!(
            MakeFlags::parse("rR -- NAME=a\\ n\\ b"),
            MakeFlags::default()
        );
        assert_eq!(MakeFlags::parse("NAME=n"), MakeFlags::default());
        assert_eq!(MakeFlags::parse(""), MakeFlags::default());
        let ks = MakeFlags {
            keep_going: true,
            silent: true,
            ..MakeFlags::default()
        };
        assert_eq!(MakeFlags::parse("ks"), ks);
        let group = MakeFlags {
            group: true,
            ..MakeFlags::default()
        };
        assert_eq!(
            MakeFlags::parse(" -j2 -Otarget --jobserver-auth=3,4"),
            group
        );
        assert_eq!(MakeFlags::parse(" --output-sync=recurse"), group);
        assert_eq!(MakeFlags::parse(" -Oline"), MakeFlags::default());
        assert_eq!(MakeFlags::parse("-Onone"), MakeFlags::default());
        assert_eq!(MakeFlags::parse("-Isn"), MakeFlags::default());
        assert_eq!(MakeFlags::parse("rR -- A=x -Otarget"), MakeFlags::default());
    }
}
