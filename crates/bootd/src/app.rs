//! What each request does, without HTTP.

mod error;
mod kept;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use protocol::{
    Event, EventPage, EventReport, Mac, Machine, MachineState, MachineStatus, Plan, Stage,
    UnknownMachines, one_line,
};
use tokio::sync::watch;

use crate::{
    check::unnamed,
    events::EventLog,
    machine::{Record, Records},
    render::{Asked, Subject, What, plan},
    site::{CurrentSite, LoadedSite},
};
pub use error::AppError;
use kept::Kept;

/// Characters of a message that are kept.
const MESSAGE: usize = 2000;
/// Bytes of a report's detail that are kept.
const DETAIL: usize = 16 << 10;

/// The site, the machines and the events.
pub struct App {
    site: CurrentSite,
    kept: Mutex<Kept>,
    last: watch::Sender<u64>,
}

impl App {
    /// Opens the state in `state` for the site at `site`.
    pub fn open(site: &Path, state: &Path) -> anyhow::Result<Self> {
        let records = Records::open(&state.join("machines"))?;
        let log = EventLog::open(state)?;
        let (last, _) = watch::channel(log.last());
        let kept = Mutex::new(Kept {
            records,
            log,
            said: std::collections::VecDeque::new(),
        });
        Ok(Self {
            site: CurrentSite::new(site),
            kept,
            last,
        })
    }

    /// The script that collects what the machine is and asks again.
    pub fn boot_script(&self) -> Result<String, AppError> {
        let loaded = self.site(None)?;
        let subject = Subject {
            site: &loaded.site,
            machine: None,
            record: None,
            mac: None,
            asked: Asked::default(),
        };
        self.render(&loaded, What::Boot, &subject)
    }

    /// The script for the machine: install, boot the disk, or refuse.
    pub fn script(&self, mac: Mac, asked: Asked) -> Result<String, AppError> {
        let loaded = self.site(Some(mac))?;
        let site = &loaded.site;
        let Some(machine) = find(&loaded, mac) else {
            let refuse = site.unknown_machines == UnknownMachines::Refuse;
            let what = if refuse { What::Refuse } else { What::Local };
            let product = one_line(&asked.product, 64);
            let subject = Subject {
                site,
                machine: None,
                record: None,
                mac: Some(mac),
                asked,
            };
            let script = self.render(&loaded, what, &subject)?;
            if refuse {
                self.say_once(
                    Some(mac),
                    Stage::Refused,
                    &format!("unknown machine {mac} {product}"),
                )?;
            }
            return Ok(script);
        };
        let mut kept = self.kept();
        let mut record = kept.record(&machine)?;
        let what = if record.installs() {
            What::Install
        } else {
            What::Local
        };
        let subject = Subject {
            site,
            machine: Some(&machine),
            record: Some(&record),
            mac: Some(mac),
            asked,
        };
        let script = match loaded.templates.render(what, &subject) {
            Ok(script) => script,
            Err(error) => {
                drop(kept);
                return self.template_failed(Some(mac), error.into());
            }
        };
        record.template_error = None;
        let message = if what == What::Install {
            record.reach(Stage::Script, now(), None);
            None
        } else {
            Some("told to boot its disk".to_owned())
        };
        kept.records.write(&record)?;
        self.append(
            &mut kept,
            &event(&machine, &record, Stage::Script, message),
            true,
        )?;
        Ok(script)
    }

    /// What the installer is to do.
    pub fn plan(&self, mac: Mac) -> Result<Plan, AppError> {
        let loaded = self.site(Some(mac))?;
        let machine = find(&loaded, mac).ok_or(AppError::Unknown(mac))?;
        let mut kept = self.kept();
        let mut record = kept.record(&machine)?;
        if !record.installs() {
            return Err(AppError::Done {
                name: machine.name,
                state: record.state,
            });
        }
        record.reach(Stage::Plan, now(), None);
        kept.records.write(&record)?;
        self.append(
            &mut kept,
            &event(&machine, &record, Stage::Plan, None),
            true,
        )?;
        Ok(plan(&loaded.site, &machine, &record))
    }

