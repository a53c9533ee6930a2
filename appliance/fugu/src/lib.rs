//! Composition root of the appliance: starts DPDK, deals queues out to workers, starts them, and then is the control
//! thread. Runs as process 1 of the image ([`as_process_one`]) or as a plain process ([`on_workstation`]); both are
//! the same [`run`] with other [`args::Options`].
//!
//! Read first: `main_loop.rs`, the loop of the control thread, and `work.rs`, that of a worker.

#![forbid(unsafe_code)]

pub mod args;
pub mod clock;
mod host;
mod lines;
mod logger;
mod main_loop;
mod nics;
mod sizing;
mod slot_store;
mod supervise;
mod work;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use boot::watchdog::Watchdog;
use bundle::Bundle;
use control::fleet::WorkerLink;
use control::machine::Clock;
use control::settings::Settings;
use control::store::{DirStore, MemoryStore, Store};
use control::token::TokenHash;
use control::{Control, Setup};
use dpdk::{DpdkNic, Eal, EalConfig, lcore, port};
use filter::Shared;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use worker::{ControlEnds, Ends, WorkerSetup};

use args::{First, Given, Options};
use clock::{SystemClock, random_u64};
use host::{Host, HostEnds};
use lines::Lines;
pub use main_loop::End;
use main_loop::{Core, Progress};
use nics::Nics;
use work::{Job, Orders};

/// Contents by path in the etc tree.
type Files = BTreeMap<String, Vec<u8>>;

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit status when the program could not start.
const EXIT_UNAVAILABLE: u8 = 69;

/// A plain process is one of many: its tables are made as for a machine of this many bytes.
const WORKSTATION_MEMORY: u64 = 1 << 30;

/// What is not an option but found.
#[derive(Default)]
pub struct Found {
    /// Where bundle and settings are kept, if there is a place.
    pub store: Option<Box<dyn Store>>,
    /// To be kicked.
    pub watchdog: Option<Watchdog>,
    /// Why the last run died.
    pub epitaph: Option<String>,
    /// Look for cards on the PCI bus.
    pub pci: bool,
}

/// Process 1: prepares the machine, then runs. Whatever ends, the box restarts or switches off.
pub fn as_process_one() -> ExitCode {
    // HTTP and console are supervised; a worker's thread ends the box itself.
    boot::epitaph::install_panic_hook(|thread| thread.starts_with("worker"));
    let clock = SystemClock::begin();
    let machine = match boot::start(&mut std::io::stdout()) {
        Ok(machine) => machine,
        Err(error) => boot::epitaph::write(&error.to_string()),
    };
    power_button();
    let options = Options::from(&machine);
    let found = Found {
        store: machine
            .slots
            .map(|slots| Box::new(slot_store::SlotStore(slots)) as Box<dyn Store>),
        watchdog: machine.watchdog,
        epitaph: machine.epitaph,
        pci: true,
    };
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&options, found, clock)));
    match outcome {
        Ok(Ok(End::Halt | End::Signal)) => boot::power::halt(),
        Ok(Ok(End::Reboot)) => boot::power::reboot(),
        Ok(Err(why)) => boot::epitaph::write(&why),
        Err(panic) => {
            let text = supervise::panic_text(panic.as_ref());
            boot::epitaph::write(&format!("control: {text}"))
        }
    }
}

/// The power button switches the box off; everything that must survive is on the disk already.
fn power_button() {
    let Some(mut button) = boot::power::Button::open() else {
        return;
    };
    let wait = move || {
        if button.wait() {
            boot::power::halt();
        }
    };
    if let Err(error) = std::thread::Builder::new()
        .name("power button".into())
        .spawn(wait)
    {
        log::warn!("power button: {error}");
    }
}

