//! Names of hosts in programs that are linked statically with glibc.
//!
//! Such a program's `getaddrinfo` loads the name service's libraries when it is called, which have to be of the very
//! glibc that it was linked with: after the next update of the system they need not be. So it is left to `getent`,
//! a program of the system's own that goes the same way (hosts, DNS, mDNS, systemd, whatever is set up).

use std::net::{IpAddr, SocketAddr};

use ureq::config::Config;

/// An agent that finds hosts as every other program of the machine does.
pub fn agent(config: Config) -> ureq::Agent {
    if cfg!(all(
        target_os = "linux",
        target_env = "gnu",
        target_feature = "crt-static"
    )) {
        let connector = ureq::unversioned::transport::DefaultConnector::default();
        ureq::Agent::with_parts(config, connector, getent::Getent)
    } else {
        config.into()
    }
}

/// What `getent ahosts` printed: an address at the start of each line, several times for several kinds of socket.
fn addresses(text: &str, port: u16) -> Vec<SocketAddr> {
    let mut out: Vec<SocketAddr> = Vec::new();
    for line in text.lines() {
        let address = line.split_whitespace().next().map(str::parse::<IpAddr>);
        if let Some(Ok(ip)) = address {
            let found = SocketAddr::new(ip, port);
            if !out.contains(&found) {
                out.push(found);
            }
        }
    }
    out
}

mod getent {
    use std::io::{self, Read as _};
    use std::net::{IpAddr, SocketAddr};
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use ureq::Error;
    use ureq::config::Config;
    use ureq::http::Uri;
    use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
    use ureq::unversioned::transport::NextTimeout;

    /// Asks `getent`; where it is missing, the C library.
    #[derive(Debug)]
    pub(crate) struct Getent;

    impl Resolver for Getent {
        fn resolve(
            &self,
            uri: &Uri,
            config: &Config,
            timeout: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, Error> {
            let usual = || DefaultResolver::default().resolve(uri, config, timeout);
            let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
                return usual();
            };
            let port = match (authority.port_u16(), scheme) {
                (Some(port), _) => port,
                (None, "http") => 80,
                (None, "https") => 443,
                _ => return usual(),
            };
            let host = authority.host().trim_matches(['[', ']']);
            let found = match host.parse::<IpAddr>() {
                Ok(ip) => vec![SocketAddr::new(ip, port)],
                Err(_) => match ask(host, port, *timeout.after) {
                    Ok(found) => found,
                    Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                        return Err(Error::Timeout(timeout.reason));
                    }
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return usual(),
                    Err(e) => return Err(e.into()),
                },
            };
            let mut out = self.empty();
            // as many as there is room for
            for address in config.ip_family().keep_wanted(found.into_iter()).take(16) {
                out.push(address);
            }
            if out.is_empty() {
                Err(Error::HostNotFound)
            } else {
                Ok(out)
            }
        }
    }

    /// The addresses of `host`; none if nobody knows it.
    pub(crate) fn ask(host: &str, port: u16, patience: Duration) -> io::Result<Vec<SocketAddr>> {
        // where it is on every system that has it; a task's PATH need not lead there
        let usual = "/usr/bin/getent";
        let there = std::path::Path::new(usual).exists();
        let mut child = Command::new(if there { usual } else { "getent" })
            .args(["ahosts", "--", host])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let started = Instant::now();
        // what it prints fits into a pipe
        while child.try_wait()?.is_none() {
            if started.elapsed() >= patience {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            sleep(Duration::from_millis(2));
        }
        let mut text = String::new();
        if let Some(mut out) = child.stdout.take() {
            out.read_to_string(&mut text)?;
        }
        Ok(super::addresses(&text, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_once_and_in_order() {
        let text = "::1             STREAM localhost\n::1             DGRAM  \n127.0.0.1       STREAM \n\nnonsense\n";
        let found = addresses(text, 80);
        assert_eq!(
            found,
            ["[::1]:80".parse().unwrap(), "127.0.0.1:80".parse().unwrap()]
        );
    }

    #[test]
    fn getent_knows_this_machine() {
        if !std::path::Path::new("/usr/bin/getent").exists() {
            // not glibc's system
            return;
        }
        let patience = std::time::Duration::from_secs(10);
        let found = getent::ask("localhost", 80, patience).unwrap();
        assert!(found.iter().any(|a| a.ip().is_loopback()), "{found:?}");
        assert!(
            getent::ask("no-such-host.invalid", 80, patience)
                .unwrap()
                .is_empty()
        );
    }
}
