//! The story, told as it happens: calm, fault, alert, verdict.

use super::DemoArgs;
use super::company::Company;
use super::judge::{self, Judgement};
use crate::client::Asking;
use anyhow::Context;
use chrono::{DateTime, Utc};
use edgescope_model::alert::{Alert, AlertState, Incident};
use edgescope_model::verdict::{Answer, Verdict};
use edgescope_server::api::alerts::{AlertsAnswer, IncidentsAnswer};
use edgescope_testbed::{Fault, Spec, Truth};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often the API is asked what has happened.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A fault that has raised no alert by then raises none: ten windows and more.
const ALERT_PATIENCE: Duration = Duration::from_secs(120);
/// A verdict is taken when it has stood for three windows and more, so that it rests on more than the first bad one.
const VERDICT_STANDS: Duration = Duration::from_secs(40);
/// And at the latest so long after the alert.
const VERDICT_PATIENCE: Duration = Duration::from_secs(60);
/// A quiet run is looked at for so long after the calm.
const QUIET_FOR: Duration = Duration::from_secs(90);

/// What `--json` prints at the end.
#[derive(Debug, Serialize)]
struct Outcome {
    right: bool,
    fault: Option<String>,
    seed: u64,
    topology: String,
    verdict: Option<Verdict>,
    alerts: Vec<Alert>,
    judgement: Judgement,
    truth: Option<Truth>,
    took_s: f64,
}

/// Prints a line with the time since the start; to standard error under `--json`.
struct Teller {
    started: Instant,
    json: bool,
}

impl Teller {
    fn say(&self, text: &str) {
        let elapsed = self.started.elapsed().as_secs();
        let line = format!("{:02}:{:02}  {text}", elapsed / 60, elapsed % 60);
        if self.json {
            eprintln!("{line}")
        } else {
            println!("{line}")
        }
        // A closed pipe must not end the demo before it has cleaned up.
        let _ = std::io::stdout().flush();
    }
}

