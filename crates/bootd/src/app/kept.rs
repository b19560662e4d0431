//! What is kept under one lock: records, events, and what was said lately.

use std::collections::VecDeque;

use protocol::{Event, Mac, Machine, Stage};

use super::{App, AppError, now};
use crate::{
    events::EventLog,
    machine::{Record, Records},
};

/// How many machines there may be records of, where unknown ones are installed.
const MACHINES: usize = 1024;
/// An event that any machine can cause without a token is kept once in this many milliseconds.
const QUIET: u64 = 60_000;

pub(super) struct Kept {
    pub(super) records: Records,
    pub(super) log: EventLog,
    /// What was said lately, so that asking over and over doesn't fill the log.
    pub(super) said: VecDeque<(u64, Option<Mac>, String)>,
}

impl App {
    /// Notes the error for the host to see, and gives it back.
    pub(super) fn template_failed<T>(
        &self,
        mac: Option<Mac>,
        error: AppError,
    ) -> Result<T, AppError> {
        let text = error.to_string();
        if let Some(mac) = mac {
            let kept = self.kept();
            if let Some(mut record) = kept.records.read(mac)?
                && record.template_error.as_ref() != Some(&text)
            {
                record.template_error = Some(text.clone());
                kept.records.write(&record)?;
            }
        }
        self.say_once(mac, Stage::Template, &text)?;
        Err(error)
    }

    /// Appends an event that anyone can cause, unless it was said lately.
    pub(super) fn say_once(
        &self,
        mac: Option<Mac>,
        stage: Stage,
        message: &str,
    ) -> anyhow::Result<()> {
        let now = now();
        let mut kept = self.kept();
        kept.said
            .retain(|(time, ..)| time.saturating_add(QUIET) > now);
        let full = kept.said.len() >= 64;
        if full
            || kept
                .said
                .iter()
                .any(|(_, who, what)| *who == mac && what == message)
        {
            return Ok(());
        }
        kept.said.push_back((now, mac, message.to_owned()));
        let event = Event {
            seq: 0,
            time: now,
            machine: None,
            mac,
            stage,
            state: None,
            message: Some(message.to_owned()),
            progress: None,
            detail: None,
        };
        self.append(&mut kept, &event, true)
    }

    pub(super) fn append(
        &self,
        kept: &mut Kept,
        event: &Event,
        durable: bool,
    ) -> anyhow::Result<()> {
        let last = kept.log.append(event.clone(), durable)?;
        self.last.send_replace(last);
        Ok(())
    }
}

impl Kept {
    /// The machine's record, made if there is none.
    pub(super) fn record(&self, machine: &Machine) -> anyhow::Result<Record> {
        if let Some(record) = self.records.read(machine.mac)? {
            return Ok(record);
        }
        anyhow::ensure!(
            self.records.count()? < MACHINES,
            "there are records of {MACHINES} machines already; remove what isn't needed"
        );
        let record = Record::new(machine.mac, &machine.name)?;
        self.records.write(&record)?;
        Ok(record)
    }
}
