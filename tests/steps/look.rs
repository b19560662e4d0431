//! The ways to look at a lab that is up, through Make.

use anyhow::{Context as _, ensure};
use e2e::Checkout;
use serde_json::Value;

pub(crate) fn all(checkout: &Checkout) -> anyhow::Result<()> {
    status(checkout)?;
    timeline(checkout)?;
    trace(checkout)?;
    screen(checkout)?;
    pcap(checkout)?;
    console(checkout)
}

/// As JSON: nothing else is on standard output, and all is ready.
fn status(checkout: &Checkout) -> anyhow::Result<()> {
    for arguments in [["status", "JSON=1"], ["up", "JSON=1"]] {
        let told = checkout.make_printing(&arguments)?;
        let status: Value = serde_json::from_str(&told)
            .with_context(|| format!("make {} printed {told}", arguments.join(" ")))?;
        ensure!(status["exit"] == 0, "not all is ready: {status}");
        let names: Vec<_> = status["vms"]
            .as_array()
            .context("its VMs")?
            .iter()
            .map(|vm| (vm["name"].as_str(), vm["exit"].as_u64()))
            .collect();
        let expected = [(Some("server"), Some(0)), (Some("target1"), Some(0))];
        ensure!(names == expected, "{status}");
    }
    // it ends by itself where all is ready
    checkout
        .make(&["watch"])?
        .success()?
        .says(&["server: running, ready", "target1: running, ready"])
        .map(drop)
}

/// Every source is there, and the stages in their order.
fn timeline(checkout: &Checkout) -> anyhow::Result<()> {
    let told = checkout.make(&["timeline", "VM=target1"])?.success()?;
    let mut rest = told.text.as_str();
    for (source, what) in [
        ("host", "powered on"),
        ("serial", ">>Start PXE over IPv4"),
        ("dhcp", "DHCPACK on 192.168.105."),
        ("tftp", "filename ipxe.efi"),
        ("serial", "iPXE"),
        ("nginx", "200 GET /ipxe/boot.ipxe"),
        ("bootd", "script"),
        ("serial", "Linux version"),
        ("bootd", "verified"),
        ("serial", "GNU GRUB"),
        ("bootd", "ready"),
    ] {
        let line = rest
            .lines()
            .find(|line| line.contains(source) && line.contains(what))
            .with_context(|| format!("no {what:?} by {source} after that:\n{rest}"))?;
        let at = rest.find(line).unwrap_or_default() + line.len();
        rest = &rest[at..];
    }
    Ok(())
}

/// A Chrome trace with the tasks and both machines' stages on one axis.
fn trace(checkout: &Checkout) -> anyhow::Result<()> {
    let file = "build/labs/lab/trace.json";
    checkout.make(&["trace"])?.success()?.says(&[file])?;
    let trace: Value = serde_json::from_str(&checkout.read(file)?)?;
    let events = trace["traceEvents"].as_array().context("traceEvents")?;
    let spans = |of: &str| {
        let named = |event: &&Value| event["ph"] == "X" && event["name"] == of;
        let all = events.iter().filter(named);
        all.filter_map(|event| Some((event["ts"].as_u64()?, event["dur"].as_u64()?)))
            .collect::<Vec<_>>()
    };
    for stage in ["kernel", "streaming", "ready"] {
        ensure!(!spans(stage).is_empty(), "no stage {stage} in the trace");
    }
    ensure!(
        events.iter().any(|event| event["pid"] == 1),
        "no task in the trace"
    );
    // microseconds since 1970, all of them of the last hours
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = u64::try_from(now.as_micros())?;
    for time in events.iter().filter_map(|event| event["ts"].as_u64()) {
        let ago = now.saturating_sub(time);
        ensure!(
            time <= now + 60_000_000 && ago < 6 * 3600 * 1_000_000,
            "{time} is not of now ({now})"
        );
    }
    Ok(())
}

fn screen(checkout: &Checkout) -> anyhow::Result<()> {
    let file = "build/labs/lab/vm/target1/screen.png";
    checkout
        .make(&["screen", "VM=target1"])?
        .success()?
        .says(&[file])?;
    let picture = std::fs::read(checkout.path(file))?;
    // the signature, then IHDR with width and height
    ensure!(
        picture.starts_with(b"\x89PNG\r\n\x1a\n"),
        "{file} is no PNG"
    );
    let number = |at: usize| {
        let bytes = picture.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    ensure!(
        number(16) >= Some(640) && number(20) >= Some(400),
        "{file} is empty"
    );
    ensure!(picture.ends_with(b"IEND\xaeB\x60\x82"), "{file} is cut off");
    checkout
        .make(&["screen", "VM=server"])?
        .fails_with(&["make console VM=server"])
        .map(drop)
}

/// The captures are some, and of the lab's segment. The newer one may have been
/// begun just now.
fn pcap(checkout: &Checkout) -> anyhow::Result<()> {
    let told = checkout.make(&["pcap"])?.success()?;
    let mut packets = 0;
    for line in told.text.lines().filter(|line| line.contains(" MiB, ")) {
        let path = line.split_whitespace().next().unwrap_or_default();
        let capture = std::fs::read(checkout.path(path))?;
        packets += packets_of(&capture).with_context(|| format!("{path} is no capture"))?;
    }
    ensure!(packets > 100, "{packets} packets in {}", told.text);
    Ok(())
}

/// How many packets a capture has; none if it isn't one of Ethernet.
fn packets_of(capture: &[u8]) -> Option<usize> {
    let number = |at: usize| {
        let bytes = capture.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if number(0) != Some(0xa1b2_c3d4) || number(20) != Some(1) {
        return None;
    }
    let (mut at, mut packets) = (24, 0);
    while let Some(length) = number(at + 8) {
        at += 16 + usize::try_from(length).ok()?;
        packets += 1;
    }
    Some(packets)
}

/// Read-only, it shows the end of what is there and follows until it is ended.
fn console(checkout: &Checkout) -> anyhow::Result<()> {
    let log = checkout.read("build/labs/lab/vm/target1/serial.log")?;
    let last = log
        .lines()
        .rev()
        .find(|line| line.contains("cloud-init["))
        .context("a line of cloud-init's in the log")?
        .trim();
    let arguments = ["console", "VM=target1", "RO=1", "TIMES=1"];
    checkout.make_until(&arguments[..3], &[last])?;
    let timed = checkout.make_until(&arguments, &[last])?;
    // 16:07:46.250  [   85.475804] cloud-init[479]: …
    let line = timed.text.lines().find(|line| line.contains(last));
    let clock = line.and_then(|line| line.get(..14)).unwrap_or_default();
    ensure!(
        clock.matches(':').count() == 2 && clock.ends_with("  "),
        "no time before {line:?}"
    );
    checkout
        .make(&["console", "VM=nobody", "RO=1"])?
        .fails_with(&["no target is called", "nobody", "target1"])
        .map(drop)
}
