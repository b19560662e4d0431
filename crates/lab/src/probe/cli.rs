//! The subcommand: a table for people.

use std::fmt::Write as _;
use std::time::Duration;

use super::ask::Answer;
use crate::config::Resolved;
use crate::exit::Status;
use crate::state::LabArgs;

/// Options of `lab probe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// Seconds that a service may take to answer.
    #[arg(long, value_name = "SECONDS", default_value_t = super::LIMIT.as_secs())]
    limit: u64,
}

/// Asks every service and shows what each said; exit status 1 unless all is well.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    let network = Resolved::new(lab.config()).network()?;
    let answers = super::ask(&lab, &network, Duration::from_secs(args.limit))?;
    print!("{}", table(&answers));
    if answers.iter().any(|answer| answer.said.is_err()) {
        return Err(Status(1).into());
    }
    Ok(())
}

/// A line for each answer, and where to look below those that are not well.
fn table(answers: &[Answer]) -> String {
    let width = answers.iter().map(|a| a.question.len()).max().unwrap_or(0);
    let mut text = String::new();
    for answer in answers {
        let (question, took) = (answer.question, answer.took.as_millis());
        let _ = match &answer.said {
            Ok(said) => writeln!(text, "ok    {question:width$}  {took:>5} ms  {said}"),
            Err(silence) => writeln!(
                text,
                "FAIL  {question:width$}  {took:>5} ms  {}\n      look: {}",
                silence.what, silence.look
            ),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Silence;

    #[test]
    fn what_people_see() {
        let answer = |question, took, said| Answer {
            question,
            took: Duration::from_millis(took),
            said,
        };
        let silence = Silence {
            what: "no answer within 8 s".to_owned(),
            look: "make ssh VM=server CMD='…'".to_owned(),
        };
        insta::assert_snapshot!(table(&[
            answer("DHCP (firmware)", 1012, Ok("ipxe.efi, 192.168.105.100 offered".to_owned())),
            answer("TFTP ipxe.efi", 8000, Err(silence)),
            answer("HTTP /healthz", 7, Ok("status 200".to_owned())),
        ]), @r"
        ok    DHCP (firmware)   1012 ms  ipxe.efi, 192.168.105.100 offered
        FAIL  TFTP ipxe.efi     8000 ms  no answer within 8 s
              look: make ssh VM=server CMD='…'
        ok    HTTP /healthz        7 ms  status 200
        ");
    }
}
