//! Bad input: one clear line that says what is wrong and what to do, and nothing that was stored is lost.

use edgescope_testbed::netns::tool;
use edgescope_tests::agent::interval_s;
use edgescope_tests::program::{self, Process, finish};
use edgescope_tests::{Agent, AgentSpec, Api, Place, Scene, Server, ServerSpec, scene, until};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// A refusal comes at once; the machine may be busy.
const AT_ONCE: Duration = Duration::from_secs(20);
/// From the start of a demo until its agents are known.
const START: Duration = Duration::from_secs(60);
/// An agent tries a server again within this, however often it was refused.
const TRIED_AGAIN: Duration = Duration::from_secs(90);
/// From the start of a simulated demo with 40 s of calm to its verdict.
const SIMULATED: Duration = Duration::from_secs(240);

/// What a command said when it refused: its one line.
fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it did not refuse; it said: {said}");
    assert!(!said.contains("panicked"), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("edgescope: ")).collect();
    assert_eq!(lines.len(), 1, "one line must say it: {said}");
    assert_eq!(said.lines().next_back(), Some(lines[0]), "it must be the last one: {said}");
    println!("{}", lines[0]);
    lines[0].to_owned()
}

/// Runs the product, which must refuse in one line that has all of these words.
fn refused(arguments: &[&str], words: &[&str]) {
    says(&refusal(&program::run(arguments, AT_ONCE)), words);
}

fn says(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{word:?} is missing in: {line}");
    }
}

#[test]
fn configuration_that_cannot_be_used() {
    let scene = Scene::new("config");
    let file = |name: &str, text: &str| scene.write(name, text).to_string_lossy().into_owned();
    let misspelt = file("misspelt.yaml", "server:\n  lisen: 127.0.0.1:8100\n");
    refused(&["server", "--config", &misspelt], &["misspelt.yaml", "lisen", "listen", "line 2"]);
    let wrong = file("wrong.yaml", "agent:\n  interval: soon\n");
    refused(&["agent", "--config", &wrong], &["wrong.yaml", "soon", "interval", "line 2"]);
    let broken = file("broken.yaml", "server: [\n");
    refused(&["server", "--config", &broken], &["broken.yaml"]);
    let rule = file("rule.yaml", "identity:\n  rules:\n    - match: {}\n      workload: shop\n");
    refused(&["server", "--config", &rule], &["rule.yaml", "line 3", "identity.rules[0].match"]);
    refused(&["agent", "--config", &rule], &["rule.yaml", "line 3", "identity.rules[0].match"]);
    refused(&["server", "--server-listen", "nonsense"], &["server", "listen", "nonsense"]);
    let data = scene.path("data");
    let store = data.to_string_lossy();
    refused(&["server", "--server-listen", "0.0.0.0:0", "--store-path", &store], &["0.0.0.0:0", "server.tls", "server.insecure"]);
    let tokens = file("tokens", "viewer:nonsense\n");
    refused(&["server", "--server-tokens-file", &tokens, "--store-path", &store], &["tokens, line 1", "edgescope config token"]);
    refused(&["server", "--server-tls-cert", &tokens, "--server-tls-key", &tokens, "--store-path", &store], &["server.tls.cert", "tokens"]);
    assert!(!data.exists(), "a server that was refused made its store");
    let mut command = program::command(&["server"]);
    command.env("EDGESCOPE_STORE_PAHT", "/tmp/x");
    says(&refusal(&finish(command, AT_ONCE)), &["EDGESCOPE_STORE_PAHT"]);
}

#[test]
fn configuration_that_cannot_be_read() {
    let scene = Scene::new("unreadable");
    refused(&["server", "--config", "/nowhere/edgescope.yaml"], &["/nowhere/edgescope.yaml", "--config", "No such file"]);
    refused(&["server", "--config", &scene.dir().to_string_lossy()], &[&*scene.dir().to_string_lossy(), "not a file", "--config"]);
    let path = scene.path("latin1.yaml");
    fs::write(&path, b"agent:\n  node: caf\xe9\n").expect("a file can be written");
    refused(&["agent", "--config", &path.to_string_lossy()], &["latin1.yaml", "line 2", "UTF-8"]);
    let hidden = scene.write("hidden.yaml", "agent: {}\n");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600)).expect("a mode can be set");
    let command = as_nobody(&["agent", "--config", &hidden.to_string_lossy()]);
    says(&refusal(&finish(command, AT_ONCE)), &["hidden.yaml", "Permission denied", "who may read it"]);
}