/// Runs the demo to its end.
pub async fn tell(args: &DemoArgs, spec: Spec, fault: Option<Fault>) -> anyhow::Result<ExitCode> {
    let teller = Teller { started: Instant::now(), json: args.json };
    teller.say("starting a shop of services in network namespaces, an agent on each node, and a server");
    let mut company = Company::start(args, spec).await?;
    teller.say(&format!(
        "open http://{}  (from elsewhere: ssh -L {port}:{} YOU@THIS-HOST, then http://127.0.0.1:{port})",
        company.http,
        company.http,
        port = company.http.port()
    ));
    let interrupted = crate::commands::until_asked();
    tokio::pin!(interrupted);
    let ended = tokio::select! {
        outcome = play(args, fault.as_ref(), &mut company, &teller) => Some(outcome?),
        _ = &mut interrupted => None,
    };
    let Some(outcome) = ended else {
        teller.say("interrupted; cleaning up");
        company.stop().await?;
        return Ok(ExitCode::from(130));
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    }
    if !args.once {
        teller.say("the shop runs on until Ctrl-C: look around in the browser, or try `edgescope edges`, `edgescope top`, `edgescope diagnose`");
        // Either way the demo ends now.
        let _ = interrupted.await;
    }
    company.stop().await?;
    Ok(if outcome.right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn play(args: &DemoArgs, fault: Option<&Fault>, company: &mut Company, teller: &Teller) -> anyhow::Result<Outcome> {
    let api = Api(Asking { server: format!("http://{}", company.http), token_file: None, json: true });
    let started = Utc::now();
    teller.say(&format!(
        "the shop is open; {} s of calm give the detectors a past, then {}",
        args.calm,
        if fault.is_some() { "something goes wrong" } else { "nothing goes wrong" }
    ));
    company.watch(Duration::from_secs(args.calm)).await?;
    let Some(fault) = fault else { return quiet(args, &api, company, teller, started).await };
    let truth = company.inject(fault, args.seed)?;
    teller.say("something has just gone wrong in the network or in the shop; Edgescope was not told what");
    let (alerts, verdict) = follow(&api, company, teller, started, truth.injected_at).await?;
    let truth = company.truth()?.unwrap_or(truth);
    let alerted_at = alerts.iter().filter_map(|a| a.fired_at).min();
    let judgement = judge::fault(&verdict, &truth, alerted_at);
    teller.say(&format!("the truth: {} ({}), injected {}", truth.fault, truth.class, truth.injected_at.format("%H:%M:%S UTC")));
    teller.say(&if judgement.right {
        "the verdict was right".to_owned()
    } else {
        format!("the verdict was wrong: {}", judgement.differences.join("; "))
    });
    Ok(Outcome {
        right: judgement.right,
        fault: Some(truth.fault.to_string()),
        seed: args.seed,
        topology: args.topology.clone(),
        verdict: Some(verdict),
        alerts,
        judgement,
        truth: Some(truth),
        took_s: teller.started.elapsed().as_secs_f64(),
    })
}

async fn quiet(args: &DemoArgs, api: &Api, company: &mut Company, teller: &Teller, started: DateTime<Utc>) -> anyhow::Result<Outcome> {
    company.watch(QUIET_FOR).await?;
    let verdict = api.diagnose(started)?;
    teller.say(&format!("verdict: {}", verdict.summary));
    let alerts = api.alerts(started)?;
    // An incident's verdict counts as well as the one just asked for.
    let accused = api.incidents(started)?.into_iter().filter_map(|i| i.verdict).find(|v| v.verdict == Answer::Network);
    let judgement = judge::quiet(accused.as_ref().unwrap_or(&verdict));
    Ok(Outcome {
        right: judgement.right,
        fault: None,
        seed: args.seed,
        topology: args.topology.clone(),
        verdict: Some(accused.unwrap_or(verdict)),
        alerts,
        judgement,
        truth: None,
        took_s: teller.started.elapsed().as_secs_f64(),
    })
}

/// Watches the API as a person would: the alert, then the verdict of its incident until it stands.
async fn follow(
    api: &Api,
    company: &mut Company,
    teller: &Teller,
    started: DateTime<Utc>,
    injected_at: DateTime<Utc>,
) -> anyhow::Result<(Vec<Alert>, Verdict)> {
    let began = Instant::now();
    let mut alerted: Option<Instant> = None;
    let mut standing: Option<(Verdict, Instant)> = None;
    loop {
        company.watch(LOOK_EVERY).await?;
        let alerts = api.alerts(injected_at)?;
        if alerted.is_none()
            && let Some(first) = alerts.first()
        {
            alerted = Some(Instant::now());
            teller.say(&format!("ALERT {} · {}", first.detector, first.summary));
        }
        let incident = api.incidents(injected_at)?.into_iter().find(|i| i.verdict.is_some());
        if let Some(verdict) = incident.and_then(|i| i.verdict) {
            let same = standing.as_ref().is_some_and(|(v, _)| (v.verdict, v.class, &v.culprit) == (verdict.verdict, verdict.class, &verdict.culprit));
            if !same {
                teller.say(&format!("VERDICT {} · {}", verdict.verdict, verdict.summary));
            }
            let since = standing.as_ref().filter(|_| same).map_or_else(Instant::now, |(_, since)| *since);
            standing = Some((verdict, since));
        }
        let stands = standing.as_ref().is_some_and(|(_, since)| since.elapsed() >= VERDICT_STANDS);
        let late = alerted.map_or(began.elapsed() >= ALERT_PATIENCE, |at| at.elapsed() >= VERDICT_PATIENCE);
        if !stands && !late {
            continue;
        }
        let verdict = match standing {
            Some((verdict, _)) => verdict,
            // Nothing fired: what a person would be told who asks all the same.
            None => {
                let verdict = api.diagnose(started)?;
                teller.say(&format!("no incident; asked for a verdict: {} · {}", verdict.verdict, verdict.summary));
                verdict
            }
        };
        return Ok((alerts, verdict));
    }
}

/// The few questions that the demo asks, as any user would.
struct Api(Asking);

impl Api {
    /// Alerts that fired since, earliest first.
    fn alerts(&self, since: DateTime<Utc>) -> anyhow::Result<Vec<Alert>> {
        let mut alerts = self.get::<AlertsAnswer>("/alerts", &[])?.alerts;
        alerts.retain(|a| a.state != AlertState::Pending && a.fired_at.is_some_and(|at| at >= since));
        alerts.sort_by_key(|a| a.fired_at);
        Ok(alerts)
    }

    /// Incidents opened since, newest first.
    fn incidents(&self, since: DateTime<Utc>) -> anyhow::Result<Vec<Incident>> {
        let mut incidents = self.get::<IncidentsAnswer>("/incidents", &[])?.incidents;
        incidents.retain(|i| i.opened_at >= since);
        incidents.sort_by_key(|i| std::cmp::Reverse(i.opened_at));
        Ok(incidents)
    }

    fn diagnose(&self, from: DateTime<Utc>) -> anyhow::Result<Verdict> {
        self.get("/diagnose", &[("from", from.to_rfc3339()), ("to", "now".to_owned())])
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str, parameters: &[(&str, String)]) -> anyhow::Result<T> {
        tokio::task::block_in_place(|| self.0.get(path, parameters)).with_context(|| format!("asking {path}"))
    }
}
