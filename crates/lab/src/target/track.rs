//! Where a machine is, from its events and its console, in the order in which
//! they come.

use super::point::Point;

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Track {
    /// The last point that it reached.
    pub(crate) at: Point,
    /// Where in the console's log it was then: what shows why it went no
    /// further is after that.
    pub(crate) from: u64,
}

/// What a sign made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is where it was.
    Stays,
    /// It reached a point that it had not reached before.
    Reached,
    /// It has started over, and is at the point that the sign names.
    StartsOver,
    /// The installed system's kernel starts: the second of its kernels.
    SecondKernel,
}

impl Track {
    /// A machine that was just switched on.
    pub(crate) fn new() -> Self {
        Self {
            at: Point::PowerOn,
            from: 0,
        }
    }

    /// Takes what the console shows at `offset`.
    pub(crate) fn console(&mut self, point: Point, offset: u64) -> Step {
        if point == Point::Firmware && (Point::Script..Point::Rebooting).contains(&self.at) {
            self.at = Point::PowerOn;
            self.reach(point, offset);
            return Step::StartsOver;
        }
        if point == Point::Kernel && self.at >= Point::Rebooting {
            return Step::SecondKernel;
        }
        self.reach(point, offset)
    }

    /// Takes an event that came when the console's log was so long.
    pub(crate) fn event(&mut self, point: Point, offset: u64) -> Step {
        // A script served once more: the machine has started over.
        if point == Point::Script && self.at > Point::Script {
            self.at = Point::Ipxe;
            self.reach(point, offset);
            return Step::StartsOver;
        }
        self.reach(point, offset)
    }

    fn reach(&mut self, point: Point, offset: u64) -> Step {
        if point <= self.at {
            return Step::Stays;
        }
        self.at = point;
        self.from = offset;
        Step::Reached
    }
}
