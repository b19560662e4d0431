//! Tells the server how far the installation is.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use protocol::{EventReport, Plan, Progress, Stage};

use crate::fetch::Client;

/// How often progress is reported, at most and at least.
const SOON: Duration = Duration::from_millis(500);
const LATE: Duration = Duration::from_secs(2);

/// Posts the plan's events. Stages are retried and must arrive; progress may get lost.
pub struct Reporter {
    plan: Plan,
    patient: Client,
    hasty: Client,
    last: Mutex<(Instant, u64)>,
}

impl Reporter {
    /// A reporter for the plan. `patient` is for stages, `hasty` for progress.
    pub fn new(plan: &Plan, patient: Client, hasty: Client) -> Self {
        let last = Mutex::new((Instant::now(), 0));
        Self {
            plan: plan.clone(),
            patient,
            hasty,
            last,
        }
    }

    /// Reports that `stage` was reached.
    pub fn stage(&self, stage: Stage, message: Option<String>) -> anyhow::Result<()> {
        self.patient
            .post(&self.plan.events_url, &self.report(stage, message, None)?)
    }

    /// Reports that the machine gives up, and why. Says on the console if that is not heard.
    pub fn failed(&self, error: &anyhow::Error) {
        if let Err(error) = self.stage(Stage::Failed, Some(format!("{error:#}"))) {
            eprintln!("lab: the server was not told: {error:#}");
        }
    }

    /// Reports progress of the stream in bytes, every 2 seconds or 2 %.
    pub fn progress(&self, done: u64) {
        let total = self.plan.compressed_size;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, step) = (last.0.elapsed(), done - last.1);
        if since < SOON || (since < LATE && step < total / 50) {
            return;
        }
        *last = (Instant::now(), done);
        let progress = Progress {
            done,
            total: Some(total),
        };
        let posted = self
            .report(Stage::Streaming, None, Some(progress))
            .and_then(|json| self.hasty.post(&self.plan.events_url, &json));
        eprintln!(
            "lab: {} of {} MiB{}",
            done >> 20,
            total >> 20,
            if posted.is_ok() {
                ""
            } else {
                " (not reported)"
            }
        );
    }

    fn report(
        &self,
        stage: Stage,
        message: Option<String>,
        progress: Option<Progress>,
    ) -> anyhow::Result<Vec<u8>> {
        let (mac, token) = (self.plan.mac, self.plan.token.clone());
        let report = EventReport {
            mac,
            token,
            stage,
            message,
            progress,
            detail: None,
        };
        Ok(serde_json::to_vec(&report)?)
    }
}