#[test]
fn questions_that_cannot_be_answered() {
    let scene = Scene::new("questions");
    let mut spec = ServerSpec::new(&scene, "server");
    // The one token that is known hashes to something else.
    let tokens = scene.write("tokens", &format!("viewer:{}:nobody\n", "ab".repeat(32)));
    spec.more = serde_json::json!({ "server": { "tokens_file": tokens } });
    let guarded = Server::start(&scene, spec);
    let token = scene.write("token", "wrong\n").to_string_lossy().into_owned();
    refused(&["edges", "--server", &guarded.url(), "--token-file", &token], &["token", "--token-file"]);
    refused(&["edges", "--server", &guarded.url()], &["--token-file"]);
    let open = Server::start(&scene, ServerSpec::new(&scene, "open"));
    let url = open.url();
    refused(&["edges", "--server", &url, "--filter", "sourc.zone = 'a'"], &["sourc.zone", "source.zone"]);
    refused(&["edges", "--server", &url, "--filter", "source.zone = "], &["filter"]);
    refused(&["edges", "--server", &url, "--group-by", "source.wrkload"], &["source.wrkload", "source.workload"]);
    refused(&["edges", "--server", &url, "--measures", "tcp.byte"], &["tcp.byte", "tcp.bytes"]);
    refused(&["edges", "--server", &url, "--from", "yesterday-ish"], &["yesterday-ish", "RFC 3339"]);
    refused(&["edges", "--server", &url, "--from", "now", "--to", "-15m"], &["range"]);
    refused(&["diagnose", "--server", &url, "--to", "someday"], &["someday", "RFC 3339"]);
    let nobody = format!("http://127.0.0.1:{}", scene::free_port());
    refused(&["edges", "--server", &nobody], &[&nobody, "--server"]);
}

#[test]
fn a_port_in_use_and_a_store_that_is_none() {
    let scene = Scene::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("bound").to_string();
    let (store, free) = (scene.path("data").to_string_lossy().into_owned(), format!("127.0.0.1:{}", scene::free_port()));
    refused(&["server", "--store-path", &store, "--server-listen", &address, "--intake-listen", &free], &[&address, "server.listen"]);
    refused(&["server", "--store-path", &store, "--server-listen", &free, "--intake-listen", &address], &[&address, "intake.listen"]);
    refused(&["demo", "--once", "--listen", &address], &[&address, "--listen"]);
    refused(&["demo", "--once", "--simulate", "--listen", &address], &[&address, "--listen"]);
    refused(&["demo", "--once", "--listen", "0.0.0.0:0"], &["0.0.0.0:0", "loopback", "--listen"]);
    assert!(!scene.path("data").exists(), "a server that was refused made its store");
    let file = scene.write("file", "not a directory").to_string_lossy().into_owned();
    refused(&["server", "--store-path", &file, "--server-listen", &free, "--intake-listen", "127.0.0.1:0"], &[&file]);
}

#[test]
fn faults_that_do_not_exist() {
    let listen = format!("127.0.0.1:{}", scene::free_port());
    for (fault, words) in [
        ("los:zone:clear", ["los", "loss"]),
        ("crash:zone:clear", ["crash", "pod"]),
        ("loss:zone=mars:clear", ["mars", "us-east-1a"]),
        ("loss", ["loss", "kind:scope[=NAME]:strength"]),
    ] {
        refused(&["demo", "--once", "--listen", &listen, "--fault", fault], &words);
    }
    refused(&["demo", "--once", "--listen", &listen, "--simulate", "--fault", "crash:pod:clear"], &["crash:pod:clear", "real packets", "root"]);
    refused(&["demo", "--once", "--listen", &listen, "--topology", "shoop"], &["shoop", "shop"]);
}