/// A plain process.
pub fn on_workstation(options: Options) -> ExitCode {
    let store = match &options.state_dir {
        None => Ok(None),
        Some(place) => DirStore::open(place).map(|store| Some(Box::new(store) as Box<dyn Store>)),
    };
    let clock = SystemClock::begin();
    let outcome = match store {
        Ok(store) => run(
            &options,
            Found {
                store,
                ..Found::default()
            },
            clock,
        ),
        Err(error) => Err(format!("--state-dir: {error}")),
    };
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("fugu: {why}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

/// Starts everything, and is the control thread until the end.
pub fn run(options: &Options, mut found: Found, clock: SystemClock) -> Result<End, String> {
    let (ring, log) = logger::install(clock);
    let signals = catch_signals()?;
    let eal = start_eal(options, found.pci)?;
    let mut infos = port::list(eal);
    infos.sort_by_key(|info| info.id);
    let first = first_files(options, &mut found)?;
    let wanted = first.as_ref().and_then(workers_in);
    let most = wanted.unwrap_or(usize::MAX).min(nics::workers_max(&infos));
    let cpus = worker_cpus(options, most)?;
    let memory = if found.pci {
        sizing::machine_memory()
    } else {
        sizing::machine_memory().min(WORKSTATION_MEMORY)
    };
    let sizes = sizing::sizes(infos.len(), cpus.len(), options.memory_mib, memory);
    let (nics, shares) = Nics::start(eal, &infos, cpus.len(), &sizes)?;
    let (ends, control_ends) = worker::connect::<DpdkNic>(cpus.len(), options.rule_slots);
    let states = usize::try_from(sizes.states).unwrap_or(usize::MAX);
    let shared = Shared::new(options.rule_slots, states, cpus.len(), random_u64());
    let shared = Arc::new(shared);
    let (links, host_ends) = split(control_ends, &cpus);
    let counters = links.iter().map(|l| l.counters.clone()).collect();
    let mut control = Control::new(Setup {
        version: VERSION.into(),
        workers: links,
        ports: Box::new(nics.clone()),
        store: found
            .store
            .unwrap_or_else(|| Box::new(MemoryStore::default())),
        clock: Box::new(clock),
        pinger: Box::new(NoPing),
        log: ring,
        shared: shared.clone(),
        states_capacity: sizes.states,
        rule_slots: options.rule_slots,
        bundle_limits: sizing::bundle_limits(memory),
        compile_bounds: sizing::compile_bounds(memory, options.rule_slots),
        given: given(&options.given),
        api_port: options.api_port,
        epitaph: found.epitaph,
    });
    let host = Host::new(host_ends, nics.pool().clone(), &mut control);
    let lines = Lines::open(&options.console, &std::thread::current())
        .map_err(|error| format!("console: {error}"))?;
    let orders = Arc::new(Orders::default());
    let crew = Crew {
        eal,
        clock,
        orders: orders.clone(),
        shared,
        buffers: sizes.buffers,
        states: sizes.states,
        cpus,
        pool: nics.pool(),
    };
    let mut workers = crew.start(ends, shares)?;
    let deputy = work::start_deputy(control.deputy(), nics.clone(), clock, orders.clone());
    workers.push(deputy.map_err(|error| format!("deputy: {error}"))?);
    begin(&mut control, &options.first, first)?;
    let core = Core {
        control,
        host,
        lines,
        nics,
        clock,
        orders,
        workers,
        counters,
        log,
        signals,
        watchdog: found.watchdog,
        progress: Progress::default(),
    };
    Ok(core.run())
}

fn start_eal(options: &Options, pci: bool) -> Result<Eal, String> {
    let config = EalConfig {
        memory_mib: options.no_huge.then_some(options.memory_mib),
        vdevs: options.vdevs.clone(),
        no_pci: !pci,
        no_huge: options.no_huge,
        log_level: log::LevelFilter::Warn,
        ..EalConfig::default()
    };
    Eal::start(&config).map_err(|error| format!("DPDK does not start: {error}"))
}

/// CPUs for the workers: those named, or all that this process may use but the first; never more than `most`.
fn worker_cpus(options: &Options, most: usize) -> Result<Vec<usize>, String> {
    let allowed = lcore::allowed().map_err(|error| error.to_string())?;
    let mut cpus = if !options.cpus.is_empty() {
        options.cpus.clone()
    } else if allowed.len() > 1 {
        allowed[1..].to_vec()
    } else {
        allowed.clone()
    };
    if let Some(wrong) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        return Err(format!("--cpus: this process may not use CPU {wrong}"));
    }
    cpus.truncate(most.max(1));
    Ok(cpus)
}

/// The control core's ends and the local host's.
fn split(ends: Vec<ControlEnds<dpdk::Mbuf>>, cpus: &[usize]) -> (Vec<WorkerLink>, Vec<HostEnds>) {
    let both = ends.into_iter().zip(cpus).map(|(end, cpu)| {
        let link = WorkerLink {
            config: end.config,
            mail: end.mail,
            reports: end.reports,
            log: end.log,
            steps: end.steps,
            counters: end.counters,
            cpu: *cpu as u16,
        };
        let host = HostEnds {
            to_host: end.to_host,
            begun: Vec::new(),
            from_host: end.from_host,
        };
        (link, host)
    });
    both.unzip()
}

/// What all workers have in common.
struct Crew<'a> {
    eal: Eal,
    clock: SystemClock,
    orders: Arc<Orders>,
    shared: Arc<Shared>,
    /// Packet buffers of the box.
    buffers: u32,
    states: u64,
    cpus: Vec<usize>,
    pool: &'a dpdk::Pool,
}