    /// One of cloud-init's files for the machine.
    pub fn cloud_init(&self, mac: Mac, what: What) -> Result<String, AppError> {
        let loaded = self.site(Some(mac))?;
        let machine = find(&loaded, mac).ok_or(AppError::Unknown(mac))?;
        let record = self.kept().record(&machine)?;
        let subject = Subject {
            site: &loaded.site,
            machine: Some(&machine),
            record: Some(&record),
            mac: Some(mac),
            asked: Asked::default(),
        };
        let text = self.render(&loaded, what, &subject)?;
        if record.template_error.is_some() {
            let kept = self.kept();
            let mut record = kept.record(&machine)?;
            record.template_error = None;
            kept.records.write(&record)?;
        }
        Ok(text)
    }

    /// Takes a machine's report.
    pub fn report(&self, mut report: EventReport) -> Result<(), AppError> {
        let loaded = self.site(None)?;
        let machine = find(&loaded, report.mac).ok_or(AppError::Unknown(report.mac))?;
        report.message = report.message.map(|message| one_line(&message, MESSAGE));
        let detail = report.detail.take().map(bounded);
        let mut kept = self.kept();
        let mut record = kept.record(&machine)?;
        record.report(&report, now())?;
        kept.records.write(&record)?;
        let mut event = event(&machine, &record, report.stage, report.message);
        event.progress = report.progress;
        event.detail = detail;
        // progress comes every second or so and may get lost in a crash; the rest may not
        let durable = report.progress.is_none();
        self.append(&mut kept, &event, durable)?;
        Ok(())
    }

    /// Where every machine of the lab is.
    pub fn machines(&self) -> Result<Vec<MachineStatus>, AppError> {
        let loaded = self.site(None)?;
        let kept = self.kept();
        let mut machines = Vec::new();
        for machine in &loaded.site.machines {
            // one that can't be read is that machine's trouble, and not the others'
            machines.push(match kept.record(machine) {
                Ok(record) => record.status(machine),
                Err(error) => unreadable(machine, &error),
            });
        }
        Ok(machines)
    }

    /// The events after number `since`.
    pub fn events(&self, since: u64) -> EventPage {
        self.kept().log.page(since)
    }

    /// Tells the number of the last event, now and whenever there is one more.
    pub fn last_event(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Has the machine installed anew: new instance, new token.
    pub fn reprovision(&self, mac: Mac) -> Result<(), AppError> {
        let loaded = self.site(None)?;
        let machine = find(&loaded, mac).ok_or(AppError::Unknown(mac))?;
        let mut record = Record::new(mac, &machine.name)?;
        record.reach(Stage::Reprovision, now(), None);
        let mut kept = self.kept();
        kept.records.write(&record)?;
        self.append(
            &mut kept,
            &event(&machine, &record, Stage::Reprovision, None),
            true,
        )?;
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // a panic in another request leaves files that are whole, so this one can go on
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn site(&self, mac: Option<Mac>) -> Result<Arc<LoadedSite>, AppError> {
        self.site
            .get()
            .or_else(|error| self.template_failed(mac, error.into()))
    }

    fn render(
        &self,
        loaded: &LoadedSite,
        what: What,
        subject: &Subject,
    ) -> Result<String, AppError> {
        let rendered = loaded.templates.render(what, subject);
        rendered.or_else(|error| self.template_failed(subject.mac, error.into()))
    }
}

/// The machine with this address; if the site installs unknown ones, any.
fn find(loaded: &LoadedSite, mac: Mac) -> Option<Machine> {
    let known = loaded.site.machine(mac).cloned();
    let install = loaded.site.unknown_machines == UnknownMachines::Install;
    known.or_else(|| install.then(|| unnamed(mac)))
}

/// The status of a machine whose record can't be read.
fn unreadable(machine: &Machine, error: &anyhow::Error) -> MachineStatus {
    MachineStatus {
        name: machine.name.clone(),
        mac: machine.mac,
        hostname: machine.hostname.clone(),
        state: MachineState::Failed,
        stage: None,
        time: None,
        message: Some(format!("{error:#}")),
        progress: None,
        template_error: None,
        instance_id: String::new(),
    }
}

fn event(machine: &Machine, record: &Record, stage: Stage, message: Option<String>) -> Event {
    Event {
        seq: 0,
        time: now(),
        machine: Some(machine.name.clone()),
        mac: Some(machine.mac),
        stage,
        state: Some(record.state),
        message,
        progress: None,
        detail: None,
    }
}

fn bounded(detail: serde_json::Value) -> serde_json::Value {
    let bytes = detail.to_string().len();
    if bytes <= DETAIL {
        return detail;
    }
    serde_json::json!({ "dropped": format!("{bytes} bytes, more than {DETAIL}") })
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
