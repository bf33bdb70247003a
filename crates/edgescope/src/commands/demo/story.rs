//! The story, told as it happens: calm, fault, alert, verdict.

use super::DemoArgs;
use super::company::Company;
use super::judge::{self, Judgement};
use super::seen::{self, Api, Said, Seen};
use super::simulated::Simulated;
use crate::client::DEFAULT_SERVER;
use crate::show;
use anyhow::anyhow;
use chrono::{DateTime, Utc};
use edgescope_model::alert::Alert;
use edgescope_model::verdict::{Answer, Verdict};
use edgescope_testbed::{Fault, Spec, Truth};
use serde::Serialize;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A quiet run is looked at for so long after the calm.
const QUIET_FOR: Duration = Duration::from_secs(90);
/// While nothing happens, how often it is told what comes next.
const PATIENCE_EVERY: Duration = Duration::from_secs(20);
/// Exit code of a simulated run, right or wrong: it proves nothing.
const SIMULATED: u8 = 3;
/// Exit code of a run that was interrupted, as a shell says it.
const INTERRUPTED: u8 = 130;

/// Where the story plays: on real packets, or simulated.
pub trait Stage {
    /// Where the user interface and the API are.
    fn http(&self) -> SocketAddr;
    /// An error if a part of it has ended.
    fn check(&mut self) -> anyhow::Result<()>;
    /// Makes the fault exist.
    fn inject(&mut self, fault: &Fault, seed: u64) -> anyhow::Result<Truth>;
    /// The truth with what the fault has really done up to now.
    fn truth(&mut self) -> anyhow::Result<Option<Truth>>;
    /// Ends everything in order; nothing is left behind.
    async fn stop(self) -> anyhow::Result<()>;
}

/// What `--json` prints at the end.
#[derive(Debug, Serialize)]
struct Outcome {
    right: bool,
    /// No kernel was read and no packet sent: the run proves nothing.
    simulated: bool,
    fault: Option<String>,
    seed: u64,
    topology: String,
    verdict: Option<Verdict>,
    /// Every verdict that any incident has had, in the order in which they were seen: the last word is not the only one that was read.
    said: Vec<Said>,
    /// No incident told: the verdict was asked for.
    was_asked_for: bool,
    /// Alerts of the fault.
    alerts: Vec<Alert>,
    /// Alerts that fired before there was a fault.
    alerts_false: Vec<Alert>,
    judgement: Judgement,
    truth: Option<Truth>,
    /// Seconds from the start to the last word.
    took_s: f64,
    /// Seconds from the start to the verdict that was judged, the first time it was seen.
    told_s: f64,
}

/// What is to be told.
pub struct Plot<'a> {
    pub args: &'a DemoArgs,
    pub spec: Spec,
    pub fault: Option<Fault>,
    /// Why the story is simulated; absent if it is not.
    pub simulated: Option<String>,
}

/// Prints a line with the time since the start; to standard error under `--json`.
pub struct Teller {
    started: Instant,
    json: bool,
}

impl Teller {
    /// Seconds since the start.
    pub fn elapsed_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// # Errors
    /// If nobody listens any more (`edgescope demo | head`): the demo cleans up and ends.
    pub fn say(&self, text: &str) -> anyhow::Result<()> {
        let elapsed = self.started.elapsed().as_secs();
        let line = format!("{:02}:{:02}  {text}\n", elapsed / 60, elapsed % 60);
        self.write(&line, !self.json)
    }

    fn write(&self, text: &str, to_stdout: bool) -> anyhow::Result<()> {
        let written = if to_stdout { show::out(text) } else { std::io::stderr().write_all(text.as_bytes()) };
        // Not passed on as it is: elsewhere a reader that has left is a good end.
        written.map_err(|error| anyhow!("nobody reads what the demo says: {error}"))
    }
}

/// Runs the demo to its end.
pub async fn tell(plot: Plot<'_>, http: TcpListener) -> anyhow::Result<ExitCode> {
    let teller = Teller { started: Instant::now(), json: plot.args.json };
    let spec = plot.spec.clone();
    match &plot.simulated {
        None => {
            teller.say("starting a shop of services in network namespaces, an agent on each node, and a server")?;
            let company = Company::start(plot.args, spec, http).await?;
            perform(&plot, company, &teller).await
        }
        Some(why) => {
            teller.say(&format!("SIMULATED: {why}; readings of a shop that is not there go the real way to a verdict, which proves nothing"))?;
            let simulated = Simulated::start(plot.args, spec, http).await?;
            perform(&plot, simulated, &teller).await
        }
    }
}