impl Crew<'_> {
    fn start(
        self,
        ends: Vec<Ends<dpdk::Mbuf>>,
        shares: Vec<nics::Share>,
    ) -> Result<Vec<std::thread::JoinHandle<()>>, String> {
        let workers = ends.len();
        let hash_seed = random_u64();
        let control = std::thread::current();
        let allowed = lcore::allowed().map_or(1, |cpus| cpus.len());
        let mut threads = Vec::new();
        for (n, (ends, ports)) in ends.into_iter().zip(shares).enumerate() {
            let job = Job {
                eal: self.eal,
                setup: WorkerSetup {
                    id: n as u16,
                    workers: workers as u16,
                    ends,
                    ports,
                    pool: self.pool.clone(),
                    states_capacity: sizing::states_of_worker(self.states, workers),
                    shared: self.shared.clone(),
                    fragments_capacity: sizing::fragments_of_worker(self.buffers, workers),
                    hash_seed,
                    dice_seed: random_u64(),
                    secret: [random_u64(), random_u64()],
                    express: true,
                    now_ms: self.clock.now_ms(),
                },
                cpu: self.cpus[n],
                shares_cpu: allowed <= workers,
                clock: self.clock,
                orders: self.orders.clone(),
                control: control.clone(),
            };
            threads.push(work::start(job).map_err(|error| format!("worker {n}: {error}"))?);
        }
        Ok(threads)
    }
}

fn given(given: &Given) -> Settings {
    let mut settings = given.settings.clone();
    if let Some(token) = &given.token {
        let mut salt = [0; 16];
        clock::random(&mut salt);
        match TokenHash::new(token, salt) {
            Ok(hash) => settings.token = Some(hash),
            Err(why) => log::warn!("the given token is not used: {why}"),
        }
    }
    settings
}

/// The first configuration, as far as it is known before the control core is. What is stored may be damaged, and then the
/// box waits for a better one; what was named on the command line must be there.
fn first_files(options: &Options, found: &mut Found) -> Result<Option<Files>, String> {
    let open = |bytes: &[u8]| Bundle::open(bytes, &bundle::Limits::default());
    match &options.first {
        First::Safe => Ok(None),
        First::Stored => {
            let bytes = found.store.as_mut().and_then(|store| store.load_bundle());
            Ok(bytes.and_then(|bytes| open(&bytes).ok()).map(|b| b.files))
        }
        First::Bundle(path) => {
            let named = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
            let bytes = std::fs::read(path).map_err(|error| named(&error))?;
            let bundle = open(&bytes).map_err(|refused| named(&refused))?;
            Ok(Some(bundle.files))
        }
        First::Etc(path) => bundle::tree::read(path)
            .map(Some)
            .map_err(|error| error.to_string()),
    }
}

/// `workers` of `fugu.conf`.
fn workers_in(files: &Files) -> Option<usize> {
    netconf::parse(files).0.fugu.workers.map(usize::from)
}

/// Puts the first configuration in force. `given` is that of the command line.
fn begin(control: &mut Control, first: &First, given: Option<Files>) -> Result<(), String> {
    let good = match (first, given) {
        (First::Safe, _) => true,
        (First::Stored, _) => {
            control.start_stored();
            true
        }
        (First::Bundle(_) | First::Etc(_), Some(files)) => {
            control.start_files(&files, "command line")
        }
        (First::Bundle(_) | First::Etc(_), None) => false,
    };
    if good {
        return Ok(());
    }
    let why: Vec<String> = control::api::Api::log_lines(control);
    Err(format!(
        "the configuration is not good:\n{}",
        why.join("\n")
    ))
}

/// SIGINT and SIGTERM, as messages. Process 1 gets none (the kernel delivers only what it has a handler for), and the kernel
/// of the image has no sockets at all, which the handler would need.
fn catch_signals() -> Result<Receiver<()>, String> {
    let (sender, receiver) = channel();
    if std::process::id() == 1 {
        return Ok(receiver);
    }
    let wake = std::thread::current();
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| error.to_string())?;
    let listen = move || {
        for _ in signals.forever() {
            if sender.send(()).is_err() {
                return;
            }
            wake.unpark();
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(listen)
        .map_err(|error| error.to_string())?;
    Ok(receiver)
}

/// Until the local host is there.
struct NoPing;

impl control::api::Pinger for NoPing {
    fn start(&mut self, _: std::net::IpAddr, _: u16) -> Result<(), String> {
        Err("the local host is not ready yet".into())
    }
    fn poll(&mut self) -> Option<Vec<control::api::PingReply>> {
        None
    }
    fn stop(&mut self) {}
}