#[test]
fn a_second_server_on_the_same_doors_leaves_the_first_alone() {
    let scene = Scene::new("second");
    let first = Server::start(&scene, ServerSpec::new(&scene, "first"));
    let spec = first.spec();
    let (http, intake) = (format!("127.0.0.1:{}", spec.http_port), format!("127.0.0.1:{}", spec.intake_port));
    let before = files_below(&spec.store);
    refused(
        &["server", "--store-path", &spec.store.to_string_lossy(), "--server-listen", &http, "--intake-listen", &intake],
        &[&http, "another edgescope"],
    );
    assert!(before.iter().all(|file| file.exists()), "a refused server took files of the store away");
    first.api().get("/readyz", &[]).expect("the first server still serves");
}

#[test]
fn a_wrong_token_of_an_agent_is_told_and_costs_nothing_once_it_is_right() {
    let scene = Scene::new("token");
    let (agent_token, agent_line) = token("agent");
    let (viewer_token, viewer_line) = token("viewer");
    let mut spec = ServerSpec::new(&scene, "server");
    spec.more = json!({ "server": { "tokens_file": scene.write("tokens", &format!("{agent_line}\n{viewer_line}\n")) } });
    let server = Server::start(&scene, spec);
    let file = scene.write("token", "wrong\n");
    // A namespace that is not there: an idle agent ships too.
    let mut spec = AgentSpec::shipping_to(&scene, &server.intake(), "node-1", Place::Namespaces(vec![scene.id().to_owned()]));
    spec.more = json!({ "agent": { "token_file": file } });
    let mut agent = Agent::start(&scene, &spec);
    until("the agent to say that its token is refused", TRIED_AGAIN, || {
        assert!(agent.process().is_running(), "the agent ended");
        let log = agent.log();
        if log.lines().any(|line| line.contains("agent.token_file")) { Ok(()) } else { Err(log) }
    });
    // A window passes meanwhile.
    let api = Api::new(&server.url()).with_token(&viewer_token);
    std::thread::sleep(Duration::from_secs(interval_s() + 1));
    fs::write(&file, &agent_token).expect("the token can be mended");
    until("what waited to arrive", TRIED_AGAIN, || {
        let known = api.v1("/agents", &[])?;
        let mine = known["agents"].as_array().into_iter().flatten().find(|a| a["agent_id"] == agent.id()).cloned().unwrap_or_default();
        if mine["last_window_end"].is_string() { Ok(mine) } else { Err(known.to_string()) }
    });
    assert!(!agent.log().contains("given up"), "a batch was lost:\n{}", agent.log());
}

/// A new token and its line for the server's file.
fn token(role: &str) -> (String, String) {
    let output = program::run(&["config", "token", "--role", role], AT_ONCE);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().find(|line| line.starts_with(role)).expect("the line for the file is told").to_owned();
    (String::from_utf8_lossy(&output.stdout).trim().to_owned(), line)
}

#[test]
fn a_kernel_without_btf_and_a_missing_capability() {
    let scene = Scene::new("kernel");
    let state = scene.path("state").to_string_lossy().into_owned();
    let program = program::edgescope().to_string_lossy().into_owned();
    let agent = ["agent", "--agent-state-dir", &state, "--agent-id", scene.id(), "--agent-node", "here"];
    // Root without capabilities: what a container without them has.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all", "--inh-caps", "-all", &program]).args(agent);
    says(&refusal(&finish(without_steering(command), AT_ONCE)), &["cap_bpf", "cap_perfmon", "root"]);
    says(&refusal(&finish(as_nobody(&agent), AT_ONCE)), &["cap_bpf", "cap_net_admin", "root"]);
    doctor_says(as_nobody(&["doctor"]), &["MISSING  capabilities", "run as root, or grant CAP_BPF"]);
    // A mount namespace in which the kernel's type information is hidden; nobody else sees it.
    let without_btf = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", &program]).args(arguments);
        without_steering(command)
    };
    says(&refusal(&finish(without_btf(&agent), AT_ONCE)), &["BTF", "CONFIG_DEBUG_INFO_BTF"]);
    doctor_says(without_btf(&["doctor"]), &["MISSING  BTF", "CONFIG_DEBUG_INFO_BTF"]);
    assert!(!tool("ls", &["/sys/fs/bpf"], "").unwrap_or_default().contains(scene.id()), "a refused agent left something pinned");
}

