//! Bad input: one clear line that says what is wrong and what to do.

use edgescope_testbed::netns::tool;
use edgescope_tests::program::{self, finish};
use edgescope_tests::{Scene, Server, ServerSpec, scene};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

/// A refusal comes at once; the machine may be busy.
const AT_ONCE: Duration = Duration::from_secs(20);

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
    refused(&["server", "--config", "/nowhere/edgescope.yaml"], &["/nowhere/edgescope.yaml", "--config"]);
    let misspelt = file("misspelt.yaml", "server:\n  lisen: 127.0.0.1:8100\n");
    refused(&["server", "--config", &misspelt], &["misspelt.yaml", "lisen", "listen", "2"]);
    let wrong = file("wrong.yaml", "agent:\n  interval: soon\n");
    refused(&["agent", "--config", &wrong], &["wrong.yaml", "soon", "interval"]);
    let broken = file("broken.yaml", "server: [\n");
    refused(&["server", "--config", &broken], &["broken.yaml"]);
    let rule = file("rule.yaml", "identity:\n  rules:\n    - match: {}\n      workload: shop\n");
    refused(&["server", "--config", &rule], &["identity.rules[0].match"]);
    refused(&["server", "--server-listen", "nonsense"], &["server", "listen", "nonsense"]);
    refused(
        &["server", "--server-listen", "0.0.0.0:0", "--store-path", &scene.path("data").to_string_lossy()],
        &["0.0.0.0:0", "server.tls", "server.insecure"],
    );
    let mut command = program::command(&["server"]);
    command.env("EDGESCOPE_STORE_PAHT", "/tmp/x");
    says(&refusal(&finish(command, AT_ONCE)), &["EDGESCOPE_STORE_PAHT"]);
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
    refused(&["edges", "--server", &url, "--filter", "sourc.zone = 'a'"], &["sourc.zone"]);
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
    let file = scene.write("file", "not a directory").to_string_lossy().into_owned();
    refused(&["server", "--store-path", &file, "--server-listen", &free, "--intake-listen", &free], &[&file]);
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
    refused(&["demo", "--once", "--listen", &listen, "--topology", "shoop"], &["shoop", "shop"]);
}

#[test]
fn a_kernel_without_btf_and_a_missing_capability() {
    let scene = Scene::new("kernel");
    let state = scene.path("state").to_string_lossy().into_owned();
    let program = program::edgescope().to_string_lossy().into_owned();
    let agent = [&program, "agent", "--agent-state-dir", &state, "--agent-id", scene.id(), "--agent-node", "here"];
    // Root without capabilities: what a container without them has.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all", "--inh-caps", "-all"]).args(agent);
    says(&refusal(&finish(without_steering(command), AT_ONCE)), &["cap_bpf", "cap_perfmon", "root"]);
    // A mount namespace in which the kernel's type information is hidden; nobody else sees it.
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).args(agent);
    says(&refusal(&finish(without_steering(command), AT_ONCE)), &["BTF"]);
    assert!(!tool("ls", &["/sys/fs/bpf"], "").unwrap_or_default().contains(scene.id()), "a refused agent left something pinned");
}

fn without_steering(mut command: Command) -> Command {
    for name in ["EDGESCOPE_BIN", "EDGESCOPE_LONG"] {
        command.env_remove(name);
    }
    command.stdin(std::process::Stdio::null());
    command
}
