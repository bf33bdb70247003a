//! Makes and serves TCP traffic as a test orders it, and counts it: see `edgescope_tests::traffic`.

mod client;
mod ledger;
mod server;

use client::Client;
use edgescope_tests::traffic::{Order, Report};
use ledger::Ledger;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // A lab's own processes are this program too.
    if let Some((first, rest)) = arguments.split_first()
        && first == "testbed"
        && let Some(code) = edgescope_testbed::child_main(rest)
    {
        return code;
    }
    let [socket] = arguments.as_slice() else {
        eprintln!("usage: edgescope-traffic SOCKET");
        return ExitCode::FAILURE;
    };
    match UnixListener::bind(socket) {
        Ok(listener) => obey(&listener),
        Err(error) => eprintln!("cannot listen on {}: {error}", socket.display()),
    }
    ExitCode::FAILURE
}

/// Orders come one to a connection, so that a load and a report do not wait for each other. Ends when it is killed.
fn obey(listener: &UnixListener) {
    let ledger = Arc::new(Ledger::default());
    let client = Arc::new(Client::new(ledger.clone()));
    for stream in listener.incoming().map_while(Result::ok) {
        let (ledger, client) = (ledger.clone(), client.clone());
        std::thread::spawn(move || {
            if let Err(error) = answer(stream, &ledger, &client) {
                eprintln!("an order was not answered: {error}");
            }
        });
    }
}

fn answer(stream: UnixStream, ledger: &Arc<Ledger>, client: &Arc<Client>) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    if line.is_empty() {
        // A test that only looks whether somebody listens.
        return Ok(());
    }
    let done = match serde_json::from_str(&line)? {
        Order::Listen(address) => server::listen(address, ledger),
        Order::Exchange(exchange) => client.exchange(&exchange),
        Order::Load(exchange) => {
            client.load(exchange);
            Ok(())
        }
        Order::Stop => {
            client.stop();
            Ok(())
        }
        Order::Connect { to, times, timeout_ms } => {
            client.connect(to, times, timeout_ms);
            Ok(())
        }
        Order::Report => Ok(()),
    };
    let report = Report { error: done.err().map(|e| e.to_string()), ..ledger.report() };
    let mut answer = serde_json::to_vec(&report)?;
    answer.push(b'\n');
    (&stream).write_all(&answer)
}
