//! The wires' delay: a process that takes packets from a TUN device, holds each for as long as its way is, and puts it back.
//!
//! One process serves all zones. [`line`] decides when a packet is due (pure); this file reads, writes and sleeps until then, on
//! one thread with one timer.

pub mod line;

use crate::effect::{DelayRule, Endpoint};
use crate::netns;
use line::Line;
use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// What the relay is told at its start, as a JSON file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelayConfig {
    /// Namespaces that have the relay's device.
    pub netns: Vec<PathBuf>,
    pub device: String,
    pub endpoints: Vec<RelayEndpoint>,
    /// One-way delay, from row to column.
    pub delays_us: Vec<Vec<u32>>,
    /// A datagram socket: one [`RelayCommand`] a datagram, answered with [`RelayCounters`].
    pub control: PathBuf,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelayEndpoint {
    pub ips: Vec<IpAddr>,
    /// Endpoints are counted by group (zone); see [`RelayCounters::groups`].
    pub group: Endpoint,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayCommand {
    /// These extra delays hold from now on, instead of those before.
    Delays(Vec<DelayRule>),
    Counters,
}

/// What passed. `late` is what a packet waited beyond its due time: the relay's own imprecision.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RelayCounters {
    pub groups: Vec<GroupCounters>,
    /// Of the current extra delays, by their rules' id; an id that stays counts on.
    pub rules: BTreeMap<u32, RuleCounters>,
    /// Packets lost because too many waited ([`line::WAITING_MAX`]).
    pub dropped_full: u64,
    /// Packets between addresses that are nobody's: multicast of the routers themselves.
    pub dropped_unknown: u64,
    /// Packets that the device did not take back.
    pub dropped_write: u64,
}

/// Packets from one group to another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GroupCounters {
    pub from: Endpoint,
    pub to: Endpoint,
    pub packets: u64,
    pub bytes: u64,
    /// Sum of the time from reading a packet to writing it.
    pub held_us: u64,
    pub late_us: u64,
    pub late_us_max: u64,
    /// Packets later than 0.5 ms.
    pub late_500us: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleCounters {
    pub packets: u64,
    /// Sum of what was really added to the usual delay.
    pub added_us: u64,
}

/// Packets read from one device before looking at the others: a burst on one must not delay what is due on another.
const BURST_PACKETS: usize = 64;

/// Larger than any packet of the testbed's devices (MTU 1500).
const PACKET_BYTES_MAX: usize = 2_048;

/// Commands hold delays for all pairs of endpoints: 40 × 40 pairs of 10 characters are 16 kB.
const COMMAND_BYTES_MAX: usize = 128 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Netns(#[from] netns::NetnsError),
    #[error("relay cannot {what}: {source}")]
    Io { what: &'static str, source: io::Error },
}

trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, RelayError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &'static str) -> Result<T, RelayError> {
        self.map_err(|e| RelayError::Io { what, source: e.into() })
    }
}

/// Runs until standard input ends, that is until the testbed's process does.
///
/// # Errors
/// When a device, the timer or the control socket cannot be opened, or polling fails.
pub fn run(config: RelayConfig) -> Result<(), RelayError> {
    let devices = config.netns.iter().map(|path| open_device(path, &config.device)).collect::<Result<Vec<_>, _>>()?;
    let control = UnixDatagram::bind(&config.control).doing("bind its control socket")?;
    control.set_nonblocking(true).doing("set its control socket")?;
    let relay = Relay {
        line: Line::new(&config.endpoints, &config.delays_us),
        devices,
        control,
        timer: rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC).doing("make a timer")?,
        dropped_write: 0,
        armed_ns: None,
    };
    crate::child::say_ready();
    relay.run()
}

fn open_device(netns: &std::path::Path, name: &str) -> Result<tun_rs::SyncDevice, RelayError> {
    netns::enter(netns)?;
    let device = tun_rs::DeviceBuilder::new().name(name).inherit_enable_state().build_sync().doing("open its device")?;
    device.set_nonblocking(true).doing("set its device")?;
    Ok(device)
}

