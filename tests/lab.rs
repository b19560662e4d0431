//! The lab end to end: a checkout of its own, `make up`, and everything that a
//! user does after it. The steps stand on each other and run in this order;
//! once the lab has not come up, those after it say so instead of waiting.

mod steps;

use std::sync::Mutex;

use e2e::Checkout;
use libtest_mimic::{Arguments, Failed, Trial};

/// A step of the test.
type Step = fn(&Checkout) -> anyhow::Result<()>;

/// Every step, in order.
const STEPS: &[(&str, Step)] = &[
    (
        "broken_input_is_refused_with_its_place",
        steps::input::broken_input,
    ),
    ("make_up_brings_up_server_and_target", steps::up::comes_up),
    ("the_server_runs_the_real_services", steps::up::services),
    ("the_target_is_installed_and_configured", steps::up::target),
    ("the_target_reaches_beyond_the_server", steps::up::beyond),
    (
        "consoles_show_every_stage_of_a_real_boot",
        steps::up::consoles,
    ),
    ("all_ways_to_look_at_the_lab_work", steps::look::all),
    ("a_second_make_up_runs_nothing", steps::change::nothing),
    (
        "an_edited_template_is_served_without_a_reboot",
        steps::change::template,
    ),
    (
        "a_killed_reprovision_goes_on_and_installs_with_the_edit",
        steps::change::reprovision,
    ),
    ("killed_machines_come_back", steps::life::killed),
    ("two_make_up_at_once_do_not_clash", steps::life::at_once),
    (
        "down_suspends_and_up_goes_on_from_there",
        steps::life::suspended,
    ),
    (
        "a_killed_resume_and_a_killed_suspend_go_on",
        steps::life::interrupted,
    ),
    (
        "damaged_memory_is_dropped_and_all_boots",
        steps::life::damaged,
    ),
    ("another_lab_beside_this_one", steps::life::beside),
    // from here on target1 is not installed, until the step after these
    (
        "a_stopped_dhcp_server_is_named",
        steps::diagnosis::dhcp_stopped,
    ),
    (
        "a_template_that_does_not_render_is_named",
        steps::diagnosis::template,
    ),
    (
        "a_content_disk_that_is_gone_is_named",
        steps::diagnosis::no_content,
    ),
    ("a_damaged_image_is_named", steps::diagnosis::damaged_image),
    (
        "a_web_server_that_stops_half_way_is_named",
        steps::diagnosis::web_server_stopped,
    ),
    (
        "a_missing_boot_program_is_named_and_its_target_starts_again",
        steps::diagnosis::starts_again,
    ),
    (
        "a_changed_service_is_a_new_server_and_two_targets_install_at_once",
        steps::change::service_and_second_target,
    ),
    (
        "every_task_is_deterministic_or_says_why_not",
        steps::change::deterministic,
    ),
    ("clean_leaves_nothing", steps::life::clean),
];

/// Of an error, what stands on the step's own line: its begin, and the lines in
/// which something failed. All of it is in the list at the end.
fn why(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let telling = |line: &&str| {
        let line = line.to_lowercase();
        ["error", "fail", "cause", "not active", "shown by"]
            .iter()
            .any(|word| line.contains(word))
    };
    let mut lines = text.lines();
    let begin: String = lines.next().unwrap_or_default().chars().take(400).collect();
    std::iter::once(begin.as_str())
        .chain(lines.filter(telling).take(6))
        .fold(String::new(), |said, line| said + "\n        | " + line)
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let shared: &'static Mutex<Option<Result<Checkout, String>>> =
        Box::leak(Box::new(Mutex::new(None)));
    let trials = STEPS
        .iter()
        .map(|(name, step)| {
            Trial::test(*name, move || {
                let mut guard = shared
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let checkout = guard
                    .get_or_insert_with(|| Checkout::new().map_err(|error| format!("{error:#}")));
                match checkout {
                    Ok(checkout) => {
                        let start = std::time::Instant::now();
                        let result = step(checkout);
                        let said = result.as_ref().map_or_else(why, |()| String::new());
                        eprintln!("    {name}: {:.1} s{said}", start.elapsed().as_secs_f64());
                        result.map_err(|error| Failed::from(format!("{error:#}")))
                    }
                    Err(error) => Err(Failed::from(error.clone())),
                }
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // before the process ends, so that nothing runs on
    drop(
        shared
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take(),
    );
    conclusion.exit();
}
