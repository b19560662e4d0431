//! Whether a machine that has not moved for a while waits for a service that
//! doesn't run: then it waits in vain, and so does whoever follows it.

use std::time::{Duration, Instant};

use super::point::Point;
use crate::diagnose::{Line, Source};

/// A machine that has not moved for so long may be waiting for a service.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks. A service that is down at two of them is not one that is
/// being restarted.
const AGAIN: Duration = Duration::from_secs(8);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    asked: Option<Instant>,
    suspects: Vec<Line>,
}

impl Doubt {
    /// The service without which a machine that has stood at `at` for so long
    /// won't get further. `ask` says which services don't run.
    pub(super) fn look(
        &mut self,
        at: Point,
        waited: Duration,
        ask: impl FnOnce() -> Vec<Line>,
    ) -> Option<Line> {
        if waited < PATIENCE || needs(at).is_empty() {
            *self = Self::default();
            return None;
        }
        if self.asked.is_some_and(|asked| asked.elapsed() < AGAIN) {
            return None;
        }
        let mut down = ask();
        down.retain(|line| needs(at).contains(&line.source));
        let certain = down.iter().find(|line| self.suspects.contains(line));
        let certain = certain.cloned();
        self.suspects = down;
        self.asked = Some(Instant::now());
        certain
    }
}

/// Whose services a machine needs that is to go on from there. Without TFTP the
/// firmware boots by HTTP, so TFTP is not among them.
fn needs(at: Point) -> &'static [Source] {
    match at {
        Point::NetworkBoot => &[Source::Dhcp],
        Point::Ipxe => &[Source::Dhcp, Source::Nginx, Source::Bootd],
        Point::Script | Point::Installer | Point::Plan => &[Source::Nginx, Source::Bootd],
        Point::Streaming => &[Source::Nginx],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn down() -> Vec<Line> {
        vec![Line::new(Source::Dhcp, "isc-dhcp-server.service is failed")]
    }

    fn later(doubt: &mut Doubt) {
        doubt.asked = Instant::now().checked_sub(AGAIN);
    }

    #[test]
    fn a_service_is_down_for_good_if_it_is_down_twice() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.look(Point::NetworkBoot, LONG, down), None);
        assert_eq!(
            doubt.look(Point::NetworkBoot, LONG, || unreachable!("too soon")),
            None
        );
        later(&mut doubt);
        let certain = doubt.look(Point::NetworkBoot, LONG, down);
        assert_eq!(certain, down().pop());
    }

    #[test]
    fn one_that_was_restarted_or_is_not_needed_is_no_reason() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.look(Point::NetworkBoot, LONG, down), None);
        later(&mut doubt);
        assert_eq!(doubt.look(Point::NetworkBoot, LONG, Vec::new), None);
        later(&mut doubt);
        assert_eq!(doubt.look(Point::NetworkBoot, LONG, down), None);
        let mut streams = Doubt::default();
        for _ in 0..2 {
            assert_eq!(streams.look(Point::Streaming, LONG, down), None);
            later(&mut streams);
        }
        let mut moves = Doubt::default();
        let never = || unreachable!("it moves");
        assert_eq!(moves.look(Point::Ipxe, Duration::from_secs(5), never), None);
        assert_eq!(moves.look(Point::CloudInit, LONG, never), None);
    }
}