struct Relay {
    line: Line,
    devices: Vec<tun_rs::SyncDevice>,
    control: UnixDatagram,
    timer: OwnedFd,
    dropped_write: u64,
    /// When the timer is set to go off.
    armed_ns: Option<u64>,
}

const TIMER: u64 = 1_000;
const CONTROL: u64 = 1_001;
const LIFELINE: u64 = 1_002;

/// From the timer's going off until this thread runs, 45 µs pass as a rule (measured: without this, packets left 49 µs late on
/// average); so it is set earlier by that.
const WAKE_NS: u64 = 45_000;

/// Packets due within this time go out now: sleeping once more would make them late.
const EARLY_NS: u64 = WAKE_NS + 5_000;

impl Relay {
    fn run(mut self) -> Result<(), RelayError> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).doing("make a poll set")?;
        let stdin = io::stdin();
        let watch = |fd: BorrowedFd<'_>, id: u64| epoll::add(&poll, fd, epoll::EventData::new_u64(id), epoll::EventFlags::IN).doing("watch a file");
        for (index, device) in self.devices.iter().enumerate() {
            watch(device.as_fd(), index as u64)?;
        }
        watch(self.timer.as_fd(), TIMER)?;
        watch(self.control.as_fd(), CONTROL)?;
        watch(stdin.as_fd(), LIFELINE)?;
        let mut events = Vec::with_capacity(16);
        loop {
            events.clear();
            match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.doing("poll")?,
            };
            for event in &events {
                match event.data.u64() {
                    TIMER => self.timer_went_off(),
                    CONTROL => self.obey()?,
                    LIFELINE => return Ok(()),
                    device => self.take(device as usize)?,
                }
            }
            self.release()?;
        }
    }

    fn take(&mut self, device: usize) -> Result<(), RelayError> {
        let mut packet = [0; PACKET_BYTES_MAX];
        for _ in 0..BURST_PACKETS {
            match self.devices[device].recv(&mut packet) {
                Ok(length) => self.line.take(now_ns(), device, &packet[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).doing("read its device"),
            }
        }
        Ok(())
    }

    fn release(&mut self) -> Result<(), RelayError> {
        while let Some((device, packet)) = self.line.due(now_ns() + EARLY_NS) {
            if self.devices[device].send(&packet).is_err() {
                self.dropped_write += 1;
            }
        }
        let next = self.line.next_due_ns();
        if next != self.armed_ns {
            // A time of zero would switch the timer off, which is what "nothing waits" wants.
            let at = next.map_or(0, |due| due.saturating_sub(WAKE_NS).max(1));
            let it_value = Timespec { tv_sec: (at / 1_000_000_000) as i64, tv_nsec: (at % 1_000_000_000) as _ };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).doing("set its timer")?;
            self.armed_ns = next;
        }
        Ok(())
    }

    fn timer_went_off(&mut self) {
        // The count is of no interest, and a time-out that was moved meanwhile reads as "would block".
        let _ = rustix::io::read(&self.timer, &mut [0u8; 8]);
        self.armed_ns = None;
    }

    fn obey(&mut self) -> Result<(), RelayError> {
        let mut buffer = vec![0; COMMAND_BYTES_MAX];
        let (length, sender) = match self.control.recv_from(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => other.doing("read its control socket")?,
        };
        let answer = match serde_json::from_slice(&buffer[..length]) {
            Ok(command) => {
                let counters = RelayCounters { dropped_write: self.dropped_write, ..self.line.counters() };
                if let RelayCommand::Delays(rules) = command {
                    self.line.set_rules(rules);
                }
                serde_json::to_vec(&counters).expect("counters are plain numbers")
            }
            Err(error) => error.to_string().into_bytes(),
        };
        if let Some(path) = sender.as_pathname() {
            // Whoever asked may have gone: nothing to do about it.
            let _ = self.control.send_to(&answer, path);
        }
        Ok(())
    }
}

fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