/// `doctor` finds fault in its report; that is no error of its own.
fn doctor_says(command: Command, words: &[&str]) {
    let output = finish(command, AT_ONCE);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    says(&said, words);
}

#[test]
fn without_root_the_demo_is_simulated_and_says_so() {
    let scene = Scene::new("simulated");
    let listen = format!("127.0.0.1:{}", scene::free_port());
    let mut command = as_nobody(&["demo", "--once", "--json", "--calm", "40", "--fault", "congestion:node=node-3:clear", "--listen", &listen]);
    command.env("TMPDIR", "/tmp");
    let log = scene.path("demo.log");
    let mut demo = Process::start("demo", command, &log, None);
    let api = Api::new(&format!("http://{listen}"));
    until("the status to say simulated", SIMULATED, || {
        assert!(demo.is_running(), "the demo ended");
        let (status, agents) = (api.v1("/status", &[])?, api.v1("/agents", &[])?);
        let agents: Vec<Value> = agents["agents"].as_array().cloned().unwrap_or_default();
        let all = agents.len() == 6 && agents.iter().all(|agent| agent["simulated"] == true);
        if status["simulated"] == true && all { Ok(()) } else { Err(format!("{status} {agents:?}")) }
    });
    let status = demo.wait(SIMULATED);
    let log = fs::read_to_string(log).expect("it has a log");
    assert_eq!(status.code(), Some(3), "a simulated run proves nothing:\n{log}");
    let outcome: Value =
        serde_json::from_str(&log[log.find("\n{").expect("it prints JSON")..=log.rfind('}').expect("it prints JSON")]).expect("JSON");
    assert_eq!((&outcome["simulated"], &outcome["right"]), (&json!(true), &json!(true)), "{log}");
    says(&log, &["SIMULATED: this host lacks capabilities", "edgescope doctor", "VERDICT network", "proves nothing"]);
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_demo_minds_neither_its_caller_s_variables_nor_what_else_ctrl_c_reaches() {
    let scene = Scene::new("terminal");
    let listen = format!("127.0.0.1:{}", scene::free_port());
    let mut command = program::command(&["demo", "--listen", &listen]);
    command.env("EDGESCOPE_AGENT_ID", "one-for-all").env("EDGESCOPE_SHOTS", "1").env("EDGESCOPE_AGENT_SERVER", "http://127.0.0.1:1");
    // A terminal's Ctrl-C reaches the whole group.
    command.process_group(0);
    let mut demo = Process::start("demo", command, &scene.path("demo.log"), None);
    let api = Api::new(&format!("http://{listen}"));
    until("six agents at work", START, || {
        assert!(demo.is_running(), "the demo ended");
        let known = api.v1("/agents", &[])?;
        if known["agents"].as_array().is_some_and(|agents| agents.len() == 6) { Ok(()) } else { Err(known.to_string()) }
    });
    let group = Pid::from_raw(demo.id() as i32).expect("a process id is positive");
    rustix::process::kill_process_group(group, Signal::INT).expect("the group is there");
    let status = demo.wait(AT_ONCE);
    assert!(status.code() == Some(130) && demo.log().contains("interrupted; cleaning up"), "{status}: {}", demo.log());
}

#[test]
fn a_reader_that_has_left_is_no_reason_to_panic() {
    for (arguments, code) in
        [(&["config", "--keys"][..], 0), (&["completion", "bash"][..], 0), (&["demo", "--once", "--listen", "127.0.0.1:0"][..], 1)]
    {
        let mut command = program::command(arguments);
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let output = command.stdout(writer).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && !said.contains("panicked"), "{arguments:?}: {} {said}", output.status);
    }
}

/// The product, run by somebody without any right; the file is handed over open, since its directory may be root's alone.
fn as_nobody(arguments: &[&str]) -> Command {
    let script = "exec setpriv --reuid 65534 --regid 65534 --clear-groups /proc/self/fd/9 \"$@\" 9<\"$0\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program::edgescope()).args(arguments);
    without_steering(command)
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn without_steering(mut command: Command) -> Command {
    for name in ["EDGESCOPE_BIN", "EDGESCOPE_LONG"] {
        command.env_remove(name);
    }
    command.stdin(std::process::Stdio::null());
    command
}
