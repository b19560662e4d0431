//! All questions at once, until all are answered or time is up.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::dhcp::{Client, Discover};
use super::http::Get;
use super::link::Link;
use super::plan::Plan;
use super::stack::Stack;
use super::tftp::Read;

/// The longest wait for a frame: then each question has its turn.
const TURN: Duration = Duration::from_millis(20);

/// What a service said to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was asked for, as `TFTP ipxe.efi`.
    pub question: &'static str,
    /// How long the answer took.
    pub took: Duration,
    /// What came, for people.
    pub said: Result<String, Silence>,
}

/// No answer, or not the one that a machine needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// What came instead.
    pub what: String,
    /// What to look at.
    pub look: String,
}

/// What came of a question; the error completes "NAME: …".
pub(super) type Said = Result<String, String>;

/// A question to a service.
pub(super) trait Question {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// Does what is due at `now`, counted from the beginning.
    fn turn(&mut self, now: Duration, stack: &mut Stack) -> Option<Said>;
    /// Looks at a frame before the stack does. Most come from other questions.
    fn see(&mut self, _frame: &[u8], _stack: &mut Stack) -> Option<Said> {
        None
    }
    /// What is said when time is up, completing "NAME: … within 8 s".
    fn overdue(&self) -> String;
    /// What to look at when it wasn't answered well.
    fn look(&self) -> String;
}

/// Asks over a stream of frames. What a service says or doesn't is in the
/// answers; an error is one of the stream's.
pub(super) fn ask(stream: UnixStream, plan: &Plan, limit: Duration) -> anyhow::Result<Vec<Answer>> {
    let mut questions: Vec<Box<dyn Question>> = vec![
        Box::new(Discover::new(Client::Firmware, plan)),
        Box::new(Discover::new(Client::Ipxe, plan)),
        Box::new(Read::new("ipxe.efi")),
        Box::new(Get::health()),
        Box::new(Get::kernel()),
    ];
    let mut answers: Vec<Option<Answer>> = vec![None; questions.len()];
    let (mut link, mut stack) = (Link::new(stream)?, Stack::new(plan));
    let start = Instant::now();
    loop {
        let now = start.elapsed();
        let over = now >= limit;
        for (question, answer) in questions.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                *answer = question
                    .turn(now, &mut stack)
                    .or_else(|| over.then(|| Err(overdue(&**question, limit))))
                    .map(|said| told(&**question, now, said));
            }
        }
        // once more after the last answer: it may call for a farewell
        stack.turn(now, &mut link)?;
        if over || answers.iter().all(Option::is_some) {
            return Ok(answers.into_iter().flatten().collect());
        }
        for frame in link.receive(TURN.min(limit.saturating_sub(now)))? {
            for (question, answer) in questions.iter_mut().zip(&mut answers) {
                if answer.is_none() {
                    *answer = question
                        .see(&frame, &mut stack)
                        .map(|said| told(&**question, start.elapsed(), said));
                }
            }
            stack.received(frame);
        }
        stack.turn(start.elapsed(), &mut link)?;
    }
}

fn overdue(question: &dyn Question, limit: Duration) -> String {
    format!("{} within {} s", question.overdue(), limit.as_secs_f32())
}

fn told(question: &dyn Question, took: Duration, said: Said) -> Answer {
    Answer {
        question: question.name(),
        took,
        said: said.map_err(|what| Silence {
            what,
            look: question.look(),
        }),
    }
}