/// Plays on a stage that stands, and clears it away however that ends.
async fn perform(plot: &Plot<'_>, mut stage: impl Stage, teller: &Teller) -> anyhow::Result<ExitCode> {
    let interrupted = crate::commands::until_asked();
    tokio::pin!(interrupted);
    let ended = tokio::select! {
        biased;
        asked = &mut interrupted => asked.map(|()| None),
        outcome = play(plot, &mut stage, teller) => outcome.map(Some),
    };
    let told = match &ended {
        Ok(Some(outcome)) => epilogue(plot, outcome, &stage, teller),
        Ok(None) => teller.say("interrupted; cleaning up"),
        Err(_) => Ok(()),
    };
    if told.is_ok() && !plot.args.once && matches!(ended, Ok(Some(_))) {
        // Either way the demo ends now.
        let _ = interrupted.await;
        // Whether anybody still reads it or not.
        let _ = teller.say("ending; cleaning up");
    }
    let stopped = stage.stop().await;
    let outcome = ended?;
    told?;
    stopped?;
    Ok(match outcome {
        None => ExitCode::from(INTERRUPTED),
        Some(_) if plot.simulated.is_some() => ExitCode::from(SIMULATED),
        Some(outcome) if outcome.right => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

fn epilogue(plot: &Plot<'_>, outcome: &Outcome, stage: &impl Stage, teller: &Teller) -> anyhow::Result<()> {
    if plot.args.json {
        teller.write(&format!("{}\n", serde_json::to_string_pretty(outcome)?), true)?;
    }
    if outcome.simulated {
        teller
            .say(&format!("simulated: this run proves nothing (exit code {SIMULATED}); as root, on a kernel with BPF, it would be real packets"))?;
    }
    if plot.args.once {
        return Ok(());
    }
    let [edges, diagnose] = ["edges", "diagnose"].map(|name| command(name, stage.http()));
    teller.say(&format!("next: look around at http://{}, or run `{diagnose}` and `{edges}`", stage.http()))?;
    teller.say("the shop runs on until Ctrl-C, which removes all of it")
}

/// A command line that works as it stands: this program need not be on the PATH, nor the server where it is by default.
fn command(name: &str, http: SocketAddr) -> String {
    let program = std::env::current_exe().map_or_else(|_| "edgescope".to_owned(), |path| path.display().to_string());
    let url = format!("http://{http}");
    if url == DEFAULT_SERVER { format!("{program} {name}") } else { format!("{program} {name} --server {url}") }
}

/// Lets time pass, and ends early with an error if a part of the stage has ended.
pub async fn watch(stage: &mut impl Stage, wait: Duration) -> anyhow::Result<()> {
    tokio::time::sleep(wait).await;
    stage.check()
}

/// Lets a longer time pass, and says what comes at its end.
async fn wait(stage: &mut impl Stage, teller: &Teller, time: Duration, then: &str) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        watch(stage, left.min(PATIENCE_EVERY)).await?;
        let left = end.saturating_duration_since(Instant::now()).as_secs_f64().round();
        if left >= 1.0 {
            teller.say(&format!("next: in {left} s {then}"))?;
        }
    }
}

async fn play(plot: &Plot<'_>, stage: &mut impl Stage, teller: &Teller) -> anyhow::Result<Outcome> {
    let http = stage.http();
    teller.say(&format!(
        "open http://{http}  (from elsewhere: ssh -L {port}:{http} YOU@THIS-HOST, then http://127.0.0.1:{port})",
        port = http.port()
    ))?;
    let api = Api::new(http);
    let started = Utc::now();
    let then = if plot.fault.is_some() { "something goes wrong" } else { "nothing goes wrong" };
    teller.say(&format!("the shop is open; {} s of calm give the detectors a past, then {then}", plot.args.calm))?;
    teller.say(&format!("next: open that page, or run in another terminal: {}", command("edges", http)))?;
    wait(stage, teller, Duration::from_secs(plot.args.calm), then).await?;
    let Ending { seen, alerts_false, judgement, truth } = match &plot.fault {
        Some(fault) => break_it(plot, fault, &api, stage, teller, started).await?,
        None => leave_it(&api, stage, teller, started).await?,
    };
    Ok(Outcome {
        right: judgement.right,
        simulated: plot.simulated.is_some(),
        fault: truth.as_ref().map(|truth| truth.fault.to_string()),
        seed: plot.args.seed,
        topology: plot.args.topology.clone(),
        verdict: seen.verdict,
        said: seen.said,
        was_asked_for: seen.was_asked_for,
        alerts: seen.alerts,
        alerts_false,
        judgement,
        truth,
        took_s: teller.elapsed_s(),
        told_s: seen.told_s,
    })
}

/// How a run ended.
struct Ending {
    seen: Seen,
    alerts_false: Vec<Alert>,
    judgement: Judgement,
    truth: Option<Truth>,
}

async fn break_it(
    plot: &Plot<'_>,
    fault: &Fault,
    api: &Api,
    stage: &mut impl Stage,
    teller: &Teller,
    started: DateTime<Utc>,
) -> anyhow::Result<Ending> {
    let truth = stage.inject(fault, plot.args.seed)?;
    teller.say("something has just gone wrong in the network or in the shop; Edgescope was not told what")?;
    teller.say("next: an alert and a verdict, usually within half a minute")?;
    let (seen, verdict) = seen::fault(api, stage, teller, started, truth.injected_at).await?;
    let truth = stage.truth()?.unwrap_or(truth);
    let judgement = judge::fault(&verdict, &truth, seen.alerted_at);
    let mut alerts_false = api.alerts(started)?;
    alerts_false.retain(|alert| alert.fired_at.is_some_and(|at| at < truth.injected_at));
    let place = truth.peer.as_ref().map_or_else(|| truth.name.clone(), |peer| format!("{} → {peer}", truth.name));
    teller.say(&format!("the truth: {} at {place} ({}), injected {}", truth.fault, truth.class, truth.injected_at.format("%H:%M:%S UTC")))?;
    teller.say(&if judgement.right {
        "the verdict was right".to_owned()
    } else {
        format!("the verdict was wrong: {}", judgement.differences.join("; "))
    })?;
    Ok(Ending { seen, alerts_false, judgement, truth: Some(truth) })
}

async fn leave_it(api: &Api, stage: &mut impl Stage, teller: &Teller, started: DateTime<Utc>) -> anyhow::Result<Ending> {
    teller.say(&format!("next: in {} s the network is asked about", QUIET_FOR.as_secs()))?;
    let (seen, verdict) = seen::nothing(api, stage, teller, started, QUIET_FOR).await?;
    let accused = seen.said.iter().any(|said| said.verdict == Answer::Network);
    // Nothing was wrong: whatever fired was false.
    let alerts_false = api.alerts(started)?;
    Ok(Ending { judgement: judge::quiet(&verdict, accused), seen, alerts_false, truth: None })
}
