//! A container on this kernel: real sockets in a real cgroup called as Docker calls them, and a Docker of the test's own that knows its id.

use crate::kernel::{Lab, ask, close, greeted, run_while};
use crate::support::{Fake, Life, wait};
use edgescope_agent::AgentConfig;
use edgescope_agent::runtimes::{Answer, Asker};
use edgescope_identity::container::Contained;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

/// A cgroup `/NAME/docker/ID` that this test's process is in until the end.
struct Container {
    id: String,
    top: PathBuf,
    before: PathBuf,
}

impl Container {
    fn enter(name: &str) -> Self {
        let root = edgescope_identity::host::cgroup_root().unwrap();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
        let id: String = (0..64).map(|_| char::from_digit(rand::random::<u32>() % 16, 16).unwrap()).collect();
        let container = Self { top: root.join(name), before: root.join(own), id };
        std::fs::create_dir_all(container.path()).unwrap();
        std::fs::write(container.path().join("cgroup.procs"), std::process::id().to_string()).unwrap();
        container
    }

    fn path(&self) -> PathBuf {
        self.top.join("docker").join(&self.id)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut undone = vec![std::fs::write(self.before.join("cgroup.procs"), std::process::id().to_string())];
        undone.extend([self.path(), self.top.join("docker"), self.top.clone()].map(std::fs::remove_dir));
        for error in undone.into_iter().filter_map(Result::err) {
            eprintln!("cannot take the test's cgroup away: {error}");
        }
    }
}

/// Knows one container, as Docker would.
fn docker(socket: &Path, id: &str) {
    let listener = UnixListener::bind(socket).unwrap();
    let (asked, labels) = (format!("GET /containers/{id}/json "), r#"{"com.docker.compose.service": "shop", "com.docker.compose.project": "prod"}"#);
    let body = format!(r#"{{"Id": "{id}", "Name": "/prod-shop-1", "Config": {{"Image": "shop:2", "Labels": {labels}}}}}"#);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 1_024];
            let length = stream.read(&mut head).unwrap_or(0);
            let is_known = head[..length].starts_with(asked.as_bytes());
            let (status, body) = if is_known { (200, body.as_str()) } else { (404, "{}") };
            // Whoever hangs up has heard enough.
            drop(write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_a_container_have_the_names_that_docker_gives_it_from_their_first_window_on() {
    let lab = Lab::new();
    let container = Container::enter(&lab.name);
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("docker.sock");
    docker(&socket, &container.id);
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let runtimes = format!("docker:{}", socket.display()).parse().unwrap();
    let config = AgentConfig { runtimes, zone: "z1".into(), ..lab.config(&life, vec![lab.rule("b", None, "db")]) };
    let server: SocketAddr = "10.77.0.2:7001".parse().unwrap();
    lab.serve(server, 100, 1_000);
    run_while(&config, async {
        greeted(&fake, 1).await;
        let mut stream = lab.connect(server);
        ask(&mut stream, 100, 1_000);
        close(stream);
        let has_spoken = || fake.book().batches.iter().any(|batch| !batch.observations.is_empty());
        wait(has_spoken).await;
    })
    .await;
    let book = fake.book();
    let spoken = book.batches.iter().flat_map(|batch| batch.observations.iter().map(|seen| (&batch.owners[seen.owner as usize], seen)));
    let clients: Vec<_> = spoken.filter(|(_, seen)| seen.role == 1).map(|(owner, _)| owner).collect();
    assert!(!clients.is_empty());
    for owner in clients {
        let names = [&owner.workload, &owner.namespace, &owner.pod, &owner.image, &owner.resolution_type, &owner.zone, &owner.container_id];
        assert_eq!(names.map(String::as_str), ["shop", "prod", "prod-shop-1@n1", "shop:2", "docker", "z1", &container.id]);
        assert!(!owner.process.is_empty(), "on a network that is not its own the process tells more");
    }
}

/// A task as Nomad starts it without a container: a real cgroup, and a real process with what Nomad tells it. Taken away in the end.
struct Task {
    top: PathBuf,
    process: Child,
}

impl Drop for Task {
    fn drop(&mut self) {
        // It ends with the test, however that ends.
        drop(self.process.kill());
        drop(self.process.wait());
        for below in ["share.slice/3f2a1b2c-0a2b-4c6d-8e0f-123456789abc.api.scope", "share.slice", ""] {
            if let Err(error) = std::fs::remove_dir(self.top.join(below)) {
                eprintln!("cannot remove a cgroup: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_task_of_nomad_is_named_by_what_its_process_was_told() {
    const ALLOC: &str = "3f2a1b2c-0a2b-4c6d-8e0f-123456789abc";
    let name = format!("esn{}-{:04x}-nomad.slice", std::process::id(), rand::random::<u16>());
    let top = edgescope_identity::host::cgroup_root().unwrap().join(&name);
    let cgroup = top.join(format!("share.slice/{ALLOC}.api.scope"));
    std::fs::create_dir_all(&cgroup).unwrap();
    let told =
        [("NOMAD_ALLOC_ID", ALLOC), ("NOMAD_JOB_NAME", "shop"), ("NOMAD_GROUP_NAME", "web"), ("NOMAD_TASK_NAME", "api"), ("NOMAD_NAMESPACE", "prod")];
    let process = Command::new("/bin/sleep").arg("60").env_clear().env("PASSWORD", "secret").envs(told).spawn().unwrap();
    let task = Task { top, process };
    std::fs::write(cgroup.join("cgroup.procs"), task.process.id().to_string()).unwrap();
    let mut asker = Asker::new(&"nomad".parse().unwrap(), Arc::default());
    let mut ask = async |path: &str| asker.answer(&Contained::of(path).unwrap()).await;
    let Answer::Named(named) = ask(&format!("/{name}/share.slice/{ALLOC}.api.scope")).await else { panic!("no name") };
    assert_eq!([&named.workload, &named.namespace, &named.pod].map(String::as_str), ["shop.web.api", "prod", "3f2a1b2c-0a2.api"]);
    assert_eq!(ask(&format!("/{name}/share.slice/{ALLOC}.gone.scope")).await, Answer::Nobody, "a task without a process");
}
